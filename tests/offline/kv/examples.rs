//! The worked examples and vectors of the format description, number by number.

use super::{hex, unhex};
use std::sync::Arc;
use userfilefs::format::kv::datum::{Datum, Interval};
use userfilefs::format::kv::envelope::{self, Value};
use userfilefs::format::kv::error::Error;
use userfilefs::format::kv::layout::Direction::{self, Asc, Desc};
use userfilefs::format::kv::layout::{Column, Family, IndexLayout, KeyColumn, TableLayout};
use userfilefs::format::kv::row::{Decoded, RowDecoder};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::{ColumnType, EnumMember, EnumType, GeoShape, OidKind, StringKind};
use userfilefs::format::kv::varint::{Reader, put_leb, put_ns, put_zigzag};
use userfilefs::format::kv::{inverted, key, mvcc, ordered, value};

pub fn collated() -> ColumnType {
    ColumnType::Collated { locale: "de".into(), kind: StringKind::Text, width: 0 }
}

pub fn kinds() -> ColumnType {
    let member = |physical, logical: &str| EnumMember { physical: vec![physical], logical: logical.into() };
    ColumnType::Enum(Arc::new(EnumType {
        name: "public.kind".into(),
        members: vec![member(0x40, "low"), member(0x80, "ok"), member(0xc0, "high")],
    }))
}

pub fn array(element: ColumnType) -> ColumnType {
    ColumnType::Array(Box::new(element))
}

pub const TIME: ColumnType = ColumnType::Time { precision: None };
pub const TIMETZ: ColumnType = ColumnType::TimeTz { precision: None };
pub const TIMESTAMP: ColumnType = ColumnType::Timestamp { precision: None };
const VARBIT: ColumnType = ColumnType::Bit { varying: true, width: 0 };
const OID: ColumnType = ColumnType::Oid(OidKind::Oid);
pub const POINT: &str = "0802 1215 0101000000000000000000f03f0000000000000040 2001 \
    2a24 09000000000000f03f 11000000000000f03f 190000000000000040 210000000000000040";

/// A tagged value: decodes to the delta and text, encodes to the same bytes.
fn tagged(digits: &str, delta: u32, ty: &ColumnType, text: &str) {
    let bytes = hex(digits);
    let mut r = Reader::new(&bytes);
    let (found, datum) = value::get_tagged(&mut r, ty).unwrap_or_else(|e| panic!("{digits}: {e}"));
    assert!(r.is_empty(), "{digits}");
    assert_eq!(found, delta, "{digits}");
    assert_eq!(datum.to_string_cast(ty).unwrap().as_deref(), Some(text), "{digits}");
    let mut again = Vec::new();
    value::put_tagged(&mut again, delta, &datum, ty).unwrap();
    assert_eq!(unhex(&again), unhex(&bytes));
    if !matches!(ty, ColumnType::Geometry(_)) {
        let parsed = Datum::from_text(ty, text).unwrap();
        let mut again = Vec::new();
        value::put_tagged(&mut again, delta, &parsed, ty).unwrap();
        assert_eq!(unhex(&again), unhex(&bytes), "{text}");
    }
    let mut skipped = Reader::new(&bytes);
    let (_, kind) = value::get_tag(&mut skipped).unwrap();
    value::skip_payload(&mut skipped, kind, 0).unwrap();
    assert!(skipped.is_empty(), "{digits}");
}

/// A part of a key: decodes to the text, the text encodes to the same bytes.
fn keyed(digits: &str, dir: Direction, ty: &ColumnType, text: &str) {
    let bytes = hex(digits);
    let mut r = Reader::new(&bytes);
    let datum = key::get(&mut r, ty, dir).unwrap_or_else(|e| panic!("{digits}: {e}"));
    assert!(r.is_empty(), "{digits}");
    assert_eq!(datum.to_string_cast(ty).unwrap().as_deref(), Some(text), "{digits}");
    let mut again = Vec::new();
    key::put(&mut again, &Datum::from_text(ty, text).unwrap(), dir).unwrap();
    assert_eq!(unhex(&again), unhex(&bytes), "{text}");
}

