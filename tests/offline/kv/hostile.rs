//! Damaged bytes: an error or another value, never a panic, endless work or large allocations.

use super::generate::{datum, key_types, value_types};
use super::random_rows::{Dice, random_row, random_table, runner};
use proptest::strategy::{Strategy, ValueTree};
use std::sync::Arc;
use userfilefs::format::kv::datum::Datum;
use userfilefs::format::kv::error::Error;
use userfilefs::format::kv::index::IndexDecoder;
use userfilefs::format::kv::layout::Direction::{Asc, Desc};
use userfilefs::format::kv::row::RowDecoder;
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::text::Style;
use userfilefs::format::kv::types::ColumnType;
use userfilefs::format::kv::varint::Reader;
use userfilefs::format::kv::{
    array, decimal_code, envelope, geo, inverted, json, json_parse, key, mvcc, value,
};

/// How many times more than usual: `USERFILEFS_FUZZ=n`. The seeds are fixed.
fn rounds(usual: u32) -> u32 {
    let times = std::env::var("USERFILEFS_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(1);
    usual * times
}

/// Every truncation, every flipped bit of short inputs, and some random damage.
fn damaged(bytes: &[u8], dice: &mut Dice) -> Vec<Vec<u8>> {
    let mut all: Vec<Vec<u8>> = (0..bytes.len().min(200)).map(|n| bytes[..n].to_vec()).collect();
    for i in 0..bytes.len().min(64) {
        for bit in [0x01, 0x10, 0x80, 0xff] {
            let mut b = bytes.to_vec();
            b[i] ^= bit;
            all.push(b);
        }
    }
    for _ in 0..20 {
        let mut b = bytes.to_vec();
        for _ in 0..1 + dice.roll(4) {
            match (dice.roll(3), b.len()) {
                (0, n) => b.insert(dice.roll(n + 1), [0x00, 0x7f, 0x80, 0xff, 0xf5, 0xfd][dice.roll(6)]),
                (1, n) if n > 0 => {
                    b.remove(dice.roll(n));
                }
                (_, n) if n > 0 => b[dice.roll(n)] = dice.roll(256) as u8,
                _ => {}
            }
        }
        all.push(b);
    }
    all
}

/// What decodes at all must print and encode without a panic.
fn use_datum(d: &Datum, ty: &ColumnType) {
    let mut out = Vec::new();
    let _ = d.write_text(ty, Style::Cast, &mut out);
    let _ = d.write_copy(ty, &mut out);
    let _ = d.write_sql(ty, &mut out);
    let _ = value::put_tagged(&mut out, 1, d, ty);
    let _ = key::put(&mut out, d, Asc);
    let _ = key::put(&mut out, d, Desc);
    let _ = inverted::keys(d, 2);
    let _ = d.is_composite();
    assert!(out.len() < 1 << 20, "{}", out.len());
}

#[test]
fn damaged_values_and_keys() {
    let mut dice = Dice(1);
    let mut runner = runner();
    for ty in value_types() {
        for _ in 0..rounds(6) {
            let d = datum(&ty).new_tree(&mut runner).unwrap().current();
            let mut bytes = Vec::new();
            value::put_tagged(&mut bytes, 1, &d, &ty).unwrap();
            for b in damaged(&bytes, &mut dice) {
                if let Ok((_, d)) = value::get_tagged(&mut Reader::new(&b), &ty) {
                    use_datum(&d, &ty);
                }
                let mut r = Reader::new(&b);
                if let Ok((_, kind)) = value::get_tag(&mut r) {
                    let _ = value::skip_payload(&mut r, kind, 0);
                }
            }
            let mut bytes = Vec::new();
            let Ok(tag) = value::put_scalar(&mut bytes, &d, &ty) else { continue };
            for b in damaged(&bytes, &mut dice) {
                for tag in [tag, dice.roll(16) as u8] {
                    if let Ok(d) = value::get_scalar(tag, &b, &ty) {
                        use_datum(&d, &ty);
                    }
                }
            }
        }
    }
    for ty in key_types() {
        for _ in 0..rounds(6) {
            let d = datum(&ty).new_tree(&mut runner).unwrap().current();
            for dir in [Asc, Desc] {
                let mut bytes = Vec::new();
                key::put(&mut bytes, &d, dir).unwrap();
                for b in damaged(&bytes, &mut dice) {
                    if let Ok(d) = key::get(&mut Reader::new(&b), &ty, dir) {
                        use_datum(&d, &ty);
                    }
                }
            }
        }
    }
}

#[test]
fn damaged_rows_and_entries() {
    let mut dice = Dice(2);
    let mut runner = runner();
    for _ in 0..rounds(25) {
        let layout = Arc::new(random_table(&mut dice));
        let mut encoder = RowEncoder::new(layout.clone()).unwrap();
        let strict = RowDecoder::new(layout.clone()).unwrap();
        let lax = strict.clone().verify_checksums(false);
        let row = random_row(&layout, &mut runner);
        let mut pairs: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut keep = |k: &[u8], v: &[u8]| -> Result<(), Error> {
            pairs.push((k.to_vec(), v.to_vec()));
            Ok(())
        };
        encoder.primary(&row, &mut keep).unwrap();
        let primary = pairs.len();
        let mut keep = |k: &[u8], v: &[u8]| -> Result<(), Error> {
            pairs.push((k.to_vec(), v.to_vec()));
            Ok(())
        };
        for i in 0..layout.indexes.len() {
            encoder.index(i, &row, &mut keep).unwrap();
        }
        let indexes: Vec<IndexDecoder> =
            layout.indexes.iter().map(|i| IndexDecoder::new(layout.clone(), i).unwrap()).collect();
        for (i, (k, v)) in pairs.iter().enumerate() {
            for bad in damaged(v, &mut dice) {
                let mut out = Vec::new();
                let damage = strict.decode(&[(k, &bad)], &mut out);
                let zero_sum = bad.len() >= 4 && bad[..4] == [0; 4];
                if i < primary && bad != *v && !bad.is_empty() && !zero_sum {
                    assert!(damage.is_err(), "the checksum covers every byte");
                }
                let _ = lax.decode(&[(k, &bad)], &mut out);
                for d in &indexes {
                    let _ = d.decode(k, &bad, &mut out);
                    let _ = d.clone().verify_checksums(false).decode(k, &bad, &mut out);
                }
            }
            for bad in damaged(k, &mut dice) {
                let mut out = Vec::new();
                let _ = lax.decode(&[(&bad, v)], &mut out);
                for (d, c) in out.iter().zip(&layout.columns) {
                    use_datum(d, &c.ty);
                }
                for d in &indexes {
                    let _ = d.clone().verify_checksums(false).decode(&bad, v, &mut Vec::new());
                }
            }
        }
    }
}

#[test]
fn random_bytes_in_every_decoder() {
    let mut dice = Dice(3);
    let types = value_types();
    for round in 0..rounds(12_000) {
        let len = dice.roll(if round % 10 == 0 { 300 } else { 24 });
        // Half of the bytes are small or special, which gets further than noise.
        let b: Vec<u8> = (0..len)
            .map(|_| match dice.roll(2) {
                0 => [0, 1, 2, 3, 0x0a, 0x0f, 0x1f, 0x40, 0x80, 0x88, 0xf5, 0xfd, 0xff][dice.roll(13)],
                _ => dice.roll(256) as u8,
            })
            .collect();
        let _ = mvcc::split(&b);
        let _ = envelope::open_verified(b"k", &b);
        let _ = decimal_code::get_value(&b).map(|d| d.to_string());
        let _ = decimal_code::get_key(&mut Reader::new(&b), Desc);
        if let Ok(v) = json::decode(&b) {
            let mut out = Vec::new();
            v.encode(&mut out).unwrap();
            v.write_text(&mut out).unwrap();
        }
        let _ = geo::ewkb(&b);
        let _ = geo::from_ewkb(&b, false);
        let _ = geo::bounding_box(&b);
        let _ = userfilefs::format::kv::inverted::bounding_box(&b);
        let _ = inverted::skip(&mut Reader::new(&b), None);
        let _ = key::split_family(&b);
        let _ = key::split_tenant(&b);
        let ty = &types[dice.roll(types.len())];
        let _ = array::get(&b, ty, 0);
        for kind in 0..30 {
            if let Ok(d) = value::get_payload(&mut Reader::new(&b), kind, ty, 0) {
                use_datum(&d, ty);
            }
            let _ = value::skip_payload(&mut Reader::new(&b), kind, 0);
            if let Ok(d) = value::get_scalar(kind as u8, &b, ty) {
                use_datum(&d, ty);
            }
        }
        let text = String::from_utf8_lossy(&b);
        let _ = json_parse::parse(&text);
        let _ = Datum::from_text(ty, &text);
    }
}

/// Counts and lengths that promise more than there is allocate nothing.
#[test]
fn lying_counts() {
    let int = ColumnType::INT8;
    assert!(array::get(&[0x01, 0x03, 0xff, 0xff, 0xff, 0x7f], &int, 0).is_err());
    assert!(array::get(&[0x11, 0x03, 0xff, 0xff, 0xff, 0x7f, 0, 0], &int, 0).is_err());
    assert!(json::decode(&[0x8f, 0xff, 0xff, 0xff]).is_err());
    assert!(json::decode(&[0x4f, 0xff, 0xff, 0xff, 0, 0, 0, 0]).is_err());
    let long = [0xff; 10];
    assert!(value::get_payload(&mut Reader::new(&long), value::kind::BYTES, &ColumnType::TEXT, 0).is_err());
    assert!(value::skip_payload(&mut Reader::new(&[0xff, 0xff, 0xff, 0x7f]), value::kind::TUPLE, 0).is_err());
    assert!(
        value::get_payload(
            &mut Reader::new(&[0xbf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]),
            value::kind::BITARRAY,
            &ColumnType::Bit { varying: true, width: 0 },
            0
        )
        .is_err()
    );
}

/// Nesting is bounded, and the bound itself works on a thread of ordinary stack size.
#[test]
fn deep_nesting() {
    let run = || {
        for depth in [json::DEPTH_MAX + 1, json::DEPTH_MAX + 2, 100_000] {
            let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
            assert_eq!(json_parse::parse(&text).is_ok(), depth <= json::DEPTH_MAX + 1, "{depth}");
        }
        let mut nested = vec![0x80, 0, 0, 0];
        for depth in 1..400u32 {
            let mut outer = vec![0x80, 0, 0, 1];
            outer.extend_from_slice(&(0xd000_0000 | nested.len() as u32).to_be_bytes());
            outer.extend_from_slice(&nested);
            nested = outer;
            assert_eq!(json::decode(&nested).is_ok(), depth <= json::DEPTH_MAX as u32, "{depth}");
            if let Ok(v) = json::decode(&nested) {
                let (mut text, mut again) = (Vec::new(), Vec::new());
                v.write_text(&mut text).unwrap();
                v.encode(&mut again).unwrap();
                assert_eq!(again, nested);
            }
        }
        let mut tuples = vec![0x00];
        for _ in 0..10_000 {
            tuples.splice(0..0, [0x01, 0x0f, 0x10]);
        }
        assert!(value::skip_payload(&mut Reader::new(&tuples), value::kind::TUPLE, 0).is_err());
    };
    std::thread::Builder::new().stack_size(2 << 20).spawn(run).unwrap().join().unwrap();
}

/// The longest decimals take milliseconds; longer ones are refused.
#[test]
fn long_decimals() {
    use userfilefs::format::kv::decimal::{DECIMAL_LEN_MAX, Decimal};
    let digits = vec![7u8; 30_000];
    let d = Decimal::from_digits(true, &digits, -5).unwrap();
    let text = d.to_string();
    assert_eq!(text.len(), 30_002);
    assert_eq!(Decimal::from_text(&text), Ok(d.clone()));
    for dir in [Asc, Desc] {
        let mut out = Vec::new();
        decimal_code::put_key(&mut out, &d, dir).unwrap();
        assert_eq!(decimal_code::get_key(&mut Reader::new(&out), dir), Ok(d.clone()));
    }
    let mut out = Vec::new();
    decimal_code::put_value(&mut out, &d).unwrap();
    assert_eq!(decimal_code::get_value(&out), Ok(d));
    let mut huge = vec![0x34, 0x89];
    huge.resize(DECIMAL_LEN_MAX + 3, 0x11);
    assert!(matches!(decimal_code::get_value(&huge), Err(Error::TooLarge { .. })));
    let mut huge = vec![0x2a];
    huge.resize(1_000_000, 0x03);
    huge.extend([0x04, 0x00]);
    assert!(matches!(decimal_code::get_key(&mut Reader::new(&huge), Asc), Err(Error::TooLarge { .. })));
    let exponents = ["34fdffffffffffffffff01", "28fd7fffffffffffffff01", "34f97fffffff01"];
    for digits in exponents {
        assert!(decimal_code::get_value(&super::hex(digits)).is_err(), "{digits}");
    }
}
