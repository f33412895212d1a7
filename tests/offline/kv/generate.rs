//! Random types, datums, tables and rows.

use super::examples::{collated, kinds};
use proptest::prelude::*;
use userfilefs::format::kv::datum::{Bits, Datum, Inet, Instant, Interval, TimeTz};
use userfilefs::format::kv::decimal::Decimal;
use userfilefs::format::kv::json::Json;
use userfilefs::format::kv::ordered::NAN;
use userfilefs::format::kv::types::{ColumnType, GeoShape, OidKind, StringKind, TupleField};

/// Every scalar type that can be a key column, apart from collated strings.
pub fn key_types() -> Vec<ColumnType> {
    vec![
        ColumnType::Bool,
        ColumnType::Int { width: 16 },
        ColumnType::INT8,
        ColumnType::FLOAT8,
        ColumnType::DECIMAL,
        ColumnType::TEXT,
        ColumnType::String { kind: StringKind::Name, width: 0 },
        ColumnType::Bytes,
        ColumnType::Date,
        ColumnType::Time { precision: None },
        ColumnType::TimeTz { precision: None },
        ColumnType::Timestamp { precision: None },
        ColumnType::TimestampTz { precision: Some(3) },
        ColumnType::INTERVAL,
        ColumnType::Uuid,
        ColumnType::Inet,
        ColumnType::Bit { varying: true, width: 0 },
        ColumnType::Oid(OidKind::Oid),
        ColumnType::Oid(OidKind::Class),
        ColumnType::PgLsn,
        ColumnType::Box2d,
        kinds(),
    ]
}

/// Every type that a value can hold.
pub fn value_types() -> Vec<ColumnType> {
    let mut all = key_types();
    all.push(ColumnType::Json);
    all.push(collated());
    all.push(ColumnType::Geometry(GeoShape::default()));
    let arrays: Vec<ColumnType> = all.iter().map(|t| ColumnType::Array(Box::new(t.clone()))).collect();
    let field = |ty: &ColumnType| TupleField { label: String::new(), ty: ty.clone() };
    let tuple = ColumnType::Tuple(all.iter().step_by(3).map(field).collect());
    all.extend(arrays);
    all.push(ColumnType::OidVector);
    all.push(ColumnType::Int2Vector);
    all.push(ColumnType::TsVector);
    all.push(tuple.clone());
    all.push(ColumnType::Array(Box::new(tuple)));
    all
}

fn edgy_int() -> BoxedStrategy<i64> {
    prop_oneof![
        any::<i64>(),
        (-300i64..300),
        (0u32..64, -2i64..3).prop_map(|(shift, d)| (1i64 << shift.min(62)).wrapping_add(d)),
        (0u32..64, -2i64..3).prop_map(|(shift, d)| (-1i64 << shift).wrapping_add(d)),
        Just(i64::MAX),
        Just(i64::MIN),
    ]
    .boxed()
}

fn edgy_float() -> BoxedStrategy<f64> {
    prop_oneof![
        any::<f64>().prop_map(|f| if f.is_nan() { NAN } else { f }),
        (-50i32..50).prop_map(|i| f64::from(i) / 4.0),
        prop::sample::select(vec![
            0.0,
            -0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
            NAN,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            -5e-324,
        ]),
    ]
    .boxed()
}

pub fn decimal() -> BoxedStrategy<Decimal<'static>> {
    let finite = |digits: std::ops::Range<usize>, exponents: std::ops::Range<i32>| {
        (any::<bool>(), prop::collection::vec(0u8..10, digits), exponents)
            .prop_map(|(negative, digits, e)| Decimal::from_digits(negative, &digits, e).unwrap())
    };
    prop_oneof![
        4 => finite(1..4, -5..5),
        2 => finite(1..25, -30..30),
        1 => finite(35..90, -40..40),
        1 => finite(1..4, -2000..2000),
        1 => (any::<bool>(), -2000i32..2000).prop_map(|(n, e)| Decimal::from_digits(n, &[0], e).unwrap()),
        1 => prop::sample::select(vec![Decimal::NAN, Decimal::infinity(true), Decimal::infinity(false)]),
    ]
    .boxed()
}

/// Bytes in which the encoding's special ones are frequent.
fn bytes() -> BoxedStrategy<Vec<u8>> {
    let special = prop::sample::select(vec![0x00, 0x01, 0xff, 0xfe, 0x02, 0x03, b'a']);
    prop_oneof![
        prop::collection::vec(special, 0..8),
        prop::collection::vec(any::<u8>(), 0..40),
        Just(vec![b'x'; 300]),
    ]
    .boxed()
}

fn text() -> BoxedStrategy<String> {
    prop_oneof!["[a-c,{}\"\\\\ ]{0,6}", ".{0,12}", Just("NULL".to_string()), Just("\0\u{1}".to_string())]
        .boxed()
}

fn instant() -> BoxedStrategy<Instant> {
    // 4714-11-24 BC to 294276-12-31.
    let secs = prop_oneof![-210_866_803_200i64..9_224_318_016_000, -5i64..5];
    (secs, prop_oneof![0u32..1_000_000, Just(0), Just(999_999)])
        .prop_map(|(secs, micros)| Instant { secs, nanos: micros * 1000 })
        .boxed()
}

pub fn json() -> BoxedStrategy<Json<'static>> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        decimal().prop_filter_map("finite", |d| d
            .to_string()
            .parse::<f64>()
            .ok()
            .filter(|f| f.is_finite())
            .map(|_| Json::Number(d))),
        text().prop_map(|s| Json::String(s.into())),
    ];
    leaf.prop_recursive(4, 120, 70, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..70).prop_map(Json::Array),
            prop::collection::btree_map(text(), inner, 0..70)
                .prop_map(|m| Json::Object(m.into_iter().map(|(k, v)| (k.into(), v)).collect())),
        ]
    })
    .boxed()
}