/// A pair: the checksum holds and the body is as given.
fn pair(key_digits: &str, value_digits: &str) {
    let (k, v) = (hex(key_digits), hex(value_digits));
    let Value::Present { checksum, tag, data } = envelope::open_verified(&k, &v).unwrap() else { panic!() };
    assert_ne!(checksum, 0);
    let mut again = Vec::new();
    envelope::begin(&mut again, tag);
    again.extend_from_slice(data);
    envelope::seal(&k, &mut again);
    assert_eq!(again, v);
    // A flipped bit anywhere is noticed.
    for i in 4..v.len() {
        let mut bad = v.clone();
        bad[i] ^= 1;
        assert!(matches!(envelope::open_verified(&k, &bad), Err(Error::Checksum { .. })), "{i}");
    }
}

pub fn plain_index(id: u32, columns: &[(u32, Direction)]) -> IndexLayout {
    let columns =
        columns.iter().map(|(id, direction)| KeyColumn { id: *id, direction: *direction }).collect();
    IndexLayout {
        id,
        name: format!("index_{id}"),
        unique: id == 1,
        version: 2,
        ..IndexLayout::primary(columns)
    }
}

pub fn table(table_id: u32, columns: &[(u32, ColumnType)], pk: &[(u32, Direction)]) -> TableLayout {
    TableLayout {
        key_prefix: Vec::new(),
        table_id,
        name: format!("t{table_id}"),
        columns: columns
            .iter()
            .map(|(id, ty)| Column {
                id: *id,
                name: format!("c{id}"),
                ty: ty.clone(),
                nullable: !pk.iter().any(|(k, _)| k == id),
                is_virtual: false,
            })
            .collect(),
        primary: plain_index(1, pk),
        families: vec![Family {
            id: 0,
            column_ids: columns.iter().map(|c| c.0).collect(),
            default_column_id: 0,
        }],
        indexes: vec![],
    }
}

/// Decodes the pairs of a row to texts, and encodes it to the same pairs.
fn row(layout: &TableLayout, pairs: &[(&str, &str)], texts: &[Option<&str>]) {
    let layout = Arc::new(layout.clone());
    let bytes: Vec<(Vec<u8>, Vec<u8>)> = pairs.iter().map(|(k, v)| (hex(k), hex(v))).collect();
    let slices: Vec<(&[u8], &[u8])> = bytes.iter().map(|(k, v)| (&k[..], &v[..])).collect();
    let mut found = Vec::new();
    let decoder = RowDecoder::new(layout.clone()).unwrap();
    assert_eq!(decoder.decode(&slices, &mut found), Ok(Decoded::Row));
    for ((datum, column), text) in found.iter().zip(&layout.columns).zip(texts) {
        assert_eq!(datum.to_string_cast(&column.ty).unwrap().as_deref(), *text, "{}", column.name);
    }
    let mut encoded = Vec::new();
    let mut encoder = RowEncoder::new(layout).unwrap();
    encoder
        .primary::<Error>(&found, &mut |k, v| {
            encoded.push((k.to_vec(), v.to_vec()));
            Ok(())
        })
        .unwrap();
    assert_eq!(encoded.len(), bytes.len());
    for (a, b) in encoded.iter().zip(&bytes) {
        assert_eq!(unhex(&a.0), unhex(&b.0));
        // Backfilled values have no checksum.
        let from = if b.1[..4] == [0; 4] { 4 } else { 0 };
        assert_eq!(unhex(&a.1[from..]), unhex(&b.1[from..]));
    }
}

