//! What needs a PostgreSQL server and `/dev/fuse`: the program as its users run it.

#[path = "../support/mod.rs"]
mod support;

mod copying;
mod damage;
mod faults;
mod fixtures;
mod model;
mod outside;
mod semantics;
mod session;
mod tools;

/// A fresh mount with these options; leaves the test (after a loud skip) where the machine cannot mount.
macro_rules! mount {
    () => {
        mount!("")
    };
    ($options:expr) => {{
        let Some(mount) = crate::support::mounted::fresh($options) else { return };
        mount
    }};
    ($options:expr, $more:expr) => {{
        let Some(mount) = crate::support::mounted::fresh_with($options, $more) else { return };
        mount
    }};
}
pub(crate) use mount;

/// A command for a tool; leaves the test (after a loud skip) where it is not installed.
macro_rules! tool {
    ($name:expr, $($arg:expr),* $(,)?) => {{
        let args: Vec<std::ffi::OsString> = vec![$(std::ffi::OsString::from($arg)),*];
        let Some(command) = crate::support::cli::tool($name, args) else { return };
        command
    }};
}
pub(crate) use tool;
