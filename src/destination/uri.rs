//! Addresses of places: folders, `file://`, `nodelocal://` with a base folder, and `userfile://`.

use percent_encoding::percent_decode_str;

use super::Error;

/// What an address names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A folder of the file system.
    Folder(String),
    /// A prefix in userfile tables.
    Userfile {
        /// `db.schema.prefix`, if named.
        table: Option<String>,
        /// Path inside, without slashes at its ends.
        path: String,
    },
}

/// Parses an address. Parameters (`?…`) are dropped: they hold no part of a name.
pub fn parse(uri: &str) -> Result<Address, Error> {
    let Some((scheme, rest)) = uri.split_once("://") else {
        return Ok(Address::Folder(uri.to_owned()));
    };
    let rest = rest.split('?').next().unwrap_or(rest);
    let decode = |text: &str| {
        percent_decode_str(text)
            .decode_utf8()
            .map(|text| text.into_owned())
            .map_err(|_| Error::Address(format!("{text:?} is not UTF-8 after decoding")))
    };
    match scheme {
        "file" => {
            let path = rest.strip_prefix("localhost").unwrap_or(rest);
            Ok(Address::Folder(decode(path)?))
        }
        "userfile" => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let table = decode(host)?;
            Ok(Address::Userfile {
                table: (!table.is_empty()).then_some(table),
                path: decode(path)?.trim_matches('/').to_owned(),
            })
        }
        other => Err(Error::Address(format!(
            "cannot read {other}:// addresses: give a folder (also a mount point) or a userfile:// address"
        ))),
    }
}

/// Splits a path that ends like a full backup's folder (`…/2026/11/20-175046.60`) into collection and
/// folder; any other path has an empty folder.
pub fn split_collection(path: &str) -> (String, String) {
    let trimmed = path.trim_end_matches('/');
    let parts: Vec<&str> = trimmed.split('/').collect();
    if let Some(at) = parts.len().checked_sub(3)
        && at > 0
    {
        let folder = parts[at..].join("/");
        if crate::format::manifest::names::is_full_folder(&folder) {
            let root = parts[..at].join("/");
            return (if root.is_empty() { "/".into() } else { root }, folder);
        }
    }
    (path.to_owned(), String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(parse("/a/b%20").unwrap(), Address::Folder("/a/b%20".into()));
        assert_eq!(parse("file:///a/b%20?x=1").unwrap(), Address::Folder("/a/b ".into()));
        let userfile = |table: Option<&str>, path: &str| Address::Userfile {
            table: table.map(str::to_owned),
            path: path.into(),
        };
        assert_eq!(parse("userfile:///x/y/").unwrap(), userfile(None, "x/y"));
        assert_eq!(parse("userfile://d.s.t/x").unwrap(), userfile(Some("d.s.t"), "x"));
        assert!(parse("s3://b/x?AWS_SECRET_ACCESS_KEY=k").is_err());
    }

    #[test]
    fn collections() {
        let split = |path: &str| {
            let (root, folder) = split_collection(path);
            format!("{root}|{folder}")
        };
        assert_eq!(split("/c/2026/11/20-175046.60"), "/c|2026/11/20-175046.60");
        assert_eq!(split("c/2026/11/20-175046.60/"), "c|2026/11/20-175046.60");
        assert_eq!(split("/c/x"), "/c/x|");
        assert_eq!(split("2026/11/20-175046.60"), "2026/11/20-175046.60|");
    }
}
