//! Keys of inverted indexes over JSON and arrays.
//!
//! JSON: `37`, the path, `0001`, the leaf. `{"c":{"d":true}}` is `37 63 0002 64 0001 0a`: object keys are
//! escaped, `0002` follows a key with something below it, `0003` is a step into an array.

use super::datum::Datum;
use super::error::{Error, Result};
use super::json::{self, Json};
use super::key;
use super::layout::Direction;
use super::ordered::{put_bytes, put_escaped_open};
use super::{decimal_code, varint::Reader};
use std::collections::BTreeSet;

const JSON: u8 = 0x37;
const EMPTY_JSON_ARRAY: u8 = 0x38;
const EMPTY_JSON_OBJECT: u8 = 0x39;
const GEO: u8 = 0x42;
const EMPTY_ARRAY: u8 = 0x43;

/// The distinct inverted keys of a datum in key order; none for NULL. `index_version` is the descriptor's:
/// from 2 on, NULL elements and empty arrays have entries. Spatial keys cannot be derived.
pub fn keys(datum: &Datum<'_>, index_version: u32) -> Result<BTreeSet<Vec<u8>>> {
    let mut found = BTreeSet::new();
    match datum {
        Datum::Null => {}
        Datum::Json(bytes) => {
            let mut path = vec![JSON];
            json_keys(&json::decode(bytes)?, &mut path, false, &mut found)?;
        }
        Datum::Array(items) => {
            if items.is_empty() && index_version >= 2 {
                found.insert(vec![EMPTY_ARRAY]);
            }
            for item in items.iter().filter(|i| !i.is_null() || index_version >= 2) {
                let mut k = Vec::new();
                key::put(&mut k, item, Direction::Asc)?;
                found.insert(k);
            }
        }
        Datum::Geo(_) => return Err(Error::NotDerivable { what: "a spatial index key" }),
        other => {
            return Err(Error::Datum { expected: "an inverted index".to_string(), found: other.kind() });
        }
    }
    Ok(found)
}

/// `after_key`: the path ends in an object key, which needs its terminator.
fn json_keys(v: &Json<'_>, path: &mut Vec<u8>, after_key: bool, found: &mut BTreeSet<Vec<u8>>) -> Result<()> {
    let from = path.len();
    match v {
        Json::Array(items) if !items.is_empty() => {
            if after_key {
                path.extend_from_slice(&[0x00, 0x02]);
            }
            path.extend_from_slice(&[0x00, 0x03]);
            for item in items {
                json_keys(item, path, false, found)?;
            }
        }
        Json::Object(pairs) if !pairs.is_empty() => {
            if after_key {
                path.extend_from_slice(&[0x00, 0x02]);
            }
            let base = path.len();
            for (key, value) in pairs {
                put_escaped_open(path, key.as_bytes());
                json_keys(value, path, true, found)?;
                path.truncate(base);
            }
        }
        leaf => {
            path.extend_from_slice(&[0x00, 0x01]);
            match leaf {
                Json::Null => path.push(0x00),
                Json::Bool(true) => path.push(0x0a),
                Json::Bool(false) => path.push(0x0b),
                Json::String(s) => put_bytes(path, s.as_bytes(), Direction::Asc),
                Json::Number(d) => decimal_code::put_key(path, d, Direction::Asc)?,
                Json::Array(_) => path.push(EMPTY_JSON_ARRAY),
                Json::Object(_) => path.push(EMPTY_JSON_OBJECT),
            }
            found.insert(path.clone());
        }
    }
    path.truncate(from);
    Ok(())
}

/// Skips an inverted key and returns its bytes. `element`: the element type of an indexed array.
pub fn skip<'a>(r: &mut Reader<'a>, element: Option<&super::types::ColumnType>) -> Result<&'a [u8]> {
    const WHAT: &str = "inverted key";
    let start = r.rest();
    match (r.peek(), element) {
        (Some(EMPTY_ARRAY), Some(_)) => {
            r.u8(WHAT)?;
        }
        (_, Some(element)) => {
            key::get(r, element, Direction::Asc)?;
        }
        (Some(JSON), None) => skip_json(r)?,
        (Some(GEO), None) => {
            r.u8(WHAT)?;
            super::ordered::get_ku(r, WHAT)?;
            let floats = match r.u8(WHAT)? {
                1 => 2,
                _ => 4,
            };
            r.take(floats * 8, WHAT)?;
        }
        _ => return Err(Error::Invalid { what: WHAT }),
    }
    let used = start.len() - r.rest().len();
    Ok(start.get(..used).unwrap_or_default())
}

/// Low x, high x, low y, high y in a spatial inverted key.
pub fn bounding_box(key: &[u8]) -> Result<[f64; 4]> {
    const WHAT: &str = "spatial inverted key";
    let mut r = Reader::new(key);
    if r.u8(WHAT)? != GEO {
        return Err(Error::Invalid { what: WHAT });
    }
    super::ordered::get_ku(&mut r, WHAT)?;
    let point = r.u8(WHAT)? == 1;
    let mut float = || Ok(f64::from_be_bytes(r.array(WHAT)?));
    let (lo_x, lo_y) = (float()?, float()?);
    let (hi_x, hi_y) = if point { (lo_x, lo_y) } else { (float()?, float()?) };
    r.finish(WHAT)?;
    Ok([lo_x, hi_x, lo_y, hi_y])
}

fn skip_json(r: &mut Reader<'_>) -> Result<()> {
    const WHAT: &str = "JSON inverted key";
    r.u8(WHAT)?;
    loop {
        if r.u8(WHAT)? == 0x00 {
            match r.u8(WHAT)? {
                0x01 => break,
                0x02 | 0x03 | 0xff => {}
                _ => return Err(Error::Invalid { what: WHAT }),
            }
        }
    }
    match r.peek() {
        Some(0x00 | 0x0a | 0x0b | EMPTY_JSON_ARRAY | EMPTY_JSON_OBJECT) => {
            r.u8(WHAT)?;
        }
        Some(super::ordered::BYTES_ASC) => {
            super::ordered::get_bytes_string(r, Direction::Asc, WHAT)?;
        }
        _ => {
            decimal_code::get_key(r, Direction::Asc)?;
        }
    }
    Ok(())
}
