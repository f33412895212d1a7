//! Stored expressions, rewritten to what the server shows.
//!
//! Descriptors name user-defined types by object id and enum values by their stored bytes:
//! `b'\x20':::@100063` is shown as `'checking':::public.account_kind`; sequences by id:
//! `nextval(58:::REGCLASS)` is shown as `nextval('public.seq'::REGCLASS)`.

use super::names;

/// What an expression may refer to by number.
pub trait ExprNames {
    /// SQL name of the type with this object id (an array type as `t[]`).
    fn type_by_oid(&self, oid: u32) -> Option<String>;
    /// Label of an enum value.
    fn enum_label(&self, oid: u32, physical: &[u8]) -> Option<String>;
    /// `schema.name` of a table, quoted.
    fn relation(&self, id: u32) -> Option<String>;
}

/// The expression as shown. What cannot be resolved stays as it is stored.
pub fn display(expr: &str, names: &dyn ExprNames) -> String {
    let mut out = String::with_capacity(expr.len());
    let mut rest = expr;
    while !rest.is_empty() {
        let token = token(rest);
        let after = rest.strip_prefix(token).unwrap_or_default();
        if let Some((text, consumed)) = rewrite(token, after, &out, names) {
            out.push_str(&text);
            rest = after.get(consumed..).unwrap_or_default();
        } else {
            out.push_str(token);
            rest = after;
        }
    }
    out
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// The first token: a literal with its prefix letter, a quoted name, a word or number, one character.
fn token(text: &str) -> &str {
    let mut chars = text.char_indices();
    let Some((_, first)) = chars.next() else { return text };
    let quoted = |open: usize, quote: char, backslash: bool| {
        let mut skip = false;
        let body = text.get(open + 1..).unwrap_or_default();
        for (at, c) in body.char_indices() {
            if skip {
                skip = false;
            } else if backslash && c == '\\' {
                skip = true;
            } else if c == quote {
                return text.get(..open + 1 + at + 1).unwrap_or(text);
            }
        }
        text
    };
    match first {
        '\'' => quoted(0, '\'', false),
        '"' => quoted(0, '"', false),
        'b' | 'B' | 'x' | 'X' | 'e' | 'E' if text.get(1..2) == Some("'") => {
            quoted(1, '\'', matches!(first, 'b' | 'e' | 'E'))
        }
        c if is_word(c) => {
            let end = text.char_indices().find(|&(_, c)| !is_word(c)).map_or(text.len(), |(at, _)| at);
            text.get(..end).unwrap_or(text)
        }
        '@' => {
            let digits = text.get(1..).unwrap_or_default();
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            text.get(..1 + end).unwrap_or(text)
        }
        c => text.get(..c.len_utf8()).unwrap_or(text),
    }
}

/// The value of `b'…'` or `x'…'`.
fn bytes_literal(token: &str) -> Option<Vec<u8>> {
    let body = token.get(2..token.len().checked_sub(1)?)?;
    if token.starts_with(['x', 'X']) {
        return hex(body);
    }
    if !token.starts_with('b') {
        return None;
    }
    let mut out = Vec::new();
    let mut rest = body.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        let (&kind, tail) = rest.split_first()?;
        rest = tail;
        out.push(match kind {
            b'x' => {
                let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
                rest = rest.get(2..)?;
                u8::from_str_radix(digits, 16).ok()?
            }
            b'0'..=b'3' => {
                let digits = rest.get(..2)?;
                rest = rest.get(2..)?;
                let text = format!("{}{}", char::from(kind), std::str::from_utf8(digits).ok()?);
                u8::from_str_radix(&text, 8).ok()?
            }
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            other => other,
        });
    }
    Some(out)
}

fn hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(text.get(at..at + 2)?, 16).ok()).collect()
}

/// `:::@100063` or `::@100063` at the beginning: separator, object id, length.
fn type_annotation(text: &str) -> Option<(&str, u32, usize)> {
    let separator = if text.starts_with(":::") { ":::" } else { "::" };
    let number = token(text.strip_prefix(separator)?);
    let oid = number.strip_prefix('@')?.parse().ok()?;
    Some((separator, oid, separator.len() + number.len()))
}

/// Replacement of a token and how much behind it is used up.
fn rewrite(token: &str, after: &str, before: &str, names: &dyn ExprNames) -> Option<(String, usize)> {
    if token.len() > 1 && token.starts_with('@') {
        return Some((names.type_by_oid(token.get(1..)?.parse().ok()?)?, 0));
    }
    if token.ends_with('\'') && token.starts_with(['b', 'x', 'X']) {
        let (separator, oid, len) = type_annotation(after)?;
        let label = names.enum_label(oid, &bytes_literal(token)?)?;
        let ty = names.type_by_oid(oid)?;
        return Some((format!("{}{separator}{ty}", names::literal(&label)), len));
    }
    let regclass = ":::REGCLASS";
    if token.bytes().all(|b| b.is_ascii_digit()) && after.starts_with(regclass) && before.ends_with('(') {
        let relation = names.relation(token.parse().ok()?)?;
        return Some((format!("{}::REGCLASS", names::literal(&relation)), regclass.len()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fake;

    impl ExprNames for Fake {
        fn type_by_oid(&self, oid: u32) -> Option<String> {
            match oid {
                100_063 => Some("public.kind".into()),
                100_064 => Some("public.kind[]".into()),
                _ => None,
            }
        }
        fn enum_label(&self, oid: u32, physical: &[u8]) -> Option<String> {
            (oid == 100_063 && physical == [0x20]).then(|| "it's".into())
        }
        fn relation(&self, id: u32) -> Option<String> {
            (id == 58).then(|| "public.s".into())
        }
    }

    #[test]
    fn shows_types_and_sequences() {
        for (stored, shown) in [
            (r"b'\x20':::@100063", r"e'it\'s':::public.kind"),
            (r"x'20':::@100063", r"e'it\'s':::public.kind"),
            (r"b' ':::@100063", r"e'it\'s':::public.kind"),
            (r"b'\x99':::@100063", r"b'\x99':::public.kind"),
            ("ARRAY[]:::@100064", "ARRAY[]:::public.kind[]"),
            ("CAST(a AS @100063)", "CAST(a AS public.kind)"),
            ("nextval(58:::REGCLASS)", "nextval('public.s'::REGCLASS)"),
            ("'b''\\x20'':::@100063':::STRING", "'b''\\x20'':::@100063':::STRING"),
            ("e'a\\'b':::STRING || \"x'20\"", "e'a\\'b':::STRING || \"x'20\""),
            ("a + 1:::INT8", "a + 1:::INT8"),
            ("x'20':::@7", "x'20':::@7"),
            ("ünï || 'é':::STRING", "ünï || 'é':::STRING"),
            ("'open", "'open"),
        ] {
            assert_eq!(display(stored, &Fake), shown, "{stored}");
        }
    }
}
