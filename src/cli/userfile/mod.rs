//! `userfilefs upload|list|get|delete`, also as `userfilefs userfile …`.

mod args;
pub mod delete;
mod failure;
pub mod get;
pub mod list;
mod progress;
mod session;
pub mod upload;

pub use args::UserfileArgs as Args;
pub use failure::Failure;

use crate::cli::{Exit, output, runtime};
use crate::userfile::{Cancel, CancelHandle, Error};
use args::{UserfileCommand, UserfileWord};
use clap::CommandFactory;
use std::future::Future;
use std::io;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// An orderly stop that takes longer than this says so.
const STOP_QUIETLY: Duration = Duration::from_secs(1);

/// `userfilefs userfile …`; an unknown word, and none, prints the usage and fails.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    match args.word {
        Some(UserfileWord::Known(UserfileCommand::Upload(args))) => upload::run(args),
        Some(UserfileWord::Known(UserfileCommand::List(args))) => list::run(args),
        Some(UserfileWord::Known(UserfileCommand::Get(args))) => get::run(args),
        Some(UserfileWord::Known(UserfileCommand::Delete(args))) => delete::run(args),
        Some(UserfileWord::Unknown(words)) => Ok(unknown(&words)),
        None => Ok(unknown(&[])),
    }
}

fn unknown(words: &[std::ffi::OsString]) -> Exit {
    let mut root = crate::cli::args::Cli::command();
    root.build();
    if let Some(userfile) = root.find_subcommand_mut("userfile") {
        output::stderr(&userfile.render_help().to_string());
    }
    finish("userfile", Err(Failure::unknown(words)))
}

/// Runs a command's work to its end, stopping it in order when the user asks for that.
fn work<Fut>(name: &str, work: impl FnOnce(Cancel) -> Fut) -> anyhow::Result<Exit>
where
    Fut: Future<Output = Result<(), Failure>>,
{
    let runtime = runtime()?;
    let (handle, cancel) = CancelHandle::new();
    let done = runtime.block_on(async {
        // Before any work: a signal that comes at once must not find the default handler.
        let listening = Signals::listen();
        let signals = tokio::spawn(stop_on_signals(listening, handle));
        let done = work(cancel).await;
        signals.abort();
        done
    });
    // A thread that waits for standard input must not hold up the end.
    runtime.shutdown_background();
    Ok(finish(name, done))
}

/// Says what went wrong, as the original says it.
fn finish(name: &str, done: Result<(), Failure>) -> Exit {
    match done {
        Ok(()) => Exit::Success,
        Err(failure) => {
            complain(&failure);
            output::stderr(&format!("Failed running {name:?}"));
            failure.exit()
        }
    }
}

/// Work that may be left in the middle: ends at once when the user asks to stop.
async fn unless_stopped<T>(
    cancel: &Cancel,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    tokio::select! {
        done = work => done,
        () = cancel.cancelled() => Err(Error::Interrupted.into()),
    }
}

/// The signals that ask to stop.
struct Signals(Signal, Signal);

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals(signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

/// The first signal asks for an orderly stop, the second ends the program.
async fn stop_on_signals(listening: io::Result<Signals>, handle: CancelHandle) {
    let Ok(mut signals) = listening else { return };
    signals.next().await;
    handle.cancel();
    if tokio::time::timeout(STOP_QUIETLY, signals.next()).await.is_err() {
        output::note("stopping as soon as what is under way is done or undone; Ctrl-C again stops at once");
        signals.next().await;
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

/// A line on standard output. That nobody reads it does not stop the work.
fn say(line: &[u8]) {
    output::try_line(line);
}

fn warn(line: &str) {
    output::stderr(&format!("WARNING: {line}"));
}

fn complain(failure: &Failure) {
    output::stderr(failure.to_string().trim_end());
}
