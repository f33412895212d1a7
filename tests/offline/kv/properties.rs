//! Encoding and decoding undo each other; encoded keys sort as SQL does.

use super::generate::{datum, key_types, nullable, value_types};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::cmp::Ordering;
use userfilefs::format::kv::datum::{Datum, Interval};
use userfilefs::format::kv::decimal::{Decimal, Form};
use userfilefs::format::kv::layout::Direction::{Asc, Desc};
use userfilefs::format::kv::types::ColumnType;
use userfilefs::format::kv::varint::Reader;
use userfilefs::format::kv::{json, key, value};

const CASES: u32 = 200;

/// Runs a property for random values of a strategy, deterministically.
fn check<S: Strategy>(name: &str, strategy: S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
    let rng = proptest::test_runner::TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    if let Err(e) = runner.run(&strategy, property) {
        panic!("{name}: {e}");
    }
}

fn same(a: &Datum, b: &Datum) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

#[test]
fn tagged_values_round_trip() {
    for ty in value_types() {
        check(&ty.to_string(), (0u32..200, nullable(&ty)), |(delta, d)| {
            let mut out = Vec::new();
            value::put_tagged(&mut out, delta, &d, &ty).unwrap();
            out.push(0xaa);
            let mut r = Reader::new(&out);
            let (found, back) = value::get_tagged(&mut r, &ty).unwrap();
            prop_assert_eq!(found, delta);
            prop_assert!(same(&back, &d), "{:?}", back);
            prop_assert_eq!(r.rest(), &[0xaa]);
            let mut r = Reader::new(&out);
            let (_, kind) = value::get_tag(&mut r).unwrap();
            value::skip_payload(&mut r, kind, 0).unwrap();
            prop_assert_eq!(r.rest(), &[0xaa]);
            prop_assert!(same(&back.clone().into_owned(), &d));
            Ok(())
        });
    }
}

#[test]
fn scalar_values_round_trip() {
    for ty in value_types().into_iter().filter(|t| !matches!(t, ColumnType::Tuple(_))) {
        check(&ty.to_string(), datum(&ty), |d| {
            let mut out = Vec::new();
            let tag = value::put_scalar(&mut out, &d, &ty).unwrap();
            let back = value::get_scalar(tag, &out, &ty).unwrap();
            prop_assert!(same(&back, &d), "{:?}", back);
            Ok(())
        });
    }
}

#[test]
fn texts_round_trip() {
    let opaque = |t: &ColumnType| {
        let tuple = |t: &ColumnType| matches!(t, ColumnType::Tuple(_) | ColumnType::TsVector);
        tuple(t) || matches!(t, ColumnType::Array(e) if tuple(e))
    };
    for ty in value_types().into_iter().filter(|t| !opaque(t)) {
        check(&ty.to_string(), datum(&ty), |d| {
            let text = d.to_string_cast(&ty).unwrap().unwrap();
            let back = Datum::from_text(&ty, &text).unwrap();
            // Only JSON and decimals have texts that are not one to one with their bytes.
            prop_assert!(same(&back, &d), "{:?} {:?}", text, back);
            Ok(())
        });
    }
}

fn array_types() -> Vec<ColumnType> {
    key_types().into_iter().map(|t| ColumnType::Array(Box::new(t))).collect()
}

#[test]
fn keys_round_trip() {
    for ty in key_types().into_iter().chain(array_types()) {
        check(&ty.to_string(), nullable(&ty), |d| {
            for dir in [Asc, Desc] {
                let mut out = Vec::new();
                key::put(&mut out, &d, dir).unwrap();
                let len = out.len();
                out.push(0x88);
                let mut r = Reader::new(&out);
                let back = key::get(&mut r, &ty, dir).unwrap();
                prop_assert_eq!(r.rest(), &[0x88]);
                prop_assert!(d.is_composite() || same(&back, &d), "{:?}", back);
                prop_assert_eq!(sql_cmp(&back, &d), Ordering::Equal);
                let mut again = Vec::new();
                key::put(&mut again, &back, dir).unwrap();
                prop_assert_eq!(&again[..], &out[..len]);
            }
            Ok(())
        });
    }
}

#[test]
fn keys_sort_as_sql_does() {
    for ty in key_types().into_iter().chain(array_types()) {
        // Two columns: the first must not reach into the second.
        let row = || (nullable(&ty), nullable(&ty));
        check(&ty.to_string(), (row(), row()), |(a, b)| {
            let expected = sql_cmp(&a.0, &b.0).then_with(|| sql_cmp(&a.1, &b.1));
            let encode = |r: &(Datum, Datum), dir| {
                let mut out = Vec::new();
                key::put(&mut out, &r.0, dir).unwrap();
                key::put(&mut out, &r.1, dir).unwrap();
                out
            };
            prop_assert_eq!(encode(&a, Asc).cmp(&encode(&b, Asc)), expected);
            prop_assert_eq!(encode(&a, Desc).cmp(&encode(&b, Desc)), expected.reverse());
            Ok(())
        });
    }
}