/// A datum of a type, never NULL at the top.
pub fn datum(ty: &ColumnType) -> BoxedStrategy<Datum<'static>> {
    match ty {
        ColumnType::Bool => any::<bool>().prop_map(Datum::Bool).boxed(),
        ColumnType::Int { .. } | ColumnType::PgLsn => edgy_int().prop_map(Datum::Int).boxed(),
        ColumnType::Oid(_) => (0i64..1 << 32).prop_map(Datum::Oid).boxed(),
        ColumnType::Float { .. } => edgy_float().prop_map(Datum::Float).boxed(),
        ColumnType::Decimal { .. } => decimal().prop_map(Datum::Decimal).boxed(),
        ColumnType::String { .. } | ColumnType::Collated { .. } => {
            text().prop_map(|s| Datum::String(s.into_bytes().into())).boxed()
        }
        ColumnType::Bytes => bytes().prop_map(|b| Datum::Bytes(b.into())).boxed(),
        ColumnType::Date => {
            prop_oneof![-2_440_588i64..2_147_483_647, -5i64..5, Just(i64::MIN), Just(i64::MAX)]
                .prop_map(Datum::Date)
                .boxed()
        }
        ColumnType::Time { .. } => {
            prop_oneof![0i64..=86_400_000_000, Just(86_400_000_000)].prop_map(Datum::Time).boxed()
        }
        ColumnType::TimeTz { .. } => (0i64..=86_400_000_000, prop_oneof![-57_540i32..=57_540, Just(0)])
            .prop_map(|(micros, west)| Datum::TimeTz(TimeTz { micros, west }))
            .boxed(),
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => {
            instant().prop_map(Datum::Timestamp).boxed()
        }
        ColumnType::Interval { .. } => {
            let small = (-40i64..40, -70i64..70, -200_000_000_000i64..200_000_000_000);
            let even = (-2i64..2, -31i64..31, prop::sample::select(vec![0, 1000, -1000, 86_400_000_000_000]));
            prop_oneof![small, even]
                .prop_map(|(months, days, nanos)| {
                    Datum::Interval(Interval { months, days, nanos: nanos / 1000 * 1000 })
                })
                .boxed()
        }
        ColumnType::Uuid => any::<[u8; 16]>().prop_map(Datum::Uuid).boxed(),
        ColumnType::Inet => (any::<bool>(), any::<[u8; 16]>(), any::<u8>())
            .prop_map(|(v4, a, prefix)| {
                let four: [u8; 4] = a[..4].try_into().unwrap();
                Datum::Inet(if v4 {
                    Inet { addr: std::net::IpAddr::from(four), prefix: prefix % 33 }
                } else {
                    Inet { addr: std::net::IpAddr::from(a), prefix: prefix % 129 }
                })
            })
            .boxed(),
        ColumnType::Bit { .. } => {
            let lengths = prop_oneof![0usize..10, 60usize..70, 120usize..200];
            lengths
                .prop_flat_map(|len| prop::collection::vec(any::<bool>(), len))
                .prop_map(|bits| {
                    let text: String = bits.iter().map(|b| if *b { '1' } else { '0' }).collect();
                    Datum::Bits(Bits::from_text(&text).unwrap())
                })
                .boxed()
        }
        ColumnType::Json => json()
            .prop_map(|v| {
                let mut raw = Vec::new();
                v.encode(&mut raw).unwrap();
                Datum::Json(raw.into())
            })
            .boxed(),
        ColumnType::Enum(e) => {
            let members: Vec<Vec<u8>> = e.members.iter().map(|m| m.physical.clone()).collect();
            prop::sample::select(members).prop_map(|m| Datum::Enum(m.into())).boxed()
        }
        ColumnType::Box2d => prop::array::uniform4((-100i32..100).prop_map(f64::from))
            .prop_map(|v| Datum::Box2d(Box::new(v)))
            .boxed(),
        ColumnType::Geometry(_) | ColumnType::Geography(_) => ((-9i32..9), (-9i32..9))
            .prop_map(|(x, y)| {
                let mut wkb = vec![1, 1, 0, 0, 0];
                wkb.extend(f64::from(x).to_le_bytes());
                wkb.extend(f64::from(y).to_le_bytes());
                Datum::Geo(userfilefs::format::kv::geo::from_ewkb(&wkb, false).unwrap().into())
            })
            .boxed(),
        ColumnType::Array(element) => {
            let item = prop_oneof![4 => datum(element), 1 => Just(Datum::Null)];
            prop::collection::vec(item, 0..20).prop_map(Datum::Array).boxed()
        }
        ColumnType::OidVector => {
            prop::collection::vec((0i64..1 << 32).prop_map(Datum::Oid), 0..5).prop_map(Datum::Array).boxed()
        }
        ColumnType::Int2Vector => {
            prop::collection::vec((-9i64..9).prop_map(Datum::Int), 0..5).prop_map(Datum::Array).boxed()
        }
        ColumnType::Tuple(fields) => {
            let items: Vec<_> =
                fields.iter().map(|f| prop_oneof![4 => datum(&f.ty), 1 => Just(Datum::Null)]).collect();
            items.prop_map(Datum::Tuple).boxed()
        }
        ColumnType::TsVector | ColumnType::TsQuery | ColumnType::Unknown { .. } => {
            bytes().prop_map(|b| Datum::Opaque(b.into())).boxed()
        }
    }
}

/// A datum or, one time in six, NULL.
pub fn nullable(ty: &ColumnType) -> BoxedStrategy<Datum<'static>> {
    prop_oneof![5 => datum(ty), 1 => Just(Datum::Null)].boxed()
}
