//! The stored form of JSONB: containers with a table of entries.
//!
//! ```text
//! {"k":1}   40000001   90000001 a0000005   6b 03348901
//!           └ object,  └ key: string, ends └ data
//!             1 pair     at 1; value:
//!                        number, ends at 5
//! ```
//! An entry holds the item's length, or (index in its list divisible by 32, bit 31 set) its end offset.

use super::decimal::Decimal;
use super::decimal_code;
use super::error::{Error, Result};
use super::varint::{Reader, put_leb};

/// Deepest nesting that is read, written or parsed.
pub const DEPTH_MAX: usize = 200;

const WHAT: &str = "JSON";
const ARRAY: u32 = 0x8000_0000;
const OBJECT: u32 = 0x4000_0000;
const SCALAR: u32 = 0x2000_0000;
const CONTAINER_MASK: u32 = 0xf000_0000;
const COUNT_MASK: u32 = 0x0fff_ffff;

const IS_OFFSET: u32 = 0x8000_0000;
const TYPE_MASK: u32 = 0x7000_0000;
const NULL: u32 = 0x0000_0000;
const STRING: u32 = 0x1000_0000;
const NUMBER: u32 = 0x2000_0000;
const FALSE: u32 = 0x3000_0000;
const TRUE: u32 = 0x4000_0000;
const CONTAINER: u32 = 0x5000_0000;

const OFFSET_STRIDE: usize = 32;

/// A JSON value as a tree.
#[derive(Clone, Debug, PartialEq)]
pub enum Json<'a> {
    /// null
    Null,
    /// true, false
    Bool(bool),
    /// A number with its scale.
    Number(Decimal<'a>),
    /// A string.
    String(std::borrow::Cow<'a, str>),
    /// An array.
    Array(Vec<Json<'a>>),
    /// An object; keys unique and sorted bytewise.
    Object(Vec<(std::borrow::Cow<'a, str>, Json<'a>)>),
}

/// Reads a stored JSON value. Allocates at most one node per 4 input bytes.
pub fn decode(bytes: &[u8]) -> Result<Json<'_>> {
    container(bytes, 0)
}

/// The entries of a list: type and data of each item.
struct Entries<'a> {
    table: std::slice::Iter<'a, [u8; 4]>,
    data: Reader<'a>,
    /// Bytes of the data area consumed so far.
    at: usize,
}

impl<'a> Entries<'a> {
    fn next(&mut self) -> Result<(u32, &'a [u8])> {
        let entry = u32::from_be_bytes(*self.table.next().ok_or(Error::Truncated { what: WHAT })?);
        let value = (entry & COUNT_MASK) as usize;
        let len = if entry & IS_OFFSET != 0 {
            value.checked_sub(self.at).ok_or(Error::Invalid { what: WHAT })?
        } else {
            value
        };
        self.at += len;
        Ok((entry & TYPE_MASK, self.data.take(len, WHAT)?))
    }
}

fn container(bytes: &[u8], depth: usize) -> Result<Json<'_>> {
    if depth > DEPTH_MAX {
        return Err(Error::TooLarge { what: "nesting of JSON", limit: DEPTH_MAX });
    }
    let mut r = Reader::new(bytes);
    let header = u32::from_be_bytes(r.array(WHAT)?);
    let count = (header & COUNT_MASK) as usize;
    let entries = match header & CONTAINER_MASK {
        ARRAY => count,
        OBJECT => count.checked_mul(2).ok_or(Error::Invalid { what: WHAT })?,
        SCALAR if depth == 0 => 1,
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    let table = r.take(entries.checked_mul(4).ok_or(Error::Invalid { what: WHAT })?, WHAT)?;
    let mut list = Entries { table: table.as_chunks::<4>().0.iter(), data: r, at: 0 };
    let value = match header & CONTAINER_MASK {
        ARRAY => {
            let mut items = Vec::with_capacity(count);
            for _ in 0..count {
                let (kind, data) = list.next()?;
                items.push(item(kind, data, depth)?);
            }
            Json::Array(items)
        }
        OBJECT => {
            let mut keys = Vec::with_capacity(count);
            for _ in 0..count {
                match list.next()? {
                    (STRING, data) => keys.push(text(data)?),
                    _ => return Err(Error::Invalid { what: WHAT }),
                }
            }
            let mut pairs = Vec::with_capacity(count);
            for key in keys {
                let (kind, data) = list.next()?;
                pairs.push((key.into(), item(kind, data, depth)?));
            }
            Json::Object(pairs)
        }
        _ => {
            let (kind, data) = list.next()?;
            match kind {
                CONTAINER => return Err(Error::Invalid { what: WHAT }),
                _ => item(kind, data, depth)?,
            }
        }
    };
    list.data.finish(WHAT)?;
    Ok(value)
}

fn text(data: &[u8]) -> Result<&str> {
    std::str::from_utf8(data).map_err(|_| Error::Invalid { what: "JSON string (not UTF-8)" })
}

fn item(kind: u32, data: &[u8], depth: usize) -> Result<Json<'_>> {
    let empty = |v| if data.is_empty() { Ok(v) } else { Err(Error::Invalid { what: WHAT }) };
    match kind {
        NULL => empty(Json::Null),
        TRUE => empty(Json::Bool(true)),
        FALSE => empty(Json::Bool(false)),
        STRING => Ok(Json::String(text(data)?.into())),
        NUMBER => {
            let mut r = Reader::new(data);
            let len = r.leb(WHAT)?;
            let number = decimal_code::get_value(r.take_u64(len, WHAT)?)?;
            r.finish("JSON number")?;
            Ok(Json::Number(number))
        }
        CONTAINER => container(data, depth + 1),
        _ => Err(Error::Invalid { what: WHAT }),
    }
}

