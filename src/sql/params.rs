//! Connection strings as text: URLs of libpq and CockroachDB, and `key=value` strings. Pure.

use super::{Error, ErrorClass};
use percent_encoding::percent_decode_str;
use std::collections::BTreeMap;

/// Settings by their libpq keyword (`host`, `port`, `user`, `sslmode`…), decoded; lists with commas.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    /// No setting at all.
    pub fn new() -> Params {
        Params::default()
    }

    /// The value of a keyword; an empty value counts as absent, as in libpq.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str).filter(|v| !v.is_empty())
    }

    /// Sets a keyword, replacing what was there.
    pub fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_owned(), value.into());
    }

    /// Takes from `lower` what is not set here.
    pub fn or(mut self, lower: Params) -> Params {
        for (k, v) in lower.0 {
            if self.get(&k).is_none() {
                self.0.insert(k, v);
            }
        }
        self
    }

    /// All keywords with their values, sorted by keyword.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(k, v)| (k.as_str(), v.as_str()))
    }

    /// True if nothing is set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Parses a URL (`postgresql://`, `postgres://`, `cockroachdb://`, also with `jdbc:` in front) or a
    /// libpq `key=value` string. Errors never repeat the text: it may hold a password.
    pub fn parse(text: &str) -> Result<Params, Error> {
        let text = text.trim();
        let text = text.strip_prefix("jdbc:").unwrap_or(text);
        match text.split_once("://") {
            Some((scheme, rest)) if !scheme.contains(['=', ' ']) => {
                match scheme.to_ascii_lowercase().as_str() {
                    "postgres" | "postgresql" | "cockroachdb" => parse_url(rest, scheme),
                    _ => Err(bad(format!("connection URLs start with postgresql://, not {scheme}://"))
                        .with_hint(
                            "for example postgresql://root@localhost:26257/defaultdb?sslmode=disable",
                        )),
                }
            }
            _ if text.contains('=') => parse_keywords(text),
            _ => Err(bad("this is neither a connection URL nor a key=value connection string")
                .with_hint("for example postgresql://root@localhost:26257/defaultdb?sslmode=disable")),
        }
    }
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(ErrorClass::Config, message)
}

fn decode(text: &str, what: &str) -> Result<String, Error> {
    let bytes = text.as_bytes();
    for (i, _) in text.match_indices('%') {
        let hex = |b: Option<&u8>| b.is_some_and(u8::is_ascii_hexdigit);
        if !(hex(bytes.get(i + 1)) && hex(bytes.get(i + 2))) {
            return Err(bad(format!("the {what} in the connection URL has a % that starts no escape"))
                .with_hint("write a percent sign as %25"));
        }
    }
    let decoded = percent_decode_str(text)
        .decode_utf8()
        .map_err(|_| bad(format!("the {what} in the connection URL is not UTF-8")))?;
    if decoded.contains('\0') {
        return Err(bad(format!("the {what} in the connection URL has a zero byte")));
    }
    Ok(decoded.into_owned())
}

fn parse_url(rest: &str, scheme: &str) -> Result<Params, Error> {
    let mut out = Params::new();
    let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
    let (head, query) = rest.split_once('?').map_or((rest, ""), |(h, q)| (h, q));
    // A slash in an unescaped password is beyond repair; an unescaped `@` is not.
    let (authority, path) = head.split_once('/').map_or((head, ""), |(a, p)| (a, p));
    if path.contains('@') {
        return Err(bad("the connection URL has an @ behind its first slash")
            .with_hint("in a user name or password, write / as %2F and @ as %40"));
    }
    let hosts = match authority.rsplit_once('@') {
        Some((userinfo, hosts)) => {
            let (user, password) = userinfo.split_once(':').map_or((userinfo, None), |(u, p)| (u, Some(p)));
            if !user.is_empty() {
                out.set("user", decode(user, "user name")?);
            }
            if let Some(p) = password {
                out.set("password", decode(p, "password")?);
            }
            hosts
        }
        None => authority,
    };
    if !hosts.is_empty() {
        set_hosts(&mut out, hosts)?;
    }
    if !path.is_empty() {
        out.set("dbname", decode(path, "database name")?);
    }
    for pair in query.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key, "parameter name")?;
        let value = decode(&value.replace('+', "%2B"), "parameter value")?;
        set_param(&mut out, &key, value)?;
    }
    if scheme.eq_ignore_ascii_case("cockroachdb") && out.get("port").is_none() {
        out.set("port", "26257");
    }
    Ok(out)
}

/// `a:1,b,[::1]:3` as the lists `host` and `port`.
fn set_hosts(out: &mut Params, hosts: &str) -> Result<(), Error> {
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for one in hosts.split(',') {
        let (name, port) = split_host(one)?;
        let name = decode(name, "host")?;
        if name.contains(',') {
            return Err(bad("a host in the connection URL has a comma in its name"));
        }
        names.push(name);
        ports.push(decode(port, "port")?);
    }
    if names.iter().any(|n| !n.is_empty()) {
        out.set("host", names.join(","));
    }
    if ports.iter().any(|p| !p.is_empty()) {
        out.set("port", ports.join(","));
    }
    Ok(())
}

