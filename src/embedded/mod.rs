//! The private PostgreSQL that runs when no server is named.
//!
//! It is made from the system's own server binaries, listens on a unix socket only, is started on demand,
//! shared by all commands of the user, and outlives them. Its data appear under their name in one rename
//! when they are complete, and everything that changes the state happens under one file lock, so that
//! commands started at the same moment, or killed at any, leave nothing half done.
//!
//! | file | what |
//! |---|---|
//! | [`place`] | directories, the lock, the path of the socket |
//! | `binaries` | finding a PostgreSQL that fits the data |
//! | `account` | who runs the server: PostgreSQL refuses root |
//! | `cluster` | making the data |
//! | `process` | starting, watching and stopping the server |
//! | `usage` | who is connected |
//! | `sizes`, `room` | how much of the disk is the server's own, and what is left for files |

mod account;
mod binaries;
mod cluster;
pub mod place;
mod process;
mod room;
mod sizes;
mod usage;

use crate::sql::{ConnectParams, Settings};
use account::Account;
use binaries::Binaries;
pub use place::Place;
pub use process::State;
pub use room::Room;
use std::time::Duration;
pub use usage::{Usage, usage};

/// The superuser of the private server, as on CockroachDB.
pub const USER: &str = "root";
/// The database that it holds from the start.
pub const DATABASE: &str = crate::sql::DEFAULT_DATABASE;

/// Why the private server cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    message: String,
    hint: Option<String>,
}

impl Error {
    fn new(message: impl Into<String>) -> Error {
        Error { message: message.into(), hint: None }
    }

    fn with_hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }

    fn io(what: impl std::fmt::Display, e: &std::io::Error) -> Error {
        let text = e.to_string();
        let said = text.split(" (os error").next().unwrap_or(&text).to_lowercase();
        let error = Error::new(format!("{what}: {said}"));
        match e.kind() {
            std::io::ErrorKind::PermissionDenied => error.with_hint(
                "check the owner of the directory, or set USERFILEFS_SERVER_DIR to one of your own",
            ),
            std::io::ErrorKind::StorageFull => error.with_hint("make room on that disk"),
            _ => error,
        }
    }

    /// What the user can do about it.
    pub fn hint(&self) -> Option<&str> {
        self.hint.as_deref()
    }
}

/// Starts the private server of this user unless it runs, and says how to connect to it. Blocks: a first
/// start takes a few seconds, recovery after a crash may take longer.
pub fn ensure_running() -> Result<Settings, Error> {
    start(&Place::of_user()?)
}

/// The same for a place of one's own.
pub fn start(place: &Place) -> Result<Settings, Error> {
    if process::state(place) == State::Running {
        return settings(place);
    }
    place.make()?;
    let lock = place.lock()?;
    // Others may have done it while we waited.
    loop {
        match process::state(place) {
            State::Running => return settings(place),
            State::Stopping(_) | State::Starting(_) => process::wait_for_change(place)?,
            State::Stopped => break,
        }
    }
    let version = cluster::version(place)?;
    let binaries = Binaries::find(version.as_deref())?;
    let account = Account::choose(place)?;
    if version.is_none() {
        cluster::make(place, &binaries, &account, &lock)?;
    }
    process::launch(place, &binaries, &account)?;
    settings(place)
}

/// How to connect to the server of a place.
pub fn settings(place: &Place) -> Result<Settings, Error> {
    let mut p = ConnectParams::new();
    p.set("host", place.socket_dir().to_string_lossy());
    p.set("port", place::PORT.to_string());
    p.set("user", USER);
    p.set("dbname", DATABASE);
    p.set("sslmode", "disable");
    Settings::resolve(&p).map_err(|e| Error::new(e.to_string()))
}

/// What the server of a place is doing.
pub fn state(place: &Place) -> State {
    process::state(place)
}

/// How a server that does not run has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// Somebody stopped it.
    Stopped,
    /// It was killed, or its disk was full.
    Died,
}

/// How the server of a place has ended; `None` while there is one, and where it cannot be told.
pub fn end(place: &Place) -> Option<End> {
    if process::pid(place).is_some() || process::state(place) != State::Stopped {
        return None;
    }
    cluster::was_shut_down(place).map(|on_purpose| if on_purpose { End::Stopped } else { End::Died })
}

/// Stops the server: sessions are ended, open transactions rolled back, everything is written. False if it
/// was not running. Waits up to `limit`.
pub fn stop(place: &Place, limit: Duration) -> Result<bool, Error> {
    if !place.data().exists() {
        return Ok(false);
    }
    let _lock = place.lock()?;
    process::stop(place, limit)
}

/// The last `lines` lines that the server has written.
pub fn log_tail(place: &Place, lines: usize) -> Vec<String> {
    process::log_tail(place, lines)
}
