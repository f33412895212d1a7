//! Keys for people: `/Table/85/1/1000`.

use crate::format::kv::key;
use crate::format::kv::layout::Direction;
use crate::format::kv::types::ColumnType;
use crate::format::kv::varint::Reader;

/// A key (or the end of a span) as the server prints it: the types are guessed from the bytes.
pub fn key(bytes: &[u8]) -> String {
    let Ok((tenant, rest)) = key::split_tenant(bytes) else { return hex(bytes) };
    let mut out = tenant.map_or(String::new(), |id| format!("/Tenant/{id}"));
    let mut reader = Reader::new(rest);
    out += "/Table";
    for part in 0.. {
        if reader.is_empty() {
            break;
        }
        let before = reader.rest();
        let Some(text) = (if part < 2 { integer(&mut reader) } else { guess(&mut reader) }) else {
            out += &format!("/{}", hex(before));
            break;
        };
        out += &format!("/{text}");
    }
    out
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    format!("0x{digits}")
}

fn typed(reader: &mut Reader<'_>, ty: &ColumnType, direction: Direction) -> Option<String> {
    key::get(reader, ty, direction).ok()?.to_string_cast(ty).ok()?
}

fn integer(reader: &mut Reader<'_>) -> Option<String> {
    typed(reader, &ColumnType::INT8, Direction::Asc)
}

fn guess(reader: &mut Reader<'_>) -> Option<String> {
    use Direction::{Asc, Desc};
    match *reader.rest().first()? {
        0x00 | 0xff => {
            reader.take(1, "NULL").ok()?;
            Some("NULL".into())
        }
        0x02..=0x06 => typed(reader, &ColumnType::FLOAT8, Asc),
        0x12 => typed(reader, &ColumnType::TEXT, Asc).map(|text| format!("{text:?}")),
        0x13 => typed(reader, &ColumnType::TEXT, Desc).map(|text| format!("{text:?}")),
        0x14 => typed(reader, &ColumnType::Timestamp { precision: None }, Asc),
        0x16 => typed(reader, &ColumnType::INTERVAL, Asc),
        0x18..=0x36 => typed(reader, &ColumnType::DECIMAL, Asc),
        0x80..=0xfd => integer(reader),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::key;

    #[test]
    fn keys_for_people() {
        for (bytes, shown) in [
            (&[0xcc, 0x89][..], "/Table/68/1"),
            (&[0xdd, 0x89, 0xf7, 0x03, 0xe8], "/Table/85/1/1000"),
            (&[0xbd], "/Table/53"),
            (&[0xbd, 0x89, 0x12, b'a', 0x00, 0x01, 0x00], "/Table/53/1/\"a\"/NULL"),
            (&[0xfe, 0x8d, 0xbd, 0x89], "/Tenant/5/Table/53/1"),
            (&[0xbd, 0x89, 0x3f, 0x01], "/Table/53/1/0x3f01"),
        ] {
            assert_eq!(key(bytes), shown);
        }
    }
}
