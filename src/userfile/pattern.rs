//! Which stored names an argument of `list`, `get` or `delete` means.
//!
//! | argument | meaning |
//! |---|---|
//! | none, `''`, `/`, `*`, a URI without a path | every file |
//! | `dir/` | everything below `/dir/` |
//! | a word or path without `* ? [ \` | get, delete: the file of that name and everything below it; list: every name that starts with it |
//! | with `* ? [ \` | Go's `path.Match` against the whole name: `*` and `?` do not cross a slash |
//!
//! All matching is on bytes, so that names which are not UTF-8 can be matched too.

use super::address::{Address, ArgError, clean, lossy};

/// How a word without pattern characters matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlainRule {
    /// The file itself and what lies below it (`get`, `delete`).
    ExactOrBelow,
    /// Every name that starts with it (`list`).
    StartsWith,
}

/// A set of stored names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Every name.
    All,
    /// The name itself and every name below it, without trailing slash.
    Tree(Vec<u8>),
    /// Names that start with these bytes.
    StartsWith(Vec<u8>),
    /// Names that match a pattern.
    Glob(Glob),
}

/// One thing to ask the table so that every name of a selector is seen; what comes back is filtered with
/// [`Selector::matches`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scan {
    /// The row with this name.
    One(Vec<u8>),
    /// All rows whose names start with this text, in byte order.
    Prefix(String),
}

impl Selector {
    /// Makes the selector of an argument that [`super::address::pattern`] read.
    pub fn new(address: &Address, rule: PlainRule) -> Result<Selector, ArgError> {
        let path = address.path.as_slice();
        if path.is_empty() || path == b"/" {
            return Ok(Selector::All);
        }
        let (body, below) = match path {
            [body @ .., b'/'] if !body.ends_with(b"/") => (body, true),
            _ => (path, false),
        };
        let cleaned = clean(body);
        if cleaned != body {
            return Err(ArgError::NotCleanPattern(lossy(path), lossy(&cleaned)));
        }
        let glob = Glob::parse(body)?;
        match (glob.literal(), below) {
            (Some(name), true) => Ok(Selector::StartsWith([name.as_slice(), b"/"].concat())),
            (Some(name), false) if rule == PlainRule::StartsWith => Ok(Selector::StartsWith(name)),
            (Some(name), false) => Ok(Selector::Tree(name)),
            // `data*/`: directories that match, with everything below them.
            (None, true) => Ok(Selector::Glob(glob.with_everything_below())),
            (None, false) => Ok(Selector::Glob(glob)),
        }
    }

    /// The file of exactly this name and everything below it; no pattern characters, no cleaning.
    pub fn exact(name: Vec<u8>) -> Selector {
        if name.is_empty() || name == b"/" { Selector::All } else { Selector::Tree(name) }
    }

    /// Whether the selector takes everything there is.
    pub fn is_all(&self) -> bool {
        matches!(self, Selector::All)
    }

    /// Whether it is a plain name (so that a mistyped one deserves a hint).
    pub fn plain_name(&self) -> Option<&[u8]> {
        match self {
            Selector::Tree(name) | Selector::StartsWith(name) => Some(name),
            Selector::All | Selector::Glob(_) => None,
        }
    }

    /// Whether a stored name belongs to the set.
    pub fn matches(&self, name: &[u8]) -> bool {
        match self {
            Selector::All => true,
            Selector::Tree(root) => name
                .strip_prefix(root.as_slice())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")),
            Selector::StartsWith(prefix) => name.starts_with(prefix),
            Selector::Glob(glob) => glob.matches(name),
        }
    }

