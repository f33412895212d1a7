//! Datums from texts: what [`Datum::to_string_cast`] writes, for tests and for writers of samples.

use super::datum::{Bits, Datum, Inet};
use super::decimal::Decimal;
use super::error::{Error, Result};
use super::types::ColumnType;
use super::{array, geo, json_parse, ordered, time};
use std::borrow::Cow;

impl Datum<'static> {
    /// Parses a text of a type. BYTES is hex, with or without `\x`. Not for tuples.
    pub fn from_text(ty: &ColumnType, text: &str) -> Result<Datum<'static>> {
        let bad = || Error::text(ty, text);
        let own = |s: &str| Cow::Owned(s.as_bytes().to_vec());
        Ok(match ty {
            ColumnType::Bool => match text {
                "true" | "t" => Datum::Bool(true),
                "false" | "f" => Datum::Bool(false),
                _ => return Err(bad()),
            },
            ColumnType::Int { .. } => Datum::Int(text.parse().map_err(|_| bad())?),
            ColumnType::Oid(_) => Datum::Oid(text.parse().map_err(|_| bad())?),
            ColumnType::Float { .. } => Datum::Float(parse_float(text).ok_or_else(bad)?),
            ColumnType::Decimal { .. } => Datum::Decimal(Decimal::from_text(text)?),
            ColumnType::String { .. } | ColumnType::Collated { .. } => Datum::String(own(text)),
            ColumnType::Bytes => {
                Datum::Bytes(Cow::Owned(parse_hex(text.strip_prefix("\\x").unwrap_or(text)).ok_or_else(bad)?))
            }
            ColumnType::Date => Datum::Date(time::parse_date(text)?),
            ColumnType::Time { .. } => Datum::Time(time::parse_time(text)?),
            ColumnType::TimeTz { .. } => Datum::TimeTz(time::parse_timetz(text)?),
            ColumnType::Timestamp { .. } | ColumnType::TimestampTz { .. } => {
                Datum::Timestamp(time::parse_timestamp(text)?)
            }
            ColumnType::Interval { .. } => Datum::Interval(time::parse_interval(text)?),
            ColumnType::Uuid => {
                let hex: String = text.chars().filter(|c| *c != '-').collect();
                let raw = parse_hex(&hex).and_then(|v| <[u8; 16]>::try_from(v).ok());
                Datum::Uuid(raw.ok_or_else(bad)?)
            }
            ColumnType::Inet => Datum::Inet(Inet::from_text(text)?),
            ColumnType::Json => {
                let mut raw = Vec::new();
                json_parse::parse(text)?.encode(&mut raw)?;
                Datum::Json(Cow::Owned(raw))
            }
            ColumnType::Bit { .. } => Datum::Bits(Bits::from_text(text)?),
            ColumnType::Array(_) => Datum::Array(parse_array(ty, text)?),
            ColumnType::OidVector | ColumnType::Int2Vector => {
                let element = array::element_type(ty)?;
                let items = text.split_ascii_whitespace().map(|t| Datum::from_text(element, t));
                Datum::Array(items.collect::<Result<_>>()?)
            }
            ColumnType::Enum(e) => Datum::Enum(Cow::Owned(e.physical(text).ok_or_else(bad)?.to_vec())),
            ColumnType::Geometry(_) | ColumnType::Geography(_) => {
                let raw = parse_hex(text).ok_or_else(bad)?;
                let geography = matches!(ty, ColumnType::Geography(_));
                Datum::Geo(Cow::Owned(geo::from_ewkb(&raw, geography)?))
            }
            ColumnType::Box2d => Datum::Box2d(Box::new(parse_box(text).ok_or_else(bad)?)),
            ColumnType::PgLsn => {
                let (high, low) = text.split_once('/').ok_or_else(bad)?;
                let part = |s| u32::from_str_radix(s, 16).map_err(|_| bad());
                Datum::Int((u64::from(part(high)?) << 32 | u64::from(part(low)?)).cast_signed())
            }
            ColumnType::Tuple(_)
            | ColumnType::TsVector
            | ColumnType::TsQuery
            | ColumnType::Unknown { .. } => {
                return Err(Error::NotDerivable { what: "a value of this type from its text" });
            }
        })
    }
}

fn parse_float(text: &str) -> Option<f64> {
    match text {
        "NaN" => Some(ordered::NAN),
        "+Inf" | "Inf" | "Infinity" => Some(f64::INFINITY),
        "-Inf" | "-Infinity" => Some(f64::NEG_INFINITY),
        _ => text.parse().ok().filter(|v: &f64| v.is_finite()),
    }
}

/// Hex digits to bytes.
pub fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.bytes().map(|c| char::from(c).to_digit(16).and_then(|d| u8::try_from(d).ok()));
    let digits: Vec<u8> = digits.collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty().then(|| pairs.iter().map(|[a, b]| a << 4 | b).collect())
}

fn parse_box(text: &str) -> Option<[f64; 4]> {
    let inner = text.strip_prefix("BOX(")?.strip_suffix(')')?;
    let mut numbers = inner.split([' ', ',']).map(|t| t.parse::<f64>().ok());
    let mut next = || numbers.next()?;
    let (lo_x, lo_y, hi_x, hi_y) = (next()?, next()?, next()?, next()?);
    numbers.next().is_none().then_some([lo_x, hi_x, lo_y, hi_y])
}

/// `{a,NULL,"b c"}`; one dimension.
fn parse_array(ty: &ColumnType, text: &str) -> Result<Vec<Datum<'static>>> {
    let bad = || Error::text(ty, text);
    let element = array::element_type(ty)?;
    let inner = text.strip_prefix('{').and_then(|t| t.strip_suffix('}')).ok_or_else(bad)?;
    let mut items = Vec::new();
    if inner.is_empty() {
        return Ok(items);
    }
    let mut chars = inner.chars().peekable();
    loop {
        let mut item = String::new();
        let quoted = chars.next_if_eq(&'"').is_some();
        loop {
            match chars.next() {
                Some('"') if quoted => break,
                Some('\\') => item.push(chars.next().ok_or_else(bad)?),
                None if quoted => return Err(bad()),
                Some(c) => item.push(c),
                None => break,
            }
            if !quoted && matches!(chars.peek(), Some(',') | None) {
                break;
            }
        }
        items.push(match item.as_str() {
            "NULL" if !quoted => Datum::Null,
            item => Datum::from_text(element, item)?,
        });
        match chars.next() {
            None => return Ok(items),
            Some(',') => {}
            Some(_) => return Err(bad()),
        }
    }
}
