//! What systemd is told, when it asked (`NOTIFY_SOCKET`); nothing otherwise.

use std::time::Duration;

use sd_notify::NotifyState;

/// Each extension of the stop timeout; several times the interval between them.
const EXTENSION_MICROS: u32 = 15_000_000;

fn send(states: &[NotifyState<'_>]) {
    if let Err(e) = sd_notify::notify(states) {
        log::debug!("systemd cannot be notified: {e}");
    }
}

/// The directory serves.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// What goes on, in a line.
pub fn status(status: &str) {
    send(&[NotifyState::Status(&one_line(status))]);
}

/// The mount is about to go.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
    extend_timeout(status);
}

/// Stopping takes longer: do not kill us yet.
pub fn extend_timeout(status: &str) {
    send(&[NotifyState::ExtendTimeoutUsec(EXTENSION_MICROS), NotifyState::Status(&one_line(status))]);
}

/// The event loop is alive.
pub fn watchdog() {
    if watchdog_period().is_some() {
        send(&[NotifyState::Watchdog]);
    }
}

/// Half the time within which systemd wants a sign of life; `None`: it does not.
pub fn watchdog_period() -> Option<Duration> {
    sd_notify::watchdog_enabled().map(|limit| limit / 2).filter(|period| !period.is_zero())
}

/// A newline would end the field and begin another.
fn one_line(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
