//! An argument of a userfile command becomes a table prefix and a path.
//!
//! ```text
//! userfile://defaultdb.public.userfiles_$user/dir/a.csv     a URI: percent-decoded, `$user` expanded
//! userfile:///dir/a.csv                                     a URI with the user's own prefix
//! dir/a.csv    /dir/a.csv                                   a plain path: taken literally
//! ```

use thiserror::Error;

/// The tables that an argument names.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Host {
    /// No host in the URI, or a plain path: the default prefix of the connected user.
    Default,
    /// The host as written in the URI (`db.schema.prefix`), still percent-encoded and with `$user` in it.
    Named(String),
}

/// What an argument says before patterns or destination rules are applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Which tables.
    pub host: Host,
    /// The path. A plain path keeps its form except for a leading slash, which is added where it is
    /// missing; empty only if the argument had no path at all.
    pub path: Vec<u8>,
    /// The argument was a URI.
    pub is_uri: bool,
}

/// Why an argument cannot be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum ArgError {
    /// A `%` without two hexadecimal digits.
    #[error("invalid URL escape \"{0}\"")]
    Escape(String),
    /// `userfile:` without `//`.
    #[error("userfile URI without \"//\": {0}")]
    NoSlashes(String),
    /// A query in the URI of a destination.
    #[error("userfile URIs take no query parameters: {0}")]
    Query(String),
    /// The path is not what path cleaning makes of it (upload).
    #[error(
        "path {0} changes after normalization to {1}. userfile upload does not permit such path constructs"
    )]
    NotClean(String, String),
    /// The path is not what path cleaning makes of it (list, get, delete).
    #[error("invalid path {0} changes to {1} after normalization")]
    NotCleanPattern(String, String),
    /// The glob pattern is malformed.
    #[error("syntax error in pattern")]
    BadPattern,
    /// A name that cannot be stored.
    #[error("file name is not valid UTF-8: {0}")]
    NotUtf8(String),
    /// A NUL byte, which no text column holds.
    #[error("file name contains a NUL byte: {0}")]
    Nul(String),
    /// Two arguments of one command name different tables.
    #[error("all arguments of one command must name the same tables: {0} and {1} differ")]
    MixedHosts(String, String),
}

impl ArgError {
    /// What to do about it, where that is not obvious.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            ArgError::Escape(_) => {
                Some("write %25 for a percent sign in a userfile:// URI, or give a plain path")
            }
            ArgError::NoSlashes(_) => Some("write userfile:///NAME, or NAME alone"),
            ArgError::Query(_) => Some("write %3F for a question mark in a name"),
            ArgError::NotUtf8(_) | ArgError::Nul(_) => Some("rename the file, or give another destination"),
            ArgError::NotCleanPattern(..) => {
                Some("use --literal to name a file whose stored name is not clean")
            }
            ArgError::BadPattern => Some(
                "put a backslash before a literal *, ?, [ or \\, or use --literal to switch patterns off",
            ),
            ArgError::MixedHosts(..) => Some("run one command for each"),
            ArgError::NotClean(..) => None,
        }
    }
}

/// Reads the destination of an upload, or a name that is to be taken literally: percent escapes of a URI
/// are decoded, a plain path is literal.
pub fn literal(arg: &[u8]) -> Result<Address, ArgError> {
    let Some((host, path)) = split_uri(arg)? else {
        return Ok(Address { host: Host::Default, path: with_slash(arg), is_uri: false });
    };
    if path.contains(&b'?') {
        return Err(ArgError::Query(lossy(arg)));
    }
    Ok(Address { host, path: decode(path, false)?, is_uri: true })
}

/// Reads an argument of list, get or delete. The path is pattern text: what was percent-encoded in a URI is
/// protected by a backslash, so that `%2A` always means a star in the name.
pub fn pattern(arg: &[u8]) -> Result<Address, ArgError> {
    let Some((host, path)) = split_uri(arg)? else {
        // A bare star means everything, as the documentation says; `/*` is the top level only.
        let path = if arg.is_empty() || arg == b"*" { Vec::new() } else { with_slash(arg) };
        return Ok(Address { host: Host::Default, path, is_uri: false });
    };
    Ok(Address { host, path: decode(path, true)?, is_uri: true })
}