#[test]
fn primitive_integers() {
    for (v, ns) in [(0, "00"), (127, "7f"), (128, "8100"), (300, "822c"), (16384, "818000")] {
        let mut out = Vec::new();
        put_ns(&mut out, v);
        assert_eq!(unhex(&out), ns);
        assert_eq!(Reader::new(&out).ns("n"), Ok(v));
    }
    let mut out = Vec::new();
    put_leb(&mut out, 300);
    put_zigzag(&mut out, 300);
    assert_eq!(unhex(&out), "ac02d804");
    let ku = [(0, "88"), (1, "89"), (109, "f5"), (110, "f66e"), (256, "f70100")];
    for (v, digits) in ku.into_iter().chain([(u64::MAX, "fdffffffffffffffff")]) {
        let mut out = Vec::new();
        ordered::put_ku(&mut out, v);
        assert_eq!(unhex(&out), digits);
        assert_eq!(ordered::get_ku(&mut Reader::new(&out), "n"), Ok(v));
    }
    let kv = [
        (-1, "87ff"),
        (-255, "8701"),
        (-256, "86ff00"),
        (-257, "86feff"),
        (i64::MIN, "808000000000000000"),
        (i64::MAX, "fd7fffffffffffffff"),
        (112, "f670"),
    ];
    for (v, digits) in kv {
        let mut out = Vec::new();
        ordered::put_kv(&mut out, v);
        assert_eq!(unhex(&out), digits);
        assert_eq!(ordered::get_kv(&mut Reader::new(&out), "n"), Ok(v));
    }
    for (v, digits) in [(0, "88"), (1, "87fe"), (256, "86feff")] {
        let mut out = Vec::new();
        ordered::put_kud(&mut out, v);
        assert_eq!(unhex(&out), digits);
        assert_eq!(ordered::get_kud(&mut Reader::new(&out), "n"), Ok(v));
    }
    let kvd = [(0, "87ff"), (-1, "88"), (1, "87fe"), (-110, "f5"), (256, "86feff"), (-256, "f6ff")];
    for (v, digits) in kvd {
        let mut out = Vec::new();
        ordered::put_kvd(&mut out, v);
        assert_eq!(unhex(&out), digits);
        assert_eq!(ordered::get_int(&mut Reader::new(&out), Desc, "n"), Ok(v));
    }
}

#[test]
fn mvcc_keys() {
    let plain = hex("e48989 88 00 18e9d22f00d2a493 09");
    let (k, at) = mvcc::split(&plain).unwrap();
    assert_eq!((unhex(k), at.unwrap().wall), ("e4898988".into(), 0x18e9_d22f_00d2_a493));
    for (logical, synthetic, last) in [(0, false, 9), (7, false, 13), (7, true, 14), (0, true, 14)] {
        let at = mvcc::Timestamp { wall: 5, logical, synthetic };
        let joined = mvcc::join(b"\x00k", at);
        assert_eq!(joined.last(), Some(&last));
        let (k, found) = mvcc::split(&joined).unwrap();
        assert_eq!((k, found.unwrap(), found.unwrap().synthetic), (&b"\x00k"[..], at, synthetic));
    }
    assert_eq!(mvcc::split(b"abc\x00"), Ok((&b"abc"[..], None)));
    assert!(mvcc::split(b"").is_err());
    assert!(mvcc::split(&hex("0109")).is_err());
    let newer = mvcc::join(b"a", mvcc::Timestamp { wall: 2, logical: 1, synthetic: false });
    let older = mvcc::join(b"a", mvcc::Timestamp::from_wall(2));
    assert!(mvcc::compare(&newer, &older).is_lt());
    assert!(mvcc::compare(b"a\x00", &newer).is_lt());
    assert!(mvcc::compare(&older, &mvcc::join(b"a\x00", mvcc::Timestamp::from_wall(9))).is_lt());
}

#[test]
fn families_and_prefixes() {
    for (family, digits) in [(0, "88"), (1, "8989"), (2, "8a89"), (3, "8b89"), (200, "f6c88a")] {
        let mut k = hex("bd8989");
        key::put_family(&mut k, family);
        assert_eq!(unhex(&k[3..]), digits);
        assert_eq!(key::split_family(&k), Ok((3, family)));
    }
    assert_eq!(unhex(&key::index_span(53, 1).0), "bd89");
    assert_eq!(unhex(&key::index_span(92, 1).1), "e48a");
    assert_eq!(unhex(&key::index_span(200, 1).0), "f6c889");
    assert_eq!(unhex(&key::table_span(53).1), "be");
    assert_eq!(key::split_tenant(&hex("fe92bd89")), Ok((Some(10), &hex("bd89")[..])));
    assert_eq!(key::split_tenant(&hex("bd89")), Ok((None, &hex("bd89")[..])));
}

#[test]
fn extended_value_headers_are_skipped() {
    let simple = hex("886978a00a23021302");
    let mut extended = hex("00000003 65 aabbcc");
    extended.extend_from_slice(&simple);
    assert_eq!(envelope::open(&extended), envelope::open(&simple));
    assert_eq!(envelope::open(&hex("00000001 65 aa")), Ok(Value::Tombstone));
    assert_eq!(envelope::open(b""), Ok(Value::Tombstone));
    assert!(envelope::open(&hex("00000009 65 aa")).is_err());
    assert!(envelope::open(&hex("000000")).is_err());
}

