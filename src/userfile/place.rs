//! Where an upload puts a file, and where a download puts one.

use super::address::{self, Address, ArgError, Host, clean, lossy};
use std::path::{Component, Path, PathBuf};

/// The stored name that an upload is to create.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Which tables.
    pub host: Host,
    /// For one file the stored name; for a tree the part before `/<path in the tree>`, possibly empty.
    pub path: String,
}

/// Destination of one file: the given one, or the source's own name in the default prefix.
///
/// The name is not checked here; [`check_name`] does that when the file is about to be stored.
pub fn file_destination(dest: Option<&[u8]>, source_base: &[u8]) -> Result<Destination, ArgError> {
    let Address { host, mut path, .. } = match dest {
        None | Some(b"") => address::literal(&[b"/".as_slice(), source_base].concat())?,
        Some(dest) => address::literal(dest)?,
    };
    if path.is_empty() {
        path = [b"/".as_slice(), source_base].concat();
    }
    Ok(Destination { host, path: text(path)? })
}

/// Destination of a tree, as rsync has it: a source without trailing slash brings its own name along, a
/// source with one brings its contents. Without a destination it is always the source's name.
pub fn tree_destination(
    dest: Option<&[u8]>,
    source_base: &[u8],
    source_has_slash: bool,
) -> Result<Destination, ArgError> {
    let address = match dest {
        None | Some(b"") => None,
        Some(dest) => Some(address::literal(dest)?),
    };
    let explicit = address.as_ref().is_some_and(|a| !a.path.is_empty());
    let (host, mut path) = address.map_or((Host::Default, Vec::new()), |a| (a.host, a.path));
    if path.ends_with(b"/") {
        path.pop();
    }
    if (!explicit || !source_has_slash) && !source_base.is_empty() {
        path.push(b'/');
        path.extend_from_slice(source_base);
    }
    Ok(Destination { host, path: text(path)? })
}

/// The stored name of one file of a tree.
pub fn tree_name(root: &str, relative: &[u8]) -> Result<String, ArgError> {
    text([root.as_bytes(), b"/", relative].concat())
}

/// The clean-path rule for names that an upload creates.
pub fn check_name(name: &str) -> Result<(), ArgError> {
    let cleaned = clean(name.as_bytes());
    if cleaned != name.as_bytes() {
        return Err(ArgError::NotClean(name.to_owned(), lossy(&cleaned)));
    }
    Ok(())
}

fn text(path: Vec<u8>) -> Result<String, ArgError> {
    if path.contains(&0) {
        return Err(ArgError::Nul(lossy(&path)));
    }
    String::from_utf8(path).map_err(|e| ArgError::NotUtf8(lossy(e.as_bytes())))
}

/// A source directory argument: its own name, and whether it was given with a trailing slash.
pub fn source_base(given: &Path, absolute: &Path) -> (Vec<u8>, bool) {
    use std::os::unix::ffi::OsStrExt;
    let slash = given.as_os_str().as_bytes().ends_with(b"/");
    let lexical = lexical_clean(absolute);
    (lexical.file_name().map(|n| n.as_bytes().to_vec()).unwrap_or_default(), slash)
}

/// Resolves `.` and `..` by text, as the original does for the source argument.
pub fn lexical_clean(path: &Path) -> PathBuf {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    PathBuf::from(std::ffi::OsString::from_vec(clean(path.as_os_str().as_bytes())))
}

/// Where downloads go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Downloads {
    /// The destination argument.
    pub dest: Option<PathBuf>,
    /// The destination is a directory (it exists as one, or was written with a trailing slash).
    pub dest_is_dir: bool,
    /// Exactly one file matched.
    pub single: bool,
}

impl Downloads {
    /// The local path of a stored name, or `None` if the name cannot be stored below the destination:
    /// `..`, empty or `.` parts, NUL bytes, no name at all.
    pub fn local_path(&self, name: &[u8]) -> Option<PathBuf> {
        if let (Some(dest), true, false) = (&self.dest, self.single, self.dest_is_dir) {
            // The name plays no part.
            return Some(dest.clone());
        }
        let relative = safe_relative(name)?;
        let base = || relative.file_name().map(PathBuf::from);
        match (&self.dest, self.single) {
            (None, true) => base(),
            (Some(dest), true) => Some(dest.join(base()?)),
            (None, false) => Some(relative),
            (Some(dest), false) => Some(dest.join(relative)),
        }
    }
}