/// The URI of a stored name as the commands print it: raw, except for what would read back as something
/// else (`%`, `?`, `#`, control characters, bytes that are not UTF-8).
pub fn display_uri(prefix: &str, name: &[u8]) -> String {
    let mut out = format!("userfile://{prefix}");
    for chunk in name.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_ascii_control() || matches!(c, '%' | '?' | '#') {
                out.push_str(&format!("%{:02X}", u32::from(c)));
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

/// Splits `userfile://host/path`; `None` if the argument is no userfile URI.
fn split_uri(arg: &[u8]) -> Result<Option<(Host, &[u8])>, ArgError> {
    const SCHEME: &[u8] = b"userfile:";
    if arg.len() < SCHEME.len() || !arg[..SCHEME.len()].eq_ignore_ascii_case(SCHEME) {
        return Ok(None);
    }
    let rest = &arg[SCHEME.len()..];
    let Some(rest) = rest.strip_prefix(b"//") else {
        if rest.starts_with(b"/") {
            return Ok(Some((Host::Default, rest)));
        }
        return Err(ArgError::NoSlashes(lossy(arg)));
    };
    let end = rest.iter().position(|b| matches!(b, b'/' | b'?')).unwrap_or(rest.len());
    let (host, path) = rest.split_at(end);
    let host = match std::str::from_utf8(host) {
        Ok("") => Host::Default,
        Ok(text) => Host::Named(text.to_owned()),
        Err(_) => return Err(ArgError::NotUtf8(lossy(arg))),
    };
    Ok(Some((host, path)))
}

/// Percent-decodes; with `protect`, decoded bytes that patterns give a meaning get a backslash.
fn decode(text: &[u8], protect: bool) -> Result<Vec<u8>, ArgError> {
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if byte != b'%' {
            out.push(byte);
            at += 1;
            continue;
        }
        let digit = |i: usize| text.get(i).and_then(|b| char::from(*b).to_digit(16));
        let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2)) else {
            return Err(ArgError::Escape(lossy(&text[at..text.len().min(at + 3)])));
        };
        let value = (high * 16 + low) as u8;
        if protect && matches!(value, b'*' | b'?' | b'[' | b']' | b'\\' | b'-' | b'^') {
            out.push(b'\\');
        }
        out.push(value);
        at += 3;
    }
    Ok(out)
}

fn with_slash(path: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len() + 1);
    if !path.starts_with(b"/") {
        out.push(b'/');
    }
    out.extend_from_slice(path);
    out
}

