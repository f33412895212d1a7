//! Names: table prefixes, `userfile://` URIs, stored file names. Pure text, no I/O.

use std::fmt::{self, Write as _};
use unicode_normalization::UnicodeNormalization as _;

/// First part of every hidden name: rows of files that are being written or removed.
pub const HIDDEN_DIR: &str = "/.userfilefs";
/// The longest component of a path that a mount can show, in bytes.
pub const COMPONENT_MAX: usize = 255;
/// The longest stored name that we create, in bytes (PostgreSQL refuses index keys beyond about 2,700).
pub const NAME_MAX: usize = 2_600;
/// The database of the default prefix.
pub const DEFAULT_DATABASE: &str = "defaultdb";
const DEFAULT_SCHEMA: &str = "public";
const FILES_SUFFIX: &str = "_upload_files";
const PAYLOAD_SUFFIX: &str = "_upload_payload";
/// Last part of the companion table's name.
pub const ATTRS_SUFFIX: &str = "_userfilefs_attrs";
/// PostgreSQL cuts longer identifiers silently.
const POSTGRES_IDENTIFIER_MAX: usize = 63;

/// A name that cannot be used.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum NameError {
    /// The path is not what Go's `path.Clean` makes of it. The text is CockroachDB's own.
    #[error(
        "path {path} changes after normalization to {clean}. userfile upload does not permit such path constructs"
    )]
    NotClean {
        /// As given, without a trailing `.tmp`.
        path: String,
        /// As it would have to be, without a trailing `.tmp`.
        clean: String,
    },
    /// A table prefix that cannot be read.
    #[error("unable to parse qualified table name {0} supplied to userfile")]
    BadPrefix(String),
    /// A table prefix whose database and schema are missing.
    #[error("could not resolve the db and schema name from {0}")]
    Unqualified(String),
    /// A table name that the server would cut.
    #[error("table name {name} has {} bytes, the server takes at most {max}", name.len())]
    TableTooLong {
        /// The table's name.
        name: String,
        /// The limit in bytes.
        max: usize,
    },
    /// A scheme other than `userfile`.
    #[error("unsupported storage scheme: {0:?} - refer to docs to find supported storage schemes")]
    Scheme(String),
    /// A percent sequence that means nothing.
    #[error("invalid URL escape {0:?}")]
    Escape(String),
    /// The name is not UTF-8 after decoding.
    #[error("name {0:?} is not valid UTF-8")]
    NotUtf8(String),
    /// A NUL character, which PostgreSQL cannot store.
    #[error("name {0:?} contains a NUL character")]
    Nul(String),
    /// Longer than an index key may be.
    #[error("name is too long: {0} bytes")]
    TooLong(usize),
    /// A name under the reserved directory.
    #[error("names under {HIDDEN_DIR}/ are reserved: {0}")]
    Reserved(String),
}

impl NameError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            NameError::BadPrefix(_) | NameError::Unqualified(_) => {
                "a prefix looks like defaultdb.public.userfiles_root"
            }
            NameError::TableTooLong { .. } => "choose a shorter table prefix",
            NameError::TooLong(_) => "choose a shorter name",
            NameError::Escape(_) => "write a percent sign as %25 in a URI",
            _ => return None,
        })
    }
}

/// Where the tables are: database, schema and the first part of their names, as the catalog has them
/// (no quotes).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct TablePrefix {
    /// Database; on PostgreSQL the one to connect to.
    pub database: String,
    /// Schema, usually `public`.
    pub schema: String,
    /// First part of the table names, for instance `userfiles_root`.
    pub table: String,
}

impl TablePrefix {
    /// Reads `db.schema.prefix`. Parts may be quoted with `"`; unquoted ones are folded to lower case, as SQL
    /// does. `$user` is not expanded here: see [`TablePrefix::for_user`].
    pub fn parse(text: &str) -> Result<TablePrefix, NameError> {
        let parts = split_qualified(text).ok_or_else(|| NameError::BadPrefix(text.to_owned()))?;
        match <[String; 3]>::try_from(parts) {
            Ok([database, schema, table]) => Ok(TablePrefix { database, schema, table }),
            Err(parts) if parts.len() < 3 => Err(NameError::Unqualified(text.to_owned())),
            Err(_) => Err(NameError::BadPrefix(text.to_owned())),
        }
    }

