//! `userfilefs upload`.

pub use super::args::UploadArgs as Args;
use super::progress::Progress;
use super::session::{self, Need, Session};
use super::{Failure, say, warn};
use crate::chunk::Create;
use crate::cli::Exit;
use crate::userfile::order::{Step, Then, in_order};
use crate::userfile::source::{self, Found, Source};
use crate::userfile::upload::{UploadOptions, Uploaded, Uploader, housekeeping, tree};
use crate::userfile::{Budget, Cancel, Error, Meter, address, lines, place};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs the command to its end.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    super::work("userfile upload", |cancel| async move { command(&args, cancel).await })
}

async fn command(args: &Args, cancel: Cancel) -> Result<(), Failure> {
    let (given, dest) = match args.paths.as_slice() {
        [] => return Err(Failure::too_few(0)),
        [source] => (source, None),
        [source, dest] => (source, Some(dest.as_bytes())),
        more => {
            return Err(Failure::new(format!("accepts a source and a destination, received {} arguments", more.len()))
                .hint("to upload several files, use -r on their directory, or a loop: for x in *; do ... \"$x\"; done"));
        }
    };
    if given == "-" {
        let Some(dest) = dest.filter(|d| !d.is_empty()) else {
            return Err(Failure::new("standard input has no name to be stored under")
                .hint("add one: userfilefs upload - NAME"));
        };
        return one(args, Source::Stdin, place::file_destination(Some(dest), b"")?, cancel).await;
    }
    let path = Path::new(given);
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    if args.recursive && !std::fs::metadata(path).is_ok_and(|m| m.is_file()) {
        return whole_tree(args, path, place::lexical_clean(&absolute), dest, cancel).await;
    }
    let source = Source::Path { path: path.to_owned(), in_tree: false };
    // Before anything is asked of the server: a mistyped source must not make tables.
    source.open()?;
    let (base, _) = place::source_base(path, &absolute);
    one(args, source, place::file_destination(dest, &base)?, cancel).await
}

async fn one(args: &Args, source: Source, to: place::Destination, cancel: Cancel) -> Result<(), Failure> {
    place::check_name(&to.path)?;
    let session = open(args, &to, &cancel).await?;
    let meter = Arc::new(Meter::default());
    if let Source::Path { path, .. } = &source {
        meter.found(std::fs::metadata(path).map(|m| m.len()).unwrap_or(0));
    }
    let _progress = Progress::start(&meter);
    let work = Work::new(args, &session, &meter, cancel.clone());
    let done = tokio::select! {
        done = work.file(&source, &to.path) => done,
        () = work.housekeeping() => return Ok(()),
    };
    session.settle(&cancel).await;
    let done = done?;
    print_done(&session, &source, &to.path, &done);
    Ok(())
}

async fn whole_tree(
    args: &Args,
    given: &Path,
    root: PathBuf,
    dest: Option<&[u8]>,
    cancel: Cancel,
) -> Result<(), Failure> {
    let meta = std::fs::metadata(&root).map_err(Error::os("lstat", &root))?;
    if !meta.is_dir() {
        // Says what it is.
        Source::Path { path: root.clone(), in_tree: false }.open()?;
    }
    let (base, slash) = place::source_base(given, &root);
    let to = place::tree_destination(dest, &base, slash)?;
    let session = open(args, &to, &cancel).await?;
    let meter = Arc::new(Meter::default());
    let progress = Progress::start(&meter);
    if progress.is_shown() {
        let (root, skip, meter, cancel) = (root.clone(), args.skip_links, Arc::clone(&meter), cancel.clone());
        tokio::task::spawn_blocking(move || {
            source::count(&root, skip, || cancel.is_cancelled(), |bytes| meter.found(bytes));
        });
    }
    let work = Work::new(args, &session, &meter, cancel);
    let mut failure = None;
    let copying = in_order(
        tree(root, args.skip_links),
        usize::from(args.work.jobs),
        |found| {
            let job = found.as_ref().ok().map(|f| (name_of(&to, f), f.path.clone()));
            async {
                // A walk that failed is reported where its turn comes.
                let (name, path) = job?;
                let name = match name {
                    Ok(name) => name,
                    Err(e) => return Some(Err(e)),
                };
                let source = Source::Path { path, in_tree: true };
                Some(work.file(&source, &name).await.map(|done| (source, name, done)))
            }
        },
        |done| if matches!(done, Some(Ok(_))) { Then::Continue } else { Then::Stop },
        |step| match step {
            Step::Start(Ok(found)) => {
                let word = if args.work.dry_run { "would upload" } else { "uploading" };
                if failure.is_none() && !args.work.dry_run {
                    let line = [word.as_bytes(), b": ", found.relative.as_os_str().as_bytes()].concat();
                    say(&line);
                }
                Then::Continue
            }
            Step::Start(Err(_)) => Then::Stop,
            Step::Done(_, Some(Ok((source, name, done)))) => {
                print_done(&session, &source, &name, &done);
                Then::Continue
            }
            Step::Done(found, out) => {
                let error = match (found, out) {
                    (_, Some(Err(e))) => Some(Failure::from(e)),
                    (Err(e), _) => Some(Failure::from_ref(e)),
                    _ => None,
                };
                failure = failure.take().or(error);
                Then::Stop
            }
        },
    );
    tokio::select! {
        () = copying => {}
        () = work.housekeeping() => {}
    }
    session.settle(&work.cancel).await;
    drop(progress);
    if let Some(failure) = failure {
        return Err(failure);
    }
    if work.cancel.is_cancelled() {
        return Err(Error::Interrupted.into());
    }
    if !args.work.dry_run {
        say(&[b"successfully uploaded all files in the subtree rooted at ".as_slice(), &base].concat());
    }
    Ok(())
}