#[test]
fn json_text_and_bytes_agree() {
    check("JSON", super::generate::json(), |v| {
        let (mut bytes, mut text) = (Vec::new(), Vec::new());
        v.encode(&mut bytes).unwrap();
        v.write_text(&mut text).unwrap();
        let decoded = json::decode(&bytes).unwrap();
        prop_assert_eq!(&decoded, &v);
        let text = String::from_utf8(text).unwrap();
        // serde reads the same structure.
        prop_assert!(
            serde_json::from_str::<serde_json::Value>(&text.replace("E+", "e+")).is_ok()
                || text.contains('E')
        );
        Ok(())
    });
}

/// SQL's order: NULL first, NaN before every number.
fn sql_cmp(a: &Datum, b: &Datum) -> Ordering {
    match (a, b) {
        (Datum::Null, Datum::Null) => Ordering::Equal,
        (Datum::Null, _) => Ordering::Less,
        (_, Datum::Null) => Ordering::Greater,
        (Datum::Bool(a), Datum::Bool(b)) => a.cmp(b),
        (Datum::Int(a), Datum::Int(b))
        | (Datum::Date(a), Datum::Date(b))
        | (Datum::Time(a), Datum::Time(b))
        | (Datum::Oid(a), Datum::Oid(b)) => a.cmp(b),
        (Datum::Float(a), Datum::Float(b)) => float_cmp(*a, *b),
        (Datum::Decimal(a), Datum::Decimal(b)) => decimal_cmp(a, b),
        (Datum::String(a), Datum::String(b))
        | (Datum::Bytes(a), Datum::Bytes(b))
        | (Datum::Enum(a), Datum::Enum(b)) => a.cmp(b),
        (Datum::Timestamp(a), Datum::Timestamp(b)) => a.cmp(b),
        (Datum::TimeTz(a), Datum::TimeTz(b)) => {
            let utc = |t: &userfilefs::format::kv::datum::TimeTz| t.micros + i64::from(t.west) * 1_000_000;
            (utc(a), a.west).cmp(&(utc(b), b.west))
        }
        (Datum::Interval(a), Datum::Interval(b)) => interval_cmp(a, b),
        (Datum::Uuid(a), Datum::Uuid(b)) => a.cmp(b),
        (Datum::Inet(a), Datum::Inet(b)) => {
            (a.addr.is_ipv6(), a.prefix, a.addr).cmp(&(b.addr.is_ipv6(), b.prefix, b.addr))
        }
        (Datum::Bits(a), Datum::Bits(b)) => {
            let bits = |v: &userfilefs::format::kv::datum::Bits| -> Vec<bool> {
                (0..v.len).map(|i| v.get(i).unwrap()).collect()
            };
            bits(a).cmp(&bits(b))
        }
        (Datum::Box2d(a), Datum::Box2d(b)) => a
            .iter()
            .zip(b.iter())
            .map(|(a, b)| float_cmp(*a, *b))
            .find(|o| o.is_ne())
            .unwrap_or(Ordering::Equal),
        (Datum::Array(a), Datum::Array(b)) => {
            let first = a.iter().zip(b).map(|(a, b)| sql_cmp(a, b)).find(|o| o.is_ne());
            first.unwrap_or(a.len().cmp(&b.len()))
        }
        _ => panic!("{a:?} {b:?}"),
    }
}

fn float_cmp(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        _ => a.partial_cmp(&b).unwrap(),
    }
}

fn interval_cmp(a: &Interval, b: &Interval) -> Ordering {
    let key = |v: &Interval| {
        let nanos =
            (i128::from(v.months) * 30 + i128::from(v.days)) * 86_400_000_000_000 + i128::from(v.nanos);
        (nanos, v.months, v.days)
    };
    key(a).cmp(&key(b))
}

/// NaN, -Infinity, numbers, Infinity; scale and the sign of zero do not count.
fn decimal_cmp(a: &Decimal, b: &Decimal) -> Ordering {
    let class = |d: &Decimal| match d.form() {
        Form::NaN => 0,
        Form::Infinite if d.is_negative() => 1,
        Form::Finite => 2,
        Form::Infinite => 3,
    };
    if class(a) != class(b) || class(a) != 2 {
        return class(a).cmp(&class(b));
    }
    let sign = |d: &Decimal| match (d.is_zero(), d.is_negative()) {
        (true, _) => 0,
        (false, true) => -1,
        (false, false) => 1,
    };
    if sign(a) != sign(b) || sign(a) == 0 {
        return sign(a).cmp(&sign(b));
    }
    // 0.digits × 10^point, compared as (point, digits without trailing zeros).
    let parts = |d: &Decimal| {
        let mut digits = d.digits().unwrap().as_slice().to_vec();
        let point = i64::from(d.exponent()) + digits.len() as i64;
        while digits.last() == Some(&0) {
            digits.pop();
        }
        (point, digits)
    };
    let order = parts(a).cmp(&parts(b));
    if sign(a) < 0 { order.reverse() } else { order }
}
