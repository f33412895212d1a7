//! The kernel's table of mounts, `/proc/self/mountinfo`.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// The type our mounts have unless `fstype=` says otherwise.
pub const FSTYPE: &str = "fuse.userfilefs";

/// One line of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The number of the mount; unique in this mount namespace.
    pub id: u64,
    /// The mount it sits on.
    pub parent: u64,
    /// The device number as `major:minor`; unique in the whole system while the filesystem lives.
    pub dev: String,
    /// The directory of the filesystem that is the root of this mount (not `/` for some bind mounts).
    pub root: OsString,
    /// Where it is mounted.
    pub dir: PathBuf,
    /// Options of this mount (`rw,nosuid,...`).
    pub options: String,
    /// The filesystem type.
    pub fstype: String,
    /// The source.
    pub source: OsString,
    /// Options of the filesystem (`rw,user_id=0,...`).
    pub super_options: String,
}

impl Entry {
    /// Whether the type is ours.
    pub fn is_ours(&self) -> bool {
        self.fstype == FSTYPE
    }

    /// Whether it is any FUSE filesystem (ours may carry another type through `fstype=`).
    pub fn is_fuse(&self) -> bool {
        self.fstype == "fuse" || self.fstype.starts_with("fuse.")
    }

    /// The user that mounted it, if the kernel says.
    pub fn user_id(&self) -> Option<u32> {
        self.super_options.split(',').find_map(|word| word.strip_prefix("user_id=")?.parse().ok())
    }

    /// Whether the mount or its filesystem is read-only.
    pub fn is_read_only(&self) -> bool {
        self.options.split(',').any(|w| w == "ro") || self.super_options.split(',').any(|w| w == "ro")
    }
}

/// Reads the table of this process.
pub fn read() -> std::io::Result<Vec<Entry>> {
    Ok(parse(&std::fs::read("/proc/self/mountinfo")?))
}

/// The mount that covers `dir` itself: the last of those stacked there.
pub fn at<'a>(table: &'a [Entry], dir: &Path) -> Option<&'a Entry> {
    table.iter().rev().find(|entry| entry.dir == dir)
}

/// The mounts below `dir`, not counting `dir` itself.
pub fn below<'a>(table: &'a [Entry], dir: &'a Path) -> impl Iterator<Item = &'a Entry> {
    table.iter().filter(move |entry| entry.dir != dir && entry.dir.starts_with(dir))
}

/// Parses the text of the table; lines that make no sense are left out.
pub fn parse(text: &[u8]) -> Vec<Entry> {
    text.split(|b| *b == b'\n').filter_map(line).collect()
}

fn line(line: &[u8]) -> Option<Entry> {
    let mut fields = line.split(|b| *b == b' ');
    let mut next = || fields.next();
    let utf8 = |field: &[u8]| String::from_utf8_lossy(field).into_owned();
    let id = utf8(next()?).parse().ok()?;
    let parent = utf8(next()?).parse().ok()?;
    let dev = utf8(next()?);
    let root = unescape(next()?);
    let dir = PathBuf::from(unescape(next()?));
    let options = utf8(next()?);
    while next()? != b"-" {}
    let fstype = utf8(unescape(next()?).as_bytes());
    let source = unescape(next()?);
    let super_options = utf8(next()?);
    Some(Entry { id, parent, dev, root, dir, options, fstype, source, super_options })
}

/// The kernel writes space, tab, newline, backslash (and `#` in sources) as a backslash and three octal digits.
fn unescape(field: &[u8]) -> OsString {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, tail)) = rest.split_first() {
        match (first, tail) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..]) => {
                out.push((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'));
                rest = tail;
            }
            _ => {
                out.push(*first);
                rest = tail;
            }
        }
    }
    OsString::from_vec(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard\n\
        40 22 0:45 / /mnt/a\\040b ro,nosuid,nodev,noatime shared:2 master:1 - fuse.userfilefs postgresql://h/d\\011x ro,user_id=1000,group_id=7,default_permissions\n\
        41 40 0:46 / /mnt/a\\040b/sub rw - tmpfs none rw\n\
        42 22 0:47 / /mnt/a\\040b rw - fuse.userfilefs embedded rw,user_id=0,group_id=0\n\
        broken line\n\
        43 22 0:48 / /mnt/x rw - autofs systemd-1 rw\n";

    #[test]
    fn lines() {
        let table = parse(TEXT);
        assert_eq!(table.len(), 5);
        assert_eq!(table[0].fstype, "ext4");
        let ours = &table[1];
        assert_eq!(ours.dir, Path::new("/mnt/a b"));
        assert_eq!(ours.source, OsString::from("postgresql://h/d\tx"));
        assert_eq!((ours.id, ours.parent, ours.dev.as_str()), (40, 22, "0:45"));
        assert_eq!(ours.user_id(), Some(1000));
        assert!(ours.is_ours() && ours.is_fuse() && ours.is_read_only());
    }

    #[test]
    fn the_last_of_a_stack_covers() {
        let table = parse(TEXT);
        let top = at(&table, Path::new("/mnt/a b")).expect("covered");
        assert_eq!(top.id, 42);
        assert!(!top.is_read_only());
        assert_eq!(at(&table, Path::new("/mnt")), None);
        let below: Vec<_> = below(&table, Path::new("/mnt/a b")).map(|e| e.id).collect();
        assert_eq!(below, [41]);
    }

    #[test]
    fn escapes() {
        assert_eq!(unescape(b"a\\040b\\134c\\12"), OsString::from("a b\\c\\12"));
        assert_eq!(unescape(b"\\377x"), OsString::from_vec(vec![255, b'x']));
        assert_eq!(unescape(b"\\400"), OsString::from("\\400"));
    }
}