    /// What to ask the table, in byte order of the names.
    pub fn scans(&self) -> Vec<Scan> {
        match self {
            Selector::All => vec![Scan::Prefix(String::new())],
            // Two questions, so that `/a` does not read every name from `/a-1` to `/azzz`.
            Selector::Tree(root) => {
                vec![Scan::One(root.clone()), Scan::Prefix(utf8_start(&[root.as_slice(), b"/"].concat()))]
            }
            Selector::StartsWith(prefix) => vec![Scan::Prefix(utf8_start(prefix))],
            Selector::Glob(glob) => vec![Scan::Prefix(utf8_start(&glob.literal_start()))],
        }
    }
}

/// The longest start of the bytes that is valid UTF-8.
fn utf8_start(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(e) => lossy(&bytes[..e.valid_up_to()]),
    }
}

/// A compiled pattern with the rules of Go's `path.Match`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Glob {
    tokens: Vec<Token>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// One character (or one byte that is no part of a character, see [`characters`]).
    Char(u32),
    /// `?`: one character that is not a slash.
    AnyChar,
    /// `*`: any run without a slash.
    AnyRun,
    /// `[a-z]`, `[^a-z]`: like Go's, a negated class matches a slash too.
    Class { negated: bool, ranges: Vec<(u32, u32)> },
    /// Everything that follows, slashes too (only from [`Glob::with_everything_below`]).
    Rest,
}

impl Glob {
    /// Compiles a pattern; malformed patterns are refused even if no name would reach the bad part.
    pub fn parse(pattern: &[u8]) -> Result<Glob, ArgError> {
        let chars = characters(pattern);
        let mut tokens = Vec::with_capacity(chars.len());
        let mut at = 0;
        while let Some(&c) = chars.get(at) {
            at += 1;
            tokens.push(match char::from_u32(c) {
                Some('*') => Token::AnyRun,
                Some('?') => Token::AnyChar,
                Some('[') => parse_class(&chars, &mut at)?,
                Some('\\') => {
                    let &escaped = chars.get(at).ok_or(ArgError::BadPattern)?;
                    at += 1;
                    Token::Char(escaped)
                }
                _ => Token::Char(c),
            });
        }
        Ok(Glob { tokens })
    }

    /// The name, if the pattern has no special characters.
    pub fn literal(&self) -> Option<Vec<u8>> {
        let start = self.literal_start();
        self.tokens.iter().all(|t| matches!(t, Token::Char(_))).then_some(start)
    }

    /// What every matching name starts with.
    pub fn literal_start(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for token in &self.tokens {
            let Token::Char(c) = token else { break };
            push_character(&mut out, *c);
        }
        out
    }

    /// The same pattern for everything below the directories that it matches.
    fn with_everything_below(mut self) -> Glob {
        self.tokens.extend([Token::Char(u32::from('/')), Token::Rest]);
        self
    }

    /// Whether the whole name matches. Takes time proportional to pattern times name at most.
    pub fn matches(&self, name: &[u8]) -> bool {
        const SLASH: u32 = '/' as u32;
        // `live[i]`: tokens before i have matched what was read so far.
        let mut live = vec![false; self.tokens.len() + 1];
        live[0] = true;
        self.skip_empty_runs(&mut live);
        for c in characters(name) {
            let mut next = vec![false; live.len()];
            for (i, token) in self.tokens.iter().enumerate() {
                if !live[i] {
                    continue;
                }
                match token {
                    Token::AnyRun if c != SLASH => next[i] = true,
                    Token::Rest => next[i] = true,
                    Token::Char(want) if *want == c => next[i + 1] = true,
                    Token::AnyChar if c != SLASH => next[i + 1] = true,
                    Token::Class { negated, ranges }
                        if ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated =>
                    {
                        next[i + 1] = true
                    }
                    _ => {}
                }
            }
            self.skip_empty_runs(&mut next);
            if !next.contains(&true) {
                return false;
            }
            live = next;
        }
        live.last().copied().unwrap_or(false)
    }

    fn skip_empty_runs(&self, live: &mut [bool]) {
        for (i, token) in self.tokens.iter().enumerate() {
            if live[i] && matches!(token, Token::AnyRun | Token::Rest) {
                live[i + 1] = true;
            }
        }
    }
}

