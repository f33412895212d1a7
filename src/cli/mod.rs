//! The command line: arguments, connection settings from the surroundings, output, exit codes.
//!
//! One file per command family; a family has `Args` (clap) and `run(Args) -> Result<Exit>`, and one line in
//! [`args`]. `run` is called before any thread exists, so that a command may fork; it builds its own runtime
//! with [`runtime`].

pub mod args;
pub mod check;
pub mod connect;
pub mod exit;
pub mod export;
pub mod generate;
pub mod mount;
pub mod output;
pub mod place;
mod revive;
pub mod server;
pub mod show;
mod surroundings;
pub mod umount;
pub mod userfile;

use crate::mount::argv;
use crate::mount::helper::{Role, role};
use crate::util::redact;
use clap::Parser;
pub use exit::Exit;
use std::ffi::OsString;
use std::io::Write;
use userfile::{delete, get, list, upload};

/// Runs the program with these arguments (the first is the program's name).
pub fn main(argv: Vec<OsString>) -> Exit {
    guarded(|| dispatch(argv))
}

/// A panic, which is a defect of this program, has a code of its own.
fn guarded(work: impl FnOnce() -> Exit) -> Exit {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or(Exit::Trouble)
}

/// Others see the arguments of a process: passwords in them are overwritten.
fn hide_secrets(argv: &[OsString]) {
    let given: Vec<String> = argv.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    let shown: Vec<String> = given.iter().map(|arg| redact::argument(arg)).collect();
    if shown != given
        && let Err(e) = argv::replace(&shown.iter().map(String::as_str).collect::<Vec<_>>())
    {
        log::debug!("the arguments stay visible: {e}");
    }
}

fn dispatch(argv: Vec<OsString>) -> Exit {
    hide_secrets(&argv);
    let is_command = |word: &str| args::tree().find_subcommand(word).is_some();
    match role(&argv, is_command) {
        Role::Command => {}
        Role::Mount => {
            start_log(mount::helper_verbosity(&argv));
            return mount::run_helper(&argv);
        }
        Role::Umount => {
            start_log(0);
            return umount::run_helper(&argv);
        }
    }
    let cli = match args::Cli::try_parse_from(argv) {
        Ok(cli) => cli,
        Err(e) => {
            let code = if e.use_stderr() { Exit::Usage } else { Exit::Success };
            // Help into a pipe that nobody reads is no error.
            let _ = e.print();
            return code;
        }
    };
    output::set_quiet(cli.quiet);
    let verbose = match &cli.command {
        args::Command::Mount(mount) => cli.verbose.max(mount.verbosity()),
        _ => cli.verbose,
    };
    start_log(verbose);
    finish(cli.command.run())
}

fn finish(outcome: anyhow::Result<Exit>) -> Exit {
    match outcome {
        Ok(exit) => exit,
        Err(e) => {
            output::error(&e);
            Exit::of_error(&e)
        }
    }
}

/// The runtime for a command's asynchronous part.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

/// Warnings and worse to stderr; `-v` adds. `USERFILEFS_LOG` has env_logger's syntax and wins. The SQL
/// client's own messages hold whole parameters (file contents), so they come only when asked for by name.
fn start_log(verbose: u8) {
    let level = match verbose {
        // The life of a mount is worth a few lines in its log.
        0 if output::quiet() => "warn",
        0 => "warn,userfilefs::mount::session=info",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    // The requests of the kernel, each with its sizes and without what is read and written.
    let requests = if verbose >= 2 { "debug" } else { "error" };
    let default = format!("{level},tokio_postgres=warn,rustls=warn,fuser={requests}");
    let filter = std::env::var("USERFILEFS_LOG").unwrap_or(default);
    let mut builder = env_logger::Builder::new();
    builder.parse_filters(&filter);
    if verbose == 0 && std::env::var_os("USERFILEFS_LOG").is_none() {
        builder.format(|out, record| {
            let level = record.level().as_str().to_ascii_lowercase();
            if output::log_times() {
                return writeln!(out, "{} {level}: {}", out.timestamp_seconds(), record.args());
            }
            writeln!(out, "userfilefs: {level}: {}", record.args())
        });
    }
    // A second start (in tests) changes nothing.
    let _ = builder.try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_have_a_code_of_their_own() {
        assert_eq!(guarded(|| Exit::Success), Exit::Success);
        assert_eq!(guarded(|| panic!("on purpose")), Exit::Trouble);
    }
}
