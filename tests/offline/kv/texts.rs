//! Texts at the edges of every type.

use super::examples::{array, collated, kinds};
use super::hex;
use std::sync::Arc;
use userfilefs::format::kv::datum::{Datum, Instant, Interval, TimeTz};
use userfilefs::format::kv::decimal::Decimal;
use userfilefs::format::kv::text::Style;
use userfilefs::format::kv::types::{
    ColumnType, EnumMember, EnumType, GeoShape, IntervalField, OidKind, StringKind, TupleField,
};

const TIMESTAMP: ColumnType = ColumnType::Timestamp { precision: None };
const TIMESTAMPTZ: ColumnType = ColumnType::TimestampTz { precision: None };
const TIMETZ: ColumnType = ColumnType::TimeTz { precision: None };

/// The cast of CockroachDB and the text of PostgreSQL.
fn texts(d: &Datum, ty: &ColumnType) -> (String, String) {
    let mut out = Vec::new();
    d.write_text(ty, Style::Postgres, &mut out).unwrap();
    (d.to_string_cast(ty).unwrap().unwrap(), String::from_utf8(out).unwrap())
}

fn both(d: Datum, ty: &ColumnType, cast: &str, postgres: &str) {
    assert_eq!(texts(&d, ty), (cast.to_string(), postgres.to_string()));
}

fn alike(d: Datum, ty: &ColumnType, text: &str) {
    both(d, ty, text, text);
}

#[test]
fn null_has_no_text() {
    assert_eq!(Datum::Null.to_string_cast(&ColumnType::INT8), Ok(None));
    let mut out = Vec::new();
    Datum::Null.write_copy(&ColumnType::INT8, &mut out).unwrap();
    Datum::Null.write_sql(&ColumnType::INT8, &mut out).unwrap();
    assert_eq!(out, b"\\NNULL");
}

#[test]
fn floats() {
    let f = &ColumnType::FLOAT8;
    both(Datum::Float(0.1), f, "0.10000000000000001", "0.1");
    both(Datum::Float(100.0), f, "100", "100");
    both(Datum::Float(-0.0), f, "-0", "-0");
    both(Datum::Float(f64::INFINITY), f, "+Inf", "Infinity");
    both(Datum::Float(f64::NEG_INFINITY), f, "-Inf", "-Infinity");
    both(Datum::Float(f64::NAN), f, "NaN", "NaN");
    both(Datum::Float(5e-324), f, "4.9406564584124654e-324", "5e-324");
    both(Datum::Float(f64::MAX), f, "1.7976931348623157e+308", "1.7976931348623157e+308");
    both(Datum::Float(1e16), f, "10000000000000000", "1e+16");
    both(Datum::Float(1e17), f, "1e+17", "1e+17");
    both(Datum::Float(1e15), f, "1000000000000000", "1e+15");
    both(Datum::Float(123456789.0), f, "123456789", "123456789");
    both(Datum::Float(0.0001), f, "0.0001", "0.0001");
    both(Datum::Float(0.00001), f, "1.0000000000000001e-05", "1e-05");
    both(Datum::Float(2.0 / 7.0), f, "0.2857142857142857", "0.2857142857142857");
    // Inside arrays the cast uses the shortest form, and whole numbers below a million get a point.
    let list = [1.5, 2.0, -0.0, 999_999.0, 1_000_000.0, 1_234_567.5, 0.1, 1e300, f64::INFINITY];
    both(
        Datum::Array(list.map(Datum::Float).to_vec()),
        &array(f.clone()),
        "{1.5,2.0,-0.0,999999.0,1e+06,1.2345675e+06,0.1,1e+300,+Inf}",
        "{1.5,2,-0,999999,1000000,1234567.5,0.1,1e+300,Infinity}",
    );
}