/// A stored name as a relative local path with nothing but ordinary parts.
fn safe_relative(name: &[u8]) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStringExt;
    let name = name.strip_prefix(b"/").unwrap_or(name);
    let ordinary = |part: &[u8]| !part.is_empty() && part != b"." && part != b".." && !part.contains(&0);
    if !name.split(|b| *b == b'/').all(ordinary) {
        return None;
    }
    let path = PathBuf::from(std::ffi::OsString::from_vec(name.to_vec()));
    path.components().all(|c| matches!(c, Component::Normal(_))).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(dest: Option<&str>) -> String {
        file_destination(dest.map(str::as_bytes), b"test.csv").unwrap().path
    }

    #[test]
    fn one_file() {
        assert_eq!(file(None), "/test.csv");
        assert_eq!(file(Some("")), "/test.csv");
        assert_eq!(file(Some("/test/file1.csv")), "/test/file1.csv");
        assert_eq!(file(Some("test/file1.csv")), "/test/file1.csv");
        assert_eq!(file(Some("/")), "/");
        assert_eq!(file(Some("userfile:///")), "/");
        assert_eq!(file(Some("userfile://defaultdb.public.foo")), "/test.csv");
        assert_eq!(file(Some("s3://b/x")), "/s3://b/x");
        let d = file_destination(Some(b"userfile://defaultdb.public.foo/test/file1.csv"), b"x").unwrap();
        assert_eq!(d.host, Host::Named("defaultdb.public.foo".into()));
        assert!(file_destination(None, b"\xff").is_err());
        assert!(file_destination(Some(b"userfile:///a%00"), b"x").is_err());
    }

    #[test]
    fn names_that_are_not_clean_are_refused_with_the_literal_message() {
        for (name, to) in [
            ("/test/../../file1.csv", "/file1.csv"),
            ("/nested//double.txt", "/nested/double.txt"),
            ("/./dot.txt", "/dot.txt"),
            ("/../up.txt", "/up.txt"),
            ("/nested/dir/", "/nested/dir"),
        ] {
            assert_eq!(
                check_name(name).unwrap_err().to_string(),
                format!(
                    "path {name} changes after normalization to {to}. userfile upload does not permit such path \
                     constructs"
                )
            );
        }
        assert!(check_name("/a b/ünï").is_ok() && check_name("/").is_ok() && check_name("").is_err());
    }

    /// The transcripts of `upload -r` in the contract.
    #[test]
    fn trees() {
        let at = |source: &str, dest: Option<&str>| {
            let given = Path::new(source);
            let (base, slash) = source_base(given, &Path::new("/work").join(given));
            let d = tree_destination(dest.map(str::as_bytes), &base, slash).unwrap();
            (d.host, tree_name(&d.path, b"d1/f1").unwrap())
        };
        let default = |name: &str| (Host::Default, name.to_owned());
        assert_eq!(at("testdir/", Some("foo")), default("/foo/d1/f1"));
        assert_eq!(at("testdir/", Some("/foo/bar/")), default("/foo/bar/d1/f1"));
        assert_eq!(at("testdir/", None), default("/testdir/d1/f1"));
        assert_eq!(at("testdir", None), default("/testdir/d1/f1"));
        assert_eq!(at("testdir", Some("")), default("/testdir/d1/f1"));
        assert_eq!(at("testdir", Some("foo")), default("/foo/testdir/d1/f1"));
        assert_eq!(at("testdir", Some("userfile:///someOtherDir")), default("/someOtherDir/testdir/d1/f1"));
        assert_eq!(
            at("testdir/", Some("userfile://defaultdb.public.foo/someDir")),
            (Host::Named("defaultdb.public.foo".into()), "/someDir/d1/f1".into())
        );
        assert_eq!(at("testdir/", Some("foo/../bar")), default("/foo/../bar/d1/f1"));
        assert_eq!(at("testdir/", Some("/")), default("/d1/f1"));
        assert_eq!(at("testdir", Some("userfile:///")), default("/testdir/d1/f1"));
        assert_eq!(at("./testdir/.", None), default("/testdir/d1/f1"));
        assert_eq!(at("testdir/x/..", Some("foo")), default("/foo/testdir/d1/f1"));
        assert_eq!(at("/", Some("foo")), default("/foo/d1/f1"));
    }

    #[test]
    fn downloads() {
        let at = |dest: Option<&str>, dest_is_dir, single, name: &str| {
            Downloads { dest: dest.map(PathBuf::from), dest_is_dir, single }
                .local_path(name.as_bytes())
                .map(|p| p.to_str().unwrap().to_owned())
        };
        assert_eq!(at(None, false, true, "/a/b.txt").as_deref(), Some("b.txt"));
        assert_eq!(at(Some("d"), true, true, "/a/b.txt").as_deref(), Some("d/b.txt"));
        assert_eq!(at(Some("c.txt"), false, true, "/a/b.txt").as_deref(), Some("c.txt"));
        assert_eq!(at(None, false, false, "/a/b.txt").as_deref(), Some("a/b.txt"));
        assert_eq!(at(Some("d"), false, false, "/a/b.txt").as_deref(), Some("d/a/b.txt"));
        for hostile in ["/../etc/passwd", "/a/../../x", "/a//b", "/", "", "/a/.", "/a/", "..", "/a\0b"] {
            for single in [true, false] {
                assert_eq!(at(Some("d"), true, single, hostile), None, "{hostile:?}");
            }
        }
        assert_eq!(at(Some("c"), false, true, "/../x").as_deref(), Some("c"));
        assert_eq!(at(None, false, false, "noslash").as_deref(), Some("noslash"));
    }
}