#[test]
fn examples_1_to_7_rows() {
    let int = ColumnType::INT8;
    let t1 = table(53, &[(1, int.clone()), (2, int.clone()), (3, int.clone())], &[(1, Asc)]);
    row(&t1, &[("bd898988", "886978a00a23021302")], &[Some("1"), Some("1"), Some("1")]);
    let t2 = table(53, &[(1, int.clone()), (2, int.clone())], &[(2, Asc)]);
    row(&t2, &[("bd89fd0853312f0e49000188", "b7a150f5 0a1302")], &[Some("1"), Some("599877253543297025")]);
    let t3 = table(52, &[(1, int.clone()), (2, int.clone())], &[(2, Asc)]);
    row(&t3, &[("bc8980800400000000000088", "e7cce902 0a1302")], &[Some("1"), Some("-9222246136947933184")]);
    let mut users =
        table(4, &[(1, ColumnType::TEXT), (2, ColumnType::Bytes), (3, ColumnType::Bool)], &[(1, Asc)]);
    users.families = [(0, 0, vec![1]), (2, 2, vec![2]), (3, 3, vec![3])]
        .map(|(id, default_column_id, column_ids)| Family { id, column_ids, default_column_id })
        .to_vec();
    row(
        &users,
        &[
            ("8c891261646d696e000188", "df83ae96 0a"),
            ("8c891261646d696e00018a89", "4192140e 03"),
            ("8c891261646d696e00018b89", "517f3455 01 02"),
        ],
        &[Some("admin"), Some(""), Some("true")],
    );
    let nulls = table(92, &[(1, int.clone()), (2, int)], &[(1, Asc)]);
    row(&nulls, &[("e4898a88", "740a0ab8 0a")], &[Some("2"), None]);
    assert_eq!(envelope::compute(&hex("bd898988"), 0x0a, &hex("23021302")), 0x8869_78a0);
}

#[test]
fn examples_8_to_28_tagged_values() {
    let int = ColumnType::INT8;
    tagged("14 3ff8000000000000", 1, &ColumnType::FLOAT8, "1.5");
    tagged("15 05 348d0f4272", 1, &ColumnType::DECIMAL, "10000.50");
    tagged("16 05 68656c6c6f", 1, &ColumnType::TEXT, "hello");
    tagged("26 03 00ff01", 2, &ColumnType::Bytes, "00ff01");
    tagged("13 a29e02", 1, &ColumnType::Date, "2020-02-29");
    tagged("63 ffffffffffffffffff01", 6, &ColumnType::Date, "-infinity");
    tagged("63 feffffffffffffffff01", 6, &ColumnType::Date, "infinity");
    tagged("13 a898b1bed102", 1, &TIME, "12:34:56.789012");
    tagged("1f13 a898b1bed102 b0b502", 1, &TIMETZ, "12:34:56.789012-05:30:00");
    tagged("18 8cc0eff80b b0caf8c801", 1, &TIMESTAMP, "2020-10-19 19:59:02.210703");
    tagged("18 ffddffac02 00", 1, &TIMESTAMP, "1960-01-01 00:00:00");
    tagged("19 1c 06 b0bdc09e80d806", 1, &ColumnType::INTERVAL, "1 year 2 mons 3 days 04:05:06.000007");
    let uuid = "11111111-2222-3333-4444-555555555555";
    tagged("1c 11111111222233334444555555555555", 1, &ColumnType::Uuid, uuid);
    tagged("1e 00 18 c0a80107", 1, &ColumnType::Inet, "192.168.1.7/24");
    tagged("2e 01 40 20010db8000000000000000000000001", 2, &ColumnType::Inet, "2001:db8::1/64");
    tagged("1d 06 110303020205", 1, &array(int.clone()), "{1,NULL,-3}");
    tagged("1d 0b 010502 0334890a 033489fa", 1, &array(ColumnType::DECIMAL), "{1.0,2.50}");
    tagged("16 01 80", 1, &kinds(), "ok");
    tagged("1d 07 010602 0140 01c0", 1, &array(kinds()), "{low,high}");
    tagged("16 07 73747261c39f65", 1, &collated(), "straße");
    tagged("1f11 05 b000000000000000", 1, &ColumnType::Bit { varying: false, width: 5 }, "10110");
    let bits = "10".repeat(33) + "1";
    tagged("1f11 43 aaaaaaaaaaaaaaaa a000000000000000", 1, &VARBIT, &bits);
    tagged("13 54", 1, &OID, "42");
    let point = "0101000000000000000000F03F0000000000000040";
    tagged(&format!("1f14 41 {POINT}"), 1, &ColumnType::Geometry(GeoShape::default()), point);
    let sides = "053ff0000000000000 054008000000000000 054000000000000000 054010000000000000";
    tagged(&format!("1f18 {sides}"), 1, &ColumnType::Box2d, "BOX(1 2,3 4)");
    tagged("1f0f 0c 2000000020000004 03348905", 1, &ColumnType::Json, "5");
    // Tags alone.
    for (delta, kind, digits) in
        [(1, 3, "13"), (2, 6, "26"), (8, 6, "8106"), (1, 15, "1f0f"), (1, 17, "1f11")]
    {
        let mut out = Vec::new();
        value::put_tag(&mut out, delta, kind);
        assert_eq!(unhex(&out), digits);
        assert_eq!(value::get_tag(&mut Reader::new(&out)), Ok((delta, kind)));
    }
}

