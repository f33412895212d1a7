//! Arrays in values: `11 03 03 02 02 05` is ARRAY[1,NULL,-3].
//!
//! ```text
//! 11          03      03      02              02 05
//! └ 1 dim,    └ type  └ count └ NULL bitmap,  └ the elements that are not NULL
//!   bitmap                      LSB first
//! ```

use super::datum::Datum;
use super::error::{Error, Result};
use super::types::{ColumnType, OidKind};
use super::value::{check_depth, get_payload, get_tag, kind, mismatch, put_tag, put_untagged};
use super::varint::{Reader, put_ns};

const HAS_NULLS: u8 = 0x10;
const WHAT: &str = "array";

const OID: ColumnType = ColumnType::Oid(OidKind::Oid);
const INT2: ColumnType = ColumnType::Int { width: 16 };

/// The type of an array type's elements.
pub fn element_type(ty: &ColumnType) -> Result<&ColumnType> {
    match ty {
        ColumnType::Array(element) => Ok(element),
        ColumnType::OidVector => Ok(&OID),
        ColumnType::Int2Vector => Ok(&INT2),
        _ => Err(Error::Datum { expected: ty.to_string(), found: "an array" }),
    }
}

fn element_kind(ty: &ColumnType) -> Result<u64> {
    Ok(match ty {
        ColumnType::Bool => kind::TRUE,
        ColumnType::Int { .. }
        | ColumnType::Date
        | ColumnType::Time { .. }
        | ColumnType::Oid(_)
        | ColumnType::PgLsn => kind::INT,
        ColumnType::Float { .. } => kind::FLOAT,
        ColumnType::Decimal { .. } => kind::DECIMAL,
        ColumnType::String { .. } | ColumnType::Collated { .. } | ColumnType::Bytes | ColumnType::Enum(_) => {
            kind::BYTES
        }
        ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => kind::TIME,
        ColumnType::Interval { .. } => kind::DURATION,
        ColumnType::Uuid => kind::UUID,
        ColumnType::Inet => kind::INET,
        ColumnType::Json => kind::JSON,
        ColumnType::Tuple(_) => kind::TUPLE,
        ColumnType::Bit { .. } => kind::BITARRAY,
        ColumnType::TimeTz { .. } => kind::TIMETZ,
        ColumnType::Geometry(_) | ColumnType::Geography(_) => kind::GEO,
        ColumnType::Box2d => kind::BOX2D,
        ColumnType::TsQuery => kind::TSQUERY,
        ColumnType::TsVector => kind::TSVECTOR,
        ColumnType::Array(_) | ColumnType::OidVector | ColumnType::Int2Vector => kind::ARRAY,
        ColumnType::Unknown { .. } => {
            return Err(Error::Datum { expected: ty.to_string(), found: "an array element" });
        }
    })
}

/// Appends an array without an outer length.
pub fn put(out: &mut Vec<u8>, items: &[Datum<'_>], element: &ColumnType) -> Result<()> {
    let has_nulls = items.iter().any(Datum::is_null);
    out.push(if has_nulls { 1 | HAS_NULLS } else { 1 });
    put_tag(out, 0, element_kind(element)?);
    put_ns(out, items.len() as u64);
    if has_nulls {
        for eight in items.chunks(8) {
            out.push(
                eight.iter().enumerate().fold(0, |byte, (i, item)| byte | u8::from(item.is_null()) << i),
            );
        }
    }
    for item in items.iter().filter(|i| !i.is_null()) {
        if let (Datum::Array(_), ColumnType::Array(_)) = (item, element) {
            return Err(mismatch(item, element));
        }
        put_untagged(out, item, element)?;
    }
    Ok(())
}

/// Reads an array that takes all of `bytes`. Allocates at most 8 datums per input byte.
pub fn get<'a>(bytes: &'a [u8], element: &ColumnType, depth: usize) -> Result<Vec<Datum<'a>>> {
    check_depth(depth)?;
    let mut r = Reader::new(bytes);
    let header = r.u8(WHAT)?;
    if header & !HAS_NULLS != 1 {
        return Err(Error::Invalid { what: "array (only one dimension is known)" });
    }
    let (_, stored) = get_tag(&mut r)?;
    let count = r.ns(WHAT)?;
    let left = r.rest().len() as u64;
    let possible = if header & HAS_NULLS != 0 { left.saturating_mul(8) } else { left };
    if count > possible {
        return Err(Error::Truncated { what: WHAT });
    }
    let count = usize::try_from(count).map_err(|_| Error::Truncated { what: WHAT })?;
    let nulls = if header & HAS_NULLS != 0 { r.take(count.div_ceil(8), WHAT)? } else { &[] };
    let mut items = Vec::with_capacity(count);
    for i in 0..count {
        let null = nulls.get(i / 8).is_some_and(|b| b >> (i % 8) & 1 == 1);
        items.push(if null { Datum::Null } else { get_element(&mut r, stored, element, depth)? });
    }
    r.finish(WHAT)?;
    Ok(items)
}

fn get_element<'a>(r: &mut Reader<'a>, stored: u64, element: &ColumnType, depth: usize) -> Result<Datum<'a>> {
    match (stored, element) {
        (kind::TRUE | kind::FALSE, ColumnType::Bool) => match r.u8(WHAT)? {
            0x0a => Ok(Datum::Bool(true)),
            0x0b => Ok(Datum::Bool(false)),
            _ => Err(Error::Invalid { what: "array of booleans" }),
        },
        (kind::NULL, _) => Err(Error::Invalid { what: WHAT }),
        _ => get_payload(r, stored, element, depth),
    }
}
