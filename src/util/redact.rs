//! Takes secrets out of text that is about to be shown.

/// What stands in place of a secret.
pub const MASK: &str = "xxxxx";

/// The query parameters of the backup destinations and of libpq that hold secrets, in upper case.
const SECRET_PARAMS: &[&str] = &[
    "PASSWORD",
    "PASSWD",
    "PWD",
    "SSLPASSWORD",
    "PASSPHRASE",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_ACCOUNT_KEY",
    "AZURE_CLIENT_SECRET",
    "CREDENTIALS",
    "BEARER_TOKEN",
    "TOKEN",
    "SECRET",
    "ENCRYPTION_PASSPHRASE",
    "PASSKEY",
];

/// `text` with the password and the secret query parameters of a URL, or of a `key=value` connection
/// string, replaced by [`MASK`]. Anything else comes back as it is. Never fails: what cannot be parsed is
/// masked rather too much than too little.
pub fn url(text: &str) -> String {
    match text.split_once("://") {
        Some((scheme, rest)) if !scheme.is_empty() && !scheme.contains([' ', '=']) => {
            let (head, query) = match rest.split_once('?') {
                Some((h, q)) => (h, Some(q)),
                None => (rest, None),
            };
            let mut out = format!("{scheme}://{}", userinfo(scheme, head));
            if let Some(q) = query {
                out.push('?');
                out.push_str(&params(q));
            }
            out
        }
        _ => keywords(text),
    }
}

/// The same for an argument of a command, where a URL may follow a word: `--url=...`, `ro,url=...`.
pub fn argument(text: &str) -> String {
    let colon = text.find("://").unwrap_or(0);
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+.-".contains(c);
    let start = text[..colon].trim_end_matches(is_of_scheme).len();
    format!("{}{}", &text[..start], url(&text[start..]))
}

fn is_database(scheme: &str) -> bool {
    let s = scheme.to_ascii_lowercase();
    s.ends_with("postgres") || s.ends_with("postgresql") || s.ends_with("cockroachdb")
}

fn userinfo(scheme: &str, head: &str) -> String {
    // A password with an unescaped slash would end the authority early: database URLs have no `@` in
    // their path, so everything before the last one may be secret.
    let end = if is_database(scheme) { head.len() } else { head.find('/').unwrap_or(head.len()) };
    let Some(at) = head[..end].rfind('@') else { return head.to_owned() };
    match head[..at].split_once(':') {
        Some((user, _)) => format!("{user}:{MASK}{}", &head[at..]),
        None => head.to_owned(),
    }
}

fn params(query: &str) -> String {
    let masked = query.split('&').map(|pair| match pair.split_once('=') {
        Some((key, value)) if !value.is_empty() && is_secret(key) => format!("{key}={MASK}"),
        _ => pair.to_owned(),
    });
    masked.collect::<Vec<_>>().join("&")
}

fn is_secret(key: &str) -> bool {
    let decoded = percent_encoding::percent_decode_str(key).decode_utf8_lossy().to_ascii_uppercase();
    SECRET_PARAMS.contains(&decoded.trim())
}

/// `host=x password='a b' user=y`
fn keywords(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(eq) = rest.find('=') {
        let (before, after) = rest.split_at(eq + 1);
        let key_at =
            before.trim_end_matches('=').trim_end().rfind([' ', '\t', '\n', ';']).map_or(0, |p| p + 1);
        let key = before[key_at..].trim_end_matches('=').trim();
        out.push_str(before);
        let value_at = after.len() - after.trim_start().len();
        let value_len = value_len(&after[value_at..]);
        let (value, tail) = after.split_at(value_at + value_len);
        if is_secret(key) && !value.trim().is_empty() {
            out.push_str(MASK);
        } else {
            out.push_str(value);
        }
        rest = tail;
    }
    out.push_str(rest);
    out
}

/// The length of a value as libpq reads it: up to the closing quote, or to the next blank.
fn value_len(text: &str) -> usize {
    let quoted = text.starts_with('\'');
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(usize::from(quoted)) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '\'' if quoted => return i + 1,
            c if !quoted && c.is_whitespace() => return i,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn forms() {
        for (given, want) in [
            (
                "postgres://bob:s3cret@host:26257/db?sslmode=disable",
                "postgres://bob:xxxxx@host:26257/db?sslmode=disable",
            ),
            ("postgres://bob:s3c/ret@host/db", "postgres://bob:xxxxx@host/db"),
            ("postgresql://bob@host/db?password=s3cret&x=1", "postgresql://bob@host/db?password=xxxxx&x=1"),
            ("postgresql:///db?pass%77ord=s3cret", "postgresql:///db?pass%77ord=xxxxx"),
            (
                "s3://b/p?AWS_SECRET_ACCESS_KEY=s3cret&AWS_REGION=x",
                "s3://b/p?AWS_SECRET_ACCESS_KEY=xxxxx&AWS_REGION=x",
            ),
            ("userfile:///a:b@c", "userfile:///a:b@c"),
            ("host=h password=s3cret user=u", "host=h password=xxxxx user=u"),
            ("password = 's3 \\'cret' user=u", "password =xxxxx user=u"),
            ("password='s3cret", "password=xxxxx"),
            ("plain text", "plain text"),
        ] {
            assert_eq!(url(given), want);
        }
    }

    #[test]
    fn arguments() {
        for (given, want) in [
            ("--url=postgresql://bob:s3cret@h/d", "--url=postgresql://bob:xxxxx@h/d"),
            ("ro,url=postgresql://bob:s3cret@h/d,rw", "ro,url=postgresql://bob:xxxxx@h/d,rw"),
            ("postgres://bob:s3cret@h/d", "postgres://bob:xxxxx@h/d"),
            ("--url=host=h password=s3cret", "--url=host=h password=xxxxx"),
            ("/a/b=c", "/a/b=c"),
            ("://", "://"),
            ("", ""),
        ] {
            assert_eq!(argument(given), want);
        }
    }

    proptest! {
        #[test]
        fn never_shows_a_password(secret in "[A-Z0-9@/:]{6,12}", user in "[a-z]{1,5}") {
            let shown = url(&format!("postgres://{user}:{secret}@host/db?sslpassword=Q{}", secret.replace('&', "")));
            prop_assert!(!shown.contains(&secret), "{shown}");
        }

        #[test]
        fn never_panics(text in ".{0,60}") {
            url(&text);
            argument(&text);
        }
    }
}
