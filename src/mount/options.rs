//! The words of `-o`, as people type them and as fstab, mount(8) and systemd pass them on. Pure.
//!
//! [`MountOptions::parse`] reads one comma-separated list. A backslash makes the next character literal, so
//! `prefix=a\,b` holds a comma; a file named by `config=` holds one word a line and needs no escapes. The
//! caller reads that file and hands its text to [`MountOptions::parse_config`] first, then the command
//! line's words, so that what was typed wins.

use std::path::PathBuf;
use std::time::Duration;

use crate::mount::value::{self, Owner};
use crate::mount::words;

/// Seconds an attribute or a name may be remembered before it is asked for again.
pub const CACHE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1);
/// How long one operation may be retried while the server is away, unless told otherwise.
pub const TIMEO_DEFAULT: Duration = Duration::from_secs(60);
/// Bytes of one configuration file; more is not a configuration file.
pub const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// What one mount was told, after all words have been read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MountOptions {
    /// `ro`.
    pub read_only: bool,
    /// `allow_other` / `noallow_other`; unset means yes for root and no for everybody else.
    pub allow_other: Option<bool>,
    /// `allow_root`: root and the mounting user.
    pub allow_root: bool,
    /// The kernel checks modes and owners (the default).
    pub default_permissions: bool,
    /// `uid=`: owner of files that have none stored.
    pub uid: Option<Owner>,
    /// `gid=`: group of files that have none stored.
    pub gid: Option<Owner>,
    /// `umask=`: bits taken from 0666 and 0777 where no mode is stored.
    pub umask: Option<u16>,
    /// `fmask=`: as `umask`, files only; stronger than `umask`.
    pub fmask: Option<u16>,
    /// `dmask=`: as `umask`, directories only; stronger than `umask`.
    pub dmask: Option<u16>,
    /// `noatime`; access times are never kept, so this only documents intent.
    pub noatime: bool,
    /// `noexec`: no program may be run from the mount.
    pub noexec: bool,
    /// `nosymfollow`: the kernel follows no symbolic link of the mount.
    pub nosymfollow: bool,
    /// `sync`: every write waits for the store.
    pub sync: bool,
    /// `dirsync`, passed to the kernel.
    pub dirsync: bool,
    /// `subdir=`: the directory that becomes the root, without slashes at its ends; empty is the whole.
    pub subdir: String,
    /// `prefix=`: the userfile tables, `[[database.]schema.]prefix`.
    pub prefix: Option<String>,
    /// `attr_timeout=` seconds.
    pub attr_timeout: Duration,
    /// `entry_timeout=` seconds.
    pub entry_timeout: Duration,
    /// `timeo=` seconds an operation may be retried; `None` (`timeo=0`, `hard`) is for ever.
    pub timeo: Option<Duration>,
    /// `retry=` seconds the mount command keeps trying to reach the server.
    pub retry: Duration,
    /// `async`, `async_close`: the store may happen behind close.
    pub async_close: bool,
    /// `noattrs`: do without the companion table of attributes.
    pub noattrs: bool,
    /// `user_xattr`: extended attributes are stored.
    pub user_xattr: bool,
    /// `recover`: read files whose chunks have the offsets of the old CockroachDB defect.
    pub recover: bool,
    /// `cache=` bytes of chunks and listings kept in memory.
    pub cache_bytes_max: Option<u64>,
    /// `dirty=` bytes written and not yet stored.
    pub dirty_bytes_max: Option<u64>,
    /// `max_hole=` bytes a file may grow by writing beyond its end.
    pub hole_bytes_max: Option<u64>,
    /// `fstype=`: the type the kernel shows.
    pub fstype: Option<String>,
    /// `fsname=`: the source the kernel shows.
    pub fsname: Option<String>,
    /// `config=FILE`: more words, one a line.
    pub config: Option<PathBuf>,
    /// `url=`: the server; only sensible in a file that others cannot read.
    pub url: Option<String>,
    /// `passfile=FILE`: passwords in the form of `~/.pgpass`.
    pub passfile: Option<PathBuf>,
    /// `certs_dir=DIR`: CockroachDB's certificates.
    pub certs_dir: Option<PathBuf>,
    /// `log=FILE`: where the daemon's messages go.
    pub log: Option<PathBuf>,
    /// `remount`: change the flags of the mount that is there.
    pub remount: bool,
    /// `nonempty`: say nothing about a mount point that has files.
    pub nonempty: bool,
    /// `foreground`: do not become a daemon.
    pub foreground: bool,
    /// `debug`: log every request.
    pub debug: bool,
}