#[test]
fn decimals() {
    for text in [
        "0",
        "0.00",
        "-0",
        "-0.0",
        "1",
        "1.50",
        "100",
        "1E+2",
        "1E-7",
        "0.000001",
        "1.5E-7",
        "1E+400",
        "1E-400",
        "0E+3",
        "0E-7",
        "0.000000",
        "NaN",
        "Infinity",
        "-Infinity",
        "123456789012345678901234567890.123456789",
        "1.234E+10",
        "-1E-2000",
    ] {
        alike(Datum::Decimal(Decimal::from_text(text).unwrap()), &ColumnType::DECIMAL, text);
    }
    for (text, plain) in [("1e2", "1E+2"), ("+5", "5"), (".5", "0.5"), ("1.", "1"), ("-inf", "-Infinity")] {
        assert_eq!(Decimal::from_text(text).unwrap().to_string(), plain);
    }
    for text in ["", "-", ".", "1e", "1.2.3", "e5", "0x1", "1e99999999999", "1 "] {
        assert!(Decimal::from_text(text).is_err(), "{text:?}");
    }
}

#[test]
fn dates_and_times() {
    let date = |text| Datum::from_text(&ColumnType::Date, text).unwrap();
    for text in [
        "infinity",
        "-infinity",
        "1970-01-01",
        "1969-12-31",
        "2000-02-29",
        "1900-02-28",
        "9999-12-31",
        "294276-12-31",
        "5874897-12-31",
        "0001-01-01",
        "0001-12-31 BC",
        "0044-03-15 BC",
        "4714-11-24 BC",
    ] {
        alike(date(text), &ColumnType::Date, text);
    }
    assert_eq!(date("1970-01-02"), Datum::Date(1));
    assert_eq!(date("0001-12-31 BC"), Datum::Date(-719_163));
    assert_eq!(date("4714-11-24 BC"), Datum::Date(-2_440_588));
    for text in ["1900-02-29", "2021-13-01", "2021-00-10", "2021-04-31", "2021-1", "x", "2021-01-01x"] {
        assert!(Datum::from_text(&ColumnType::Date, text).is_err(), "{text}");
    }
    let at = |secs, nanos| Datum::Timestamp(Instant { secs, nanos });
    both(
        at(-1, 999_999_000),
        &TIMESTAMPTZ,
        "1969-12-31 23:59:59.999999+00:00",
        "1969-12-31 23:59:59.999999+00",
    );
    alike(at(-1, 999_999_000), &TIMESTAMP, "1969-12-31 23:59:59.999999");
    alike(at(9_224_318_015_999, 999_999_000), &TIMESTAMP, "294276-12-31 23:59:59.999999");
    let ides = -63_517_824_000 + 10;
    both(at(ides, 0), &TIMESTAMP, "-0043-03-15 00:00:10", "0044-03-15 00:00:10 BC");
    both(at(ides, 0), &TIMESTAMPTZ, "-0043-03-15 00:00:10+00:00", "0044-03-15 00:00:10+00 BC");
    for text in ["-0043-03-15 00:00:10", "0044-03-15 00:00:10 BC", "0044-03-15 02:00:10+02 BC"] {
        assert_eq!(Datum::from_text(&TIMESTAMP, text), Ok(at(ides, 0)), "{text}");
    }
    both(
        Datum::TimeTz(TimeTz { micros: 86_400_000_000, west: 57_540 }),
        &TIMETZ,
        "24:00:00-15:59:00",
        "24:00:00-15:59",
    );
    both(
        Datum::TimeTz(TimeTz { micros: 1, west: 0 }),
        &TIMETZ,
        "00:00:00.000001+00:00:00",
        "00:00:00.000001+00",
    );
    both(Datum::TimeTz(TimeTz { micros: 0, west: -3601 }), &TIMETZ, "00:00:00+01:00:01", "00:00:00+01:00:01");
    alike(Datum::Time(86_400_000_000), &ColumnType::Time { precision: None }, "24:00:00");
    assert!(Datum::from_text(&ColumnType::Time { precision: None }, "24:00:01").is_err());
}

