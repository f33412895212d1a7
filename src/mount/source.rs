//! The first word of a mount line: which server, which tables, which directory. Pure.

/// What SOURCE names.
#[derive(Clone, PartialEq, Eq)]
pub enum Source {
    /// Nothing, `none`, `userfilefs`: what flags and variables say, else the embedded server.
    Default {
        /// The word, or nothing.
        word: String,
    },
    /// `embedded`: the private PostgreSQL, whatever flags and variables say.
    Embedded,
    /// A `postgresql://` URL. May hold a password: never print it, see [`Source::shown`].
    Url(String),
    /// `userfile://[database.schema.prefix]/sub/dir` on the default server, as written.
    Userfile {
        /// The URI.
        uri: String,
    },
}

/// A source that names nothing we can mount.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cannot mount \"{shown}\": {reason}")]
pub struct SourceError {
    shown: String,
    reason: String,
}

impl SourceError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "the source is a postgresql:// URL, userfile://database.schema.prefix/directory, or \"embedded\""
    }
}

impl Source {
    /// Reads a source. mount(8) turns a word that is also a file of the current directory into an absolute
    /// path, so the last component of a path counts where the word has no scheme.
    pub fn parse(text: &str) -> Result<Source, SourceError> {
        let text = text.strip_prefix("userfilefs#").unwrap_or(text);
        if let Some((scheme, _)) = text.split_once("://") {
            return match scheme.to_ascii_lowercase().as_str() {
                "postgresql" | "postgres" | "cockroachdb" => Ok(Source::Url(text.to_string())),
                "userfile" => userfile(text),
                _ => {
                    Err(SourceError { shown: redacted(text), reason: "the scheme is not known".to_string() })
                }
            };
        }
        let word = if text.starts_with('/') { text.rsplit('/').next().unwrap_or("") } else { text };
        match word {
            "" if !text.is_empty() => {
                Err(SourceError { shown: redacted(text), reason: "it is not a source".to_string() })
            }
            "" | "none" | "default" | "userfilefs" | "userfile" => {
                Ok(Source::Default { word: text.to_string() })
            }
            "embedded" => Ok(Source::Embedded),
            _ => Err(SourceError { shown: redacted(text), reason: "it is not a source".to_string() }),
        }
    }

    /// What /proc/mounts and df may show: the source as it was given, without secrets.
    pub fn shown(&self) -> String {
        match self {
            Source::Default { word } if word.is_empty() => "userfilefs".to_string(),
            Source::Default { word } => word.clone(),
            Source::Embedded => "embedded".to_string(),
            Source::Url(url) => redacted(url),
            Source::Userfile { uri } => redacted(uri),
        }
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.shown())
    }
}

fn redacted(url: &str) -> String {
    crate::util::redact::url(url)
}

/// Checks what can be checked before the user is known, whose name `$user` stands for.
fn userfile(uri: &str) -> Result<Source, SourceError> {
    let wrong = |reason: String| SourceError { shown: redacted(uri), reason };
    let location = crate::chunk::Location::parse_uri(uri, "user").map_err(|e| wrong(e.to_string()))?;
    let path = location.path.trim_matches('/');
    if !path.is_empty() && path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(wrong("the path is not clean (an empty part, \".\" or \"..\")".to_string()));
    }
    Ok(Source::Userfile { uri: uri.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Source {
        Source::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
    }

    #[test]
    fn words() {
        for text in ["", "none", "userfilefs", "/home/bob/none", "userfilefs#none", "userfilefs#"] {
            let word = text.trim_start_matches("userfilefs#").to_string();
            assert_eq!(parse(text), Source::Default { word }, "{text}");
        }
        for text in ["embedded", "/root/embedded", "userfilefs#embedded"] {
            assert_eq!(parse(text), Source::Embedded, "{text}");
        }
        for text in ["x", "/dev/sda1", "http://h/p", "/", "host:/path"] {
            assert!(Source::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn urls() {
        let url = "postgresql://bob@host:26257/defaultdb?sslmode=disable";
        assert_eq!(parse(url), Source::Url(url.into()));
        assert_eq!(parse(&format!("userfilefs#{url}")), Source::Url(url.into()));
        assert_eq!(parse(url).shown(), url);
        let secret = parse("postgresql://bob:hunter2@host/d?password=hunter3");
        assert!(!secret.shown().contains("hunter"), "{}", secret.shown());
        assert!(!format!("{secret:?}").contains("hunter"));
    }

    #[test]
    fn userfile_uris() {
        for uri in [
            "userfile:///",
            "userfile://",
            "userfile:///a%20b/c/",
            "userfile://defaultdb.public.userfiles_$user/p",
        ] {
            assert_eq!(parse(uri), Source::Userfile { uri: uri.into() });
            assert_eq!(parse(uri).shown(), uri);
        }
        for bad in ["userfile:///a/../b", "userfile:///a//b", "userfile://u@d/p", "userfile:///%ff"] {
            assert!(Source::parse(bad).is_err(), "{bad}");
        }
    }
}