#[test]
fn examples_29_to_32_families_and_a_storing_index() {
    let text = ColumnType::TEXT;
    let mut t = table(
        94,
        &[
            (1, ColumnType::INT8),
            (2, ColumnType::INT8),
            (3, text.clone()),
            (4, ColumnType::DECIMAL),
            (5, text.clone()),
            (6, text),
        ],
        &[(1, Asc), (4, Asc)],
    );
    t.families = [(0, 0, vec![1, 2, 4]), (1, 3, vec![3]), (2, 0, vec![5, 6])]
        .map(|(id, default_column_id, column_ids)| Family { id, column_ids, default_column_id })
        .to_vec();
    t.indexes = vec![IndexLayout {
        suffix_ids: vec![1, 4],
        stored_ids: vec![3, 6],
        composite_ids: vec![4],
        ..plain_index(2, &[(2, Asc)])
    }];
    row(
        &t,
        &[
            ("e689 89 2a0364 00 88", "33a62700 0a 23 04 2503 348996"),
            ("e689 89 2a036400 8989", "3ff9df07 03 63"),
            ("e689 89 2a036400 8a89", "84a50bc6 0a 560165 160166"),
        ],
        &[Some("1"), Some("2"), Some("c"), Some("1.50"), Some("e"), Some("f")],
    );
    let datum = |ty: &ColumnType, s| Datum::from_text(ty, s).unwrap();
    let cells = ["1", "2", "c", "1.50", "e", "f"];
    let datums: Vec<Datum> = t.columns.iter().zip(cells).map(|(c, s)| datum(&c.ty, s)).collect();
    let mut found = Vec::new();
    let mut encoder = RowEncoder::new(Arc::new(t)).unwrap();
    encoder
        .index::<Error>(0, &datums, &mut |k, v| {
            found.push((unhex(k), unhex(v)));
            Ok(())
        })
        .unwrap();
    let expected = [
        ("e68a8a892a03640088", "2e800b5f034503348996"),
        ("e68a8a892a0364008989", "085f739b0a360163"),
        ("e68a8a892a0364008a89", "921ddb0a0a660166"),
    ]
    .map(|(k, v)| (k.to_string(), v.to_string()));
    assert_eq!(found, expected);
}

