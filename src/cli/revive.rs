//! Starts the private server again when it has died under a mount.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::embedded::{self, End, Place};

/// How often a server that runs is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// The same for one that does not, because it was stopped or cannot be started.
const SELDOM: Duration = Duration::from_secs(10);

/// What a look at it found, and did.
enum Seen {
    Runs,
    Stopped,
    Started,
    Failed(String),
}

/// Looks after the server until the future is dropped. One that was stopped on purpose stays so.
pub(super) async fn look_after(place: Place) {
    let mut told = None;
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        let here = place.clone();
        let Ok(seen) = tokio::task::spawn_blocking(move || look(&here)).await else { return };
        pause = if matches!(seen, Seen::Runs) { EVERY } else { SELDOM };
        match seen {
            Seen::Runs | Seen::Stopped => told = None,
            Seen::Started => {
                told = None;
                log::warn!("the private server had died and was started again");
            }
            Seen::Failed(said) if told.as_ref() == Some(&said) => {}
            Seen::Failed(said) => {
                log::error!("the private server has died and cannot be started again: {said}");
                told = Some(said);
            }
        }
    }
}

fn look(place: &Place) -> Seen {
    match embedded::end(place) {
        None => Seen::Runs,
        Some(End::Stopped) => Seen::Stopped,
        Some(End::Died) => match start(place) {
            Ok(()) => Seen::Started,
            Err(said) => Seen::Failed(said),
        },
    }
}

/// By a command of its own: the server is no child of the mount then.
fn start(place: &Place) -> Result<(), String> {
    let mut command = Command::new("/proc/self/exe");
    command.arg0("userfilefs").args(["server", "start"]).env("USERFILEFS_SERVER_DIR", place.home());
    let done = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).output();
    let done = done.map_err(|e| e.to_string())?;
    if done.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&done.stderr);
    let lines: Vec<&str> = said.lines().map(|line| line.trim_start_matches("error: ")).collect();
    Err(if lines.is_empty() { done.status.to_string() } else { lines.join("; ") })
}
