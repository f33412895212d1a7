//! Datums as parts of keys, ascending and descending, and the prefixes and suffixes around them.
//!
//! ```text
//! e689        89        2a0364 00        88
//! └ KU table, └ INT 1   └ DECIMAL 1.5    └ family 0 (family 1: 8989, family 200: f6c88a)
//!   KU index
//! ```

use super::datum::{Bits, Collated, Datum, Instant, Interval, TimeTz};
use super::decimal_code;
use super::error::{Error, Result};
use super::inet;
use super::layout::Direction;
use super::ordered::{
    NULL_ASC, NULL_DESC, get_bytes_string, get_escaped, get_float, get_int, get_ku, get_uint, put_bytes,
    put_float, put_int, put_ku, put_uint,
};
use super::time::{DAY_MICROS, DAYS_MAX, SECONDS_MAX};
use super::types::ColumnType;
use super::varint::Reader;
use std::borrow::Cow;

const TIME: u8 = 0x14;
const DURATION: u8 = 0x16;
const BITS_ASC: u8 = 0x3a;
const BITS_DESC: u8 = 0x3b;
const TIMETZ: u8 = 0x3c;
const GEO_ASC: u8 = 0x3d;
const GEO_DESC: u8 = 0x3e;
const ARRAY_ASC: u8 = 0x3f;
const ARRAY_DESC: u8 = 0x40;
const BOX2D: u8 = 0x41;

/// A tenant's prefix: `fe`, then KU of its id.
pub const TENANT: u8 = 0xfe;

/// Appends KU(table) KU(index).
pub fn put_index_prefix(out: &mut Vec<u8>, table_id: u32, index_id: u32) {
    put_ku(out, u64::from(table_id));
    put_ku(out, u64::from(index_id));
}

/// Reads table and index id.
pub fn get_index_prefix(r: &mut Reader<'_>) -> Result<(u64, u64)> {
    Ok((get_ku(r, "table id")?, get_ku(r, "index id")?))
}

/// The beginning of a key that all keys of its index have, with a tenant's prefix; and table and index id.
pub fn index_prefix(key: &[u8]) -> Result<(&[u8], (u64, u64))> {
    let (_, rest) = split_tenant(key)?;
    let mut r = Reader::new(rest);
    let ids = get_index_prefix(&mut r)?;
    Ok((key.get(..key.len() - r.rest().len()).unwrap_or_default(), ids))
}

/// The span of an index: first key and first key beyond it.
pub fn index_span(table_id: u32, index_id: u32) -> (Vec<u8>, Vec<u8>) {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    put_index_prefix(&mut start, table_id, index_id);
    put_ku(&mut end, u64::from(table_id));
    put_ku(&mut end, u64::from(index_id) + 1);
    (start, end)
}

/// The span of a whole table.
pub fn table_span(table_id: u32) -> (Vec<u8>, Vec<u8>) {
    let (mut start, mut end) = (Vec::new(), Vec::new());
    put_ku(&mut start, u64::from(table_id));
    put_ku(&mut end, u64::from(table_id) + 1);
    (start, end)
}

/// Splits a tenant's prefix off a key; `None` for the system tenant.
pub fn split_tenant(key: &[u8]) -> Result<(Option<u64>, &[u8])> {
    match key.split_first() {
        Some((&TENANT, rest)) => {
            let mut r = Reader::new(rest);
            let id = get_ku(&mut r, "tenant id")?;
            Ok((Some(id), r.rest()))
        }
        _ => Ok((None, key)),
    }
}

/// Appends a family suffix.
pub fn put_family(out: &mut Vec<u8>, family: u32) {
    let from = out.len();
    put_ku(out, u64::from(family));
    if family != 0 {
        let len = out.len() - from;
        put_ku(out, len as u64);
    }
}

