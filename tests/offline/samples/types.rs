//! A column of every type, with texts of values.

use std::sync::Arc;

use userfilefs::format::kv::types::{
    ColumnType, EnumMember, EnumType, GeoShape, IntervalField, OidKind, StringKind,
};

/// Name, type, three texts: a plain one, a low or odd one, a high or odd one.
pub type Sample = (&'static str, ColumnType, [&'static str; 3]);

/// All of them.
pub fn every_type() -> Vec<Sample> {
    [numbers_and_texts(), times(), others(), arrays()].concat()
}

pub fn kind() -> ColumnType {
    let member =
        |logical: &str, physical: u8| EnumMember { physical: vec![physical], logical: logical.into() };
    ColumnType::Enum(Arc::new(EnumType {
        name: "public.kind".into(),
        members: vec![member("small", 0x40), member("mid size", 0x80), member("größt", 0xc0)],
    }))
}

/// The ends of ranges and what else is odd, as a real server prints them: column, text.
pub fn extremes() -> Vec<(&'static str, String)> {
    let texts = [
        ("c_float8", "-0"),
        ("c_float8", "1.7976931348623157e+308"),
        ("c_dec", "Infinity"),
        ("c_dec", "-Infinity"),
        ("c_dec", "0"),
        ("c_dec", "1E+400"),
        ("c_dec", "1E-400"),
        ("c_dec", "1E+2"),
        ("c_dec", "100.00"),
        ("c_dec2", "99999999.99"),
        ("c_date", "0044-03-15 BC"),
        ("c_date", "0001-01-01"),
        ("c_date", "9999-12-31"),
        ("c_timetz", "12:00:00.000001+05:30:00"),
        ("c_interval", "290 years 11 mons 30 days 23:59:59.999999"),
        ("c_interval", "100 days 25:00:00"),
        ("c_interval", "00:00:00.000001"),
        ("c_interval", "-00:00:00.000001"),
        ("c_interval_ym", "280 years 11 mons"),
        ("c_inet", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff/64"),
        ("c_json", "null"),
        ("c_json", "-12.3400"),
        ("c_json", "{\"\": \"\", \"a\": 2, \"aa\": 3, \"b\": 1}"),
        ("c_json", "{\"arr\": [[], [[1]], {}], \"big\": 123456789012345678901234567890.1234567890}"),
        ("c_varbit", "1010101010101010101010101010101010101010101010101010101010101010101"),
        ("c_str", "\u{1}ctl"),
        ("c_str", " lead and trail "),
        ("c_str", "tab\tnew\nline \"quote\" 'single' \\ back, comma"),
        ("c_coll", "ß"),
        ("a_int", "{-1,9223372036854775807,-9223372036854775808}"),
        ("a_str", "{日本語,\"new\nline\",\"NULL\",\"{}\",\"a,b\",\"back\\\\slash\"}"),
        ("a_dec", "{NaN,Infinity,-Infinity,0,1E-20,1E+20}"),
        ("a_date", "{infinity,-infinity,1970-01-01,\"0001-01-01 BC\"}"),
    ];
    let mut all = texts.map(|(column, text)| (column, text.to_owned())).to_vec();
    // Longer than a block of a data file.
    all.push(("c_str", "long string ".repeat(15_000)));
    all.push(("c_bytes", "78".repeat(150_000)));
    all.push(("a_int", format!("{{{}}}", (0..300).map(|n| n.to_string()).collect::<Vec<_>>().join(","))));
    all.push(("c_json", format!("[{}]", (0..100).map(|n| n.to_string()).collect::<Vec<_>>().join(", "))));
    all
}

fn string(kind: StringKind, width: u32) -> ColumnType {
    ColumnType::String { kind, width }
}

pub fn array(ty: ColumnType) -> ColumnType {
    ColumnType::Array(Box::new(ty))
}

fn numbers_and_texts() -> Vec<Sample> {
    vec![
        ("c_bool", ColumnType::Bool, ["true", "false", "true"]),
        ("c_int2", ColumnType::Int { width: 16 }, ["1", "-32768", "32767"]),
        ("c_int4", ColumnType::Int { width: 32 }, ["1", "-2147483648", "2147483647"]),
        ("c_int8", ColumnType::INT8, ["1", "-9223372036854775808", "9223372036854775807"]),
        ("c_float4", ColumnType::Float { width: 32 }, ["1.5", "-Inf", "NaN"]),
        ("c_float8", ColumnType::FLOAT8, ["0.25", "-2.5", "+Inf"]),
        ("c_dec", ColumnType::DECIMAL, ["1.50", "-123456789012345678901234567890.5", "NaN"]),
        ("c_dec2", ColumnType::Decimal { precision: 10, scale: 2 }, ["0.00", "-99999999.99", "10.10"]),
        ("c_str", ColumnType::TEXT, ["hello", "", "quote ' \" \\ tab\t日本"]),
        ("c_str5", string(StringKind::Text, 5), ["abcde", "", "ÄÖÜßx"]),
        ("c_char", string(StringKind::Char, 3), ["abc", "", "日本語"]),
        ("c_qchar", string(StringKind::QuotedChar, 0), ["q", "", "Z"]),
        ("c_varchar", string(StringKind::Varchar, 20), ["varchar", "", "x"]),
        ("c_name", string(StringKind::Name, 0), ["n", "", "Mixed"]),
        ("c_bytes", ColumnType::Bytes, ["0001ff", "", "5c780a22"]),
    ]
}

fn times() -> Vec<Sample> {
    let p = |precision| Some(precision);
    vec![
        ("c_date", ColumnType::Date, ["2020-02-29", "-infinity", "infinity"]),
        ("c_time", ColumnType::Time { precision: None }, ["12:34:56.789", "00:00:00", "24:00:00"]),
        ("c_time3", ColumnType::Time { precision: p(3) }, ["12:34:56.789", "00:00:00", "23:59:59.999"]),
        (
            "c_timetz",
            ColumnType::TimeTz { precision: None },
            ["12:34:56.789-05:00:00", "00:00:00+15:59:00", "23:59:59.999999-15:59:00"],
        ),
        (
            "c_ts",
            ColumnType::Timestamp { precision: None },
            ["2020-02-29 12:34:56.789012", "0001-01-01 00:00:00", "9999-12-31 23:59:59.999999"],
        ),
        (
            "c_ts0",
            ColumnType::Timestamp { precision: p(0) },
            ["2020-02-29 12:34:56", "1969-12-31 23:59:59", "0001-01-01 00:00:00"],
        ),
        (
            "c_tstz",
            ColumnType::TimestampTz { precision: None },
            [
                "2020-02-29 12:34:56.789012+00:00",
                "1969-12-31 23:59:59.999999+00:00",
                "1970-01-01 00:00:00+00:00",
            ],
        ),
        (
            "c_tstz3",
            ColumnType::TimestampTz { precision: p(3) },
            ["2020-02-29 12:34:56.789+00:00", "1969-12-31 23:59:59+00:00", "9999-12-31 23:59:59.999+00:00"],
        ),
        (
            "c_interval",
            ColumnType::INTERVAL,
            ["1 year 2 mons 3 days 04:05:06.789", "-1 years -2 mons -3 days -04:05:06.789", "00:00:00"],
        ),
        (
            "c_interval_ym",
            ColumnType::Interval {
                precision: None,
                to: Some(IntervalField::Month),
                from: Some(IntervalField::Year),
            },
            ["3 years 4 mons", "-5 years", "00:00:00"],
        ),
    ]
}

fn others() -> Vec<Sample> {
    vec![
        (
            "c_uuid",
            ColumnType::Uuid,
            [
                "63616665-6630-3064-6465-616462656568",
                "00000000-0000-0000-0000-000000000000",
                "ffffffff-ffff-ffff-ffff-ffffffffffff",
            ],
        ),
        ("c_inet", ColumnType::Inet, ["192.168.1.2/24", "0.0.0.0", "fe80::1/10"]),
        (
            "c_json",
            ColumnType::Json,
            [
                "{\"a\": [1, 2.50, \"three\", null, true, {\"b\": {}}], \"k\": \"v\"}",
                "[]",
                "\"just a string\"",
            ],
        ),
        ("c_bit", ColumnType::Bit { varying: false, width: 4 }, ["1010", "0000", "1111"]),
        ("c_varbit", ColumnType::Bit { varying: true, width: 0 }, ["110", "", "1"]),
        ("c_oid", ColumnType::Oid(OidKind::Oid), ["12345", "0", "4294967295"]),
        ("c_regclass", ColumnType::Oid(OidKind::Class), ["4294967213", "0", "2205"]),
        ("c_regtype", ColumnType::Oid(OidKind::Type), ["20", "0", "4294967295"]),
        ("c_regproc", ColumnType::Oid(OidKind::Proc), ["20", "0", "4294967295"]),
        ("c_regprocedure", ColumnType::Oid(OidKind::Procedure), ["20", "0", "4294967295"]),
        ("c_regnamespace", ColumnType::Oid(OidKind::Namespace), ["20", "0", "4294967295"]),
        ("c_enum", kind(), ["mid size", "small", "größt"]),
        (
            "c_coll",
            ColumnType::Collated { locale: "de".into(), kind: StringKind::Text, width: 0 },
            ["straße", "", "Ärger"],
        ),
        ("c_box", ColumnType::Box2d, ["BOX(1 2,3 4)", "BOX(-1 -1,0 0)", "BOX(0 0,0 0)"]),
        (
            "c_geom",
            ColumnType::Geometry(GeoShape::default()),
            [
                "0101000000000000000000F03F0000000000000040",
                "01020000000300000000000000000000000000000000000000000000000000F03F000000000000F03F00000000000000400000000000000000",
                "0103000000010000000400000000000000000000000000000000000000000000000000F03F0000000000000000000000000000F03F000000000000F03F00000000000000000000000000000000",
            ],
        ),
        (
            "c_geog",
            ColumnType::Geography(GeoShape::default()),
            [
                "0101000020E6100000000000000000F03F0000000000000040",
                "0101000020E610000000000000000066C000000000008056C0",
                "0101000020E610000000000000000008400000000000001040",
            ],
        ),
        (
            "c_point",
            ColumnType::Geometry(GeoShape { srid: 4326, shape: "POINT".into() }),
            [
                "0101000020E610000000000000000008400000000000001040",
                "0101000020E6100000000000000000F03F0000000000000040",
                "0101000020E610000000000000000008C00000000000001040",
            ],
        ),
    ]
}

fn arrays() -> Vec<Sample> {
    vec![
        ("a_int", array(ColumnType::INT8), ["{1,NULL,3}", "{}", "{-1,9223372036854775807}"]),
        ("a_str", array(ColumnType::TEXT), ["{a,NULL,\"\",\"c d\"}", "{}", "{日本語,\"a,b\"}"]),
        ("a_dec", array(ColumnType::DECIMAL), ["{1.1,NULL,-2.20}", "{}", "{NaN}"]),
        ("a_bool", array(ColumnType::Bool), ["{t,NULL,f}", "{}", "{f}"]),
        ("a_float", array(ColumnType::FLOAT8), ["{1.5,NULL,NaN}", "{}", "{+Inf,-Inf,-0.0,1e+300,5e-324}"]),
        (
            "a_bytes",
            array(ColumnType::Bytes),
            ["{\"\\\\x00\",NULL,\"\\\\x616263\"}", "{}", "{\"\\\\x\",\"\\\\xfffe\"}"],
        ),
        (
            "a_ts",
            array(ColumnType::Timestamp { precision: None }),
            ["{\"2020-01-01 01:02:03.000004\",NULL}", "{}", "{\"9999-12-31 23:59:59.999999\"}"],
        ),
        (
            "a_tstz",
            array(ColumnType::TimestampTz { precision: None }),
            ["{\"2020-01-01 01:02:03.000004+00:00\",NULL}", "{}", "{\"1969-12-31 23:59:59.5+00:00\"}"],
        ),
        (
            "a_time",
            array(ColumnType::Time { precision: None }),
            ["{01:02:03,NULL}", "{}", "{24:00:00,00:00:00.000001}"],
        ),
        (
            "a_timetz",
            array(ColumnType::TimeTz { precision: None }),
            ["{01:02:03+02:00:00,NULL}", "{}", "{24:00:00-15:59:00,00:00:00.000001+00:00:00}"],
        ),
        (
            "a_interval",
            array(ColumnType::INTERVAL),
            ["{\"1 day\",NULL}", "{}", "{\"-1 mons 2 days -00:00:03\",00:00:00}"],
        ),
        ("a_inet", array(ColumnType::Inet), ["{10.0.0.1,NULL,::1}", "{}", "{1.2.3.4/8,fe80::1/10}"]),
        ("a_bit", array(ColumnType::Bit { varying: false, width: 4 }), ["{1010,NULL}", "{}", "{0001,1000}"]),
        ("a_oid", array(ColumnType::Oid(OidKind::Oid)), ["{1,NULL,99}", "{}", "{0}"]),
        ("a_varchar", array(string(StringKind::Varchar, 20)), ["{a,NULL}", "{}", "{\"\"}"]),
        ("a_int2", array(ColumnType::Int { width: 16 }), ["{1,NULL,-3}", "{}", "{32767}"]),
        ("a_date", array(ColumnType::Date), ["{2020-01-01,NULL}", "{}", "{infinity}"]),
        (
            "a_uuid",
            array(ColumnType::Uuid),
            ["{63616665-6630-3064-6465-616462656568,NULL}", "{}", "{00000000-0000-0000-0000-000000000000}"],
        ),
        ("a_enum", array(kind()), ["{small,NULL}", "{}", "{small,small}"]),
    ]
}
