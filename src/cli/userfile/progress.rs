//! A progress bar on standard error, for work that takes longer than a moment, if that is a terminal.

use crate::cli::output;
use crate::userfile::{Meter, lines};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tokio::task::JoinHandle;

/// Nothing is shown for work that is done before this.
const DELAY: Duration = Duration::from_secs(2);
const TICK: Duration = Duration::from_millis(100);

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
            tokio::time::sleep(DELAY).await;
            let bar = shared.get_or_init(new_bar);
            loop {
                bar.set_length(meter.bytes_total().max(meter.bytes_done()));
                bar.set_position(meter.bytes_done());
                bar.set_message(format!("{} of {} files", meter.files_done(), meter.files_total()));
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

fn new_bar() -> ProgressBar {
    let bar = output::bars().add(ProgressBar::new(0));
    let style = ProgressStyle::with_template(
        "{wide_bar:.cyan/blue} {bytes_ours}/{total_ours} {binary_bytes_per_sec} eta {eta} {msg}",
    )
    .unwrap_or_else(|_| ProgressStyle::default_bar())
    .with_key("bytes_ours", |s: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
        let _ = w.write_str(&lines::size(s.pos()));
    })
    .with_key("total_ours", |s: &indicatif::ProgressState, w: &mut dyn std::fmt::Write| {
        let _ = w.write_str(&lines::size(s.len().unwrap_or(0)));
    });
    bar.set_style(style);
    bar
}