    /// As [`TablePrefix::parse`], after replacing `$user` with `user` (see [`expand_user`]) and decoding percent
    /// sequences, so that `%24user` reaches a table literally so named. This is how the host part of a
    /// `userfile://` URI is read.
    pub fn for_user(text: &str, user: &str) -> Result<TablePrefix, NameError> {
        let mut decoded = String::new();
        for (i, piece) in split_user(text).into_iter().enumerate() {
            if i > 0 {
                push_user(&mut decoded, user);
            }
            decoded.push_str(&percent_decode(piece)?);
        }
        TablePrefix::parse(&decoded)
    }

    /// The default prefix of a user, by the rule of the `cockroach userfile` commands:
    /// `userfiles_<user>`, or `userfilesx_<hex>` where the name is not a bare SQL identifier.
    pub fn default_for(user: &str) -> TablePrefix {
        let mut table = "userfiles_".to_owned();
        push_user(&mut table, user);
        TablePrefix { database: DEFAULT_DATABASE.to_owned(), schema: DEFAULT_SCHEMA.to_owned(), table }
    }

    /// The same tables in another database.
    pub fn in_database(mut self, database: &str) -> TablePrefix {
        self.database = database.to_owned();
        self
    }

    /// Name of the files table, unquoted and unqualified.
    pub fn files_table(&self) -> String {
        format!("{}{FILES_SUFFIX}", self.table)
    }

    /// Name of the payload table, unquoted and unqualified.
    pub fn payload_table(&self) -> String {
        format!("{}{PAYLOAD_SUFFIX}", self.table)
    }

    /// Name of the companion table of attributes, unquoted and unqualified.
    pub fn attrs_table(&self) -> String {
        format!("{}{ATTRS_SUFFIX}", self.table)
    }

    /// Checks that PostgreSQL would not cut a table's name.
    pub fn check_postgres(&self) -> Result<(), NameError> {
        for name in [self.payload_table(), self.attrs_table(), self.schema.clone(), self.database.clone()] {
            if name.len() > POSTGRES_IDENTIFIER_MAX {
                return Err(NameError::TableTooLong { name, max: POSTGRES_IDENTIFIER_MAX });
            }
        }
        Ok(())
    }

    /// The URI of a stored name (`/a/b`): `userfile://db.schema.prefix/a/b`, with nothing escaped, as the
    /// original commands print it.
    pub fn uri_of(&self, name: &str) -> String {
        format!("userfile://{self}{name}")
    }
}

impl fmt::Display for TablePrefix {
    /// `db.schema.prefix`, parts quoted where SQL needs it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", show_ident(&self.database), show_ident(&self.schema), show_ident(&self.table))
    }
}

/// An SQL identifier in double quotes, whatever it holds.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn show_ident(name: &str) -> String {
    if is_bare_ident(name) { name.to_owned() } else { quote_ident(name) }
}

/// True for a lower-case SQL identifier that needs no quotes (keywords are not considered).
pub fn is_bare_ident(name: &str) -> bool {
    let mut chars = name.chars();
    let first = |c: char| c.is_ascii_lowercase() || c == '_' || c >= '\u{80}';
    chars.next().is_some_and(first)
        && chars.all(|c| first(c) || c.is_ascii_digit() || c == '$')
        && normalize_user(name) == name
}

/// A user name as the server has it: folded to lower case, in normal form C.
pub fn normalize_user(user: &str) -> String {
    user.to_lowercase().nfc().collect()
}

/// Replaces every `$user` in `text` with the part of a default prefix that belongs to `user`: the name itself
/// or, for a name that is not a bare identifier, `x_<hex>` in place of `_<name>`.
pub fn expand_user(text: &str, user: &str) -> String {
    let mut out = String::new();
    for (i, piece) in split_user(text).into_iter().enumerate() {
        if i > 0 {
            push_user(&mut out, user);
        }
        out.push_str(piece);
    }
    out
}

fn split_user(text: &str) -> Vec<&str> {
    text.split("$user").collect()
}

