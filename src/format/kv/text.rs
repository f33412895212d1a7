//! Texts of datums: CockroachDB's `::STRING` cast and PostgreSQL's output functions.
//!
//! The cast is that of v21.1, which the recorded dumps hold: floats with 17 digits, years before 1 AD of
//! timestamps negative, offsets of times with seconds.

use super::datum::{Bits, Datum};
use super::error::{Error, Result};
use super::json;
use super::time::{self, Era};
use super::types::{ColumnType, EnumType};
use super::value::mismatch;
use super::{array, float, geo};

/// Whose texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// CockroachDB's `::STRING`; BYTES as bare hex.
    Cast,
    /// PostgreSQL's text output (COPY, CSV).
    Postgres,
}

impl Datum<'_> {
    /// The text of CockroachDB's `::STRING` cast, BYTES as hex without prefix; `None` for NULL. Strings that
    /// are not UTF-8 get replacement characters; [`Datum::write_text`] keeps their bytes.
    pub fn to_string_cast(&self, ty: &ColumnType) -> Result<Option<String>> {
        let mut out = Vec::new();
        if !self.write_text(ty, Style::Cast, &mut out)? {
            return Ok(None);
        }
        Ok(Some(
            String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned()),
        ))
    }

    /// Appends the text in a style. `false` and nothing for NULL.
    pub fn write_text(&self, ty: &ColumnType, style: Style, out: &mut Vec<u8>) -> Result<bool> {
        match (self, style) {
            (Datum::Null, _) => return Ok(false),
            (Datum::Bytes(v), Style::Cast) => write_hex(out, v, false),
            (Datum::Bool(v), Style::Cast) => out.extend_from_slice(if *v { b"true" } else { b"false" }),
            (Datum::Float(v), Style::Cast) => float::write_17(out, *v),
            (Datum::Enum(v), _) => out.extend_from_slice(label(v, ty)?.as_bytes()),
            _ => self.write_inner(ty, style, out)?,
        }
        Ok(true)
    }

    /// The text as an element of an array or tuple, before quoting, and everything that is alike there.
    fn write_inner(&self, ty: &ColumnType, style: Style, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Datum::Null => out.extend_from_slice(b"NULL"),
            Datum::Bool(v) => out.push(if *v { b't' } else { b'f' }),
            Datum::Int(v) if *ty == ColumnType::PgLsn => {
                let v = v.cast_unsigned();
                out.extend_from_slice(format!("{:X}/{:X}", v >> 32, v & 0xffff_ffff).as_bytes());
            }
            Datum::Int(v) | Datum::Oid(v) => time::put_padded(out, *v, 1),
            Datum::Float(v) => match style {
                Style::Cast => float::write_element(out, *v),
                Style::Postgres => float::write_postgres(out, *v),
            },
            Datum::Decimal(v) => v.write_text(out)?,
            Datum::String(v) | Datum::Opaque(v) => out.extend_from_slice(v),
            Datum::Collated(v) => match &v.text {
                Some(text) => out.extend_from_slice(text),
                None => return Err(Error::NotDerivable { what: "the text of a collated string" }),
            },
            Datum::Bytes(v) => {
                out.extend_from_slice(b"\\x");
                write_hex(out, v, false);
            }
            Datum::Date(v) => time::write_date(out, *v),
            Datum::Time(v) => time::write_time(out, *v),
            Datum::TimeTz(v) => time::write_timetz(out, *v, style == Style::Cast),
            Datum::Timestamp(v) => {
                let (zone, era) = match style {
                    Style::Cast => ("+00:00", Era::Negative),
                    Style::Postgres => ("+00", Era::Bc),
                };
                let zone = if matches!(ty, ColumnType::TimestampTz { .. }) { zone } else { "" };
                time::write_timestamp(out, *v, zone, era);
            }
            Datum::Interval(v) => time::write_interval(out, *v, style == Style::Postgres),
            Datum::Uuid(v) => write_uuid(out, v),
            Datum::Inet(v) => v.write_text(out),
            Datum::Bits(v) => write_bits(out, v),
            Datum::Json(v) => json::decode(v)?.write_text(out)?,
            Datum::Array(items) => write_array(items, ty, style, out)?,
            Datum::Enum(v) => match style {
                Style::Cast => write_sql_like(out, label(v, ty)?),
                Style::Postgres => out.extend_from_slice(label(v, ty)?.as_bytes()),
            },
            Datum::Tuple(items) => write_tuple(self, items, ty, style, out)?,
            Datum::Geo(v) => write_hex(out, geo::ewkb(v)?, true),
            Datum::Box2d(v) => {
                let [lo_x, hi_x, lo_y, hi_y] = **v;
                out.extend_from_slice(b"BOX(");
                for (f, after) in [(lo_x, " "), (lo_y, ","), (hi_x, " "), (hi_y, ")")] {
                    float::write_plain(out, f);
                    out.extend_from_slice(after.as_bytes());
                }
            }
        }
        Ok(())
    }
}

