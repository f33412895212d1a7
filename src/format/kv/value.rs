//! Datums inside values: tagged (in tuples), untagged (array elements) and alone (single-column families).
//!
//! ```text
//! 23 02          INT: column id delta 2, type 3, zigzag 1
//! 15 05 348d0f4272   DECIMAL: delta 1, type 5, length, compact decimal
//! 1f0f 0c …      JSON: delta 1, type 15 or more in a second NS
//! ```

use super::array;
use super::datum::{Bits, Datum, Interval};
use super::decimal_code;
use super::envelope::tag;
use super::error::{Error, Result};
use super::inet;
use super::key;
use super::layout::Direction;
use super::ordered::{put_float, put_kv};
use super::types::ColumnType;
use super::varint::{Reader, put_leb, put_ns, put_zigzag};
use std::borrow::Cow;

/// Deepest nesting of tuples and arrays that is skipped or read.
pub const DEPTH_MAX: usize = 64;

/// Type numbers of tagged values.
#[allow(missing_docs)]
pub mod kind {
    pub const NULL: u64 = 1;
    pub const NOT_NULL: u64 = 2;
    pub const INT: u64 = 3;
    pub const FLOAT: u64 = 4;
    pub const DECIMAL: u64 = 5;
    pub const BYTES: u64 = 6;
    pub const TIME: u64 = 8;
    pub const DURATION: u64 = 9;
    pub const TRUE: u64 = 10;
    pub const FALSE: u64 = 11;
    pub const UUID: u64 = 12;
    pub const ARRAY: u64 = 13;
    pub const INET: u64 = 14;
    pub const JSON: u64 = 15;
    pub const TUPLE: u64 = 16;
    pub const BITARRAY: u64 = 17;
    pub const TIMETZ: u64 = 19;
    pub const GEO: u64 = 20;
    pub const BOX2D: u64 = 24;
    pub const VOID: u64 = 25;
    pub const TSQUERY: u64 = 26;
    pub const TSVECTOR: u64 = 27;
}

/// Appends a tag: column id delta and type.
#[inline]
pub fn put_tag(out: &mut Vec<u8>, delta: u32, kind: u64) {
    let delta = u64::from(delta) << 4;
    if kind < 15 {
        put_ns(out, delta | kind);
    } else {
        put_ns(out, delta | 15);
        put_ns(out, kind);
    }
}

/// Reads a tag: column id delta and type.
#[inline]
pub fn get_tag(r: &mut Reader<'_>) -> Result<(u32, u64)> {
    const WHAT: &str = "column tag";
    let v = r.ns(WHAT)?;
    let delta = u32::try_from(v >> 4).map_err(|_| Error::Invalid { what: WHAT })?;
    match v & 15 {
        15 => Ok((delta, r.ns(WHAT)?)),
        kind => Ok((delta, kind)),
    }
}

/// Appends a tagged datum. NULL becomes the NULL type; in row tuples leave NULLs out instead.
pub fn put_tagged(out: &mut Vec<u8>, delta: u32, datum: &Datum<'_>, ty: &ColumnType) -> Result<()> {
    let kind = match datum {
        Datum::Null => {
            put_tag(out, delta, kind::NULL);
            return Ok(());
        }
        Datum::Bool(v) => {
            put_tag(out, delta, if *v { kind::TRUE } else { kind::FALSE });
            return Ok(());
        }
        other => kind_of(other, ty)?,
    };
    put_tag(out, delta, kind);
    put_untagged(out, datum, ty)
}