/// Host and port (may be empty) of `name`, `name:1`, `[v6]`, `[v6]:1`, or a bare IPv6 address.
pub fn split_host(one: &str) -> Result<(&str, &str), Error> {
    if let Some(inner) = one.strip_prefix('[') {
        let (name, tail) = inner
            .split_once(']')
            .ok_or_else(|| bad("an IPv6 address in the host list lacks its closing bracket"))?;
        return match tail.strip_prefix(':') {
            Some(port) => Ok((name, port)),
            None if tail.is_empty() => Ok((name, "")),
            None => Err(bad("only a colon and a port may follow the brackets of an IPv6 address")),
        };
    }
    if one.matches(':').count() > 1 {
        return Ok((one, ""));
    }
    Ok(one.split_once(':').unwrap_or((one, "")))
}

fn set_param(out: &mut Params, key: &str, value: String) -> Result<(), Error> {
    match key {
        "ssl" if value == "true" => out.set("sslmode", "require"),
        "database" => out.set("dbname", value),
        // CockroachDB's URL helpers write one options parameter each.
        "options" => match out.get("options").map(str::to_owned) {
            Some(old) => out.set("options", format!("{old} {value}")),
            None => out.set("options", value),
        },
        "" => return Err(bad("the connection URL has a parameter without a name")),
        _ => out.set(key, value),
    }
    Ok(())
}

/// `host=a port='1' password='it\'s'`
fn parse_keywords(text: &str) -> Result<Params, Error> {
    let mut out = Params::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let eq = rest.find('=').ok_or_else(|| bad("a word of the connection string lacks its ="))?;
        let key = rest[..eq].trim();
        if key.is_empty() || key.contains(char::is_whitespace) {
            return Err(bad("a word of the connection string lacks its ="));
        }
        let (value, tail) = keyword_value(rest[eq + 1..].trim_start())?;
        set_param(&mut out, key, value)?;
        rest = tail.trim_start();
    }
    Ok(out)
}

fn keyword_value(text: &str) -> Result<(String, &str), Error> {
    let (quoted, body) = match text.strip_prefix('\'') {
        Some(b) => (true, b),
        None => (false, text),
    };
    let mut value = String::new();
    let mut chars = body.char_indices();
    while let Some((i, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, next)) => value.push(next),
                None => return Err(bad("the connection string ends with a backslash")),
            },
            '\'' if quoted => return Ok((value, &body[i + 1..])),
            c if !quoted && c.is_whitespace() => return Ok((value, &body[i..])),
            c => value.push(c),
        }
    }
    if quoted { Err(bad("a quote in the connection string is not closed")) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn shown(text: &str) -> String {
        match Params::parse(text) {
            Ok(p) => p.iter().map(|(k, v)| format!("{k}={v}")).collect::<Vec<_>>().join(" "),
            Err(e) => format!("error: {e}"),
        }
    }

    #[test]
    fn urls() {
        for (given, want) in [
            ("postgresql://", ""),
            ("postgresql://h", "host=h"),
            (
                "postgres://u:p@h:1/d?sslmode=disable",
                "dbname=d host=h password=p port=1 sslmode=disable user=u",
            ),
            ("postgres://u:p%40%2f@h", "host=h password=p@/ user=u"),
            ("postgres://u:p@q@h", "host=h password=p@q user=u"),
            ("postgres://a:1,b,[::1]:3/d", "dbname=d host=a,b,::1 port=1,,3"),
            ("postgres://%2Fvar%2Frun/d", "dbname=d host=/var/run"),
            ("postgres:///d?host=/tmp&port=7", "dbname=d host=/tmp port=7"),
            ("postgres://h/?options=--cluster%3Dfoo-12", "host=h options=--cluster=foo-12"),
            ("postgres://h/?options=-c%20a=1&options=-c%20b=2", "host=h options=-c a=1 -c b=2"),
            ("postgres://h?application_name=a+b", "application_name=a+b host=h"),
            ("cockroachdb://root@h/db", "dbname=db host=h port=26257 user=root"),
            ("jdbc:postgresql://h/d?ssl=true&user=x", "dbname=d host=h sslmode=require user=x"),
            ("postgres://h/d#frag", "dbname=d host=h"),
            ("mysql://h", "error: connection URLs start with postgresql://, not mysql://"),
            (
                "postgres://h/%zz",
                "error: the database name in the connection URL has a % that starts no escape",
            ),
            ("postgres://u:a/b@h/d", "error: the connection URL has an @ behind its first slash"),
            ("postgres://[::1", "error: an IPv6 address in the host list lacks its closing bracket"),
            ("h", "error: this is neither a connection URL nor a key=value connection string"),
        ] {
            assert_eq!(shown(given), want, "{given}");
        }
    }

    #[test]
    fn keywords() {
        for (given, want) in [
            ("host=a port = 5 user='o\\'b' password=a\\ b", "host=a password=a b port=5 user=o'b"),
            ("host='' dbname=x", "dbname=x host="),
            ("host='a", "error: a quote in the connection string is not closed"),
            ("host=a b", "error: a word of the connection string lacks its ="),
        ] {
            assert_eq!(shown(given), want, "{given}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_never_repeats_a_password(secret in "[A-Z/@:%]{8,12}", rest in ".{0,30}") {
            if let Err(e) = Params::parse(&format!("postgres://u:{secret}@h/{rest}")) {
                let said = format!("{e} {:?}", e.hint());
                prop_assert!(!said.contains(&secret), "{said}");
            }
            let _ = Params::parse(&rest);
        }
    }
}
