//! Which words `-o` knows, which it ignores, and which known word a wrong one is nearest to. Pure.

/// Words of fstab, mount(8), systemd and other FUSE programs that mean nothing here, or that the kernel
/// and mount(8) handle without us (at a remount mount(8) passes on all that the kernel shows). They are accepted in silence, so that a line that works for another
/// filesystem works for this one.
pub(super) const IGNORED: &[&str] = &[
    "_netdev",
    "async_read",
    "atime",
    "auto",
    "auto_cache",
    "big_writes",
    "bg",
    "blksize",
    "comment",
    "defaults",
    "dev",
    "diratime",
    "fd",
    "fg",
    "group",
    "group_id",
    "hard_remove",
    "helper",
    "intr",
    "iversion",
    "kernel_cache",
    "large_read",
    "lazytime",
    "loud",
    "mand",
    "max_read",
    "no_remote_lock",
    "noauto",
    "nodiratime",
    "nofail",
    "noiversion",
    "nolazytime",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nodev",
    "nouser",
    "nousers",
    "noowner",
    "nogroup",
    "nointr",
    "owner",
    "relatime",
    "rootmode",
    "seclabel",
    "silent",
    "strictatime",
    "subtype",
    "suid",
    "uhelper",
    "use_ino",
    "user",
    "user_id",
    "users",
    "exec",
    "symfollow",
];

/// Words with a meaning here, for the suggestion of the nearest one. `parse` has an arm for each.
pub(super) const KNOWN: &[&str] = &[
    "allow_other",
    "allow_root",
    "async",
    "async_close",
    "attr_timeout",
    "cache",
    "certs_dir",
    "config",
    "debug",
    "default_permissions",
    "dirsync",
    "dirty",
    "dmask",
    "entry_timeout",
    "fmask",
    "foreground",
    "fsname",
    "fstype",
    "gid",
    "hard",
    "log",
    "max_hole",
    "noallow_other",
    "noasync",
    "noatime",
    "noattrs",
    "nodefault_permissions",
    "noexec",
    "nonempty",
    "nosymfollow",
    "noxattr",
    "passfile",
    "prefix",
    "recover",
    "remount",
    "retry",
    "ro",
    "rw",
    "soft",
    "subdir",
    "sync",
    "timeo",
    "uid",
    "umask",
    "url",
    "user_xattr",
];

/// Whether a word is to be passed over in silence, with or without a value.
pub(super) fn ignored(name: &str) -> bool {
    name.starts_with("x-") || name.starts_with("X-") || IGNORED.contains(&name)
}

/// The known word nearest to `name`, unless none is near enough to be what was meant.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let limit = (name.chars().count() / 3).clamp(1, 3);
    let name = name.to_ascii_lowercase().replace('-', "_");
    KNOWN
        .iter()
        .map(|word| (distance(&name, word), *word))
        .filter(|(d, _)| *d <= limit)
        .min()
        .map(|(_, word)| word)
}

/// Edits (insert, delete, replace, swap neighbours) from one word to the other.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0usize; b.len() + 1]; a.len() + 1];
    for (i, row) in rows.iter_mut().enumerate() {
        row[0] = i;
    }
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = best;
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nearest_word() {
        assert_eq!(nearest("alow_other"), Some("allow_other"));
        assert_eq!(nearest("attr-timeout"), Some("attr_timeout"));
        assert_eq!(nearest("timeout"), Some("timeo"));
        assert_eq!(nearest("prefxi"), Some("prefix"));
        assert_eq!(nearest("RO"), Some("ro"));
        assert_eq!(nearest("zzzzzz"), None);
        assert_eq!(nearest(""), None);
    }

    #[test]
    fn ignored_words() {
        for word in ["_netdev", "nofail", "x-systemd.automount", "X-mount.mkdir", "comment", "user"] {
            assert!(ignored(word), "{word}");
        }
        assert!(!ignored("ro"));
        assert!(KNOWN.iter().all(|word| !ignored(word)));
    }
}