fn kind_of(datum: &Datum<'_>, ty: &ColumnType) -> Result<u64> {
    Ok(match datum {
        Datum::Null => kind::NULL,
        Datum::Bool(true) => kind::TRUE,
        Datum::Bool(false) => kind::FALSE,
        Datum::Int(_) | Datum::Date(_) | Datum::Time(_) | Datum::Oid(_) => kind::INT,
        Datum::Float(_) => kind::FLOAT,
        Datum::Decimal(_) => kind::DECIMAL,
        Datum::String(_) | Datum::Collated(_) | Datum::Bytes(_) | Datum::Enum(_) => kind::BYTES,
        Datum::Timestamp(_) => kind::TIME,
        Datum::Interval(_) => kind::DURATION,
        Datum::Uuid(_) => kind::UUID,
        Datum::Array(_) => kind::ARRAY,
        Datum::Inet(_) => kind::INET,
        Datum::Json(_) => kind::JSON,
        Datum::Tuple(_) => kind::TUPLE,
        Datum::Bits(_) => kind::BITARRAY,
        Datum::TimeTz(_) => kind::TIMETZ,
        Datum::Geo(_) => kind::GEO,
        Datum::Box2d(_) => kind::BOX2D,
        Datum::Opaque(_) => match ty {
            ColumnType::TsVector => kind::TSVECTOR,
            ColumnType::TsQuery => kind::TSQUERY,
            _ => return Err(mismatch(datum, ty)),
        },
    })
}

/// The error for a datum that does not fit its column.
pub(crate) fn mismatch(datum: &Datum<'_>, ty: &ColumnType) -> Error {
    Error::Datum { expected: ty.to_string(), found: datum.kind() }
}

/// Appends a datum's payload without a tag (never NULL; BOOL as its one-byte array form).
pub fn put_untagged(out: &mut Vec<u8>, datum: &Datum<'_>, ty: &ColumnType) -> Result<()> {
    match datum {
        Datum::Null => return Err(mismatch(datum, ty)),
        Datum::Bool(v) => out.push(if *v { 0x0a } else { 0x0b }),
        Datum::Int(v) | Datum::Date(v) | Datum::Time(v) | Datum::Oid(v) => put_zigzag(out, *v),
        Datum::Float(v) => out.extend_from_slice(&v.to_bits().to_be_bytes()),
        Datum::Decimal(v) => {
            let mut raw = Vec::with_capacity(24);
            decimal_code::put_value(&mut raw, v)?;
            put_leb(out, raw.len() as u64);
            out.extend_from_slice(&raw);
        }
        Datum::String(v) | Datum::Bytes(v) | Datum::Enum(v) => put_sized(out, v),
        Datum::Collated(v) => put_sized(out, collated_text(v)?),
        Datum::Json(v) | Datum::Geo(v) | Datum::Opaque(v) => put_sized(out, v),
        Datum::Timestamp(v) => {
            put_zigzag(out, v.secs);
            put_zigzag(out, i64::from(v.nanos));
        }
        Datum::Interval(v) => {
            put_zigzag(out, v.months);
            put_zigzag(out, v.days);
            put_zigzag(out, v.nanos);
        }
        Datum::Uuid(v) => out.extend_from_slice(v),
        Datum::Inet(v) => inet::put(out, v),
        Datum::Array(items) => {
            let mut raw = Vec::with_capacity(4 + 4 * items.len());
            array::put(&mut raw, items, array::element_type(ty)?)?;
            put_sized(out, &raw);
        }
        Datum::Tuple(items) => put_tuple(out, items, ty)?,
        Datum::Bits(v) => put_bits(out, v),
        Datum::TimeTz(v) => {
            put_zigzag(out, v.micros);
            put_zigzag(out, i64::from(v.west));
        }
        Datum::Box2d(v) => v.iter().for_each(|f| put_float(out, *f, Direction::Asc)),
    }
    Ok(())
}

