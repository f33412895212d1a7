//! Addresses of places: folders, `file://` and `userfile://`.

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
}