fn label<'t>(physical: &[u8], ty: &'t ColumnType) -> Result<&'t str> {
    let ColumnType::Enum(e) = ty else {
        return Err(Error::Datum { expected: ty.to_string(), found: "an enum member" });
    };
    member(e, physical)
}

fn member<'t>(e: &'t EnumType, physical: &[u8]) -> Result<&'t str> {
    e.logical(physical).ok_or(Error::Invalid { what: "enum value (no such member)" })
}

/// Appends hex digits.
pub fn write_hex(out: &mut Vec<u8>, bytes: &[u8], upper: bool) {
    let letter = if upper { b'A' } else { b'a' };
    let digit = |n: u8| if n < 10 { b'0' + n } else { letter + (n - 10) };
    out.reserve(bytes.len() * 2);
    for b in bytes {
        out.push(digit(b >> 4));
        out.push(digit(b & 15));
    }
}

fn write_uuid(out: &mut Vec<u8>, uuid: &[u8; 16]) {
    for (i, b) in uuid.iter().enumerate() {
        if matches!(i, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        write_hex(out, &[*b], false);
    }
}

fn write_bits(out: &mut Vec<u8>, bits: &Bits<'_>) {
    let all = bits.words.iter().flat_map(|b| (0..8).rev().map(move |i| b'0' + (b >> i & 1)));
    out.extend(all.take(bits.len));
}

fn write_array(items: &[Datum<'_>], ty: &ColumnType, style: Style, out: &mut Vec<u8>) -> Result<()> {
    let element = array::element_type(ty)?;
    let vector = !matches!(ty, ColumnType::Array(_));
    if !vector {
        out.push(b'{');
    }
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.push(if vector { b' ' } else { b',' });
        }
        let from = out.len();
        item.write_inner(element, style, out)?;
        if !item.is_null() {
            quote(out, from, array_needs_quotes, |b| matches!(b, b'"' | b'\\').then_some(b'\\'));
        }
    }
    if !vector {
        out.push(b'}');
    }
    Ok(())
}

fn write_tuple(
    datum: &Datum<'_>,
    items: &[Datum<'_>],
    ty: &ColumnType,
    style: Style,
    out: &mut Vec<u8>,
) -> Result<()> {
    let ColumnType::Tuple(fields) = ty else { return Err(mismatch(datum, ty)) };
    out.push(b'(');
    for (i, (item, field)) in items.iter().zip(fields).enumerate() {
        if i > 0 {
            out.push(b',');
        }
        if !item.is_null() {
            let from = out.len();
            item.write_inner(&field.ty, style, out)?;
            quote(out, from, tuple_needs_quotes, |b| matches!(b, b'"' | b'\\').then_some(b));
        }
    }
    out.push(b')');
    Ok(())
}

fn array_needs_quotes(s: &[u8]) -> bool {
    s.is_empty()
        || s.eq_ignore_ascii_case(b"null")
        || s.iter().any(|b| matches!(b, b'{' | b'}' | b',' | b'"' | b'\\' | b' ' | 9..=13))
}

fn tuple_needs_quotes(s: &[u8]) -> bool {
    s.is_empty() || s.iter().any(|b| matches!(b, b'(' | b')' | b',' | b'"' | b'\\' | b' ' | 9..=13))
}

/// Puts what was written from a position on into double quotes if it needs them.
fn quote(out: &mut Vec<u8>, from: usize, needed: fn(&[u8]) -> bool, escape: fn(u8) -> Option<u8>) {
    let plain = out.get(from..).unwrap_or_default();
    if !needed(plain) {
        return;
    }
    let plain = plain.to_vec();
    out.truncate(from);
    out.push(b'"');
    for b in plain {
        out.extend(escape(b));
        out.push(b);
    }
    out.push(b'"');
}

/// A label as CockroachDB shows it inside an array: bare if plain, `'with space'`, `e'\u00DC'`.
fn write_sql_like(out: &mut Vec<u8>, s: &str) {
    let plain = |c: char| (' '..'\u{7f}').contains(&c) && c != '\'' && c != '\\';
    if s.chars().all(plain) {
        let bare = !s.contains([' ', ',', '{', '}']);
        let quote: &[u8] = if bare { b"" } else { b"'" };
        out.extend_from_slice(quote);
        out.extend_from_slice(s.as_bytes());
        out.extend_from_slice(quote);
        return;
    }
    out.extend_from_slice(b"e'");
    for c in s.chars() {
        let escaped = match c {
            '\'' => "\\'".to_string(),
            '\\' => "\\\\".to_string(),
            '\u{8}' => "\\b".to_string(),
            '\u{c}' => "\\f".to_string(),
            '\n' => "\\n".to_string(),
            '\r' => "\\r".to_string(),
            '\t' => "\\t".to_string(),
            c if plain(c) => c.to_string(),
            c if c.len_utf8() == 1 => format!("\\x{:02x}", u32::from(c)),
            c if c.len_utf8() == 2 => format!("\\u{:04X}", u32::from(c)),
            c => format!("\\U{:08X}", u32::from(c)),
        };
        out.extend_from_slice(escaped.as_bytes());
    }
    out.push(b'\'');
}
