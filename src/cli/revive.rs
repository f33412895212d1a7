//! Starts the private server again when it has died under a mount.

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::embedded::{self, Place};

/// How often it is looked at.
const EVERY: Duration = Duration::from_secs(2);
/// How long after a start that failed, of want of room for instance, the next one is tried.
const AGAIN: Duration = Duration::from_secs(10);

/// Looks after the server until the future is dropped. One that was stopped on purpose stays so.
pub(super) async fn look_after(place: Place) {
    let mut told = String::new();
    let mut pause = EVERY;
    loop {
        tokio::time::sleep(pause).await;
        pause = EVERY;
        let here = place.clone();
        let tried = tokio::task::spawn_blocking(move || embedded::has_died(&here).then(|| start(&here)));
        match tried.await {
            Ok(None) => told.clear(),
            Ok(Some(Ok(()))) => log::warn!("the private server had died and was started again"),
            Ok(Some(Err(said))) => {
                pause = AGAIN;
                if said != told {
                    log::error!("the private server has died and cannot be started again: {said}");
                    told = said;
                }
            }
            Err(e) => log::error!("looking after the private server: {e}"),
        }
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
