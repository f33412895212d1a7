//! Sessions that live on at the server after their connection was given up here.
//!
//! When an answer does not come in time the connection is closed, but a server that does not learn of it (the
//! network in between is silent) keeps the session, with its locks, and may still carry out what was on its way. So
//! the session is ended by name before the next attempt: nothing blocks that one, and what it then sees is final.

use super::Dialect;
use std::time::Duration;
use tokio_postgres::{Client, SimpleQueryMessage};

/// Most sessions remembered; older ones are left to the server's own timeouts.
pub(super) const GHOSTS_MAX: usize = 64;
/// How long the server is given to end one.
const END_WAIT: Duration = Duration::from_millis(2_000);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A session of a PostgreSQL server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Session {
    pid: i32,
    /// Tells it from a later session with the same number.
    start: String,
}

/// Which session this is; None where the server does not say.
pub(super) async fn session(client: &Client, d: &Dialect) -> Option<Session> {
    if d.is_cockroach() {
        return None;
    }
    let text = "SELECT pid, backend_start FROM pg_catalog.pg_stat_activity WHERE pid = pg_backend_pid()";
    let answer = client.simple_query(text).await.ok()?;
    answer.iter().find_map(|m| match m {
        SimpleQueryMessage::Row(row) => {
            let start = row.try_get(1).ok()??;
            let plain = start.chars().all(|c| c.is_ascii_digit() || " :.+-".contains(c));
            let pid = row.try_get(0).ok()??.parse().ok()?;
            plain.then(|| Session { pid, start: start.to_owned() })
        }
        _ => None,
    })
}

/// Ends a session and waits until it is gone. False: it may still be there.
pub(super) async fn end(client: &Client, ghost: &Session) -> bool {
    let which = format!("pid = {} AND backend_start = '{}'", ghost.pid, ghost.start);
    let kill =
        format!("SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity WHERE {which}");
    let look = format!("SELECT 1 FROM pg_catalog.pg_stat_activity WHERE {which}");
    let gone = async {
        let mut text = kill.as_str();
        loop {
            match client.simple_query(text).await {
                Ok(rows) if !rows.iter().any(|m| matches!(m, SimpleQueryMessage::Row(_))) => return true,
                Ok(_) if text == look => tokio::time::sleep(LOOK_AGAIN).await,
                Ok(_) => text = &look,
                Err(e) => {
                    log::debug!("cannot end session {}: {e}", ghost.pid);
                    return false;
                }
            }
        }
    };
    tokio::time::timeout(END_WAIT, gone).await.unwrap_or(false)
}
