//! Expressions as the server stores them.

use super::*;
use crate::format::kv::json;
use crate::format::kv::layout::{Column, IndexLayout};
use crate::format::kv::types::StringKind;

fn layout() -> TableLayout {
    let text = ColumnType::String { kind: StringKind::Text, width: 0 };
    let columns = [
        ("a", ColumnType::INT8),
        ("t", text),
        ("b", ColumnType::Bool),
        ("d", ColumnType::DECIMAL),
        ("j", ColumnType::Json),
    ];
    let column = |(id, (name, ty)): (u32, (&str, ColumnType))| Column {
        id,
        name: name.into(),
        ty,
        nullable: true,
        is_virtual: false,
    };
    let primary = IndexLayout::primary(Vec::new());
    TableLayout {
        key_prefix: Vec::new(),
        table_id: 1,
        name: "t".into(),
        columns: (1..).zip(columns).map(column).collect(),
        primary,
        families: Vec::new(),
        indexes: Vec::new(),
    }
}

#[test]
fn predicates() {
    let layout = layout();
    let (row, nulls) = (
        [Datum::Int(5), Datum::text("on"), Datum::Bool(true), Datum::Null, Datum::Null],
        [Datum::Null, Datum::Null, Datum::Null, Datum::Null, Datum::Null],
    );
    let (yes, no, unknown) = (Datum::Bool(true), Datum::Bool(false), Datum::Null);
    for (text, with_values, with_nulls) in [
        ("b", &yes, &unknown),
        ("NOT b", &no, &unknown),
        ("t = 'on':::STRING", &yes, &unknown),
        ("t != 'on':::STRING OR a IS NULL", &no, &yes),
        ("a > 4:::INT8 AND a <= 5:::INT8", &yes, &unknown),
        ("(a < 4:::INT8) OR b", &yes, &unknown),
        ("NOT a = 5:::INT8 AND b", &no, &unknown),
        ("a IS NOT NULL AND t > 'off':::STRING", &yes, &no),
        ("a * 2:::INT8 + 1:::INT8 = 11:::INT8", &yes, &unknown),
        ("(t || 'x':::STRING) = 'onx':::STRING", &yes, &unknown),
        ("a IS NULL = false", &yes, &no),
        ("d IS NULL", &yes, &yes),
        ("a IN (4:::INT8, 5:::INT8)", &yes, &unknown),
        ("NOT t IN ('off':::STRING)", &yes, &unknown),
        ("t IN ('off':::STRING, NULL)", &unknown, &unknown),
    ] {
        let parsed = predicate(text, &layout).unwrap_or_else(|| panic!("{text}"));
        assert_eq!(parsed.value(&row).as_ref(), Some(with_values), "{text}");
        assert_eq!(parsed.value(&nulls).as_ref(), Some(with_nulls), "{text}");
    }
    for text in [
        "a",
        "d > 1:::DECIMAL",
        "a % 2:::INT8 = 1:::INT8",
        "a = 'x':::STRING",
        "lower(t) = 'on':::STRING",
        "a > 1.5",
        "t LIKE 'a'",
        "a IN ()",
        "a IN (1:::INT8, 'x':::STRING)",
        "a = 1:::INT8 = b AND",
        "b AND a",
        "t << 'a'",
        "a IS DISTINCT FROM 4",
        "ANDx",
    ] {
        assert_eq!(predicate(text, &layout), None, "{text}");
    }
}

#[test]
fn computed_columns() {
    let layout = layout();
    let mut json = Vec::new();
    let object = [("k".into(), json::Json::String("v".into())), ("n".into(), json::Json::Array(Vec::new()))];
    json::Json::Object(object.to_vec()).encode(&mut json).unwrap();
    let row = [
        Datum::Int(-7),
        Datum::text("Straße"),
        Datum::Bool(false),
        Datum::Decimal(Decimal::from_text("1.50").unwrap()),
        Datum::Json(json.into()),
    ];
    let (text, int) = (ColumnType::TEXT, ColumnType::INT8);
    for (expr, ty, want) in [
        ("a % 4:::INT8", &int, Some("-3")),
        ("mod(a, 4:::INT8) + abs(a)", &int, Some("4")),
        ("lower(t)", &text, Some("straße")),
        ("upper(t) || '!':::STRING", &text, Some("STRAßE!")),
        ("length(t)", &int, Some("6")),
        ("substring(t, 0:::INT8, 3:::INT8)", &text, Some("St")),
        ("replace(t, 'raß':::STRING, 'x':::STRING)", &text, Some("Stxe")),
        ("concat(t, NULL, 'x':::STRING)", &text, Some("Straßex")),
        ("COALESCE(NULL, t)", &text, Some("Straße")),
        ("IF(b, 1:::INT8, a)", &int, Some("-7")),
        ("CASE WHEN a > 0:::INT8 THEN 'p':::STRING WHEN b THEN 'b':::STRING END", &text, None),
        ("CASE a WHEN -7:::INT8 THEN 'x':::STRING ELSE t END", &text, Some("x")),
        ("greatest(a, 3:::INT8, NULL)", &int, Some("3")),
        ("NULLIF(a, -7:::INT8)", &int, None),
        ("a::STRING || 'x':::STRING", &text, Some("-7x")),
        ("CAST(b AS STRING)", &text, Some("false")),
        ("'12':::STRING::INT8", &int, Some("12")),
        ("d * 2:::DECIMAL", &ColumnType::DECIMAL, Some("3.00")),
        ("(d - a) + 0.125:::DECIMAL", &ColumnType::DECIMAL, Some("8.625")),
        ("d::STRING", &text, Some("1.50")),
        ("j->>'k':::STRING", &text, Some("v")),
        ("j->'n':::STRING", &ColumnType::Json, Some("[]")),
        ("(j->'k':::STRING)::STRING", &text, Some("\"v\"")),
        ("j->>'none':::STRING", &text, None),
    ] {
        let parsed = computed(expr, ty, &layout).unwrap_or_else(|| panic!("{expr}"));
        let value = parsed.value(&row).unwrap_or_else(|| panic!("{expr}"));
        assert_eq!(value.to_string_cast(ty).unwrap().as_deref(), want, "{expr}");
        assert_eq!(predicate(expr, &layout), None);
    }
    // Wrong types, unknown functions, results that would be rounded, other columns' widths.
    for (expr, ty) in [
        ("a + t", &int),
        ("lower(a)", &text),
        ("md5(t)", &text),
        ("a", &text),
        ("d + 1:::DECIMAL", &ColumnType::Decimal { precision: 10, scale: 1 }),
        ("a / 2:::INT8", &ColumnType::DECIMAL),
        ("t::INT4", &int),
        ("CASE WHEN b THEN 1:::INT8 ELSE t END", &int),
        ("1.5:::FLOAT8", &ColumnType::FLOAT8),
    ] {
        assert_eq!(computed(expr, ty, &layout), None, "{expr}");
    }
    // What fails is told apart from NULL.
    for expr in ["a % 0:::INT8", "t::INT8", "9223372036854775807:::INT8 + 1:::INT8"] {
        assert_eq!(computed(expr, &int, &layout).unwrap().value(&row), None, "{expr}");
    }
}
