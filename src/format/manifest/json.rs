//! A manifest as JSON, with the names and the defaults that the server writes.

use std::collections::BTreeMap;

use super::Error;
use super::wire::{DEPTH_MAX, Value, fields};
use crate::format::base64;

/// Messages and their fields: number, name, kind. Kinds: `i` number, `l` 64 bits (as text), `b` boolean, `s`
/// text, `x` bytes (base64), `u` UUID, `e:A,B` names of values from 0 (`n:name` from n), `m:T` a map from text or
/// number to T, a capital: message. Before a kind: `*` repeated, `!` there even when absent, `?` null when
/// absent (as messages always are), `+` of a later version: nothing when absent.
const SCHEMA: &str = include_str!("json_schema.txt");

type Fields = Vec<(u32, &'static str, &'static str)>;

struct Schema {
    messages: BTreeMap<&'static str, Fields>,
}

impl Schema {
    fn new() -> Self {
        let mut messages: BTreeMap<&str, Fields> = BTreeMap::new();
        let mut current = "";
        for line in SCHEMA.lines() {
            let mut words = line.split_whitespace();
            match (words.next(), words.next(), words.next()) {
                (Some(number), Some(name), Some(kind)) => {
                    if let Ok(number) = number.parse() {
                        messages.entry(current).or_default().push((number, name, kind));
                    }
                }
                (Some(name), None, _) => current = name,
                _ => {}
            }
        }
        Self { messages }
    }

    /// Appends the JSON of a message.
    fn message(&self, name: &str, raw: &[u8], depth: usize, out: &mut String) -> Result<(), Error> {
        if depth > DEPTH_MAX {
            return Err(Error::Proto("messages are nested too deeply".into()));
        }
        let own = self.messages.get(name).map_or(&[][..], Vec::as_slice);
        let mut found: BTreeMap<u32, Vec<Value<'_>>> = BTreeMap::new();
        for field in fields(raw) {
            let field = field?;
            found.entry(field.number).or_default().push(field.value);
        }
        // JSONB orders its keys.
        let mut texts: BTreeMap<&str, String> = BTreeMap::new();
        for &(number, name, kind) in own {
            let values = found.get(&number).map_or(&[][..], Vec::as_slice);
            if let Some(text) = self.field(kind, values, depth)? {
                texts.insert(name, text);
            }
        }
        let pairs: Vec<String> =
            texts.iter().map(|(name, text)| format!("{}: {text}", quoted(name))).collect();
        out.push_str(&format!("{{{}}}", pairs.join(", ")));
        Ok(())
    }