impl Json<'_> {
    /// Appends the stored form.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<()> {
        self.encode_at(out, 0)
    }

    fn encode_at(&self, out: &mut Vec<u8>, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::TooLarge { what: "nesting of JSON", limit: DEPTH_MAX });
        }
        let (header, entries) = match self {
            Json::Array(items) => (ARRAY, items.len()),
            Json::Object(pairs) => (OBJECT, pairs.len() * 2),
            _ => (SCALAR, 1),
        };
        let count = match self {
            Json::Array(items) => items.len(),
            Json::Object(pairs) => pairs.len(),
            _ => 0,
        };
        out.extend_from_slice(&(header | bounded(count)?).to_be_bytes());
        let mut list = Building { table: out.len(), index: 0, at: 0 };
        out.resize(out.len() + entries * 4, 0);
        match self {
            Json::Array(items) => {
                for v in items {
                    let from = out.len();
                    let kind = v.encode_item(out, depth)?;
                    list.add(out, kind, from)?;
                }
            }
            Json::Object(pairs) => {
                for (key, _) in pairs {
                    let from = out.len();
                    out.extend_from_slice(key.as_bytes());
                    list.add(out, STRING, from)?;
                }
                list.index = 0;
                for (_, v) in pairs {
                    let from = out.len();
                    let kind = v.encode_item(out, depth)?;
                    list.add(out, kind, from)?;
                }
            }
            scalar => {
                let from = out.len();
                let kind = scalar.encode_item(out, depth)?;
                // Never the offset form.
                list.index = 1;
                list.add(out, kind, from)?;
            }
        }
        Ok(())
    }

    fn encode_item(&self, out: &mut Vec<u8>, depth: usize) -> Result<u32> {
        Ok(match self {
            Json::Null => NULL,
            Json::Bool(true) => TRUE,
            Json::Bool(false) => FALSE,
            Json::Number(d) => {
                let mut raw = Vec::with_capacity(24);
                decimal_code::put_value(&mut raw, d)?;
                put_leb(out, raw.len() as u64);
                out.extend_from_slice(&raw);
                NUMBER
            }
            Json::String(s) => {
                out.extend_from_slice(s.as_bytes());
                STRING
            }
            Json::Array(_) | Json::Object(_) => {
                self.encode_at(out, depth + 1)?;
                CONTAINER
            }
        })
    }

    /// Appends the text as CockroachDB prints it: `{"a": [1, 2.50], "k": "v"}`.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<()> {
        match self {
            Json::Null => out.extend_from_slice(b"null"),
            Json::Bool(true) => out.extend_from_slice(b"true"),
            Json::Bool(false) => out.extend_from_slice(b"false"),
            Json::Number(d) => d.write_text(out)?,
            Json::String(s) => write_string(out, s),
            Json::Array(items) => {
                out.push(b'[');
                for (i, v) in items.iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(b", ");
                    }
                    v.write_text(out)?;
                }
                out.push(b']');
            }
            Json::Object(pairs) => {
                out.push(b'{');
                for (i, (key, v)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.extend_from_slice(b", ");
                    }
                    write_string(out, key);
                    out.extend_from_slice(b": ");
                    v.write_text(out)?;
                }
                out.push(b'}');
            }
        }
        Ok(())
    }

    /// Sorts the keys of every object bytewise and keeps the last of equal ones.
    pub fn normalise(&mut self) {
        match self {
            Json::Array(items) => items.iter_mut().for_each(Json::normalise),
            Json::Object(pairs) => {
                pairs.iter_mut().for_each(|(_, v)| v.normalise());
                pairs.reverse();
                pairs.sort_by(|a, b| a.0.cmp(&b.0));
                pairs.dedup_by(|later, first| later.0 == first.0);
            }
            _ => {}
        }
    }
}

/// The entry table while a container is written.
struct Building {
    table: usize,
    /// Index in the current list (keys or values).
    index: usize,
    at: usize,
}

impl Building {
    fn add(&mut self, out: &mut [u8], kind: u32, from: usize) -> Result<()> {
        let len = out.len() - from;
        self.at += len;
        let entry = if self.index.is_multiple_of(OFFSET_STRIDE) {
            kind | IS_OFFSET | bounded(self.at)?
        } else {
            kind | bounded(len)?
        };
        self.index += 1;
        if let Some(slot) = out.get_mut(self.table..).and_then(|t| t.first_chunk_mut::<4>()) {
            *slot = entry.to_be_bytes();
        }
        self.table += 4;
        Ok(())
    }
}

fn bounded(n: usize) -> Result<u32> {
    u32::try_from(n)
        .ok()
        .filter(|n| n & !COUNT_MASK == 0)
        .ok_or(Error::TooLarge { what: "JSON container", limit: COUNT_MASK as usize })
}

/// Appends a JSON string with its quotes.
pub fn write_string(out: &mut Vec<u8>, s: &str) {
    out.push(b'"');
    for c in s.chars() {
        match c {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            '\u{0}'..='\u{1f}' | '\u{2028}' | '\u{2029}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes());
            }
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}
