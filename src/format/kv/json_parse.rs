//! JSON text to a tree. Numbers keep every digit; duplicate keys keep the last value.

use super::decimal::Decimal;
use super::error::{Error, Result};
use super::json::{DEPTH_MAX, Json};

/// Parses a JSON text.
pub fn parse(text: &str) -> Result<Json<'static>> {
    let mut p = Parser { text, rest: text.as_bytes() };
    let mut value = p.value(0)?;
    p.blank();
    if !p.rest.is_empty() {
        return Err(p.bad());
    }
    value.normalise();
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    rest: &'a [u8],
}

impl Parser<'_> {
    fn bad(&self) -> Error {
        Error::text("JSONB", self.text)
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_ascii_start();
    }

    fn peek(&mut self) -> Result<u8> {
        self.blank();
        self.rest.first().copied().ok_or_else(|| self.bad())
    }

    fn word(&mut self, word: &str) -> bool {
        match self.rest.strip_prefix(word.as_bytes()) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, c: &str) -> Result<()> {
        self.blank();
        if self.word(c) { Ok(()) } else { Err(self.bad()) }
    }

    fn value(&mut self, depth: usize) -> Result<Json<'static>> {
        match self.peek()? {
            b'{' | b'[' if depth > DEPTH_MAX => {
                Err(Error::TooLarge { what: "nesting of JSON", limit: DEPTH_MAX })
            }
            b'{' => self.object(depth),
            b'[' => self.array(depth),
            b'"' => Ok(Json::String(self.string()?.into())),
            b't' if self.word("true") => Ok(Json::Bool(true)),
            b'f' if self.word("false") => Ok(Json::Bool(false)),
            b'n' if self.word("null") => Ok(Json::Null),
            b'-' | b'0'..=b'9' => self.number(),
            _ => Err(self.bad()),
        }
    }

    fn number(&mut self) -> Result<Json<'static>> {
        let len = self
            .rest
            .iter()
            .take_while(|b| b.is_ascii_digit() || matches!(b, b'-' | b'+' | b'.' | b'e' | b'E'))
            .count();
        let (number, rest) = self.rest.split_at_checked(len).ok_or_else(|| self.bad())?;
        self.rest = rest;
        let number = std::str::from_utf8(number).map_err(|_| self.bad())?;
        Ok(Json::Number(Decimal::from_text(number)?))
    }

    fn array(&mut self, depth: usize) -> Result<Json<'static>> {
        self.expect("[")?;
        let mut items = Vec::new();
        if self.peek()? == b']' {
            self.expect("]")?;
            return Ok(Json::Array(items));
        }
        loop {
            items.push(self.value(depth + 1)?);
            if self.peek()? == b']' {
                self.expect("]")?;
                return Ok(Json::Array(items));
            }
            self.expect(",")?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Json<'static>> {
        self.expect("{")?;
        let mut pairs = Vec::new();
        if self.peek()? == b'}' {
            self.expect("}")?;
            return Ok(Json::Object(pairs));
        }
        loop {
            if self.peek()? != b'"' {
                return Err(self.bad());
            }
            let key = self.string()?;
            self.expect(":")?;
            pairs.push((key.into(), self.value(depth + 1)?));
            if self.peek()? == b'}' {
                self.expect("}")?;
                return Ok(Json::Object(pairs));
            }
            self.expect(",")?;
        }
    }

    fn string(&mut self) -> Result<String> {
        self.expect("\"")?;
        let mut out = Vec::new();
        loop {
            let (&c, rest) = self.rest.split_first().ok_or_else(|| self.bad())?;
            self.rest = rest;
            match c {
                b'"' => return String::from_utf8(out).map_err(|_| self.bad()),
                b'\\' => {
                    let c = self.escape()?;
                    out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return Err(self.bad()),
                c => out.push(c),
            }
        }
    }

    fn escape(&mut self) -> Result<char> {
        let (&c, rest) = self.rest.split_first().ok_or_else(|| self.bad())?;
        self.rest = rest;
        Ok(match c {
            b'"' | b'\\' | b'/' => char::from(c),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let first = self.hex4()?;
                let code = if (0xd800..0xdc00).contains(&first) && self.word("\\u") {
                    let second = self.hex4()?;
                    if !(0xdc00..0xe000).contains(&second) {
                        return Err(self.bad());
                    }
                    0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)
                } else {
                    first
                };
                char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
            }
            _ => return Err(self.bad()),
        })
    }

    fn hex4(&mut self) -> Result<u32> {
        let (hex, rest) = self.rest.split_at_checked(4).ok_or_else(|| self.bad())?;
        self.rest = rest;
        let hex = std::str::from_utf8(hex).map_err(|_| self.bad())?;
        u32::from_str_radix(hex, 16).map_err(|_| self.bad())
    }
}
