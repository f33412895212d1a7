//! Who runs the server.

use super::{Error, Place};
use nix::unistd::{Gid, Uid, User};
use std::fs::{self, DirBuilder, Permissions};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// The accounts that root's server may run as, the best first.
const UNPRIVILEGED: &[&str] = &["postgres", "userfilefs", "nobody"];

/// The account of the server; None: our own.
pub(super) struct Account(Option<(Uid, Gid, String)>);

impl Account {
    /// Our own, or for root an unprivileged one: the owner of the data if there are any.
    pub(super) fn choose(place: &Place) -> Result<Account, Error> {
        if !nix::unistd::geteuid().is_root() {
            return Ok(Account(None));
        }
        let named = || UNPRIVILEGED.iter().find_map(|n| User::from_name(n).ok().flatten());
        if let Ok(meta) = fs::metadata(place.data()) {
            let (uid, gid) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
            if uid.is_root() {
                let data = place.data();
                let to = named().map_or_else(|| "USER".to_owned(), |u| u.name);
                return Err(Error::new(format!(
                    "{} belongs to root, and PostgreSQL refuses to run as root",
                    data.display()
                ))
                .with_hint(format!(
                    "give the data to the server's user: chown -R {to}: {}",
                    data.display()
                )));
            }
            let name = User::from_uid(uid).ok().flatten().map_or_else(|| uid.to_string(), |u| u.name);
            return Ok(Account(Some((uid, gid, name))));
        }
        let user = named().filter(|u| !u.uid.is_root()).ok_or_else(|| {
            Error::new("PostgreSQL refuses to run as root, and there is no user for it")
                .with_hint("make one: useradd --system --no-create-home userfilefs")
        })?;
        Ok(Account(Some((user.uid, user.gid, user.name))))
    }

    /// A command that runs as this account, in a neutral directory and environment.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut c = Command::new(program);
        c.env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C").env("TZ", "UTC");
        c.current_dir("/").stdin(Stdio::null());
        if let Some((uid, gid, _)) = &self.0 {
            c.uid(uid.as_raw()).gid(gid.as_raw());
        }
        c
    }

    /// A directory that belongs to this account and that nobody else may enter.
    pub(super) fn make_dir(&self, dir: &Path) -> Result<(), Error> {
        let failed =
            |e: std::io::Error| Error::io(format!("cannot make the directory {}", dir.display()), &e);
        match DirBuilder::new().mode(0o700).create(dir) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(failed(e)),
            _ => {}
        }
        // Not through a symbolic link that another user has put into /tmp.
        let meta = fs::symlink_metadata(dir).map_err(failed)?;
        let mine = nix::unistd::geteuid();
        let wanted = self.0.as_ref().map_or(mine, |(uid, _, _)| *uid);
        if !meta.is_dir() || (meta.uid() != mine.as_raw() && meta.uid() != wanted.as_raw()) {
            let remedy = match &self.0 {
                Some((_, _, name)) => {
                    format!("give it to the server's user: chown -R {name}: {}", dir.display())
                }
                None => "set USERFILEFS_SERVER_DIR to a directory of your own".to_owned(),
            };
            return Err(Error::new(format!("{} is in the way: it belongs to another user", dir.display()))
                .with_hint(remedy));
        }
        if let Some((uid, gid, _)) = &self.0 {
            chown(dir, Some(uid.as_raw()), Some(gid.as_raw())).map_err(failed)?;
        }
        fs::set_permissions(dir, Permissions::from_mode(0o700)).map_err(failed)
    }

    /// Fails, with the remedy, if the account cannot reach a directory of the place.
    pub(super) fn check_reach(&self, dir: &Path) -> Result<(), Error> {
        let Some((_, _, name)) = &self.0 else { return Ok(()) };
        let reached = self
            .command(Path::new("/bin/sh"))
            .args(["-c", "cd \"$0\""])
            .arg(dir)
            .stderr(Stdio::null())
            .status();
        match reached {
            Ok(status) if !status.success() => Err(Error::new(format!(
                "the user {name}, who runs the server, cannot reach {}",
                dir.display()
            ))
            .with_hint("let others enter the directories above it, or set USERFILEFS_SERVER_DIR")),
            _ => Ok(()),
        }
    }
}
