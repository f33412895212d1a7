//! `userfilefs server …`: the private PostgreSQL.

use super::{Exit, output, runtime};
use crate::embedded::{self, Place, State};
use crate::sql::{Lane, Pool, PoolOptions};
use std::time::Duration;

/// How long `stop` waits for the server to write everything.
const STOP_WAIT: Duration = Duration::from_secs(120);

/// Flags of `userfilefs server`.
#[derive(clap::Args, Debug)]
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
    let (facts, users) = runtime()?.block_on(ask(place))?;
    output::line(format!("version:     {}", facts.0));
    output::line(format!("size:        {}", facts.1));
    output::line(format!("connections: {}", summary(&users)));
    Ok(Exit::Success)
}

type Facts = (String, String);

/// Version and size, and the programs that are connected.
async fn ask(place: &Place) -> anyhow::Result<(Facts, Vec<String>)> {
    let options = PoolOptions { application_name: "userfilefs server".to_owned(), ..PoolOptions::default() };
    let pool = Pool::connect(embedded::settings(place)?, options).await?;
    let conn = pool.conn(Lane::Meta, None).await?;
    let size = "SELECT current_setting('server_version'), pg_size_pretty(sum(pg_database_size(oid))) FROM pg_database";
    let row = conn.query_opt(size, &[]).await?;
    let facts = match row {
        Some(row) => (row.try_get(0)?, row.try_get(1)?),
        None => (String::new(), String::new()),
    };
    let users = "SELECT coalesce(nullif(application_name, ''), 'unnamed') FROM pg_stat_activity \
                 WHERE backend_type = 'client backend' AND pid <> pg_backend_pid() ORDER BY 1";
    let rows = conn.query(users, &[]).await?;
    let users: Result<Vec<String>, _> = rows.iter().map(|r| r.try_get(0)).collect();
    Ok((facts, users?))
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
        match runtime()?.block_on(ask(place)) {
            Ok((_, users)) if users.is_empty() => {}
            Ok((_, users)) if force => output::warn(format!("ending {} connections", summary(&users))),
            Ok((_, users)) => {
                return Err(output::failure(
                    format!("the server is in use: {}", summary(&users)),
                    "unmount and end those programs first, or use --force",
                ));
            }
            Err(e) if force => output::warn(format!("cannot tell who uses it: {e:#}")),
            Err(e) => return Err(e),
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