impl Default for MountOptions {
    fn default() -> MountOptions {
        MountOptions {
            read_only: false,
            allow_other: None,
            allow_root: false,
            default_permissions: true,
            uid: None,
            gid: None,
            umask: None,
            fmask: None,
            dmask: None,
            noatime: true,
            noexec: false,
            nosymfollow: false,
            sync: false,
            dirsync: false,
            subdir: String::new(),
            prefix: None,
            attr_timeout: CACHE_TIMEOUT_DEFAULT,
            entry_timeout: CACHE_TIMEOUT_DEFAULT,
            timeo: Some(TIMEO_DEFAULT),
            retry: Duration::ZERO,
            async_close: false,
            noattrs: false,
            user_xattr: false,
            recover: false,
            cache_bytes_max: None,
            dirty_bytes_max: None,
            hole_bytes_max: None,
            fstype: None,
            fsname: None,
            config: None,
            url: None,
            passfile: None,
            certs_dir: None,
            log: None,
            remount: false,
            nonempty: false,
            foreground: false,
            debug: false,
        }
    }
}

/// A word that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// A word nobody knows.
    #[error("unknown mount option \"{word}\"{}", suggestion.map(|s| format!(": did you mean \"{s}\"")).unwrap_or_default())]
    Unknown {
        /// The word, without its value.
        word: String,
        /// The nearest word there is.
        suggestion: Option<&'static str>,
    },
    /// A word that needs `=value` came without.
    #[error("mount option \"{word}\" needs a value: {word}=...")]
    MissingValue {
        /// The word.
        word: String,
    },
    /// A word that takes no value came with one.
    #[error("mount option \"{word}\" takes no value")]
    UnwantedValue {
        /// The word.
        word: String,
    },
    /// The value makes no sense.
    #[error("mount option \"{word}\": {reason}")]
    BadValue {
        /// The word.
        word: String,
        /// What is wrong with the value.
        reason: String,
    },
}

impl OptionError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "see \"userfilefs mount --help\" for the list of mount options"
    }
}

/// What to do with a word nobody knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// An error that names the word and the nearest known one.
    Refuse,
    /// Pass over it (`mount -s`).
    Ignore,
}

impl MountOptions {
    /// Reads a comma-separated list of words into `self`; later words win over earlier ones.
    pub fn parse(&mut self, list: &str, unknown: Unknown) -> Result<(), OptionError> {
        split(list).iter().try_for_each(|word| self.word(word, unknown))
    }