fn push_user(out: &mut String, user: &str) {
    let user = normalize_user(user);
    if is_bare_ident(&user) {
        out.push_str(&user);
        return;
    }
    if out.ends_with('_') {
        out.pop();
        out.push_str("x_");
    }
    for b in user.bytes() {
        let _ = write!(out, "{b:02x}");
    }
}

/// Splits `a."b.c".d` at the dots outside quotes. None: empty part, open quote, or text after a quote.
fn split_qualified(text: &str) -> Option<Vec<String>> {
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
            if !matches!(chars.peek(), None | Some('.')) {
                return None;
            }
        } else {
            while let Some(c) = chars.next_if(|&c| c != '.') {
                if c == '"' || c == '\0' || c.is_whitespace() {
                    return None;
                }
                part.extend(c.to_lowercase());
            }
        }
        if part.is_empty() || part.contains('\0') {
            return None;
        }
        parts.push(part);
        match chars.next() {
            None => return Some(parts),
            Some(_dot) => continue,
        }
    }
}

/// Decodes `%xx`; the result must be UTF-8.
pub fn percent_decode(text: &str) -> Result<String, NameError> {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while let Some(&b) = bytes.get(i) {
        if b != b'%' {
            out.push(b);
            i += 1;
            continue;
        }
        let digit = |at: usize| bytes.get(at).and_then(|&d| char::from(d).to_digit(16));
        match (digit(i + 1), digit(i + 2)) {
            (Some(h), Some(l)) => {
                out.push((h * 16 + l) as u8);
                i += 3;
            }
            _ => return Err(NameError::Escape(text.chars().skip_while(|&c| c != '%').take(3).collect())),
        }
    }
    String::from_utf8(out).map_err(|e| NameError::NotUtf8(String::from_utf8_lossy(e.as_bytes()).into_owned()))
}

/// A file, a directory or a pattern in some userfile storage: what an argument of a command names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Location {
    /// The tables; None where the URI had no host, which means the user's default.
    pub prefix: Option<TablePrefix>,
    /// The stored name, percent-decoded: empty or beginning with `/`.
    pub path: String,
    /// True if it was written as a URI.
    pub uri: bool,
}

impl Location {
    /// Reads an argument: a `userfile://` URI (percent-decoded, `$user` expanded, query and fragment dropped) or
    /// else a plain path, taken literally, to which a missing leading `/` is added.
    pub fn parse(argument: &str, user: &str) -> Result<Location, NameError> {
        match scheme_of(argument) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("userfile") => {
                Location::from_rest(rest, user)
            }
            _ => Ok(Location { prefix: None, path: with_slash(argument), uri: false }),
        }
    }

    /// Reads a `userfile://` URI; anything else is an error.
    pub fn parse_uri(uri: &str, user: &str) -> Result<Location, NameError> {
        match scheme_of(uri) {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("userfile") => {
                Location::from_rest(rest, user)
            }
            Some((scheme, _)) => Err(NameError::Scheme(scheme.to_owned())),
            None => Err(NameError::Scheme(String::new())),
        }
    }

    fn from_rest(rest: &str, user: &str) -> Result<Location, NameError> {
        let rest = &rest[..rest.find(['?', '#']).unwrap_or(rest.len())];
        let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let prefix = if host.is_empty() { None } else { Some(TablePrefix::for_user(host, user)?) };
        Ok(Location { prefix, path: percent_decode(path)?, uri: true })
    }

    /// The tables, with the user's default filled in.
    pub fn prefix_or_default(&self, user: &str) -> TablePrefix {
        self.prefix.clone().unwrap_or_else(|| TablePrefix::default_for(user))
    }
}

fn scheme_of(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once("://")?;
    let ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    ok.then_some((scheme, rest))
}

fn with_slash(path: &str) -> String {
    if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

/// Go's `path.Clean`: the shortest equivalent path, by text alone. The empty path becomes `.`.
pub fn go_path_clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => {
                    parts.pop();
                }
                _ if !rooted => parts.push(".."),
                _ => {}
            },
            p => parts.push(p),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// The rule of CockroachDB for names that it opens: unchanged by Go's `path.Clean`. The error has its literal
