//! `userfilefs get`.

pub use super::args::GetArgs as Args;
use super::progress::Progress;
use super::session::{self, Need, selectors};
use super::{Failure, complain, say, unless_stopped};
use crate::chunk::{Create, FileRow};
use crate::cli::Exit;
use crate::userfile::get::{Downloader, Fetched, GetOptions};
use crate::userfile::order::{Step, Then, in_order};
use crate::userfile::pattern::PlainRule;
use crate::userfile::place::Downloads;
use crate::userfile::{Budget, Cancel, Error, Meter, lines, matching};
use std::ffi::OsString;
use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;

type Rows = mpsc::Receiver<Result<FileRow, Error>>;

/// Runs the command to its end.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    super::work("userfile get", |cancel| async move { command(&args, cancel).await })
}

async fn command(args: &Args, cancel: Cancel) -> Result<(), Failure> {
    let (patterns, dest) = match args.paths.as_slice() {
        [] => {
            return Err(Failure::too_few(0).hint("to fetch everything: userfilefs get /"));
        }
        [one] => (std::slice::from_ref(one), None),
        [patterns @ .., dest] => (patterns, Some(dest)),
    };
    let (host, selectors) = selectors(patterns, &args.select, PlainRule::ExactOrBelow)?;
    let session = session::open(
        &args.connection,
        &host,
        Need { create: Create::Refuse, read_only: true, recover: args.recover },
        &cancel,
    )
    .await?;
    let Some(table) = session.table.clone() else {
        return Err(no_match());
    };
    let (mut found, matched) = matching::rows(&table, selectors.clone());
    let two = async { Ok((found.recv().await.transpose()?, found.recv().await.transpose()?)) };
    let (Some(first), second) = unless_stopped(&cancel, two).await? else {
        return Err(session::explain(no_match(), &table, &selectors).await);
    };
    let single = second.is_none();
    let meter = Arc::new(Meter::default());
    let _progress = Progress::start(&meter);
    let rows = count(first, second, found, &meter);
    let downloader = Downloader {
        table: table.clone(),
        options: GetOptions {
            overwrite: args.overwrite,
            skip_existing: args.skip_existing,
            dry_run: args.work.dry_run,
            recover: args.recover,
        },
        meter,
        budget: Budget::default(),
        cancel,
    };
    match dest {
        Some(dest) if dest == "-" => to_stdout(&downloader, rows).await,
        _ => to_files(args, &downloader, rows, downloads(dest, single)).await,
    }?;
    session::each_matched(&table, patterns, &selectors, |i| matched.has(i)).await
}

fn no_match() -> Failure {
    Failure::new("no files matched requested path or path pattern")
}

fn downloads(dest: Option<&OsString>, single: bool) -> Downloads {
    let dest = dest.filter(|d| !d.is_empty()).map(PathBuf::from);
    let dest_is_dir = dest.as_ref().is_some_and(|d| d.is_dir() || d.as_os_str().as_bytes().ends_with(b"/"));
    Downloads { dest, dest_is_dir, single }
}

/// Passes the rows on and counts them for the display.
fn count(first: FileRow, second: Option<FileRow>, mut rest: Rows, meter: &Arc<Meter>) -> Rows {
    let (tx, rx) = mpsc::channel(256);
    let meter = Arc::clone(meter);
    tokio::spawn(async move {
        let mut ahead = [Some(first), second].into_iter().flatten();
        loop {
            let next = match ahead.next() {
                Some(row) => Some(Ok(row)),
                None => rest.recv().await,
            };
            let Some(next) = next else { return };
            if let Ok(row) = &next {
                meter.found(u64::try_from(row.size).unwrap_or(0));
            }
            if tx.send(next).await.is_err() {
                return;
            }
        }
    });
    rx
}

async fn to_stdout(downloader: &Downloader, mut rows: Rows) -> Result<(), Failure> {
    while let Some(row) = rows.recv().await {
        let row = row?;
        if downloader.options.dry_run {
            say(format!("would write {} to standard output", lines::shown_text(&row.name)).as_bytes());
            continue;
        }
        let out =
            std::io::stdout().as_fd().try_clone_to_owned().map_err(Error::os("open", Path::new("-")))?;
        match downloader.to_file(&row, File::from(out), Path::new("standard output")).await {
            Err(Error::Os { source, .. }) if source.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            done => done?,
        };
    }
    Ok(())
}

async fn to_files(
    args: &Args,
    downloader: &Downloader,
    rows: Rows,
    places: Downloads,
) -> Result<(), Failure> {
    let mut failure: Option<Failure> = None;
    let mut refused = 0u64;
    in_order(
        rows,
        usize::from(args.work.jobs),
        |row| {
            let job = row.as_ref().ok().cloned();
            let place = job.as_ref().and_then(|row| places.local_path(&row.name));
            async move {
                let row = job?;
                let Some(to) = place else { return Some(Err(Error::Unsafe(lines::shown_text(&row.name)))) };
                if downloader.cancel.is_cancelled() {
                    return Some(Err(Error::Interrupted));
                }
                Some(downloader.file(&row, &to).await.map(|done| (row, to, done)))
            }
        },
        |done| match done {
            Some(Ok(_)) => Then::Continue,
            Some(Err(e)) if e.is_about_the_name() => Then::Continue,
            _ => Then::Stop,
        },
        |step| match step {
            Step::Start(_) => Then::Continue,
            Step::Done(_, Some(Ok((row, to, done)))) => {
                print_done(&row, &to, &done);
                Then::Continue
            }
            // A name that must not be followed does not keep the others from being fetched.
            Step::Done(_, Some(Err(e))) if e.is_about_the_name() => {
                refused += 1;
                complain(&Failure::from(e));
                Then::Continue
            }
            Step::Done(_, Some(Err(e))) => {
                failure.get_or_insert(e.into());
                Then::Stop
            }
            Step::Done(row, None) => {
                if let Err(e) = row {
                    failure.get_or_insert(Failure::from_ref(e));
                }
                Then::Stop
            }
        },
    )
    .await;
    match failure {
        Some(failure) => Err(failure),
        None if refused > 0 => Err(Failure::new(format!("files not fetched: {refused}"))),
        None => Ok(()),
    }
}

fn print_done(row: &FileRow, to: &Path, done: &Fetched) {
    let (name, to) = (lines::shown(&row.name), to.as_os_str().as_bytes());
    let size = u64::try_from(row.size).unwrap_or(0);
    let line = match done {
        Fetched::Stored(size) => {
            [b"downloaded ", name, b" to ", to, b" (", lines::size(*size).as_bytes(), b")"].concat()
        }
        Fetched::Skipped => [b"skipped ", name, b", which is at ", to, b" already"].concat(),
        Fetched::Planned => {
            [b"would download ", name, b" to ", to, b" (", lines::size(size).as_bytes(), b")"].concat()
        }
    };
    say(&line);
}