    /// Reads the text of a `config=` file: one word a line, commas are literal, blank lines and lines that
    /// start with `#` are passed over, spaces around the first `=` are allowed.
    pub fn parse_config(&mut self, text: &str, unknown: Unknown) -> Result<(), OptionError> {
        for line in text.lines() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let word = match line.split_once('=') {
                Some((name, value)) => format!("{}={}", name.trim(), value.trim()),
                None => line.to_string(),
            };
            self.word(&word, unknown)?;
        }
        Ok(())
    }

    /// The permission mask for files without a stored mode.
    pub fn file_mask(&self) -> Option<u16> {
        self.fmask.or(self.umask)
    }

    /// The permission mask for directories without a stored mode.
    pub fn dir_mask(&self) -> Option<u16> {
        self.dmask.or(self.umask)
    }

    fn word(&mut self, word: &str, unknown: Unknown) -> Result<(), OptionError> {
        let (name, value) = match word.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (word, None),
        };
        if name.is_empty() && value.is_none() {
            return Ok(());
        }
        if self.flag(name, value)? || self.valued(name, value)? || words::ignored(name) {
            return Ok(());
        }
        match unknown {
            Unknown::Ignore => Ok(()),
            Unknown::Refuse => {
                Err(OptionError::Unknown { word: name.to_string(), suggestion: words::nearest(name) })
            }
        }
    }

    /// Words without a value; `false` if the word is not one of them.
    fn flag(&mut self, name: &str, value: Option<&str>) -> Result<bool, OptionError> {
        match name {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "allow_other" => self.allow_other = Some(true),
            "noallow_other" => self.allow_other = Some(false),
            "allow_root" => self.allow_root = true,
            "default_permissions" => self.default_permissions = true,
            "nodefault_permissions" => self.default_permissions = false,
            "noatime" => self.noatime = true,
            "noexec" => self.noexec = true,
            "exec" => self.noexec = false,
            "nosymfollow" => self.nosymfollow = true,
            "symfollow" => self.nosymfollow = false,
            "sync" => {
                self.sync = true;
                self.async_close = false;
            }
            // mount(8) takes "async" for its own word, the opposite of sync, and does not pass it on.
            "async" | "async_close" => {
                self.async_close = true;
                self.sync = false;
            }
            "noasync" => self.async_close = false,
            "dirsync" => self.dirsync = true,
            "hard" => self.timeo = None,
            "soft" => self.timeo = Some(self.timeo.unwrap_or(TIMEO_DEFAULT)),
            "noattrs" => self.noattrs = true,
            "user_xattr" => self.user_xattr = true,
            "noxattr" => self.user_xattr = false,
            "recover" => self.recover = true,
            "remount" => self.remount = true,
            "nonempty" => self.nonempty = true,
            "foreground" => self.foreground = true,
            "debug" => self.debug = true,
            _ => return Ok(false),
        }
        match value {
            None => Ok(true),
            Some(_) => Err(OptionError::UnwantedValue { word: name.to_string() }),
        }
    }

    /// Words with a value; `false` if the word is not one of them.
    fn valued(&mut self, name: &str, value: Option<&str>) -> Result<bool, OptionError> {
        let bad = |reason: String| OptionError::BadValue { word: name.to_string(), reason };
        let text = value.unwrap_or("");
        match name {
            "uid" => self.uid = Some(value::owner(text).map_err(bad)?),
            "gid" => self.gid = Some(value::owner(text).map_err(bad)?),
            "umask" => self.umask = Some(value::mode(text).map_err(bad)?),
            "fmask" => self.fmask = Some(value::mode(text).map_err(bad)?),
            "dmask" => self.dmask = Some(value::mode(text).map_err(bad)?),
            "subdir" => self.subdir = subdir(text).map_err(bad)?,
            "prefix" => self.prefix = Some(text.to_string()),
            "attr_timeout" => self.attr_timeout = value::seconds(text).map_err(bad)?,
            "entry_timeout" => self.entry_timeout = value::seconds(text).map_err(bad)?,
            "timeo" => self.timeo = Some(value::seconds(text).map_err(bad)?).filter(|t| !t.is_zero()),
            "retry" => self.retry = value::seconds(text).map_err(bad)?,
            "cache" => self.cache_bytes_max = Some(value::bytes(text).map_err(bad)?),
            "dirty" => self.dirty_bytes_max = Some(value::bytes(text).map_err(bad)?),
            "max_hole" => self.hole_bytes_max = Some(value::bytes(text).map_err(bad)?),
            "fstype" => self.fstype = Some(fstype(text).map_err(bad)?),
            "fsname" => self.fsname = Some(text.to_string()),
            "config" => self.config = Some(PathBuf::from(text)),
            "url" => self.url = Some(text.to_string()),
            "passfile" => self.passfile = Some(PathBuf::from(text)),
            "certs_dir" => self.certs_dir = Some(PathBuf::from(text)),
            "log" => self.log = Some(PathBuf::from(text)),
            _ => return Ok(false),
        }
        if text.is_empty() && name != "subdir" {
            return Err(OptionError::MissingValue { word: name.to_string() });
        }
        Ok(true)
    }
}

/// Splits at commas; a backslash makes the next character literal.
fn split(list: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut chars = list.chars();
    while let Some(c) = chars.next() {
        match (c, words.last_mut()) {
            ('\\', Some(word)) => word.push(chars.next().unwrap_or('\\')),
            (',', _) => words.push(String::new()),
            (_, Some(word)) => word.push(c),
            (_, None) => {}
        }
    }
    words
}

/// A directory below the root, without the slashes at its ends.
fn subdir(text: &str) -> Result<String, String> {
    let path = text.trim_matches('/');
    if path.is_empty() {
        return Ok(String::new());
    }
    for part in path.split('/') {
        if part.is_empty() || part == "." || part == ".." {
            return Err(format!("\"{text}\" is not a clean path (no empty part, \".\" or \"..\")"));
        }
    }
    Ok(path.to_string())
}

/// `fuse` or `fuse.something`: the kernel knows no other type that we can serve.
fn fstype(text: &str) -> Result<String, String> {
    let valid = text == "fuse"
        || text.strip_prefix("fuse.").is_some_and(|sub| {
            !sub.is_empty() && sub.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        });
    if valid || text.is_empty() {
        return Ok(text.to_string());
    }
    Err(format!("\"{text}\" is neither \"fuse\" nor \"fuse.NAME\""))
}

#[cfg(test)]
#[path = "options_tests.rs"]
mod tests;