#[test]
fn intervals() {
    let v = |months, days, nanos| Datum::Interval(Interval { months, days, nanos });
    for (d, text) in [
        (v(0, 0, 0), "00:00:00"),
        (v(14, 3, 14_706_789_000_000), "1 year 2 mons 3 days 04:05:06.789"),
        (v(-14, -3, -14_706_789_000_000), "-1 years -2 mons -3 days -04:05:06.789"),
        (v(12, 0, 0), "1 year"),
        (v(24, 1, 1000), "2 years 1 day 00:00:00.000001"),
        (v(0, 100, 90_000_000_000_000), "100 days 25:00:00"),
        (v(0, 0, 3_600_000_000_000 * 10_000), "10000:00:00"),
    ] {
        assert_eq!(Datum::from_text(&ColumnType::INTERVAL, text).as_ref(), Ok(&d), "{text}");
        alike(d, &ColumnType::INTERVAL, text);
    }
    let mixed = [
        (v(-1, 30, 0), "-1 mons 30 days", "-1 mons +30 days"),
        (v(-1, 2, -3_000_000_000), "-1 mons 2 days -00:00:03", "-1 mons +2 days -00:00:03"),
        (v(0, -1, 1_000_000_000), "-1 days +00:00:01", "-1 days +00:00:01"),
        (v(-13, 1, 1_000_000_000), "-1 years -1 mons 1 day +00:00:01", "-1 years -1 mons +1 day 00:00:01"),
    ];
    for (d, cast, postgres) in mixed {
        for text in [cast, postgres] {
            assert_eq!(Datum::from_text(&ColumnType::INTERVAL, text).as_ref(), Ok(&d), "{text}");
        }
        both(d, &ColumnType::INTERVAL, cast, postgres);
    }
    both(v(0, -1, -500), &ColumnType::INTERVAL, "-1 days +00:00:00", "-1 days +00:00:00");
    let day = Datum::from_text(&ColumnType::INTERVAL, "1 day 2 hours 3 minutes 4 seconds").unwrap();
    alike(day, &ColumnType::INTERVAL, "1 day 02:03:04");
    for text in ["", "1", "1 parsec", "01:60:00x", "1 day 2"] {
        assert!(Datum::from_text(&ColumnType::INTERVAL, text).is_err(), "{text}");
    }
}

#[test]
fn arrays_quote_as_postgres_does() {
    let strings = ["", "a", "NULL", "null", "a b", "a,b", "{", "}", "\"", "\\", "\u{a0}", "tab\t", "日本語"];
    let list = strings.map(|s| Datum::String(s.as_bytes().into()));
    let text =
        "{\"\",a,\"NULL\",\"null\",\"a b\",\"a,b\",\"{\",\"}\",\"\\\"\",\"\\\\\",\u{a0},\"tab\t\",日本語}";
    alike(Datum::Array(list.to_vec()), &array(ColumnType::TEXT), text);
    let back = Datum::from_text(&array(ColumnType::TEXT), text).unwrap();
    assert_eq!(back, Datum::Array(list.to_vec()));
    let bytes =
        Datum::Array(vec![Datum::Bytes(vec![0, 255].into()), Datum::Null, Datum::Bytes(vec![].into())]);
    alike(bytes, &array(ColumnType::Bytes), "{\"\\\\x00ff\",NULL,\"\\\\x\"}");
    alike(Datum::Array(vec![Datum::Bool(true), Datum::Null]), &array(ColumnType::Bool), "{t,NULL}");
    let json = |t| Datum::from_text(&ColumnType::Json, t).unwrap();
    let list = Datum::Array(vec![json("{\"a\": 1}"), json("[]")]);
    alike(list, &array(ColumnType::Json), "{\"{\\\"a\\\": 1}\",[]}");
    for text in ["", "{", "{a", "{\"a}", "{\"a\"b}", "a}"] {
        assert!(Datum::from_text(&array(ColumnType::TEXT), text).is_err(), "{text}");
    }
    let vector = Datum::Array(vec![Datum::Oid(1), Datum::Oid(23)]);
    alike(vector, &ColumnType::OidVector, "1 23");
}

/// Labels that need it are SQL literals inside the cast of an array.
#[test]
fn enum_labels() {
    let labels = ["plain", "with space", "Ünïcode", "it's", "a,b", "back\\slash", "日本", "new\nline"];
    let members = labels
        .iter()
        .enumerate()
        .map(|(i, l)| EnumMember { physical: vec![i as u8 + 1], logical: (*l).to_string() });
    let ty = ColumnType::Enum(Arc::new(EnumType { name: "e".into(), members: members.collect() }));
    let one = |i: u8| Datum::Enum(vec![i].into());
    alike(one(3), &ty, "Ünïcode");
    let all: Vec<Datum> = (1..=8).map(one).collect();
    let (cast, postgres) = texts(&Datum::Array(all), &array(ty.clone()));
    assert_eq!(
        cast,
        concat!(
            r#"{plain,"'with space'","e'\\u00DCn\\u00EFcode'","e'it\\'s'","'a,b'","e'back\\\\slash'","#,
            r#""e'\\U000065E5\\U0000672C'","e'new\\nline'"}"#
        )
    );
    assert_eq!(postgres, "{plain,\"with space\",Ünïcode,it's,\"a,b\",\"back\\\\slash\",日本,\"new\nline\"}");
    assert!(one(99).to_string_cast(&ty).is_err(), "no such member");
    let _ = kinds();
}