#[test]
fn examples_33_to_35_unique_indexes() {
    pair("e5a68988", "4b4a13d6 03 fd110f0c76cefa0001");
    pair("e5a600 fd110f0c76cf2c8001 88", "30178feb 03 fd110f0c76cf2c8001");
    pair("e5a78988", "0bf62103 03 fd110f0c76cefa0001 56 05 68656c6c6f");
    let mut t =
        table(93, &[(1, ColumnType::INT8), (2, ColumnType::INT8), (5, ColumnType::TEXT)], &[(2, Asc)]);
    let unique = |id, stored_ids| IndexLayout {
        unique: true,
        suffix_ids: vec![2],
        stored_ids,
        ..plain_index(id, &[(1, Asc)])
    };
    t.indexes = vec![unique(30, vec![]), unique(31, vec![5])];
    let mut encoder = RowEncoder::new(Arc::new(t)).unwrap();
    let mut entry = |index, k: Datum<'static>, id: i64| {
        let mut found = Vec::new();
        encoder
            .index::<Error>(index, &[k, Datum::Int(id), Datum::text("hello")], &mut |k, v| {
                found.push((unhex(k), unhex(v)));
                Ok(())
            })
            .unwrap();
        found
    };
    let id = |digits: &str| ordered::get_kv(&mut Reader::new(&hex(digits)), "id").unwrap();
    let (a, b) = (id("fd110f0c76cefa0001"), id("fd110f0c76cf2c8001"));
    let own = |k: &str, v: &str| vec![(k.to_string(), v.to_string())];
    assert_eq!(entry(0, Datum::Int(1), a), own("e5a68988", "4b4a13d603fd110f0c76cefa0001"));
    assert_eq!(entry(0, Datum::Null, b), own("e5a600fd110f0c76cf2c800188", "30178feb03fd110f0c76cf2c8001"));
    assert_eq!(entry(1, Datum::Int(1), a), own("e5a78988", "0bf6210303fd110f0c76cefa0001560568656c6c6f"));
}

#[test]
fn examples_36_to_50_key_columns() {
    keyed("1268656c6c6f0001", Asc, &ColumnType::TEXT, "hello");
    keyed("13979a939390fffe", Desc, &ColumnType::TEXT, "hello");
    keyed("89", Asc, &ColumnType::Bool, "true");
    keyed("87fe", Desc, &ColumnType::Bool, "true");
    keyed("88", Asc, &ColumnType::Bool, "false");
    keyed("87ff", Desc, &ColumnType::Bool, "false");
    keyed("033ffbffffffffffff", Asc, &ColumnType::FLOAT8, "-2.5");
    keyed("054004000000000000", Desc, &ColumnType::FLOAT8, "-2.5");
    let mut zero = Vec::new();
    key::put(&mut zero, &Datum::Float(-0.0), Asc).unwrap();
    assert_eq!(unhex(&zero), "04");
    assert!(Datum::Float(-0.0).is_composite() && !Datum::Float(0.0).is_composite());
    tagged("34 8000000000000000", 3, &ColumnType::FLOAT8, "-0");
    let d = Datum::from_text(&ColumnType::DECIMAL, "10000.50").unwrap();
    assert!(d.is_composite());
    for (dir, digits) in [(Asc, "2c0301016400"), (Desc, "22fcfefe9b00")] {
        let mut out = Vec::new();
        key::put(&mut out, &d, dir).unwrap();
        assert_eq!(unhex(&out), digits);
    }
    tagged("45 05 348d0f4272", 4, &ColumnType::DECIMAL, "10000.50");
    keyed("18", Asc, &ColumnType::DECIMAL, "NaN");
    keyed("36", Desc, &ColumnType::DECIMAL, "NaN");
    tagged("15 01 18", 1, &ColumnType::DECIMAL, "NaN");
    keyed("f74791", Asc, &ColumnType::Date, "2020-02-29");
    keyed("86b86e", Desc, &ColumnType::Date, "2020-02-29");
    keyed("3c fa0f28122c14 f74d58", Asc, &TIMETZ, "12:34:56.789012-05:30:00");
    keyed("3c 83f0d7edd3eb 86b2a7", Desc, &TIMETZ, "12:34:56.789012-05:30:00");
    keyed("14 f95f8df006 f90c8f1298", Asc, &TIMESTAMP, "2020-10-19 19:59:02.210703");
    keyed("14 84a0720ff9 84f370ed67", Desc, &TIMESTAMP, "2020-10-19 19:59:02.210703");
    let interval = "1 year 2 mons 3 days 04:05:06.000007";
    keyed("16 fc81e4dc1b710f58 968b", Asc, &ColumnType::INTERVAL, interval);
    keyed("1200ff18c0a801070001", Asc, &ColumnType::Inet, "192.168.1.7/24");
    let bit5 = ColumnType::Bit { varying: false, width: 5 };
    keyed("3a fdb000000000000000 00 8d", Asc, &bit5, "10110");
    keyed("3b 804fffffffffffffff ff 87fa", Desc, &bit5, "10110");
    keyed("3a 00 88", Asc, &VARBIT, "");
    keyed("3b ff 88", Desc, &VARBIT, "");
    keyed("f9ffffffff", Asc, &OID, "4294967295");
    let sides = "053ff0000000000000 054008000000000000 054000000000000000 054010000000000000";
    keyed(&format!("41 {sides}"), Asc, &ColumnType::Box2d, "BOX(1 2,3 4)");
    // 47: the sort key is in the key, the text in the value.
    let sort_key = hex("17f3181617bd15ef17f317f3164c00ff");
    let mut bytes = vec![0x12];
    bytes.extend_from_slice(&sort_key);
    bytes.extend_from_slice(&[0, 1]);
    let Datum::Collated(c) = key::get(&mut Reader::new(&bytes), &collated(), Asc).unwrap() else { panic!() };
    assert_eq!((c.text.is_none(), unhex(&c.sort_key)), (true, "17f3181617bd15ef17f317f3164c00".into()));
    tagged("8206 07 73747261c39f65", 16, &collated(), "straße");
}