/// Length of the row prefix (the key without its family suffix) and the family. Works from the right, so
/// it needs no types.
pub fn split_family(key: &[u8]) -> Result<(usize, u32)> {
    const WHAT: &str = "family suffix";
    let Some((last, front)) = key.split_last() else { return Err(Error::Truncated { what: WHAT }) };
    let len = match last {
        0x88 => return Ok((front.len(), 0)),
        0x89..=0x91 => usize::from(last - 0x88),
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    let at = front.len().checked_sub(len).ok_or(Error::Truncated { what: WHAT })?;
    let mut r = Reader::new(front.get(at..).unwrap_or_default());
    let family = get_ku(&mut r, WHAT)?;
    r.finish(WHAT)?;
    Ok((at, u32::try_from(family).map_err(|_| Error::Invalid { what: WHAT })?))
}

/// Appends a datum. Collated strings need their sort key; JSON, tuples and spatial objects have no forward
/// key that can be derived.
pub fn put(out: &mut Vec<u8>, datum: &Datum<'_>, dir: Direction) -> Result<()> {
    let asc = dir == Direction::Asc;
    match datum {
        Datum::Null => out.push(if asc { NULL_ASC } else { NULL_DESC }),
        Datum::Bool(v) => put_int(out, i64::from(*v), dir),
        Datum::Int(v) | Datum::Date(v) | Datum::Time(v) | Datum::Oid(v) => put_int(out, *v, dir),
        Datum::Float(v) => put_float(out, *v, dir),
        Datum::Decimal(v) => decimal_code::put_key(out, v, dir)?,
        Datum::String(v) | Datum::Bytes(v) | Datum::Enum(v) => put_bytes(out, v, dir),
        Datum::Collated(v) => put_bytes(out, &v.sort_key, dir),
        Datum::Uuid(v) => put_bytes(out, v, dir),
        Datum::Inet(v) => {
            let mut raw = Vec::with_capacity(18);
            inet::put(&mut raw, v);
            put_bytes(out, &raw, dir);
        }
        Datum::Timestamp(v) => {
            out.push(TIME);
            put_int(out, v.secs, dir);
            put_int(out, i64::from(v.nanos), dir);
        }
        Datum::Interval(v) => put_interval(out, v, dir)?,
        Datum::TimeTz(v) => {
            out.push(TIMETZ);
            put_int(out, v.micros + i64::from(v.west) * 1_000_000, dir);
            put_int(out, i64::from(v.west), dir);
        }
        Datum::Bits(v) => put_bits(out, v, dir),
        Datum::Box2d(v) => {
            out.push(BOX2D);
            v.iter().for_each(|f| put_float(out, *f, dir));
        }
        Datum::Array(items) => {
            out.push(if asc { ARRAY_ASC } else { ARRAY_DESC });
            for item in items {
                match item {
                    Datum::Null => out.push(if asc { 0x01 } else { 0xfe }),
                    item => put(out, item, dir)?,
                }
            }
            out.push(if asc { 0x00 } else { 0xff });
        }
        Datum::Json(_) => return Err(Error::NotDerivable { what: "a JSON key" }),
        Datum::Tuple(_) => return Err(Error::NotDerivable { what: "a tuple key" }),
        Datum::Geo(_) => return Err(Error::NotDerivable { what: "a spatial key" }),
        Datum::Opaque(_) => return Err(Error::NotDerivable { what: "a key of an unknown type" }),
    }
    Ok(())
}

pub(crate) fn put_interval(out: &mut Vec<u8>, v: &Interval, dir: Direction) -> Result<()> {
    let sort = v.sort_nanos().ok_or(Error::Invalid { what: "interval (beyond 64 bits of nanoseconds)" })?;
    out.push(DURATION);
    put_int(out, sort, dir);
    put_int(out, v.months, dir);
    put_int(out, v.days, dir);
    Ok(())
}

fn put_bits(out: &mut Vec<u8>, v: &Bits<'_>, dir: Direction) {
    let asc = dir == Direction::Asc;
    out.push(if asc { BITS_ASC } else { BITS_DESC });
    for word in v.words.as_chunks::<8>().0 {
        put_uint(out, u64::from_be_bytes(*word), dir);
    }
    out.push(if asc { 0x00 } else { 0xff });
    let last = match v.len {
        0 => 0,
        n => (n - 1) % 64 + 1,
    };
    put_uint(out, last as u64, dir);
}

/// Reads a datum of a type.
pub fn get<'a>(r: &mut Reader<'a>, ty: &ColumnType, dir: Direction) -> Result<Datum<'a>> {
    match (r.peek(), dir) {
        (Some(NULL_ASC), Direction::Asc) | (Some(NULL_DESC), Direction::Desc) => {
            r.u8("key column")?;
            return Ok(Datum::Null);
        }
        _ => {}
    }
    get_not_null(r, ty, dir)
}

