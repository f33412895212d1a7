//! From mount options to what the layers below want to be told.

use std::path::Path;

use crate::chunk::{self, NameError, TablePrefix};
use crate::mount::kernel::KernelMount;
use crate::mount::options::MountOptions;
use crate::mount::source::Source;
use crate::mount::table::FSTYPE;

/// The tables and the directory in them that a mount shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The tables.
    pub prefix: TablePrefix,
    /// The stored path that becomes the root: empty, or `/a/b`.
    pub subdir: String,
}

/// Puts together what the source, `prefix=` and `subdir=` say. `user` and `database` are those of the connection.
/// `prefix=` is stronger than the source; `subdir=` goes on below the source's path.
pub fn place(
    source: &Source,
    options: &MountOptions,
    user: &str,
    database: &str,
) -> Result<Place, NameError> {
    let (mut prefix, mut subdir) = match source {
        Source::Userfile { uri, .. } => {
            let location = chunk::Location::parse_uri(uri, user)?;
            (location.prefix, location.path.trim_matches('/').to_string())
        }
        _ => (None, String::new()),
    };
    if let Some(text) = &options.prefix {
        prefix = Some(qualified(text, user, database)?);
    }
    if !options.subdir.is_empty() {
        subdir =
            if subdir.is_empty() { options.subdir.clone() } else { format!("{subdir}/{}", options.subdir) };
    }
    let subdir = if subdir.is_empty() { subdir } else { format!("/{subdir}") };
    if !subdir.is_empty() {
        chunk::clean_path(&subdir)?;
    }
    let prefix = prefix.unwrap_or_else(|| TablePrefix::default_for(user).in_database(database));
    Ok(Place { prefix, subdir })
}

/// `[[database.]schema.]prefix`, completed from the left.
fn qualified(text: &str, user: &str, database: &str) -> Result<TablePrefix, NameError> {
    // What is put in front is decoded again like the rest.
    let database = chunk::names::quote_ident(database).replace('%', "%25").replace('$', "%24");
    for text in [text.to_string(), format!("{database}.{text}"), format!("{database}.public.{text}")] {
        match TablePrefix::for_user(&text, user) {
            Err(NameError::Unqualified(_)) => {}
            result => return result,
        }
    }
    Err(NameError::BadPrefix(text.to_string()))
}

/// What the table of mounts shows: the source as it was given, so that `mount -a` knows it again, or else `server`.
pub fn shown(source: &Source, options: &MountOptions, server: &str) -> String {
    match (&options.fsname, source) {
        (Some(name), _) => name.clone(),
        (None, Source::Default { word }) if word.is_empty() => server.to_string(),
        (None, _) => source.shown(),
    }
}

/// What the kernel is told.
pub fn kernel_mount(dir: &Path, shown: String, options: &MountOptions, is_root: bool) -> KernelMount {
    KernelMount {
        dir: dir.to_path_buf(),
        source: shown,
        fstype: options.fstype.clone().unwrap_or_else(|| FSTYPE.to_string()),
        read_only: options.read_only,
        noexec: options.noexec,
        nosymfollow: options.nosymfollow,
        sync: options.sync,
        dirsync: options.dirsync,
        // root may always look into its own mounts.
        allow_other: options.allow_other.unwrap_or(is_root && !options.allow_root),
        allow_root: options.allow_root && !is_root,
        default_permissions: options.default_permissions,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::options::Unknown;

    fn of(source: &str, words: &str) -> Result<Place, NameError> {
        let mut options = MountOptions::default();
        options.parse(words, Unknown::Refuse).expect("options");
        place(&Source::parse(source).expect("source"), &options, "bob", "somedb")
    }

    fn shown(source: &str, words: &str) -> String {
        let place = of(source, words).unwrap_or_else(|e| panic!("{source} {words}: {e}"));
        format!("{}|{}|{}|{}", place.prefix.database, place.prefix.schema, place.prefix.table, place.subdir)
    }

    #[test]
    fn places() {
        for (source, words, expected) in [
            ("none", "", "somedb|public|userfiles_bob|"),
            ("postgresql://h/d", "subdir=a/b", "somedb|public|userfiles_bob|/a/b"),
            ("none", "prefix=x", "somedb|public|x|"),
            ("none", "prefix=s.x", "somedb|s|x|"),
            ("none", "prefix=d.s.x_$user", "d|s|x_bob|"),
            ("userfile:///p/q", "", "somedb|public|userfiles_bob|/p/q"),
            ("userfile:///p", "subdir=q", "somedb|public|userfiles_bob|/p/q"),
            ("userfile://d.public.y/", "", "d|public|y|"),
            ("userfile://d.public.y/p%20q", "", "d|public|y|/p q"),
            ("userfile://d.public.y/", "prefix=z", "somedb|public|z|"),
        ] {
            assert_eq!(shown(source, words), expected, "{source} {words}");
        }
        assert!(of("none", "prefix=a.b.c.d").is_err());
        assert!(of("none", "prefix=a..b").is_err());
        let odd = place(
            &Source::Default { word: String::new() },
            &MountOptions { prefix: Some("x".into()), ..Default::default() },
            "u",
            "5%$\"é",
        );
        assert_eq!(odd.expect("place").prefix.database, "5%$\"é");
    }
}
