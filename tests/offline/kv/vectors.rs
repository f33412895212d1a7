//! The vectors of the format description that have no number: decimals, JSON, arrays, scalars, composites.

use super::examples::{POINT, TIME, TIMESTAMP, TIMETZ, array, collated, kinds, table};
use super::{hex, unhex};
use std::sync::Arc;
use userfilefs::format::kv::datum::{Collated, Datum};
use userfilefs::format::kv::decimal::Decimal;
use userfilefs::format::kv::error::Error;
use userfilefs::format::kv::layout::Direction::{Asc, Desc};
use userfilefs::format::kv::layout::Family;
use userfilefs::format::kv::row::{Decoded, RowDecoder};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::{ColumnType, GeoShape, OidKind};
use userfilefs::format::kv::varint::Reader;
use userfilefs::format::kv::{decimal_code, json, json_parse, value};

const OID: ColumnType = ColumnType::Oid(OidKind::Oid);

#[test]
fn decimal_vectors() {
    let keys = [
        ("1", "2a0200"),
        ("1.1", "2a031400"),
        ("0.1", "291400"),
        ("8e-1", "29a000"),
        ("0.001", "2887fe1400"),
        ("-1", "24fd00"),
        ("-1.1", "24fceb00"),
        ("-0.1", "25eb00"),
        ("-.012", "25fcd700"),
        ("-11e-4", "2689e900"),
        ("13e1000", "34f701f51a00"),
        ("-13e1000", "1a86fe0ae500"),
        ("0.00", "27"),
        ("-0", "27"),
        ("-Infinity", "19"),
        ("Infinity", "35"),
    ];
    for (text, digits) in keys {
        let d = Decimal::from_text(text).unwrap();
        let mut out = Vec::new();
        decimal_code::put_key(&mut out, &d, Asc).unwrap();
        assert_eq!(unhex(&out), digits, "{text}");
        let back = decimal_code::get_key(&mut Reader::new(&out), Asc).unwrap();
        let mut again = Vec::new();
        decimal_code::put_key(&mut again, &back, Asc).unwrap();
        assert_eq!(out, again);
    }
    let values = [
        ("1", "348901"),
        ("0.1", "2901"),
        ("0.001", "288a01"),
        ("100", "348b64"),
        ("1.000", "348903e8"),
        ("0.00", "2889"),
        ("0E+10", "3493"),
        ("1e20", "349d01"),
        ("1e109", "34f66e01"),
        ("1e400", "34f7019101"),
        ("-1e-400", "26f7018f01"),
        ("10000.50", "348d0f4272"),
        ("0", "27"),
        ("NaN", "18"),
        ("-Infinity", "19"),
        ("Infinity", "35"),
        ("-0", "1a89"),
    ];
    for (text, digits) in values {
        let d = Decimal::from_text(text).unwrap();
        let mut out = Vec::new();
        decimal_code::put_value(&mut out, &d).unwrap();
        assert_eq!(unhex(&out), digits, "{text}");
        assert_eq!(decimal_code::get_value(&out), Ok(d));
    }
    for (text, composite) in [("1.50", true), ("10", true), ("0.00", true), ("1.5", false), ("3", false)] {
        assert_eq!(Decimal::from_text(text).unwrap().is_composite(), composite, "{text}");
    }
}

