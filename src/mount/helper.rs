//! The arguments that mount(8), mount.fuse3 and umount(8) hand to their helpers. Pure.
//!
//! The one binary answers to several names: as `mount.userfilefs` and `mount.fuse.userfilefs` it is
//! mount(8)'s helper, as `umount.userfilefs` and `umount.fuse.userfilefs` umount(8)'s, and mount.fuse3 runs
//! it as `userfilefs SOURCE DIR -o ...` without a command word.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Which part the binary plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The ordinary command line.
    Command,
    /// A helper of mount(8).
    Mount,
    /// A helper of umount(8).
    Umount,
}

/// Decides from the whole argument vector. `is_command` knows the words of the ordinary command line.
pub fn role(args: &[OsString], is_command: impl Fn(&str) -> bool) -> Role {
    let name =
        args.first().and_then(|arg| Path::new(arg).file_name()).map(|n| n.as_bytes()).unwrap_or_default();
    if name.starts_with(b"mount.") {
        return Role::Mount;
    }
    if name.starts_with(b"umount.") {
        return Role::Umount;
    }
    let Some(first) = args.get(1).and_then(|arg| arg.to_str()) else { return Role::Command };
    // mount.fuse3: the first word is a source, and a mount point follows.
    let source = first.contains("://") || matches!(first, "" | "none" | "embedded" | "default");
    if source && !is_command(first) && args.len() > 2 {
        return Role::Mount;
    }
    Role::Command
}

/// What mount(8) asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MountArgs {
    /// The source, as given.
    pub source: String,
    /// The mount point, as given.
    pub dir: OsString,
    /// The values of every `-o`, in order.
    pub options: Vec<String>,
    /// `-f`: check everything, mount nothing.
    pub fake: bool,
    /// `-s`: unknown words are passed over.
    pub sloppy: bool,
    /// `-v`.
    pub verbose: bool,
}

/// What umount(8) asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UmountArgs {
    /// The mount point.
    pub dir: OsString,
    /// `-l`.
    pub lazy: bool,
    /// `-f`.
    pub force: bool,
    /// `-r`: read-only if it is busy.
    pub read_only: bool,
    /// `-v`.
    pub verbose: bool,
    /// `--fake`.
    pub fake: bool,
}

/// Arguments that make no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HelperError {
    /// A flag that nobody knows.
    #[error("unknown flag \"{0}\"")]
    Flag(String),
    /// A flag without its value.
    #[error("flag \"{0}\" needs a value")]
    Value(String),
    /// Not exactly the operands there must be.
    #[error("{0}")]
    Operands(&'static str),
    /// Text that is not UTF-8 where it must be.
    #[error("\"{0}\" is not UTF-8")]
    Encoding(String),
}

/// Reads a mount helper's arguments (without argv\[0\]): `SOURCE DIR [-sfnvwr] [-N ns] [-o words] [-t type]`, in any
/// order.
pub fn mount_args(args: &[OsString]) -> Result<MountArgs, HelperError> {
    let mut out = MountArgs::default();
    let operands = flags(args, "oNt", |flag, value| {
        match (flag, value) {
            ('o', Some(value)) => out.options.push(value),
            ('w', None) => out.options.push("rw".to_string()),
            ('r', None) => out.options.push("ro".to_string()),
            ('f', None) => out.fake = true,
            ('s', None) => out.sloppy = true,
            ('v', None) => out.verbose = true,
            ('n', None) | ('N' | 't', Some(_)) => {}
            _ => return false,
        }
        true
    })?;
    match operands.as_slice() {
        [source, dir] => {
            out.source = text(source)?;
            out.dir = dir.clone();
        }
        [dir] => out.dir = dir.clone(),
        _ => {
            return Err(HelperError::Operands(
                "a source and a mount point are needed: SOURCE DIR [-o options]",
            ));
        }
    }
    Ok(out)
}

/// Reads an umount helper's arguments (without argv\[0\]): `DIR [-flnrv] [-N ns] [-t type]`, in any order.
pub fn umount_args(args: &[OsString]) -> Result<UmountArgs, HelperError> {
    let mut out = UmountArgs::default();
    let operands = flags(args, "oNt", |flag, value| {
        match (flag, value) {
            ('l', None) => out.lazy = true,
            ('f', None) => out.force = true,
            ('r', None) => out.read_only = true,
            ('v', None) => out.verbose = true,
            ('n' | 'i', None) | ('N' | 't' | 'o', Some(_)) => {}
            _ => return false,
        }
        true
    })?;
    match operands.as_slice() {
        [dir] => out.dir = dir.clone(),
        _ => return Err(HelperError::Operands("one mount point is needed: DIR [-l] [-f]")),
    }
    Ok(out)
}