fn name_of(to: &place::Destination, found: &Found) -> Result<String, Error> {
    Ok(place::tree_name(&to.path, found.relative.as_os_str().as_bytes())?)
}

async fn open(args: &Args, to: &place::Destination, cancel: &Cancel) -> Result<Session, Failure> {
    let create = if args.work.dry_run { Create::Refuse } else { Create::Create };
    let session = session::open(
        &args.connection,
        &to.host,
        Need { create, read_only: args.work.dry_run, recover: false },
        cancel,
    )
    .await?;
    if session.prefix.table == "userfiles_" {
        warn("the table prefix is \"userfiles_\": did the shell replace $user? put the URI in single quotes");
    }
    Ok(session)
}

/// The uploader, or in a dry run without tables nothing.
struct Work {
    uploader: Option<Uploader>,
    cancel: Cancel,
}

impl Work {
    fn new(args: &Args, session: &Session, meter: &Arc<Meter>, cancel: Cancel) -> Work {
        let uploader = session.table.as_ref().map(|table| Uploader {
            table: table.clone(),
            options: UploadOptions {
                overwrite: args.overwrite,
                skip_existing: args.skip_existing,
                dry_run: args.work.dry_run,
            },
            meter: Arc::clone(meter),
            budget: Budget::default(),
            cancel: cancel.clone(),
        });
        Work { uploader, cancel }
    }

    async fn file(&self, source: &Source, name: &str) -> Result<Uploaded, Error> {
        if self.cancel.is_cancelled() {
            return Err(Error::Interrupted);
        }
        match &self.uploader {
            Some(uploader) => uploader.file(source, name).await,
            None => {
                place::check_name(name)?;
                Ok(Uploaded::Planned { size: source.open()?.size, replaces: false })
            }
        }
    }

    async fn housekeeping(&self) {
        match &self.uploader {
            Some(uploader) => housekeeping(&uploader.table).await,
            None => std::future::pending().await,
        }
    }
}

fn print_done(session: &Session, source: &Source, name: &str, done: &Uploaded) {
    let uri = address::display_uri(&session.prefix.to_string(), name.as_bytes());
    match done {
        Uploaded::Stored { size, expected } => {
            if let Some(expected) = expected {
                warn(&format!(
                    "source file {} changed while it was read: {expected} bytes at first, {size} stored",
                    source.shown()
                ));
            }
            say(format!("successfully uploaded to {uri}").as_bytes());
        }
        Uploaded::Skipped => say(format!("skipped {uri}, which is stored already").as_bytes()),
        Uploaded::Planned { size, replaces } => {
            let size = size.map(|s| format!(" ({})", lines::size(s))).unwrap_or_default();
            let replaces = if *replaces { ", replacing what is there" } else { "" };
            say(format!("would upload {} to {uri}{size}{replaces}", source.shown()).as_bytes());
        }
    }
}