fn put_sized(out: &mut Vec<u8>, bytes: &[u8]) {
    put_ns(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_bits(out: &mut Vec<u8>, v: &Bits<'_>) {
    put_ns(out, v.len as u64);
    out.extend_from_slice(&v.words);
}

fn put_tuple(out: &mut Vec<u8>, items: &[Datum<'_>], ty: &ColumnType) -> Result<()> {
    let ColumnType::Tuple(fields) = ty else {
        return Err(Error::Datum { expected: ty.to_string(), found: "a tuple" });
    };
    if fields.len() != items.len() {
        return Err(Error::Datum { expected: ty.to_string(), found: "a tuple of another length" });
    }
    put_ns(out, items.len() as u64);
    for (item, field) in items.iter().zip(fields) {
        put_tagged(out, 0, item, &field.ty)?;
    }
    Ok(())
}

fn collated_text<'a>(v: &'a super::datum::Collated<'_>) -> Result<&'a [u8]> {
    v.text.as_deref().ok_or(Error::NotDerivable { what: "the text of a collated string" })
}

/// Reads a tagged datum of a type; the delta has its meaning only in row tuples.
pub fn get_tagged<'a>(r: &mut Reader<'a>, ty: &ColumnType) -> Result<(u32, Datum<'a>)> {
    let (delta, kind) = get_tag(r)?;
    Ok((delta, get_payload(r, kind, ty, 0)?))
}

/// Reads the payload of a stored type for a column's type.
#[inline]
pub fn get_payload<'a>(r: &mut Reader<'a>, kind: u64, ty: &ColumnType, depth: usize) -> Result<Datum<'a>> {
    Ok(match (kind, ty) {
        (kind::INT, ColumnType::Int { .. } | ColumnType::PgLsn) => Datum::Int(r.zigzag("integer")?),
        (kind::BYTES, ColumnType::String { .. } | ColumnType::Collated { .. }) => {
            Datum::String(Cow::Borrowed(get_sized(r, "string")?))
        }
        (kind::FLOAT, ColumnType::Float { .. }) => {
            Datum::Float(f64::from_bits(u64::from_be_bytes(r.array("float")?)))
        }
        (kind::DECIMAL, ColumnType::Decimal { .. }) => {
            let len = r.leb("decimal")?;
            Datum::Decimal(decimal_code::get_value(r.take_u64(len, "decimal")?)?)
        }
        (kind::NULL, _) => Datum::Null,
        (kind::TRUE, ColumnType::Bool) => Datum::Bool(true),
        (kind::FALSE, ColumnType::Bool) => Datum::Bool(false),
        (kind::INT, ColumnType::Date) => Datum::Date(key::check_date(r.zigzag("date")?)?),
        (kind::INT, ColumnType::Time { .. }) => Datum::Time(key::check_time(r.zigzag("time")?)?),
        (kind::INT, ColumnType::Oid(_)) => Datum::Oid(r.zigzag("OID")?),
        (kind::BYTES, ColumnType::Bytes) => Datum::Bytes(Cow::Borrowed(get_sized(r, "bytes")?)),
        (kind::BYTES, ColumnType::Enum(_)) => Datum::Enum(Cow::Borrowed(get_sized(r, "enum")?)),
        (kind::TIME, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }) => {
            let secs = r.zigzag("timestamp")?;
            Datum::Timestamp(key::check_timestamp(secs, r.zigzag("timestamp")?)?)
        }
        (kind::DURATION, ColumnType::Interval { .. }) => Datum::Interval(Interval {
            months: r.zigzag("interval")?,
            days: r.zigzag("interval")?,
            nanos: r.zigzag("interval")?,
        }),
        (kind::UUID, ColumnType::Uuid) => Datum::Uuid(r.array("UUID")?),
        (kind::INET, ColumnType::Inet) => Datum::Inet(inet::get(r)?),
        (kind::JSON, ColumnType::Json) => Datum::Json(Cow::Borrowed(get_sized(r, "JSON")?)),
        (kind::BITARRAY, ColumnType::Bit { .. }) => Datum::Bits(get_bits(r)?),
        (kind::TIMETZ, ColumnType::TimeTz { .. }) => {
            let micros = r.zigzag("time")?;
            Datum::TimeTz(key::check_timetz(micros, r.zigzag("time offset")?)?)
        }
        (kind::GEO, ColumnType::Geometry(_) | ColumnType::Geography(_)) => {
            Datum::Geo(Cow::Borrowed(get_sized(r, "spatial object")?))
        }
        (kind::BOX2D, ColumnType::Box2d) => Datum::Box2d(Box::new(key::get_box(r, Direction::Asc)?)),
        (kind::ARRAY, ColumnType::Array(_) | ColumnType::OidVector | ColumnType::Int2Vector) => {
            let raw = get_sized(r, "array")?;
            Datum::Array(array::get(raw, array::element_type(ty)?, depth + 1)?)
        }
        (kind::TUPLE, ColumnType::Tuple(_)) => get_tuple(r, ty, depth + 1)?,
        (kind::TSQUERY, ColumnType::TsQuery) | (kind::TSVECTOR, ColumnType::TsVector) => {
            Datum::Opaque(Cow::Borrowed(get_sized(r, "text search value")?))
        }
        _ => return Err(Error::Mismatch { expected: ty.to_string(), found: kind }),
    })
}

