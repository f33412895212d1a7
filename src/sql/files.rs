//! The password file and the service file of libpq, as text. Pure.

use super::config::{Host, Settings};
use super::params::Params;
use super::{Error, ErrorClass};

/// The password that the text of a `.pgpass` has for the first host of the settings that it knows.
pub fn password(text: &str, s: &Settings) -> Option<String> {
    s.hosts().iter().find_map(|(host, port)| {
        let name = match host {
            Host::Tcp { name, .. } => name.as_str(),
            // libpq's rule: the default socket directories count as localhost.
            Host::Unix(dir) if ["/var/run/postgresql", "/tmp"].iter().any(|d| dir.as_os_str() == *d) => {
                "localhost"
            }
            Host::Unix(dir) => dir.to_str()?,
        };
        text.lines()
            .find_map(|line| password_of_line(line, [name, &port.to_string(), s.database(), s.user()]))
    })
}

fn password_of_line(line: &str, wanted: [&str; 4]) -> Option<String> {
    let line = line.trim_end_matches('\r');
    if line.starts_with('#') {
        return None;
    }
    let mut rest = line;
    for want in wanted {
        let (field, tail) = field(rest)?;
        if rest.split(':').next() != Some("*") && field != want {
            return None;
        }
        rest = tail;
    }
    // The password goes to the next unescaped colon.
    let (password, _) = field(rest).unwrap_or_else(|| (unescape(rest), ""));
    (!password.is_empty()).then_some(password)
}

/// Up to the next unescaped colon, and what follows it.
fn field(text: &str) -> Option<(String, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((unescape(&text[..i]), &text[i + 1..])),
            _ => {}
        }
    }
    None
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        out.push(if c == '\\' { chars.next().unwrap_or(c) } else { c });
    }
    out
}

/// The settings of a section of a service file; None if there is no such section.
pub fn service(text: &str, name: &str) -> Result<Option<Params>, Error> {
    let mut found: Option<Params> = None;
    for line in text.lines().map(str::trim) {
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(section) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if section == name {
                found = Some(Params::new());
            }
        } else if let Some(p) = &mut found {
            let (key, value) = line.split_once('=').ok_or_else(|| {
                Error::new(
                    ErrorClass::Config,
                    format!("a line of service {name} in the service file lacks its ="),
                )
            })?;
            p.set(key.trim(), value.trim());
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords() {
        let s = |t: &str| Settings::parse(t).unwrap();
        let text = "# c\nother:*:*:*:no\nh\\:x:5432:d:u:a\\:b\\\\c\n*:*:d:u:any:rest\n*:1:d:u:\n/s:7:*:*:sock\nlocalhost:*:*:me:lo\n";
        let mut odd = Params::new();
        odd.set("host", "h");
        for (url, want) in [
            ("postgres://u@h/d", Some("any")),
            ("postgres://u@other/d", Some("no")),
            ("postgres://x@h/d", None),
            ("postgres://q@%2Fs:7/z", Some("sock")),
            ("postgres:///z?user=me", Some("lo")),
        ] {
            assert_eq!(password(text, &s(url)).as_deref(), want, "{url}");
        }
        assert_eq!(
            password_of_line("h\\:x:5432:d:u:a\\:b\\\\c", ["h:x", "5432", "d", "u"]).as_deref(),
            Some("a:b\\c")
        );
        assert_eq!(password_of_line("\\*:1:d:u:p", ["h", "1", "d", "u"]), None);
        assert_eq!(password_of_line("h:1:d", ["h", "1", "d", "u"]), None);
    }

    #[test]
    fn services() {
        let text = "[a]\nhost=h\n# c\n[b]\nhost = x\nport=7\n\n[c]\nhost=z";
        let b = service(text, "b").unwrap().unwrap();
        assert_eq!((b.get("host"), b.get("port")), (Some("x"), Some("7")));
        assert!(service(text, "d").unwrap().is_none());
        assert!(service("[a]\nnonsense", "a").is_err());
    }
}
