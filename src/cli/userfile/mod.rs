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
        let signals = tokio::spawn(stop_on_signals(handle));
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

/// The first signal asks for an orderly stop, the second ends the program.
async fn stop_on_signals(handle: CancelHandle) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    either(&mut interrupt, &mut terminate).await;
    handle.cancel();
    tokio::select! {
        () = either(&mut interrupt, &mut terminate) => {}
        () = tokio::time::sleep(STOP_QUIETLY) => {
            output::note("stopping as soon as what is under way is done or undone; Ctrl-C again stops at once");
            either(&mut interrupt, &mut terminate).await;
        }
    }
    std::process::exit(i32::from(Exit::Interrupted.code()));
}

async fn either(a: &mut Signal, b: &mut Signal) {
    tokio::select! {
        _ = a.recv() => {}
        _ = b.recv() => {}
    }
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