    fn field(&self, kind: &str, values: &[Value<'_>], depth: usize) -> Result<Option<String>, Error> {
        if let Some(kind) = kind.strip_prefix('*') {
            let mut texts = Vec::new();
            for value in values {
                match value {
                    // Numbers may be packed.
                    Value::Bytes(packed) if "ile".contains(kind.get(..1).unwrap_or(" ")) => {
                        for number in packed_numbers(packed) {
                            texts.push(self.one(kind, Value::Varint(number?), depth)?);
                        }
                    }
                    value => texts.push(self.one(kind, *value, depth)?),
                }
            }
            return Ok(Some(format!("[{}]", texts.join(", "))));
        }
        if let Some(value) = kind.strip_prefix("m:") {
            return self.map(value, values, depth).map(Some);
        }
        let (mark, kind) = match kind.chars().next() {
            Some(mark @ ('!' | '?' | '+')) => (mark, kind.get(1..).unwrap_or_default()),
            _ => (' ', kind),
        };
        if let Some(last) = values.last() {
            return self.one(kind, *last, depth).map(Some);
        }
        let message = kind.starts_with(|c: char| c.is_ascii_uppercase());
        Ok(match (mark, message) {
            ('+', _) => None,
            ('!', true) => {
                let mut text = String::new();
                self.message(kind, &[], depth + 1, &mut text)?;
                Some(text)
            }
            ('?', _) | (_, true) => Some("null".into()),
            _ => Some(match kind.get(..1) {
                Some("i") => "0".into(),
                Some("l") => "\"0\"".into(),
                Some("b") => "false".into(),
                Some("x") => "null".into(),
                Some("e") => enum_name(kind, 0),
                Some("u") => quoted("00000000-0000-0000-0000-000000000000"),
                _ => "\"\"".into(),
            }),
        })
    }

    fn one(&self, kind: &str, value: Value<'_>, depth: usize) -> Result<String, Error> {
        let wrong = || Error::Proto(format!("a field of kind {kind} has another wire type"));
        if kind.starts_with(|c: char| c.is_ascii_uppercase()) {
            let Value::Bytes(raw) = value else { return Err(wrong()) };
            let mut text = String::new();
            self.message(kind, raw, depth + 1, &mut text)?;
            return Ok(text);
        }
        Ok(match (kind.get(..1), value) {
            (Some("i"), Value::Varint(n)) => n.cast_signed().to_string(),
            (Some("l"), Value::Varint(n)) => format!("\"{}\"", n.cast_signed()),
            (Some("b"), Value::Varint(n)) => (n != 0).to_string(),
            (Some("e"), Value::Varint(n)) => enum_name(kind, n),
            (Some("s"), Value::Bytes(text)) => quoted(&String::from_utf8_lossy(text)),
            (Some("x"), Value::Bytes(bytes)) => quoted(&base64::encode(bytes)),
            (Some("u"), Value::Bytes(bytes)) => quoted(&uuid(bytes)),
            (Some("d"), Value::Fixed64(bits)) => f64::from_bits(bits).to_string(),
            _ => return Err(wrong()),
        })
    }

    /// Entries are messages of a key (1) and a value (2).
    fn map(&self, kind: &str, values: &[Value<'_>], depth: usize) -> Result<String, Error> {
        let mut texts: BTreeMap<String, String> = BTreeMap::new();
        for value in values {
            let Value::Bytes(raw) = value else { return Err(Error::Proto("a map is not a message".into())) };
            let (mut key, mut text) = (String::new(), None);
            for field in fields(raw) {
                let field = field?;
                match (field.number, field.value) {
                    (1, Value::Bytes(bytes)) => key = String::from_utf8_lossy(bytes).into_owned(),
                    (1, Value::Varint(n)) => key = n.to_string(),
                    (2, value) => text = Some(self.one(kind, value, depth)?),
                    _ => {}
                }
            }
            texts.insert(key, text.unwrap_or_else(|| "null".into()));
        }
        let pairs: Vec<String> = texts.iter().map(|(key, text)| format!("{}: {text}", quoted(key))).collect();
        Ok(format!("{{{}}}", pairs.join(", ")))
    }
}

/// Varints one after another.
fn packed_numbers(packed: &[u8]) -> impl Iterator<Item = Result<u64, Error>> {
    let mut rest = packed;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let mut reader = crate::format::kv::varint::Reader::new(rest);
        let number = reader.leb("packed number").map_err(|error| Error::Proto(error.to_string()));
        rest = if number.is_ok() { reader.rest() } else { &[] };
        Some(number)
    })
}

/// The name of a value, or the number where there is none.
fn enum_name(kind: &str, number: u64) -> String {
    let mut next = 0u64;
    for part in kind.get(2..).unwrap_or_default().split(',') {
        let (at, name) = match part.split_once(':') {
            Some((at, name)) => (at.parse().unwrap_or(next), name),
            None => (next, part),
        };
        if at == number {
            return quoted(name);
        }
        next = at + 1;
    }
    number.to_string()
}

fn quoted(text: &str) -> String {
    // Writing a text does not fail.
    serde_json::to_string(text).unwrap_or_default()
}

fn uuid(bytes: &[u8]) -> String {
    let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let part = |range: std::ops::Range<usize>| hex.get(range).map(<[String]>::concat).unwrap_or_default();
    if bytes.len() != 16 {
        return hex.concat();
    }
    format!("{}-{}-{}-{}-{}", part(0..4), part(4..6), part(6..8), part(8..10), part(10..16))
}

/// The JSON of an encoded manifest.
pub fn manifest(raw: &[u8]) -> Result<String, Error> {
    let mut out = String::new();
    Schema::new().message("Manifest", raw, 0, &mut out)?;
    Ok(out)
}
