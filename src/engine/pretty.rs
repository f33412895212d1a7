//! Keys for people: `/Table/85/1/1000`.

use crate::format::kv::datum::Datum;
use crate::format::kv::key;
use crate::format::kv::layout::Direction;
use crate::format::kv::ordered::INTERLEAVED;
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

fn bytes(reader: &mut Reader<'_>, direction: Direction) -> Option<String> {
    match key::get(reader, &ColumnType::Bytes, direction).ok()? {
        Datum::Bytes(bytes) => Some(quote(&bytes)),
        _ => None,
    }
}

/// In double quotes; what is not printable, or no UTF-8, is escaped.
fn quote(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", u32::from(c))),
                c if c == '\'' || c.escape_debug().len() == 1 => out.push(c),
                c if u32::from(c) < 0x1_0000 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
                c => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.push_str(&format!("\\x{byte:02x}")));
    }
    out.push('"');
    out
}

fn guess(reader: &mut Reader<'_>) -> Option<String> {
    use Direction::{Asc, Desc};
    match *reader.rest().first()? {
        0x00 | 0xff => {
            reader.take(1, "NULL").ok()?;
            Some("NULL".into())
        }
        0x02..=0x06 => typed(reader, &ColumnType::FLOAT8, Asc),
        0x12 => bytes(reader, Asc),
        0x13 => bytes(reader, Desc),
        0x14 => typed(reader, &ColumnType::Timestamp { precision: None }, Asc)
            .map(|text| format!("{}Z", text.replacen(' ', "T", 1))),
        0x16 => typed(reader, &ColumnType::INTERVAL, Asc),
        0x18..=0x36 => typed(reader, &ColumnType::DECIMAL, Asc),
        0x80..=0xfd => integer(reader),
        // Behind it stand the ids of an interleaved table.
        INTERLEAVED => {
            reader.take(1, "#").ok()?;
            Some("#".into())
        }
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
            (&[0xbf, 0x89, 0x89, 0xfe, 0xc0, 0x89], "/Table/55/1/1/#/56/1"),
            (
                b"\xbd\x89\x12\x00\xff\x07'\"\xf0\xc3\xa9\xc2\xa0\x00\x01",
                "/Table/53/1/\"\\x00\\a'\\\"\\xf0\u{e9}\\u00a0\"",
            ),
            (&[0xbd, 0x89, 0x14, 0x89, 0xf8, 0x01, 0x86, 0xa0], "/Table/53/1/1970-01-01T00:00:01.0001Z"),
        ] {
            assert_eq!(key(bytes), shown);
        }
    }
}
