//! A progress bar on standard error, for work that takes longer than a moment, if that is a terminal.

use crate::cli::output;
use crate::userfile::{Meter, lines};
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::VecDeque;
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// Nothing is shown for work that is done before this.
const DELAY: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);
/// The speed shown is that of this time.
const WINDOW: Duration = Duration::from_secs(5);

/// Shows the counters of a [`Meter`] until dropped.
pub(super) struct Progress {
    bar: Arc<OnceLock<ProgressBar>>,
    task: Option<JoinHandle<()>>,
}

impl Progress {
    /// Starts the display, unless -q was given or standard error is no terminal.
    pub(super) fn start(meter: &Arc<Meter>) -> Progress {
        let bar = Arc::new(OnceLock::new());
        if output::quiet() || !std::io::stderr().is_terminal() {
            return Progress { bar, task: None };
        }
        let (shared, meter) = (Arc::clone(&bar), Arc::clone(meter));
        let task = tokio::spawn(async move {
            let start = Instant::now();
            let mut speed = Speed::default();
            loop {
                let (now, done) = (start.elapsed(), meter.bytes_done());
                speed.add(now, done);
                if now >= DELAY {
                    let total = meter.bytes_total().max(done);
                    let files = format!("{} of {} files", meter.files_done(), meter.files_total());
                    let words = format!("{} {files}", speed.words(done, total));
                    // The words first: the bar is drawn at each of these, and fills what they leave.
                    let bar = shared.get_or_init(|| new_bar(&words));
                    bar.set_message(words);
                    bar.set_length(total);
                    bar.set_position(done);
                }
                tokio::time::sleep(TICK).await;
            }
        });
        Progress { bar, task: Some(task) }
    }

    /// Whether a display may appear (so that somebody should count the total).
    pub(super) fn is_shown(&self) -> bool {
        self.task.is_some()
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        if let Some(bar) = self.bar.get() {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(words: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{wide_bar:.cyan/blue} {msg}");
    let bar = ProgressBar::hidden().with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    output::bars().add(bar.with_message(words.to_owned()))
}

/// How much was done when, within the last [`WINDOW`].
#[derive(Default)]
struct Speed(VecDeque<(Duration, u64)>);

impl Speed {
    fn add(&mut self, now: Duration, done: u64) {
        self.0.push_back((now, done));
        while self.0.len() > 2 && self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) > WINDOW) {
            self.0.pop_front();
        }
    }

    fn bytes_per_second(&self) -> u64 {
        let (Some(first), Some(last)) = (self.0.front(), self.0.back()) else { return 0 };
        let millis = last.0.saturating_sub(first.0).as_millis().max(1);
        let bytes = u128::from(last.1.saturating_sub(first.1));
        u64::try_from(bytes * 1000 / millis).unwrap_or(u64::MAX)
    }

    /// `312 MiB of 1.1 GiB, 150 MiB/s, 5 s left,`
    fn words(&self, done: u64, total: u64) -> String {
        let speed = self.bytes_per_second();
        let left = match total.saturating_sub(done).checked_div(speed) {
            Some(seconds) => left(seconds),
            None => "stalled".to_owned(),
        };
        format!("{} of {}, {}/s, {left},", lines::size(done), lines::size(total), lines::size(speed))
    }
}

fn left(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, s) => format!("{s} s left"),
        (0, m, s) => format!("{m}:{s:02} left"),
        (h, m, s) => format!("{h}:{m:02}:{s:02} left"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speed_is_that_of_the_last_seconds() {
        let mut speed = Speed::default();
        assert_eq!(speed.words(0, 1 << 20), "0 B of 1.0 MiB, 0 B/s, stalled,");
        for second in 0..=20 {
            let done = if second < 10 { second << 20 } else { (10 << 20) + ((second - 10) << 21) };
            speed.add(Duration::from_secs(second), done);
        }
        assert_eq!(speed.bytes_per_second(), 2 << 20);
        assert_eq!(speed.words(30 << 20, 330 << 20), "30 MiB of 330 MiB, 2.0 MiB/s, 2:30 left,");
        assert_eq!(left(59), "59 s left");
        assert_eq!(left(3 * 3600 + 62), "3:01:02 left");
    }
}