/// As [`get_payload`], into a slot that holds NULL: the most frequent types go there without a detour over a result,
/// which takes as long as reading them.
#[inline]
pub(crate) fn get_payload_into<'a>(
    r: &mut Reader<'a>,
    kind: u64,
    ty: &ColumnType,
    slot: &mut Datum<'a>,
) -> Result<()> {
    // What is overwritten is NULL: there is nothing to drop.
    let mut put = |datum: Datum<'a>| std::mem::forget(std::mem::replace(slot, datum));
    match (kind, ty) {
        (kind::INT, ColumnType::Int { .. }) => put(Datum::Int(r.zigzag("integer")?)),
        (kind::BYTES, ColumnType::String { .. }) => {
            put(Datum::String(Cow::Borrowed(get_sized(r, "string")?)))
        }
        (kind::BYTES, ColumnType::Bytes) => put(Datum::Bytes(Cow::Borrowed(get_sized(r, "bytes")?))),
        (kind::JSON, ColumnType::Json) => put(Datum::Json(Cow::Borrowed(get_sized(r, "JSON")?))),
        (kind::FLOAT, ColumnType::Float { .. }) => {
            put(Datum::Float(f64::from_bits(u64::from_be_bytes(r.array("float")?))));
        }
        (kind::TRUE, ColumnType::Bool) => put(Datum::Bool(true)),
        (kind::FALSE, ColumnType::Bool) => put(Datum::Bool(false)),
        (kind::UUID, ColumnType::Uuid) => put(Datum::Uuid(r.array("UUID")?)),
        (kind::INT, ColumnType::Date) => put(Datum::Date(key::check_date(r.zigzag("date")?)?)),
        (kind::TIME, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }) => {
            let secs = r.zigzag("timestamp")?;
            put(Datum::Timestamp(key::check_timestamp(secs, r.zigzag("timestamp")?)?));
        }
        (kind::DECIMAL, ColumnType::Decimal { .. }) => {
            let len = r.leb("decimal")?;
            put(Datum::Decimal(decimal_code::get_value(r.take_u64(len, "decimal")?)?));
        }
        _ => *slot = get_payload(r, kind, ty, 0)?,
    }
    Ok(())
}

fn get_sized<'a>(r: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8]> {
    let len = r.ns(what)?;
    r.take_u64(len, what)
}

fn get_bits<'a>(r: &mut Reader<'a>) -> Result<Bits<'a>> {
    const WHAT: &str = "bit string";
    let len = usize::try_from(r.ns(WHAT)?).map_err(|_| Error::Invalid { what: WHAT })?;
    let words = r.take(len.div_ceil(64).checked_mul(8).ok_or(Error::Invalid { what: WHAT })?, WHAT)?;
    Ok(Bits { len, words: Cow::Borrowed(words) })
}

fn get_tuple<'a>(r: &mut Reader<'a>, ty: &ColumnType, depth: usize) -> Result<Datum<'a>> {
    const WHAT: &str = "tuple";
    check_depth(depth)?;
    let ColumnType::Tuple(fields) = ty else { return Err(Error::Invalid { what: WHAT }) };
    if r.ns(WHAT)? != fields.len() as u64 {
        return Err(Error::Invalid { what: WHAT });
    }
    let mut items = Vec::with_capacity(fields.len().min(1024));
    for field in fields {
        let (_, kind) = get_tag(r)?;
        items.push(get_payload(r, kind, &field.ty, depth)?);
    }
    Ok(Datum::Tuple(items))
}