/// message, in which a trailing `.tmp` is left out.
pub fn clean_path(path: &str) -> Result<(), NameError> {
    let clean = go_path_clean(path);
    if clean == path {
        return Ok(());
    }
    let cut = |p: &str| p.strip_suffix(".tmp").unwrap_or(p).to_owned();
    Err(NameError::NotClean { path: cut(path), clean: cut(&clean) })
}

/// Whether a file of this name may be created: begins with `/`, clean, no NUL, not reserved, not too long.
/// Components longer than 255 bytes are allowed (a mount does not show them).
pub fn check_new_name(name: &str) -> Result<(), NameError> {
    clean_path(name)?;
    if !name.starts_with('/') {
        return Err(NameError::NotClean { path: name.to_owned(), clean: format!("/{name}") });
    }
    if name.contains('\0') {
        return Err(NameError::Nul(name.to_owned()));
    }
    if is_hidden(name.as_bytes()) {
        return Err(NameError::Reserved(name.to_owned()));
    }
    if name.len() > NAME_MAX {
        return Err(NameError::TooLong(name.len()));
    }
    Ok(())
}

/// True for names at or below the reserved directory.
pub fn is_hidden(name: &[u8]) -> bool {
    name.strip_prefix(HIDDEN_DIR.as_bytes()).is_some_and(|rest| rest.is_empty() || rest[0] == b'/')
}

/// What a component of a path can be shown as, if at all: UTF-8, 1 to 255 bytes, not `.` or `..`, no NUL.
pub fn showable_component(part: &[u8]) -> Option<&str> {
    let ok = !part.is_empty()
        && part.len() <= COMPONENT_MAX
        && part != b"."
        && part != b".."
        && !part.contains(&0);
    if ok { std::str::from_utf8(part).ok() } else { None }
}

/// Splits a path into the key of the companion table: `/a/b` is (`/a`, `b`), `/a` is (`/`, `a`) and the root
/// (empty or `/`) is (empty, `/`).
pub fn split_path(path: &str) -> (&str, &str) {
    if path.is_empty() || path == "/" {
        return ("", "/");
    }
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((dir, name)) => (dir, name),
        None => ("/", path),
    }
}

/// The opposite of [`split_path`]; the root is empty.
pub fn join_path(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if dir.is_empty() {
        return Vec::new();
    }
    let mut out = if dir == b"/" { Vec::new() } else { dir.to_vec() };
    out.push(b'/');
    out.extend_from_slice(name);
    out
}

/// The smallest string that is greater than every string beginning with `prefix`; None: there is none.
pub fn prefix_end(prefix: &str) -> Option<String> {
    let mut out = prefix.to_owned();
    while let Some(last) = out.pop() {
        if let Some(next) = next_char(last) {
            out.push(next);
            return Some(out);
        }
    }
    None
}

/// The smallest valid string not below `name`, which need not be UTF-8: where a scan can go on.
pub fn valid_not_below(name: &[u8]) -> Option<String> {
    match std::str::from_utf8(name) {
        Ok(s) => Some(s.to_owned()),
        Err(e) => {
            let (good, bad) = name.split_at(e.valid_up_to());
            let good = std::str::from_utf8(good).unwrap_or_default();
            match first_char_above(bad) {
                Some(c) => Some(format!("{good}{c}")),
                None => prefix_end(good),
            }
        }
    }
}

/// The smallest character whose encoding is greater than `bad`, by bytes.
fn first_char_above(bad: &[u8]) -> Option<char> {
    let above = |c: char| {
        let mut b = [0; 4];
        c.encode_utf8(&mut b).as_bytes() > bad
    };
    // Encodings sort as their code points do.
    let (mut low, mut high) = (0u32, 0x11_0000u32);
    while low < high {
        let mid = low.midpoint(high);
        let c = char::from_u32(mid).or(char::from_u32(0xE000)).filter(|&c| above(c));
        if c.is_some() { high = mid } else { low = mid + 1 }
    }
    (low..low + 0x801).find_map(char::from_u32).filter(|&c| above(c))
}

fn next_char(c: char) -> Option<char> {
    let next = if c == '\u{D7FF}' { 0xE000 } else { u32::from(c) + 1 };
    char::from_u32(next)
}

#[cfg(test)]
#[path = "names_tests.rs"]
mod tests;