/// Walks the arguments in getopt's way and returns the operands. `take` is told each flag, with its value if
/// `valued` lists it, and says whether it knows it.
fn flags(
    args: &[OsString],
    valued: &str,
    mut take: impl FnMut(char, Option<String>) -> bool,
) -> Result<Vec<OsString>, HelperError> {
    let mut operands = Vec::new();
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let bytes = arg.as_bytes();
        if bytes == b"--" {
            operands.extend(rest.cloned());
            break;
        }
        if bytes.len() < 2 || bytes[0] != b'-' {
            operands.push(arg.clone());
            continue;
        }
        let word = text(arg)?;
        if word.starts_with("--") {
            return Err(HelperError::Flag(word));
        }
        let mut chars = word[1..].chars();
        while let Some(flag) = chars.next() {
            let value = if valued.contains(flag) {
                let joined: String = chars.by_ref().collect();
                Some(match (joined.is_empty(), rest.as_slice().first()) {
                    (false, _) => joined,
                    (true, Some(next)) => {
                        rest.next();
                        text(next)?
                    }
                    (true, None) => return Err(HelperError::Value(format!("-{flag}"))),
                })
            } else {
                None
            };
            if !take(flag, value) {
                return Err(HelperError::Flag(format!("-{flag}")));
            }
        }
    }
    Ok(operands)
}

fn text(arg: &OsString) -> Result<String, HelperError> {
    arg.to_str().map(str::to_string).ok_or_else(|| HelperError::Encoding(arg.to_string_lossy().into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(args: &[&str]) -> Vec<OsString> {
        args.iter().map(OsString::from).collect()
    }

    #[test]
    fn roles() {
        let command = |word: &str| word == "mount" || word == "list";
        for (args, expected) in [
            (&["userfilefs"][..], Role::Command),
            (&["userfilefs", "mount", "/mnt"], Role::Command),
            (&["/sbin/mount.userfilefs", "none", "/mnt"], Role::Mount),
            (&["mount.fuse.userfilefs"], Role::Mount),
            (&["/sbin/umount.fuse.userfilefs", "/mnt"], Role::Umount),
            (&["/usr/bin/userfilefs", "postgresql://h/d", "/mnt", "-o", "rw"], Role::Mount),
            (&["userfilefs", "embedded", "/mnt"], Role::Mount),
            (&["userfilefs", "list", "userfile:///x"], Role::Command),
            (&["userfilefs", "embedded"], Role::Command),
            (&["userfilefs", "--help"], Role::Command),
            (&[], Role::Command),
        ] {
            assert_eq!(role(&os(args), command), expected, "{args:?}");
        }
    }

    #[test]
    fn flags_may_stand_anywhere() {
        let expected = MountArgs {
            source: "S".into(),
            dir: "/d".into(),
            options: vec!["ro,x".into()],
            sloppy: true,
            verbose: true,
            ..MountArgs::default()
        };
        for args in [
            &["S", "/d", "-s", "-v", "-n", "-o", "ro,x"][..],
            &["-svn", "-o", "ro,x", "S", "/d"],
            &["S", "-oro,x", "-sv", "/d"],
            &["-vsoro,x", "S", "/d", "-t", "fuse.userfilefs", "-N", "/proc/1/ns/mnt"],
            &["-o", "ro,x", "-s", "-v", "--", "S", "/d"],
        ] {
            assert_eq!(mount_args(&os(args)).as_ref(), Ok(&expected), "{args:?}");
        }
        let w = mount_args(&os(&["S", "/d", "-o", "ro", "-w"])).expect("parse");
        assert_eq!(w.options, ["ro", "rw"]);
        assert!(mount_args(&os(&["-f", "S", "/d"])).expect("parse").fake);
        assert_eq!(mount_args(&os(&["/d"])).expect("parse").source, "");
    }

    #[test]
    fn wrong_arguments() {
        for args in
            [&[][..], &["a", "b", "c"], &["S", "/d", "-o"], &["S", "/d", "-Z"], &["S", "/d", "--bogus"]]
        {
            assert!(mount_args(&os(args)).is_err(), "{args:?}");
        }
        for args in [&[][..], &["a", "b"], &["a", "-Z"]] {
            assert!(umount_args(&os(args)).is_err(), "{args:?}");
        }
    }

    #[test]
    fn umount_flags() {
        let args =
            umount_args(&os(&["/d", "-l", "-f", "-n", "-v", "-r", "-t", "fuse.userfilefs"])).expect("parse");
        assert_eq!(args.dir, OsString::from("/d"));
        assert!(args.lazy && args.force && args.read_only && args.verbose);
        assert_eq!(
            umount_args(&os(&["/d"])).expect("parse"),
            UmountArgs { dir: "/d".into(), ..Default::default() }
        );
    }
}