pub(crate) fn check_depth(depth: usize) -> Result<()> {
    if depth > DEPTH_MAX {
        return Err(Error::TooLarge { what: "nesting of arrays and tuples", limit: DEPTH_MAX });
    }
    Ok(())
}

/// Skips the payload of a stored type, for columns that no longer exist.
pub fn skip_payload(r: &mut Reader<'_>, kind: u64, depth: usize) -> Result<()> {
    const WHAT: &str = "dropped column";
    match kind {
        kind::NULL | kind::NOT_NULL | kind::TRUE | kind::FALSE | kind::VOID => {}
        kind::INT => {
            r.leb(WHAT)?;
        }
        kind::FLOAT => {
            r.take(8, WHAT)?;
        }
        kind::DECIMAL => {
            let len = r.leb(WHAT)?;
            r.take_u64(len, WHAT)?;
        }
        kind::BYTES | kind::ARRAY | kind::JSON | kind::GEO | kind::TSQUERY | kind::TSVECTOR => {
            get_sized(r, WHAT)?;
        }
        kind::TIME | kind::TIMETZ => {
            r.leb(WHAT)?;
            r.leb(WHAT)?;
        }
        kind::DURATION => {
            for _ in 0..3 {
                r.leb(WHAT)?;
            }
        }
        kind::UUID => {
            r.take(16, WHAT)?;
        }
        kind::INET => {
            inet::get(r)?;
        }
        kind::BITARRAY => {
            get_bits(r)?;
        }
        kind::BOX2D => {
            key::get_box(r, Direction::Asc)?;
        }
        kind::TUPLE => {
            check_depth(depth + 1)?;
            for _ in 0..r.ns(WHAT)? {
                let (_, inner) = get_tag(r)?;
                skip_payload(r, inner, depth + 1)?;
            }
        }
        _ => return Err(Error::Mismatch { expected: "any known type".to_string(), found: kind }),
    }
    Ok(())
}

/// Appends a datum as the only content of a value and returns the value's tag. Not for NULL.
pub fn put_scalar(out: &mut Vec<u8>, datum: &Datum<'_>, ty: &ColumnType) -> Result<u8> {
    Ok(match datum {
        Datum::Null | Datum::Tuple(_) => return Err(mismatch(datum, ty)),
        Datum::Bool(v) => {
            put_zigzag(out, i64::from(*v));
            tag::INT
        }
        Datum::Int(_) | Datum::Date(_) | Datum::Time(_) | Datum::Oid(_) => {
            put_untagged(out, datum, ty)?;
            tag::INT
        }
        Datum::Float(_) => {
            put_untagged(out, datum, ty)?;
            tag::FLOAT
        }
        Datum::Decimal(v) => {
            decimal_code::put_value(out, v)?;
            tag::DECIMAL
        }
        Datum::String(v) | Datum::Bytes(v) | Datum::Enum(v) | Datum::Json(v) | Datum::Opaque(v) => {
            out.extend_from_slice(v);
            tag::BYTES
        }
        Datum::Collated(v) => {
            out.extend_from_slice(collated_text(v)?);
            tag::BYTES
        }
        Datum::Uuid(_) | Datum::Inet(_) => {
            put_untagged(out, datum, ty)?;
            tag::BYTES
        }
        Datum::Array(items) => {
            array::put(out, items, array::element_type(ty)?)?;
            tag::BYTES
        }
        Datum::Timestamp(_) => {
            key::put(out, datum, Direction::Asc)?;
            tag::TIME
        }
        Datum::Interval(v) => {
            key::put_interval(out, v, Direction::Asc)?;
            tag::DURATION
        }
        Datum::TimeTz(_) => {
            key::put(out, datum, Direction::Asc)?;
            tag::TIMETZ
        }
        Datum::Bits(v) => {
            put_bits(out, v);
            tag::BITARRAY
        }
        Datum::Geo(v) => {
            out.extend_from_slice(v);
            tag::GEO
        }
        Datum::Box2d(v) => {
            v.iter().for_each(|f| out.extend_from_slice(&f.to_bits().to_be_bytes()));
            tag::BOX2D
        }
    })
}