fn get_not_null<'a>(r: &mut Reader<'a>, ty: &ColumnType, dir: Direction) -> Result<Datum<'a>> {
    Ok(match ty {
        ColumnType::Int { .. } | ColumnType::PgLsn => Datum::Int(get_int(r, dir, "integer key")?),
        ColumnType::String { .. } => Datum::String(get_bytes_string(r, dir, "string key")?),
        ColumnType::Bool => match get_int(r, dir, "boolean key")? {
            0 => Datum::Bool(false),
            1 => Datum::Bool(true),
            _ => return Err(Error::Invalid { what: "boolean key" }),
        },
        ColumnType::Float { .. } => Datum::Float(get_float(r, dir, "float key")?),
        ColumnType::Decimal { .. } => Datum::Decimal(decimal_code::get_key(r, dir)?),
        ColumnType::Bytes => Datum::Bytes(get_bytes_string(r, dir, "bytes key")?),
        ColumnType::Enum(_) => Datum::Enum(get_bytes_string(r, dir, "enum key")?),
        ColumnType::Collated { .. } => Datum::Collated(Box::new(Collated {
            text: None,
            sort_key: get_bytes_string(r, dir, "collation key")?,
        })),
        ColumnType::Date => Datum::Date(check_date(get_int(r, dir, "date key")?)?),
        ColumnType::Time { .. } => Datum::Time(check_time(get_int(r, dir, "time key")?)?),
        ColumnType::Oid(_) => Datum::Oid(get_int(r, dir, "OID key")?),
        ColumnType::Uuid => Datum::Uuid(
            <[u8; 16]>::try_from(get_bytes_string(r, dir, "UUID key")?.as_ref())
                .map_err(|_| Error::Invalid { what: "UUID key" })?,
        ),
        ColumnType::Inet => {
            let raw = get_bytes_string(r, dir, "INET key")?;
            let mut raw = Reader::new(&raw);
            let v = inet::get(&mut raw)?;
            raw.finish("INET key")?;
            Datum::Inet(v)
        }
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => {
            Datum::Timestamp(get_timestamp(r, dir)?)
        }
        ColumnType::Interval { .. } => Datum::Interval(get_interval(r, dir)?),
        ColumnType::TimeTz { .. } => Datum::TimeTz(get_timetz(r, dir)?),
        ColumnType::Bit { .. } => Datum::Bits(get_bits(r, dir)?),
        ColumnType::Box2d => {
            marker(r, BOX2D, "box key")?;
            Datum::Box2d(Box::new(get_box(r, dir)?))
        }
        ColumnType::Array(element) => get_array(r, element, dir)?,
        ColumnType::OidVector => get_array(r, &ColumnType::Oid(super::types::OidKind::Oid), dir)?,
        ColumnType::Int2Vector => get_array(r, &ColumnType::Int { width: 16 }, dir)?,
        ColumnType::Geometry(_) | ColumnType::Geography(_) => get_geo(r, dir)?,
        ColumnType::Json
        | ColumnType::Tuple(_)
        | ColumnType::TsVector
        | ColumnType::TsQuery
        | ColumnType::Unknown { .. } => {
            return Err(Error::Mismatch { expected: ty.to_string(), found: u64::from(r.u8("key column")?) });
        }
    })
}

fn marker(r: &mut Reader<'_>, expected: u8, what: &'static str) -> Result<()> {
    if r.u8(what)? == expected { Ok(()) } else { Err(Error::Invalid { what }) }
}

pub(crate) fn check_date(days: i64) -> Result<i64> {
    match days {
        i64::MIN | i64::MAX => Ok(days),
        _ if (-DAYS_MAX..=DAYS_MAX).contains(&days) => Ok(days),
        _ => Err(Error::Invalid { what: "date (out of range)" }),
    }
}

pub(crate) fn check_time(micros: i64) -> Result<i64> {
    match micros {
        0..=DAY_MICROS => Ok(micros),
        _ => Err(Error::Invalid { what: "time of day (out of range)" }),
    }
}

pub(crate) fn check_timestamp(secs: i64, nanos: i64) -> Result<Instant> {
    match (secs, u32::try_from(nanos)) {
        (_, Ok(nanos @ 0..=999_999_999)) if (-SECONDS_MAX..=SECONDS_MAX).contains(&secs) => {
            Ok(Instant { secs, nanos })
        }
        _ => Err(Error::Invalid { what: "timestamp (out of range)" }),
    }
}