/// Go's `path.Clean` on bytes: `.` and `..` resolved, slashes single, no trailing slash except the root.
pub fn clean(path: &[u8]) -> Vec<u8> {
    let rooted = path.starts_with(b"/");
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if rooted => {}
                _ => parts.push(part),
            },
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (rooted, joined.is_empty()) {
        (true, _) => [b"/".as_slice(), &joined].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// Text for messages: bytes that are not UTF-8 are replaced.
pub fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lit(arg: &str) -> (Host, String) {
        let a = literal(arg.as_bytes()).unwrap();
        (a.host, String::from_utf8(a.path).unwrap())
    }

    fn named(host: &str) -> Host {
        Host::Named(host.to_owned())
    }

    #[test]
    fn arguments_resolve_as_the_contract_says() {
        assert_eq!(lit("test/file1.csv"), (Host::Default, "/test/file1.csv".into()));
        assert_eq!(lit("/test/file1.csv"), (Host::Default, "/test/file1.csv".into()));
        assert_eq!(lit("userfile:///x"), (Host::Default, "/x".into()));
        assert_eq!(
            lit("userfile://defaultdb.public.foo/test/file1.csv"),
            (named("defaultdb.public.foo"), "/test/file1.csv".into())
        );
        assert_eq!(lit("userfile://defaultdb.public.foo"), (named("defaultdb.public.foo"), String::new()));
        assert_eq!(lit("USERFILE:///x"), (Host::Default, "/x".into()));
        assert_eq!(lit("s3://bucket/x"), (Host::Default, "/s3://bucket/x".into()));
        assert_eq!(
            lit("userfile://defaultdb.public.userfiles_$user/b"),
            (named("defaultdb.public.userfiles_$user"), "/b".into())
        );
    }

    #[test]
    fn plain_paths_are_literal_and_uris_are_decoded() {
        assert_eq!(lit("per%20cent.txt").1, "/per%20cent.txt");
        assert_eq!(lit("userfile:///per%20cent.txt").1, "/per cent.txt");
        assert_eq!(lit("q?x=1.txt").1, "/q?x=1.txt");
        assert_eq!(lit("hash#1.txt").1, "/hash#1.txt");
        assert_eq!(lit("userfile:///hash#1.txt").1, "/hash#1.txt");
        assert_eq!(lit("userfile:///%41").1, "/A");
        assert_eq!(lit("userfile:///test/À.csv").1, "/test/À.csv");
        assert_eq!(literal(b"userfile:///%zz"), Err(ArgError::Escape("%zz".into())));
        assert_eq!(literal(b"userfile:///x%"), Err(ArgError::Escape("%".into())));
        assert!(matches!(literal(b"userfile:///x?y=1"), Err(ArgError::Query(_))));
        assert!(matches!(literal(b"userfile:x"), Err(ArgError::NoSlashes(_))));
    }

    #[test]
    fn encoded_glob_characters_are_protected() {
        let path = |arg: &str| lossy(&pattern(arg.as_bytes()).unwrap().path);
        assert_eq!(path("userfile:///a%2Ab*"), "/a\\*b*");
        assert_eq!(path("userfile:///a%3Fb?"), "/a\\?b?");
        assert_eq!(path("userfile://h/%5B%5C"), "/\\[\\\\");
        assert_eq!(path(""), "");
        assert_eq!(path("*"), "");
        assert_eq!(path("/*"), "/*");
        assert_eq!(path("/"), "/");
        assert_eq!(pattern(b"userfile:///%ff").unwrap().path, b"/\xff");
    }

    #[test]
    fn printed_uris_read_back() {
        for name in
            ["/a", "/with space.txt", "/ünï-日本.txt", "/per%20cent", "/q?x", "/h#1", "/nl\n", "/é%é", "/"]
        {
            let uri = display_uri("defaultdb.public.userfiles_root", name.as_bytes());
            assert_eq!(literal(uri.as_bytes()).unwrap().path, name.as_bytes(), "{uri}");
        }
        assert_eq!(literal(display_uri("d.p.u", b"/a\xff").as_bytes()).unwrap().path, b"/a\xff");
        assert_eq!(display_uri("d.p.u", "/ünï-日本 x.txt".as_bytes()), "userfile://d.p.u/ünï-日本 x.txt");
        assert_eq!(display_uri("d.p.u", b"/50%.txt"), "userfile://d.p.u/50%25.txt");
    }

    #[test]
    fn cleaning_is_gos() {
        for (path, want) in [
            ("", "."),
            ("/", "/"),
            ("//", "/"),
            ("/a/", "/a"),
            ("/a//b", "/a/b"),
            ("/./a", "/a"),
            ("/../a", "/a"),
            ("/a/../b", "/b"),
            ("/a/..", "/"),
            ("a/../..", ".."),
            ("../../a", "../../a"),
            ("a/./b", "a/b"),
            ("/...", "/..."),
        ] {
            assert_eq!(lossy(&clean(path.as_bytes())), want, "{path}");
        }
    }

    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_printed_uri_reads_back(name in prop::collection::vec(any::<u8>(), 0..40)) {
            let name = [b"/".as_slice(), &name].concat();
            let uri = display_uri("d.p.u", &name);
            let read = literal(uri.as_bytes()).unwrap();
            prop_assert_eq!((read.host, read.path), (Host::Named("d.p.u".into()), name));
        }

        #[test]
        fn cleaning_twice_changes_nothing_more(path in "[a./]{0,12}") {
            let once = clean(path.as_bytes());
            prop_assert_eq!(clean(&once), once);
        }

        #[test]
        fn no_argument_panics(arg in prop::collection::vec(any::<u8>(), 0..30), uri in any::<bool>()) {
            let arg = if uri { [b"userfile://".as_slice(), &arg].concat() } else { arg };
            let _ = (literal(&arg), pattern(&arg));
        }
    }
}