/// Reads a datum that is the only content of a value.
pub fn get_scalar<'a>(value_tag: u8, data: &'a [u8], ty: &ColumnType) -> Result<Datum<'a>> {
    let mut r = Reader::new(data);
    let datum = match (value_tag, ty) {
        (tag::INT, ColumnType::Bool) => Datum::Bool(r.zigzag("boolean")? != 0),
        (tag::INT, _) => get_payload(&mut r, kind::INT, ty, 0)?,
        (tag::FLOAT, _) => get_payload(&mut r, kind::FLOAT, ty, 0)?,
        (tag::DECIMAL, ColumnType::Decimal { .. }) => Datum::Decimal(decimal_code::get_value(r.take_rest())?),
        (tag::BYTES, ColumnType::String { .. } | ColumnType::Collated { .. }) => {
            Datum::String(Cow::Borrowed(r.take_rest()))
        }
        (tag::BYTES, ColumnType::Bytes) => Datum::Bytes(Cow::Borrowed(r.take_rest())),
        (tag::BYTES, ColumnType::Enum(_)) => Datum::Enum(Cow::Borrowed(r.take_rest())),
        (tag::BYTES, ColumnType::Json) => Datum::Json(Cow::Borrowed(r.take_rest())),
        (tag::BYTES, ColumnType::TsVector | ColumnType::TsQuery) => {
            Datum::Opaque(Cow::Borrowed(r.take_rest()))
        }
        (tag::BYTES, ColumnType::Uuid) => Datum::Uuid(r.array("UUID")?),
        (tag::BYTES, ColumnType::Inet) => Datum::Inet(inet::get(&mut r)?),
        (tag::BYTES, ColumnType::Array(_) | ColumnType::OidVector | ColumnType::Int2Vector) => {
            Datum::Array(array::get(r.take_rest(), array::element_type(ty)?, 1)?)
        }
        (tag::TIME, ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. }) => {
            Datum::Timestamp(key::get_timestamp(&mut r, Direction::Asc)?)
        }
        (tag::DURATION, ColumnType::Interval { .. }) => {
            Datum::Interval(key::get_interval(&mut r, Direction::Asc)?)
        }
        (tag::TIMETZ, ColumnType::TimeTz { .. }) => Datum::TimeTz(key::get_timetz(&mut r, Direction::Asc)?),
        (tag::BITARRAY, ColumnType::Bit { .. }) => Datum::Bits(get_bits(&mut r)?),
        (tag::GEO, ColumnType::Geometry(_) | ColumnType::Geography(_)) => {
            Datum::Geo(Cow::Borrowed(r.take_rest()))
        }
        (tag::BOX2D, ColumnType::Box2d) => {
            let mut v = [0.0; 4];
            for f in &mut v {
                *f = f64::from_bits(u64::from_be_bytes(r.array("box")?));
            }
            Datum::Box2d(Box::new(v))
        }
        _ => return Err(Error::Mismatch { expected: ty.to_string(), found: u64::from(value_tag) }),
    };
    r.finish("value")?;
    Ok(datum)
}

/// Appends a sequence's value.
pub fn put_sequence(out: &mut Vec<u8>, key: &[u8], value: i64) {
    super::envelope::begin(out, tag::INT);
    put_zigzag(out, value);
    super::envelope::seal(key, out);
}

/// The only key of a sequence: table, index 1, value 0, family 0.
pub fn sequence_key(table_id: u32) -> Vec<u8> {
    let mut key = Vec::new();
    key::put_index_prefix(&mut key, table_id, 1);
    put_kv(&mut key, 0);
    key::put_family(&mut key, 0);
    key
}