pub(crate) fn check_timetz(micros: i64, west: i64) -> Result<TimeTz> {
    match i32::try_from(west) {
        Ok(west @ -86_400..=86_400) => Ok(TimeTz { micros: check_time(micros)?, west }),
        _ => Err(Error::Invalid { what: "time offset (out of range)" }),
    }
}

/// Reads `14 ‖ seconds ‖ nanoseconds`.
pub(crate) fn get_timestamp(r: &mut Reader<'_>, dir: Direction) -> Result<Instant> {
    const WHAT: &str = "timestamp key";
    marker(r, TIME, WHAT)?;
    let secs = get_int(r, dir, WHAT)?;
    check_timestamp(secs, get_int(r, dir, WHAT)?)
}

/// Reads `16 ‖ sort nanoseconds ‖ months ‖ days`.
pub(crate) fn get_interval(r: &mut Reader<'_>, dir: Direction) -> Result<Interval> {
    const WHAT: &str = "interval key";
    marker(r, DURATION, WHAT)?;
    let sort = get_int(r, dir, WHAT)?;
    let months = get_int(r, dir, WHAT)?;
    let days = get_int(r, dir, WHAT)?;
    Interval::from_sort_nanos(sort, months, days).ok_or(Error::Invalid { what: WHAT })
}

/// Reads `3c ‖ UTC microseconds ‖ offset`.
pub(crate) fn get_timetz(r: &mut Reader<'_>, dir: Direction) -> Result<TimeTz> {
    const WHAT: &str = "time key";
    marker(r, TIMETZ, WHAT)?;
    let utc = get_int(r, dir, WHAT)?;
    let west = get_int(r, dir, WHAT)?;
    let micros = west.checked_mul(1_000_000).and_then(|w| utc.checked_sub(w));
    check_timetz(micros.ok_or(Error::Invalid { what: WHAT })?, west)
}

fn get_bits(r: &mut Reader<'_>, dir: Direction) -> Result<Bits<'static>> {
    const WHAT: &str = "bit string key";
    let (start, end) = match dir {
        Direction::Asc => (BITS_ASC, 0x00),
        Direction::Desc => (BITS_DESC, 0xff),
    };
    marker(r, start, WHAT)?;
    let mut words = Vec::new();
    while r.peek() != Some(end) {
        words.extend_from_slice(&get_uint(r, dir, WHAT)?.to_be_bytes());
    }
    r.u8(WHAT)?;
    let last = usize::try_from(get_uint(r, dir, WHAT)?).map_err(|_| Error::Invalid { what: WHAT })?;
    let len = match (words.len(), last) {
        (0, 0) => 0,
        (n @ 8.., 1..=64) => (n / 8 - 1) * 64 + last,
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    Ok(Bits { len, words: Cow::Owned(words) })
}

/// Reads four floats.
pub(crate) fn get_box(r: &mut Reader<'_>, dir: Direction) -> Result<[f64; 4]> {
    let mut v = [0.0; 4];
    for f in &mut v {
        *f = get_float(r, dir, "box")?;
    }
    Ok(v)
}

fn get_array<'a>(r: &mut Reader<'a>, element: &ColumnType, dir: Direction) -> Result<Datum<'a>> {
    const WHAT: &str = "array key";
    let (start, null, end) = match dir {
        Direction::Asc => (ARRAY_ASC, 0x01, 0x00),
        Direction::Desc => (ARRAY_DESC, 0xfe, 0xff),
    };
    marker(r, start, WHAT)?;
    let mut items = Vec::new();
    loop {
        match r.peek() {
            Some(b) if b == end => {
                r.u8(WHAT)?;
                return Ok(Datum::Array(items));
            }
            Some(b) if b == null => {
                r.u8(WHAT)?;
                items.push(Datum::Null);
            }
            _ => items.push(get_not_null(r, element, dir)?),
        }
    }
}

fn get_geo<'a>(r: &mut Reader<'a>, dir: Direction) -> Result<Datum<'a>> {
    const WHAT: &str = "spatial key";
    let (start, mask) = match dir {
        Direction::Asc => (GEO_ASC, 0x00),
        Direction::Desc => (GEO_DESC, 0xff),
    };
    marker(r, start, WHAT)?;
    r.take(8, WHAT)?;
    Ok(Datum::Geo(get_escaped(r, mask, WHAT)?))
}