#[test]
fn json_vectors() {
    let cases = [
        (r#"{"k":1}"#, "40000001 90000001 a0000005 6b 03348901"),
        ("5", "20000000 20000004 03348905"),
        ("[]", "80000000"),
        ("{}", "40000000"),
        ("\"str\"", "20000000 10000003 737472"),
    ];
    for (text, digits) in cases {
        let mut out = Vec::new();
        json_parse::parse(text).unwrap().encode(&mut out).unwrap();
        assert_eq!(unhex(&out), unhex(&hex(digits)));
        assert_eq!(json::decode(&out), json_parse::parse(text));
    }
}

/// Every 32nd entry of a list holds its end offset, counted over keys and values; the others their length.
#[test]
fn long_json_containers() {
    let entry = |kind: u32, is_offset: bool, n: usize| kind | u32::from(is_offset) << 31 | n as u32;
    let count = 70;
    let keys: Vec<String> = (0..count).map(|i| format!("key{i:02}")).collect();
    let values: Vec<String> = (0..count).map(|i| "v".repeat(i % 7)).collect();
    let strings = |list: &[String], at: &mut usize, table: &mut Vec<u32>| {
        for (i, s) in list.iter().enumerate() {
            *at += s.len();
            let is_offset = i == 0 || i == 32 || i == 64;
            table.push(entry(0x1000_0000, is_offset, if is_offset { *at } else { s.len() }));
        }
    };
    let check = |header: u32, table: &[u32], data: &str, text: &str| {
        let mut expected = header.to_be_bytes().to_vec();
        expected.extend(table.iter().flat_map(|e| e.to_be_bytes()));
        expected.extend_from_slice(data.as_bytes());
        let mut out = Vec::new();
        json_parse::parse(text).unwrap().encode(&mut out).unwrap();
        assert_eq!(unhex(&out), unhex(&expected));
        assert_eq!(json::decode(&expected), json_parse::parse(text));
    };
    let (mut at, mut table) = (0, Vec::new());
    strings(&values, &mut at, &mut table);
    let text = format!("[{}]", values.iter().map(|v| format!("\"{v}\"")).collect::<Vec<_>>().join(","));
    check(0x8000_0000 | count as u32, &table, &values.concat(), &text);
    let (mut at, mut table) = (0, Vec::new());
    strings(&keys, &mut at, &mut table);
    strings(&values, &mut at, &mut table);
    let pairs: Vec<String> = keys.iter().zip(&values).map(|(k, v)| format!("\"{k}\": \"{v}\"")).collect();
    let text = format!("{{{}}}", pairs.join(", "));
    check(0x4000_0000 | count as u32, &table, &(keys.concat() + &values.concat()), &text);
}

#[test]
fn array_vectors() {
    use userfilefs::format::kv::array as code;
    let cases = [
        (ColumnType::INT8, "{1,NULL,-3}", "11 03 03 02 02 05"),
        (ColumnType::INT8, "{}", "01 03 00"),
        (ColumnType::TEXT, "{a,\"\",NULL}", "11 06 03 04 0161 00"),
        (ColumnType::Bool, "{t,f,NULL}", "11 0a 03 04 0a 0b"),
    ];
    for (element, text, digits) in cases {
        let ty = array(element.clone());
        let Datum::Array(items) = Datum::from_text(&ty, text).unwrap() else { panic!() };
        let mut out = Vec::new();
        code::put(&mut out, &items, &element).unwrap();
        assert_eq!(unhex(&out), unhex(&hex(digits)));
        assert_eq!(code::get(&out, &element, 0), Ok(items.clone()));
        assert_eq!(Datum::Array(items).to_string_cast(&ty).unwrap().as_deref(), Some(text));
    }
}

#[test]
fn scalars_of_single_column_families() {
    let cases = [
        (ColumnType::Bool, "true", "01 02"),
        (ColumnType::FLOAT8, "1.5", "02 3ff8000000000000"),
        (ColumnType::DECIMAL, "10000.50", "05 348d0f4272"),
        (ColumnType::TEXT, "hello", "03 68656c6c6f"),
        (ColumnType::Date, "2020-02-29", "01 a29e02"),
        (TIME, "12:34:56.789012", "01 a898b1bed102"),
        (TIMETZ, "12:34:56.789012-05:30:00", "0c 3c fa0f28122c14 f74d58"),
        (TIMESTAMP, "2020-10-19 19:59:02.210703", "04 14 f95f8df006 f90c8f1298"),
        (ColumnType::INTERVAL, "1 year 2 mons 3 days 04:05:06.000007", "06 16 fc81e4dc1b710f58 96 8b"),
        (ColumnType::Uuid, "11111111-2222-3333-4444-555555555555", "03 11111111222233334444555555555555"),
        (ColumnType::Inet, "192.168.1.7/24", "03 0018c0a80107"),
        (ColumnType::Json, "{\"k\": 1}", "03 40000001 90000001 a0000005 6b 03348901"),
        (array(ColumnType::INT8), "{1,NULL,-3}", "03 110303020205"),
        (kinds(), "ok", "03 80"),
        (collated(), "straße", "03 73747261c39f65"),
        (ColumnType::Bit { varying: false, width: 5 }, "10110", "0b 05 b000000000000000"),
        (OID, "42", "01 54"),
        (
            ColumnType::Box2d,
            "BOX(1 2,3 4)",
            "0e 3ff0000000000000 4008000000000000 4000000000000000 4010000000000000",
        ),
        (
            ColumnType::Geometry(GeoShape::default()),
            "0101000000000000000000F03F0000000000000040",
            &format!("0d {POINT}"),
        ),
    ];
    for (ty, text, digits) in cases {
        let bytes = hex(digits);
        let datum = value::get_scalar(bytes[0], &bytes[1..], &ty).unwrap();
        assert_eq!(datum.to_string_cast(&ty).unwrap().as_deref(), Some(text));
        let parsed = Datum::from_text(&ty, text).unwrap();
        let mut out = vec![0];
        out[0] = value::put_scalar(&mut out, &parsed, &ty).unwrap();
        assert_eq!(unhex(&out), unhex(&bytes), "{text}");
    }
}

/// PRIMARY KEY (a COLLATED, b FLOAT DESC, d DECIMAL), FAMILY f0(x), f1(a, b, d).
#[test]
fn composite_key_columns_outside_family_0() {
    let mut t = table(
        60,
        &[(1, collated()), (2, ColumnType::FLOAT8), (3, ColumnType::DECIMAL), (4, ColumnType::INT8)],
        &[(1, Asc), (2, Desc), (3, Asc)],
    );
    t.families = vec![
        Family { id: 0, column_ids: vec![4], default_column_id: 4 },
        Family { id: 1, column_ids: vec![1, 2, 3], default_column_id: 0 },
    ];
    let collated = |text: &'static str| {
        Datum::Collated(Box::new(Collated {
            text: Some(text.as_bytes().into()),
            sort_key: hex("164c00").into(),
        }))
    };
    let mut encoder = RowEncoder::new(Arc::new(t)).unwrap();
    let mut bodies = |row: &[Datum<'static>]| {
        let mut found = Vec::new();
        encoder
            .primary::<Error>(row, &mut |k, v| {
                found.push((unhex(&k[2..]), unhex(&v[4..])));
                Ok(())
            })
            .unwrap();
        found
    };
    let one = |s| Datum::Decimal(Decimal::from_text(s).unwrap());
    let own = |list: [(&str, &str); 2]| list.map(|(k, v)| (unhex(&hex(k)), unhex(&hex(v))));
    assert_eq!(
        bodies(&[collated("é"), Datum::Float(-0.0), one("1.0"), Datum::Int(5)]),
        own([
            ("12164c00ff0001 04 2a0200 88", "0a 430a"),
            ("12164c00ff0001 04 2a0200 8989", "0a 16 02c3a9 14 8000000000000000 15 03 34890a"),
        ])
    );
    // 1.0 descending is -1.0 ascending: 03 and the complement of bff0….
    assert_eq!(
        bodies(&[collated("e"), Datum::Float(1.0), one("3.5"), Datum::Null]),
        own([
            ("12164c00ff0001 03400fffffffffffff 2a076400 88", "0a"),
            ("12164c00ff0001 03400fffffffffffff 2a076400 8989", "0a 16 0165"),
        ])
    );
}

#[test]
fn dropped_columns_are_skipped() {
    let t = Arc::new(table(53, &[(1, ColumnType::INT8), (9, ColumnType::INT8)], &[(1, Asc)]));
    let body = "0a 23 02 14 3ff8000000000000 16 03 616263 18 02 02 1f0f 0c 200000002000000403348905 3302";
    let k = hex("bd898988");
    let mut v = hex("00000000");
    v.extend(hex(body));
    let mut row = Vec::new();
    let decoder = RowDecoder::new(t).unwrap();
    assert_eq!(decoder.decode(&[(&k, &v)], &mut row), Ok(Decoded::Row));
    assert_eq!(row, [Datum::Int(1), Datum::Int(1)]);
}
