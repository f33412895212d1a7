//! Protobuf at the level of fields: what prost drops, this keeps.
//!
//! A message is a sequence of `tag ‖ payload`, tag = varint of `number << 3 | wire type`:
//!
//! ```text
//! 08 96 01        field 1, varint 150
//! 12 03 61 62 63  field 2, three bytes "abc"
//! ```

use super::Error;

/// Nesting that any decoder here follows.
pub const DEPTH_MAX: usize = 100;

/// One field as it stands on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Field number, at least 1.
    pub number: u32,
    /// Payload without its tag and without a length.
    pub value: Value<'a>,
    /// Tag, length and payload.
    pub raw: &'a [u8],
}

/// The payload of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Wire type 0.
    Varint(u64),
    /// Wire type 1.
    Fixed64(u64),
    /// Wire type 2: strings, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// Wire type 5.
    Fixed32(u32),
}

/// Walks the fields of one message. Ends after the first error.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    rest: &'a [u8],
}

/// The fields of `message`, in stored order.
pub fn fields(message: &[u8]) -> Fields<'_> {
    Fields { rest: message }
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        if shift == 63 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (head, tail) = bytes.split_at_checked(len)?;
    *bytes = tail;
    Some(head)
}

impl<'a> Fields<'a> {
    fn read(&mut self) -> Option<Field<'a>> {
        let start = self.rest;
        let mut rest = start;
        let tag = varint(&mut rest)?;
        let number = u32::try_from(tag >> 3).ok().filter(|&n| n > 0)?;
        let value = match tag & 7 {
            0 => Value::Varint(varint(&mut rest)?),
            1 => Value::Fixed64(u64::from_le_bytes(take(&mut rest, 8)?.try_into().ok()?)),
            2 => {
                let len = usize::try_from(varint(&mut rest)?).ok()?;
                Value::Bytes(take(&mut rest, len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(take(&mut rest, 4)?.try_into().ok()?)),
            _ => return None,
        };
        let raw = start.get(..start.len() - rest.len())?;
        self.rest = rest;
        Some(Field { number, value, raw })
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.rest = &[];
        }
        Some(field.ok_or_else(|| Error::Proto("broken field".into())))
    }
}

/// The raw bytes of every field of `message` whose number `known` denies, in stored order.
pub fn unknown(message: &[u8], known: impl Fn(u32) -> bool) -> Result<Vec<u8>, Error> {
    let mut left = Vec::new();
    for field in fields(message) {
        let field = field?;
        if !known(field.number) {
            left.extend_from_slice(field.raw);
        }
    }
    Ok(left)
}

/// Counts the fields, at every depth, that hold less than `len` bytes: each may be a message, which costs far
/// more memory. Counts to `most` and not further.
pub fn tiny_fields(message: &[u8], len: usize, most: usize) -> usize {
    fn count(message: &[u8], len: usize, most: usize, depth: usize) -> usize {
        let mut found = 0;
        for field in fields(message).flatten() {
            if found >= most {
                break;
            }
            found += match field.value {
                Value::Bytes(bytes) if bytes.len() < len => 1,
                // What is no message has an error somewhere; until then it counts as if it were one.
                Value::Bytes(bytes) if depth < TINY_DEPTH => count(bytes, len, most - found, depth + 1),
                _ => 0,
            };
        }
        found
    }
    count(message, len, most, 0)
}

/// How deep messages stand in others that [`tiny_fields`] looks into.
const TINY_DEPTH: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_what_holds_nothing() {
        let inner = [0x42, 0].repeat(5);
        let outer = [&[0x0a, 10][..], &inner, &[0x12, 3, b'a', b'b', b'c', 0x08, 1]].concat();
        assert_eq!(tiny_fields(&outer, 2, 100), 5);
        assert_eq!(tiny_fields(&outer, 4, 100), 6);
        assert_eq!(tiny_fields(&outer, 4, 3), 3);
    }

    #[test]
    fn walks_every_wire_type() {
        let bytes =
            [0x08, 0x96, 0x01, 0x12, 3, b'a', b'b', b'c', 0x1d, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
        let all: Vec<_> =
            fields(&bytes).map(|f| f.map(|f| (f.number, f.value))).collect::<Result<_, _>>().unwrap();
        assert_eq!(
            all,
            [
                (1, Value::Varint(150)),
                (2, Value::Bytes(b"abc")),
                (3, Value::Fixed32(1)),
                (4, Value::Fixed64(2))
            ]
        );
        assert_eq!(unknown(&bytes, |n| n != 2).unwrap(), [0x12, 3, b'a', b'b', b'c']);
    }

    #[test]
    fn refuses_broken_fields() {
        for bytes in [&[0x08][..], &[0x12, 5, 1], &[0x00, 1], &[0x0b], &[0x80; 11], &[0x1d, 1]] {
            assert!(fields(bytes).any(|f| f.is_err()), "{bytes:x?}");
        }
    }
}