#[test]
fn examples_51_to_53_system_tables() {
    pair("978a 12737563636565646564 0001 14f95f8df006f90c8f1298 fd08532e995d078001 88", "bc5b88b5 03");
    pair("978b 00 00 fd085979459ee00001 88", "cf7f6742 03 26 09 737563636565646564");
    let decimal = ColumnType::Decimal { precision: 18, scale: 15 };
    let locations = table(
        21,
        &[(1, ColumnType::TEXT), (2, ColumnType::TEXT), (3, decimal.clone()), (4, decimal)],
        &[(1, Asc), (2, Asc)],
    );
    let ten = Some("10.000000000000000");
    row(
        &locations,
        &[(
            "9d891263697479000112 6e7963 000188",
            "a20b56de 0a 35 09 348a2386f26fc10000 15 09 348a2386f26fc10000",
        )],
        &[Some("city"), Some("nyc"), ten, ten],
    );
}

#[test]
fn examples_54_to_58_inverted_indexes() {
    pair("e78a 37 0001 2a0a00 8a88", "12ffdbf1 03");
    pair("e78a 37 61 0002 0003 62 0001 00 89 88", "f7568798 03");
    pair("e78d 42 fd1000000000000001 01 3ff0000000000000 4000000000000000 89 88", "cbfd0cae 03");
    let json = |text| Datum::from_text(&ColumnType::Json, text).unwrap();
    let ints = |text| Datum::from_text(&array(ColumnType::INT8), text).unwrap();
    let keys = |d: &Datum, version| -> Vec<String> {
        let keys = inverted::keys(d, version).unwrap();
        for k in &keys {
            let element = matches!(d, Datum::Array(_)).then_some(ColumnType::INT8);
            let mut long = k.clone();
            long.extend_from_slice(&hex("8988"));
            let mut r = Reader::new(&long);
            assert_eq!(inverted::skip(&mut r, element.as_ref()).unwrap(), &k[..]);
        }
        keys.iter().map(|k| unhex(k)).collect()
    };
    let plain = |list: &[&str]| -> Vec<String> { list.iter().map(|s| unhex(&hex(s))).collect() };
    assert_eq!(keys(&json("5"), 2), plain(&["37 0001 2a0a00"]));
    assert_eq!(keys(&json(r#"{"a":[{"b":null}]}"#), 2), plain(&["37 61 0002 0003 62 0001 00"]));
    assert_eq!(keys(&json(r#"{"c":{"d":true}}"#), 2), plain(&["37 63 0002 64 0001 0a"]));
    assert_eq!(keys(&json(r#"{"e":{}}"#), 2), plain(&["37 65 0001 39"]));
    assert_eq!(keys(&json(r#"{"f":[]}"#), 2), plain(&["37 66 0001 38"]));
    assert_eq!(keys(&json("[]"), 2), plain(&["37 0001 38"]));
    assert_eq!(keys(&json("{}"), 2), plain(&["37 0001 39"]));
    assert_eq!(keys(&json("[1,[2]]"), 2), plain(&["37 0003 0001 2a0200", "37 0003 0003 0001 2a0400"]));
    assert_eq!(keys(&json("\"a\""), 2), plain(&["37 0001 12 61 0001"]));
    assert_eq!(keys(&json("[1, 1, 1]"), 2).len(), 1);
    assert_eq!(keys(&ints("{NULL,2,2}"), 2), plain(&["00", "8a"]));
    assert_eq!(keys(&ints("{NULL,2}"), 1), plain(&["8a"]));
    assert_eq!(keys(&ints("{}"), 2), plain(&["43"]));
    assert_eq!(keys(&ints("{}"), 1), plain(&[]));
    assert_eq!(keys(&Datum::Null, 2), plain(&[]));
    let spatial = hex("42 fd1000000000000001 01 3ff0000000000000 4000000000000000 89 88");
    let mut r = Reader::new(&spatial);
    inverted::skip(&mut r, None).unwrap();
    assert_eq!(unhex(r.rest()), "8988");
    assert!(matches!(inverted::keys(&Datum::Geo(hex(POINT).into()), 2), Err(Error::NotDerivable { .. })));
}

#[test]
fn examples_59_to_63_other_rows() {
    pair("e88c 8a 8d 89 88", "a483468e 03");
    pair("e3898888", "7681573b 01 28");
    pair("f1898888", "03f1d463 01 08");
    assert_eq!(unhex(&value::sequence_key(91)), "e3898888");
    let mut out = Vec::new();
    value::put_sequence(&mut out, &value::sequence_key(91), 20);
    assert_eq!(unhex(&out), "7681573b0128");
    let int = ColumnType::INT8;
    let backfilled = table(52, &[(1, int.clone()), (2, int.clone())], &[(1, Asc)]);
    let mut backfilled_index2 = backfilled.clone();
    backfilled_index2.primary = plain_index(2, &[(1, Asc)]);
    row(&backfilled_index2, &[("bc8a8988", "00000000 0a 23 04")], &[Some("1"), Some("2")]);
    // Interleaved child: KU(55) KU(1) 1 fe KU(56) KU(1).
    pair("bf8989fec08988", "d4bea321 0a 2302 1302");
    let mut child = table(56, &[(1, int.clone()), (2, int.clone()), (3, int)], &[(1, Asc)]);
    child.primary.ancestors =
        vec![userfilefs::format::kv::layout::Ancestor { table_id: 55, index_id: 1, shared_prefix_len: 1 }];
    row(&child, &[("bf8989fec08988", "d4bea3210a23021302")], &[Some("1"), Some("1"), Some("1")]);
    // The parent's decoder passes the child's rows over, and the other way round.
    let parent = Arc::new(table(55, &[(1, ColumnType::INT8)], &[(1, Asc)]));
    let (k, v) = (hex("bf8989fec08988"), hex("d4bea3210a23021302"));
    let mut out = Vec::new();
    let decoder = RowDecoder::new(parent).unwrap();
    assert_eq!(decoder.decode(&[(&k, &v)], &mut out), Ok(Decoded::Foreign));
    let k = hex("bf898988");
    assert_eq!(
        RowDecoder::new(Arc::new(child)).unwrap().decode(&[(&k, b"")], &mut out),
        Ok(Decoded::Foreign)
    );
    // Column id 8 first in a tuple.
    let t = table(15, &[(1, ColumnType::INT8), (8, ColumnType::Bytes), (9, ColumnType::INT8)], &[(1, Asc)]);
    let sixteen = "00112233445566778899aabbccddeeff";
    let body = format!("00000000 0a 8106 10 {sixteen} 1302");
    row(&t, &[("9789 8a 88", &body)], &[Some("2"), Some(sixteen), Some("1")]);
    assert_eq!(value::get_tag(&mut Reader::new(&hex("8106"))), Ok((8, 6)));
}

#[test]
fn example_64_intervals() {
    let day = Interval { days: 1, ..Interval::default() };
    let cases = [
        (Interval::default(), Asc, "16888888"),
        (Interval { nanos: 1, ..Interval::default() }, Asc, "16898888"),
        (day, Asc, "16fb4e94914f00008889"),
        (Interval { months: 1, ..Interval::default() }, Asc, "16fc0935690742 0000 8988"),
        (day, Desc, "1682b16b6eb0ffff87ff87fe"),
    ];
    for (v, dir, digits) in cases {
        let mut out = Vec::new();
        key::put(&mut out, &Datum::Interval(v), dir).unwrap();
        assert_eq!(unhex(&out), unhex(&hex(digits)));
        assert_eq!(key::get(&mut Reader::new(&out), &ColumnType::INTERVAL, dir), Ok(Datum::Interval(v)));
    }
}