/// `[` was read; reads up to and including `]`.
fn parse_class(chars: &[u32], at: &mut usize) -> Result<Token, ArgError> {
    let is = |i: usize, c: char| chars.get(i) == Some(&u32::from(c));
    let negated = is(*at, '^');
    if negated {
        *at += 1;
    }
    let mut ranges = Vec::new();
    while !is(*at, ']') || ranges.is_empty() {
        let low = class_character(chars, at)?;
        let high = if is(*at, '-') {
            *at += 1;
            class_character(chars, at)?
        } else {
            low
        };
        ranges.push((low, high));
    }
    *at += 1;
    Ok(Token::Class { negated, ranges })
}

/// One end of a range inside a class, possibly escaped; something must follow it.
fn class_character(chars: &[u32], at: &mut usize) -> Result<u32, ArgError> {
    let mut c = *chars.get(*at).ok_or(ArgError::BadPattern)?;
    if c == u32::from('-') || c == u32::from(']') {
        return Err(ArgError::BadPattern);
    }
    if c == u32::from('\\') {
        *at += 1;
        c = *chars.get(*at).ok_or(ArgError::BadPattern)?;
    }
    *at += 1;
    if *at >= chars.len() {
        return Err(ArgError::BadPattern);
    }
    Ok(c)
}

/// Numbers from here to here + 255 stand for single bytes that are no part of a valid character.
const STRAY_BYTE: u32 = 0x0011_0000;

/// The characters of a byte string; stray bytes become numbers of their own.
fn characters(bytes: &[u8]) -> Vec<u32> {
    let mut out = Vec::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        out.extend(chunk.valid().chars().map(u32::from));
        out.extend(chunk.invalid().iter().map(|b| STRAY_BYTE + u32::from(*b)));
    }
    out
}

fn push_character(out: &mut Vec<u8>, c: u32) {
    match char::from_u32(c) {
        Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        None => out.push((c - STRAY_BYTE) as u8),
    }
}

#[cfg(test)]
mod tests {
    use super::super::address;
    use super::*;

    const SUITE: [&str; 5] = [
        "/file/letters/dataA.csv",
        "/file/letters/dataB.csv",
        "/file/numbers/data1.csv",
        "/file/numbers/data2.csv",
        "/file/unicode/á.csv",
    ];

    fn select(arg: &str, rule: PlainRule) -> Result<Selector, ArgError> {
        Selector::new(&address::pattern(arg.as_bytes())?, rule)
    }

