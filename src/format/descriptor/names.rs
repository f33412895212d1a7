//! Identifiers and string literals as the server prints them.

/// Keywords that are quoted when they stand as a name.
const RESERVED: &[&str] = &[
    "all",
    "analyse",
    "analyze",
    "and",
    "any",
    "array",
    "as",
    "asc",
    "asymmetric",
    "both",
    "case",
    "cast",
    "check",
    "collate",
    "column",
    "concurrently",
    "constraint",
    "create",
    "current_catalog",
    "current_date",
    "current_role",
    "current_schema",
    "current_time",
    "current_timestamp",
    "current_user",
    "default",
    "deferrable",
    "desc",
    "distinct",
    "do",
    "else",
    "end",
    "except",
    "false",
    "fetch",
    "for",
    "foreign",
    "from",
    "grant",
    "group",
    "having",
    "in",
    "index",
    "initially",
    "intersect",
    "into",
    "lateral",
    "leading",
    "limit",
    "localtime",
    "localtimestamp",
    "not",
    "nothing",
    "null",
    "offset",
    "on",
    "only",
    "or",
    "order",
    "placing",
    "primary",
    "references",
    "returning",
    "select",
    "session_user",
    "some",
    "symmetric",
    "table",
    "then",
    "to",
    "trailing",
    "true",
    "union",
    "unique",
    "user",
    "using",
    "variadic",
    "when",
    "where",
    "window",
    "with",
];

fn is_bare(name: &str) -> bool {
    let mut chars = name.chars();
    let start = |c: char| c.is_ascii_lowercase() || c == '_' || !c.is_ascii();
    let middle = |c: char| start(c) || c.is_ascii_digit() || c == '$';
    chars.next().is_some_and(start)
        && chars.all(middle)
        && (name.is_ascii() || name.to_lowercase() == name)
        && RESERVED.binary_search(&name).is_err()
}

/// The name, in double quotes where it needs them.
pub fn ident(name: &str) -> String {
    if is_bare(name) { name.to_owned() } else { format!("\"{}\"", name.replace('"', "\"\"")) }
}

/// Names with commas between them.
pub fn ident_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// A SQL string literal: `'plain'`, or `e'…'` where something needs a backslash.
pub fn literal(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 3);
    let mut escaped = false;
    for c in text.chars() {
        match c {
            '\'' | '\\' => {
                escaped = true;
                out.push('\\');
                out.push(c);
            }
            '\n' => push_escape(&mut out, &mut escaped, "\\n"),
            '\t' => push_escape(&mut out, &mut escaped, "\\t"),
            '\r' => push_escape(&mut out, &mut escaped, "\\r"),
            '\u{8}' => push_escape(&mut out, &mut escaped, "\\b"),
            '\u{c}' => push_escape(&mut out, &mut escaped, "\\f"),
            c if (c as u32) < 0x20 || c == '\u{7f}' => {
                push_escape(&mut out, &mut escaped, &format!("\\x{:02x}", c as u32));
            }
            c => out.push(c),
        }
    }
    format!("{}'{out}'", if escaped { "e" } else { "" })
}

fn push_escape(out: &mut String, escaped: &mut bool, text: &str) {
    *escaped = true;
    out.push_str(text);
}

/// Splits `a.b."c d"` into its parts, quotes removed. `None` when it is not well formed.
pub fn split_qualified(text: &str) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut chars = text.chars().peekable();
    loop {
        let mut part = String::new();
        if chars.peek() == Some(&'"') {
            chars.next();
            loop {
                match chars.next()? {
                    '"' if chars.peek() == Some(&'"') => {
                        chars.next();
                        part.push('"');
                    }
                    '"' => break,
                    c => part.push(c),
                }
            }
        } else {
            while let Some(c) = chars.next_if(|&c| c != '.') {
                part.push(c);
            }
        }
        if part.is_empty() {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some('.') => {}
            Some(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reserved_words_are_sorted() {
        assert!(RESERVED.is_sorted());
    }

    #[test]
    fn quotes_what_needs_it() {
        for (name, shown) in [
            ("abc", "abc"),
            ("_a$1", "_a$1"),
            ("primary", "\"primary\""),
            ("hashedPassword", "\"hashedPassword\""),
            ("with space", "\"with space\""),
            ("1a", "\"1a\""),
            ("", "\"\""),
            ("a\"b", "\"a\"\"b\""),
            ("ünï", "ünï"),
            ("Ünï", "\"Ünï\""),
        ] {
            assert_eq!(ident(name), shown);
        }
        assert_eq!(literal("a b"), "'a b'");
        assert_eq!(literal("it's"), "e'it\\'s'");
        assert_eq!(literal("a\nb"), "e'a\\nb'");
    }

    #[test]
    fn splits_names() {
        let split = |text: &str| split_qualified(text).map(|parts| parts.join("|"));
        assert_eq!(split("a.b.c"), Some("a|b|c".into()));
        assert_eq!(split("a.\"B.\"\"c\""), Some("a|B.\"c".into()));
        for bad in ["", "a.", ".a", "\"a", "\"a\"b"] {
            assert_eq!(split(bad), None, "{bad}");
        }
    }
}
