//! `userfilefs server …`: the private PostgreSQL.

use super::{Exit, output, runtime};
use crate::embedded::{self, Place, State};
use std::time::Duration;

/// How long `stop` waits for the server to write everything.
const STOP_WAIT: Duration = Duration::from_secs(120);

const HELP: &str = "\
Every command that names no server starts it and uses it; it goes on running until it is stopped.

Variables:
  USERFILEFS_SERVER_DIR  where its data are (default: /var/lib/userfilefs for root, else
                         $XDG_DATA_HOME/userfilefs or ~/.local/share/userfilefs)
  USERFILEFS_PG_BIN      directory of PostgreSQL's initdb and postgres (default: found by itself)

Examples:
  userfilefs server status                                does it run, where are its data, who uses it
  psql \"$(userfilefs -q server url)\"                      a SQL shell on it
  userfilefs server stop                                  when it is no longer needed
  userfilefs server logs -n 20                            why it did not start";

/// Flags of `userfilefs server`.
#[derive(clap::Args, Debug)]
#[command(after_help = HELP)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    /// Say whether it runs, where its data are and who uses it; exit code 1 if it does not run
    Status,
    /// Start it (every command that needs it does)
    Start,
    /// Stop it; refused while mounts or other programs use it
    Stop {
        /// Stop it although it is in use: open files in mounts will fail
        #[arg(long)]
        force: bool,
    },
    /// Print its connection URL; start it if needed
    Url,
    /// Print what it has logged
    Logs {
        /// The last N lines
        #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
        lines: usize,
    },
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let place = Place::of_user()?;
    match args.what {
        What::Status => status(&place),
        What::Start => {
            let before = embedded::state(&place);
            let settings = embedded::start(&place)?;
            let said = if before == State::Running { "already running" } else { "started" };
            output::line(format!("{said}: {}", url(&settings)));
            Ok(Exit::Success)
        }
        What::Stop { force } => stop(&place, force),
        What::Url => {
            output::line(url(&embedded::start(&place)?));
            Ok(Exit::Success)
        }
        What::Logs { lines } => {
            let mut out = output::out();
            embedded::log_tail(&place, lines).iter().for_each(|l| out.line(l));
            Ok(Exit::Success)
        }
    }
}

/// A URL that `--url` and psql take.
fn url(settings: &crate::sql::Settings) -> String {
    settings.url()
}

fn status(place: &Place) -> anyhow::Result<Exit> {
    let state = embedded::state(place);
    let word = match state {
        State::Running => "running".to_owned(),
        State::Starting(pid) => format!("starting (process {pid})"),
        State::Stopping(pid) => format!("stopping (process {pid})"),
        State::Stopped if place.data().exists() => "stopped".to_owned(),
        State::Stopped => "not made yet".to_owned(),
    };
    output::line(format!("state:       {word}"));
    output::line(format!("data:        {}", place.data().display()));
    output::line(format!("logs:        {}", place.log_dir().display()));
    if state != State::Running {
        return Ok(Exit::Failure);
    }
    output::line(format!("url:         {}", url(&embedded::settings(place)?)));
    let usage = runtime()?.block_on(embedded::usage(place))?;
    output::line(format!("version:     {}", usage.version));
    output::line(format!("size:        {}", usage.size));
    output::line(format!("connections: {}", summary(&usage.sessions)));
    Ok(Exit::Success)
}

/// `3 (userfilefs mount: 2, psql: 1)`
fn summary(users: &[String]) -> String {
    let mut counted: Vec<(&str, usize)> = Vec::new();
    for user in users {
        match counted.last_mut() {
            Some((name, n)) if name == user => *n += 1,
            _ => counted.push((user, 1)),
        }
    }
    let list: Vec<String> = counted.iter().map(|(name, n)| format!("{name}: {n}")).collect();
    if list.is_empty() { "none".to_owned() } else { format!("{} ({})", users.len(), list.join(", ")) }
}

fn stop(place: &Place, force: bool) -> anyhow::Result<Exit> {
    if embedded::state(place) == State::Running {
        match runtime()?.block_on(embedded::usage(place)) {
            Ok(usage) if usage.sessions.is_empty() => {}
            Ok(usage) if force => output::warn(format!("ending {} connections", summary(&usage.sessions))),
            Ok(usage) => {
                return Err(output::failure(
                    format!("the server is in use: {}", summary(&usage.sessions)),
                    "unmount and end those programs first, or use --force",
                ));
            }
            Err(e) if force => output::warn(format!("cannot tell who uses it: {e}")),
            Err(e) => return Err(e.into()),
        }
    }
    let said = if embedded::stop(place, STOP_WAIT)? { "stopped" } else { "not running" };
    output::line(said);
    Ok(Exit::Success)
}

#[cfg(test)]
mod tests {
    #[test]
    fn summaries() {
        let list = |l: &[&str]| super::summary(&l.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>());
        assert_eq!(list(&[]), "none");
        assert_eq!(list(&["a", "a", "b"]), "3 (a: 2, b: 1)");
    }
}