#[test]
fn tuples() {
    let field = |ty: ColumnType| TupleField { label: String::new(), ty };
    let ty = ColumnType::Tuple(vec![
        field(ColumnType::INT8),
        field(ColumnType::TEXT),
        field(ColumnType::TEXT),
        field(ColumnType::Bool),
    ]);
    let d = Datum::Tuple(vec![Datum::Int(1), Datum::text("a \"b\""), Datum::Null, Datum::Bool(true)]);
    alike(d, &ty, "(1,\"a \"\"b\"\"\",,t)");
}

#[test]
fn json_text() {
    for text in [
        "null",
        "true",
        "false",
        "0",
        "-12.3400",
        "1E+10",
        "\"\"",
        "[]",
        "{}",
        r#"{"": "", "a": 2, "aa": 3, "b": 1}"#,
        r#"["\"\\\n\r\t\u0001\u001f", "/", "日本", "😀", "\u2028", "<&>"]"#,
        r#"[[], [[1]], {"k": [null, 2.50]}]"#,
    ] {
        alike(Datum::from_text(&ColumnType::Json, text).unwrap(), &ColumnType::Json, text);
    }
    let same = |a, b: &str| {
        let d: Datum = Datum::from_text(&ColumnType::Json, a).unwrap();
        assert_eq!(d.to_string_cast(&ColumnType::Json).unwrap().unwrap(), b);
    };
    same(r#"{"b":1,"a":2,"b":3}"#, r#"{"a": 2, "b": 3}"#);
    same(r#""\u00e9\ud83d\ude00\b\f""#, "\"é😀\\u0008\\u000c\"");
    for text in ["", "{", "[1,]", "{\"a\"}", "tru", "1 2", "\"\n\"", "\"\\x\"", "nulll", "{a:1}"] {
        assert!(Datum::from_text(&ColumnType::Json, text).is_err(), "{text}");
    }
}

#[test]
fn other_types() {
    both(Datum::Bool(true), &ColumnType::Bool, "true", "t");
    both(Datum::Bytes(hex("00ff").into()), &ColumnType::Bytes, "00ff", "\\x00ff");
    alike(Datum::Int(i64::MIN), &ColumnType::INT8, "-9223372036854775808");
    alike(Datum::Oid(4_294_967_295), &ColumnType::Oid(OidKind::Class), "4294967295");
    alike(Datum::Int(0x1_0000_00ff), &ColumnType::PgLsn, "1/FF");
    for text in
        ["0.0.0.0/0", "10.0.0.1", "10.0.0.1/8", "::", "::1", "ffff::/16", "::ffff:1.2.3.4", "2001:db8::1/64"]
    {
        alike(Datum::from_text(&ColumnType::Inet, text).unwrap(), &ColumnType::Inet, text);
    }
    for text in ["1.2.3.4/33", "::/129", "1.2.3", "1.2.3.4/", "1.2.3.4/-1"] {
        assert!(Datum::from_text(&ColumnType::Inet, text).is_err(), "{text}");
    }
    let boxed = "BOX(-1 -1.5,0 100000000000000000000000)";
    alike(Datum::from_text(&ColumnType::Box2d, boxed).unwrap(), &ColumnType::Box2d, boxed);
    let geography = ColumnType::Geography(GeoShape { srid: 4326, shape: "POINT".into() });
    let point = "0101000020E6100000000000000000F03F0000000000000040";
    alike(Datum::from_text(&geography, point).unwrap(), &geography, point);
    let raw = Datum::String(hex("61ff62").into());
    assert_eq!(raw.to_string_cast(&ColumnType::TEXT).unwrap().unwrap(), "a\u{fffd}b");
    let mut kept = Vec::new();
    raw.write_text(&ColumnType::TEXT, Style::Cast, &mut kept).unwrap();
    assert_eq!(kept, hex("61ff62"));
}

#[test]
fn copy_and_sql_literals() {
    let forms = |d: &Datum, ty: &ColumnType| {
        let (mut copy, mut sql) = (Vec::new(), Vec::new());
        d.write_copy(ty, &mut copy).unwrap();
        d.write_sql(ty, &mut sql).unwrap();
        (String::from_utf8(copy).unwrap(), String::from_utf8(sql).unwrap())
    };
    let check = |ty: &ColumnType, cast: &str, copy: &str, sql: &str| {
        let d = Datum::from_text(ty, cast).unwrap();
        assert_eq!(forms(&d, ty), (copy.to_string(), sql.to_string()));
    };
    check(
        &ColumnType::TEXT,
        "a\tb\nc\\d\u{8}\u{b}\u{c}\r",
        "a\\tb\\nc\\\\d\\b\\v\\f\\r",
        "'a\tb\nc\\d\u{8}\u{b}\u{c}\r'",
    );
    check(&ColumnType::TEXT, "it's", "it's", "'it''s'");
    check(&ColumnType::TEXT, "\\N", "\\\\N", "'\\N'");
    check(&ColumnType::Bytes, "00ff", "\\\\x00ff", "'\\x00ff'");
    check(&ColumnType::Bool, "false", "f", "false");
    check(&ColumnType::INT8, "-5", "-5", "-5");
    check(&ColumnType::DECIMAL, "1.50", "1.50", "1.50");
    check(&ColumnType::DECIMAL, "NaN", "NaN", "'NaN'");
    check(&ColumnType::FLOAT8, "+Inf", "Infinity", "'Infinity'");
    check(&ColumnType::FLOAT8, "1.5", "1.5", "1.5");
    check(&ColumnType::FLOAT8, "-0", "-0", "'-0'");
    check(&ColumnType::Bit { varying: true, width: 0 }, "101", "101", "B'101'");
    check(&array(ColumnType::TEXT), "{\"a\\\\b\"}", "{\"a\\\\\\\\b\"}", "'{\"a\\\\b\"}'");
    check(&collated(), "ö", "ö", "'ö'");
    check(&ColumnType::Date, "0044-03-15 BC", "0044-03-15 BC", "'0044-03-15 BC'");
    check(&kinds(), "ok", "ok", "'ok'");
    check(&ColumnType::PgLsn, "1/FF", "1/FF", "'1/FF'");
}

#[test]
fn type_names() {
    let s = |kind, width| ColumnType::String { kind, width };
    let cases = [
        (s(StringKind::Text, 0), "STRING"),
        (s(StringKind::Text, 5), "STRING(5)"),
        (s(StringKind::Varchar, 20), "VARCHAR(20)"),
        (s(StringKind::Char, 1), "CHAR"),
        (s(StringKind::Char, 3), "CHAR(3)"),
        (s(StringKind::QuotedChar, 0), "\"char\""),
        (s(StringKind::Name, 0), "NAME"),
        (collated(), "STRING COLLATE de"),
        (
            ColumnType::Collated { locale: "en-US-u-ks-level2".into(), kind: StringKind::Varchar, width: 5 },
            "VARCHAR(5) COLLATE en_US_u_ks_level2",
        ),
        (array(collated()), "STRING[] COLLATE de"),
        (ColumnType::Decimal { precision: 10, scale: 2 }, "DECIMAL(10,2)"),
        (ColumnType::Decimal { precision: 10, scale: 0 }, "DECIMAL(10)"),
        (ColumnType::TimestampTz { precision: Some(3) }, "TIMESTAMPTZ(3)"),
        (ColumnType::Bit { varying: false, width: 4 }, "BIT(4)"),
        (ColumnType::Bit { varying: true, width: 0 }, "VARBIT"),
        (array(ColumnType::Bit { varying: false, width: 4 }), "BIT(4)[]"),
        (
            ColumnType::Interval {
                precision: None,
                to: IntervalField::from_number(2),
                from: IntervalField::from_number(1),
            },
            "INTERVAL YEAR TO MONTH",
        ),
        (ColumnType::Geometry(GeoShape { srid: 4326, shape: "POINT".into() }), "GEOMETRY(POINT,4326)"),
    ];
    for (ty, name) in cases {
        assert_eq!(ty.to_string(), name);
    }
}