    fn matched<'a>(arg: &str, names: &[&'a str]) -> Vec<&'a str> {
        let mut seen: Option<Vec<&str>> = None;
        for rule in [PlainRule::ExactOrBelow, PlainRule::StartsWith] {
            let s = select(arg, rule).unwrap();
            let hits: Vec<&str> = names.iter().filter(|n| s.matches(n.as_bytes())).copied().collect();
            // The scans must reach every name that matches.
            for hit in &hits {
                assert!(s.scans().iter().any(|scan| match scan {
                    Scan::One(name) => name == hit.as_bytes(),
                    Scan::Prefix(prefix) => hit.starts_with(prefix.as_str()),
                }));
            }
            if let Some(before) = &seen {
                assert_eq!(&hits, before, "{arg}: the two rules differ");
            }
            seen = Some(hits);
        }
        seen.unwrap()
    }

    /// The table of the contract, for list, get and delete alike.
    #[test]
    fn the_upstream_table() {
        let all = &SUITE[..];
        let (letters, numbers) = (&SUITE[..2], &SUITE[2..4]);
        for (arg, want) in [
            ("", all),
            ("/", all),
            ("*", all),
            ("file", all),
            ("/file", all),
            ("userfile://defaultdb.public.userfiles_root", all),
            ("userfile:///*/*/*.*", all),
            ("userfile://defaultdb.public.userfiles_root/file/letters/*.csv", letters),
            ("userfile://defaultdb.public.userfiles_root/file/unicode/á.csv", &SUITE[4..]),
            ("file/numbers/data[0-9].csv", numbers),
            ("*/numbers/*.csv", numbers),
            ("file/*.csv", &[]),
            ("file/letters/dataD.csv", &[]),
            ("file/*/\\*.csv", &[]),
            ("file/*/data\\[0-9\\].csv", &[]),
            ("file/", all),
            ("file/letters/", letters),
            ("file/l*/", letters),
            ("/*", &[]),
            ("userfile:///*", &[]),
        ] {
            assert_eq!(matched(arg, &SUITE), want, "{arg:?}");
        }
    }

    #[test]
    fn a_word_is_a_prefix_for_list_and_a_name_elsewhere() {
        let names = ["/word", "/word-x", "/word/a", "/word/b/c", "/word2", "/word2/a", "/words"];
        let hits = |rule| {
            let s = select("word", rule).unwrap();
            names.iter().filter(|n| s.matches(n.as_bytes())).copied().collect::<Vec<_>>()
        };
        assert_eq!(hits(PlainRule::ExactOrBelow), ["/word", "/word/a", "/word/b/c"]);
        assert_eq!(hits(PlainRule::StartsWith), names);
    }

    /// Lines of the recorded session.
    #[test]
    fn the_recorded_session() {
        let names = [
            "/abs/small.txt",
            "/nested/dir/deeper/small2.txt",
            "/nested/dir/small.txt",
            "/small.txt",
            "/star*.txt",
            "/viauri/a.txt",
            "/viauri/b.txt",
            "/ünï-日本.txt",
        ];
        for (arg, want) in [
            ("/*", vec!["/small.txt", "/star*.txt", "/ünï-日本.txt"]),
            ("*.txt", vec!["/small.txt", "/star*.txt", "/ünï-日本.txt"]),
            ("nested/*", vec![]),
            ("nested/**", vec![]),
            ("nested/*/*", vec!["/nested/dir/small.txt"]),
            ("/nested/dir/small[.2]*", vec!["/nested/dir/small.txt"]),
            ("nested/dir", vec!["/nested/dir/deeper/small2.txt", "/nested/dir/small.txt"]),
            ("userfile:///viauri/*", vec!["/viauri/a.txt", "/viauri/b.txt"]),
            ("star\\*.txt", vec!["/star*.txt"]),
            ("userfile:///star%2A.txt", vec!["/star*.txt"]),
            ("?n?-??.txt", vec!["/ünï-日本.txt"]),
        ] {
            assert_eq!(matched(arg, &names), want, "{arg}");
        }
        assert_eq!(select("[bad", PlainRule::StartsWith), Err(ArgError::BadPattern));
        assert_eq!(
            select("../*", PlainRule::StartsWith).unwrap_err().to_string(),
            "invalid path /../* changes to /* after normalization"
        );
        assert!(select("a//b", PlainRule::StartsWith).is_err());
    }

    /// Cases in the spirit of Go's documentation of `path.Match`.
    #[test]
    fn glob_rules() {
        let m = |p: &str, n: &str| Glob::parse(p.as_bytes()).map(|g| g.matches(n.as_bytes()));
        for (pattern, name, want) in [
            ("abc", "abc", true),
            ("*", "abc", true),
            ("*c", "abc", true),
            ("a*", "ab/c", false),
            ("a*/b", "abc/b", true),
            ("a*/b", "a/c/b", false),
            ("a*b*c*d*e*/f", "axbxcxdxe/f", true),
            ("a*b*c*d*e*/f", "axbxcxdxexxx/fff", false),
            ("a*b?c*x", "abxbbxdbxebxczzx", true),
            ("a*b?c*x", "abxbbxdbxebxczzy", false),
            ("ab[c]", "abc", true),
            ("ab[b-d]", "abc", true),
            ("ab[e-g]", "abc", false),
            ("ab[^c]", "abc", false),
            ("ab[^e-g]", "abc", true),
            ("a\\*b", "a*b", true),
            ("a\\*b", "ab", false),
            ("a?b", "a☺b", true),
            ("a[^a]b", "a☺b", true),
            ("a???b", "a☺b", false),
            ("[a-ζ]*", "α", true),
            ("*[a-ζ]", "A", false),
            ("a?b", "a/b", false),
            ("a*b", "a/b", false),
            ("[\\]a]", "]", true),
            ("[\\-x]", "-", true),
            ("[x\\-]", "z", false),
            ("*x", "xxx", true),
            ("a[^x]b", "a/b", true),
        ] {
            assert_eq!(m(pattern, name), Ok(want), "{pattern} {name}");
        }
        for bad in ["[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[", "[^", "[^bc", "a[", "\\", "[\\", "[a\\"] {
            assert_eq!(m(bad, "a"), Err(ArgError::BadPattern), "{bad}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8() {
        let star = Glob::parse(b"/a*").unwrap();
        assert!(star.matches(b"/a\xff\xfe"));
        let one = select("userfile:///a%FF", PlainRule::ExactOrBelow).unwrap();
        assert_eq!(one, Selector::Tree(b"/a\xff".to_vec()));
        assert!(one.matches(b"/a\xff/b") && !one.matches(b"/a\xfe"));
        assert_eq!(one.scans(), [Scan::One(b"/a\xff".to_vec()), Scan::Prefix("/a".into())]);
        assert!(Glob::parse("/a?".as_bytes()).unwrap().matches(b"/a\xff"));
    }

    use proptest::prelude::*;

    /// The same rules, by trying every way.
    fn slow(pattern: &[Token], name: &[u32]) -> bool {
        let Some((first, rest)) = pattern.split_first() else { return name.is_empty() };
        let slash = u32::from('/');
        match first {
            Token::AnyRun => {
                slow(rest, name)
                    || name.split_first().is_some_and(|(c, tail)| *c != slash && slow(pattern, tail))
            }
            Token::Rest => true,
            one => name.split_first().is_some_and(|(c, tail)| {
                let fits = match one {
                    Token::Char(want) => want == c,
                    Token::AnyChar => *c != slash,
                    Token::Class { negated, ranges } => {
                        ranges.iter().any(|(low, high)| low <= c && c <= high) != *negated
                    }
                    Token::AnyRun | Token::Rest => false,
                };
                fits && slow(rest, tail)
            }),
        }
    }

    proptest! {
        #[test]
        fn matching_agrees_with_trying_every_way(pattern in r"[ab/*?\[\]^\\-]{0,8}", name in "[ab/]{0,8}") {
            if let Ok(glob) = Glob::parse(pattern.as_bytes()) {
                let want = slow(&glob.tokens, &characters(name.as_bytes()));
                prop_assert_eq!(glob.matches(name.as_bytes()), want, "{} {}", pattern, name);
                if want {
                    prop_assert!(name.as_bytes().starts_with(&glob.literal_start()));
                }
            }
        }

        #[test]
        fn an_escaped_name_matches_itself_alone(
            name in prop::collection::vec(any::<u8>(), 0..12),
            other in prop::collection::vec(any::<u8>(), 0..12),
        ) {
            let mut escaped = Vec::new();
            for chunk in name.utf8_chunks() {
                for c in chunk.valid().chars() {
                    escaped.push(b'\\');
                    escaped.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
                escaped.extend_from_slice(chunk.invalid());
            }
            let glob = Glob::parse(&escaped).unwrap();
            prop_assert_eq!(glob.literal(), Some(name.clone()));
            prop_assert!(glob.matches(&name));
            prop_assert_eq!(glob.matches(&other), other == name);
        }
    }
}
