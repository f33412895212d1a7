//! `userfilefs check`: reads everything and tells every damage.

use super::place::{Place, PlaceArgs};
use super::{Exit, exit, output};
use crate::destination::Source;
use crate::engine::check::{CheckOptions, Progress, Report, check};
use crate::util::plural::counted;
use indicatif::{ProgressBar, ProgressStyle};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Flags of `userfilefs check`.
#[derive(clap::Args, Debug)]
#[command(after_help = "Exit codes: 0 no damage, 1 damage, 2 could not look at everything.\n\n\
    Examples:\n  \
      userfilefs check userfile:///bank-backup                all backups of a collection\n  \
      userfilefs check ./bank-backup --from LATEST            one of them")]
pub struct Args {
    #[command(flatten)]
    place: PlaceArgs,

    /// Threads [default: as many as there are cores]
    #[arg(short = 'j', long, value_name = "N")]
    jobs: Option<usize>,
}

/// Runs it.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    let place = args.place.open().map_err(|error| {
        let exit = match Exit::of_error(&error) {
            Exit::Interrupted => Exit::Interrupted,
            _ => Exit::Trouble,
        };
        let message = output::message(&error);
        // Around it, so that its hint is still found.
        error.context(exit::WithExit { message, exit })
    })?;
    let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = args.jobs.unwrap_or_else(cores).max(1);
    let options = CheckOptions { open: place.options.clone(), threads };
    let progress = Progress::default();
    let mut report = with_bar(&progress, || check(&place.source, &place.folder, &options, &progress));
    check_userfiles(&place, &mut report);
    Ok(tell(&report))
}

/// A bar on the terminal while `work` goes on.
fn with_bar<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    let bar = output::bars().add(ProgressBar::new(0));
    let template = "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    let over = AtomicBool::new(false);
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                bar.set_length(progress.total.load(Ordering::Relaxed));
                bar.set_position(progress.done.load(Ordering::Relaxed));
                std::thread::park_timeout(Duration::from_millis(100));
            }
        });
        let done = work();
        over.store(true, Ordering::Relaxed);
        done
    });
    bar.finish_and_clear();
    done
}

/// The files of a userfile prefix as such: every chunk there, names that a mount can show.
fn check_userfiles(place: &Place, report: &mut Report) {
    let Some(userfile) = &place.userfile else { return };
    let rows = match userfile.rows() {
        Ok(rows) => rows,
        Err(error) => return report.troubles.push(error.to_string()),
    };
    if report.layers == 0 && !rows.is_empty() && report.damages.is_empty() {
        // Files, but no backup: then the files are what there is to check.
        report.troubles.clear();
        report.hints.clear();
    }
    for row in &rows {
        let name = String::from_utf8_lossy(&row.name).into_owned();
        let address = format!("{}: {name}", userfile.describe());
        match userfile.verify(row) {
            Ok(bytes) => report.bytes += if report.layers == 0 { bytes } else { 0 },
            Err(error @ crate::chunk::Error::Corrupt { .. }) => {
                report.damage_count += 1;
                report.damages.push(crate::engine::check::Damage {
                    file: address.clone(),
                    offset: None,
                    what: error.to_string(),
                });
            }
            Err(error) => report.troubles.push(format!("{address}: {error}")),
        }
        let parts = row.name.strip_prefix(b"/").unwrap_or(&row.name).split(|&b| b == b'/');
        if parts.map(crate::chunk::names::showable_component).any(|part| part.is_none()) {
            report.notices.insert(format!("{address}: a mount cannot show this name"));
        }
    }
    if report.layers == 0 {
        report.files += rows.len() as u64;
    }
}

fn tell(report: &Report) -> Exit {
    let mut out = output::out();
    for damage in &report.damages {
        out.line(damage);
    }
    out.flush();
    drop(out);
    let more = report.damage_count.saturating_sub(report.damages.len() as u64);
    if more > 0 {
        let are = if more == 1 { "is" } else { "are" };
        output::warn(format!("{} {are} not shown", counted(more, "more damage")));
    }
    for notice in &report.notices {
        output::note(format!("note: {notice}"));
    }
    for trouble in &report.troubles {
        output::stderr(&format!("error: {trouble}"));
    }
    for hint in &report.hints {
        output::stderr(&format!("hint: {hint}"));
    }
    let counts = [
        (report.layers, "layer"),
        (report.files, "file"),
        (report.bytes, "byte"),
        (report.entries, "entry"),
        (report.rows, "row"),
    ];
    let counts = counts.map(|(n, noun)| counted(n, noun)).join(", ");
    output::note(format!("checked {counts}: {}", counted(report.damage_count, "damage")));
    match (report.damage_count, report.troubles.is_empty()) {
        (0, true) => Exit::Success,
        (0, false) => Exit::Trouble,
        _ => Exit::Failure,
    }
}
