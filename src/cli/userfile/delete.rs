//! `userfilefs delete`.

pub use super::args::DeleteArgs as Args;
use super::session::{self, Need, selectors};
use super::{Failure, say};
use crate::chunk::{Create, FileTable, TablePrefix};
use crate::cli::Exit;
use crate::userfile::order::{Step, Then, in_order};
use crate::userfile::pattern::{PlainRule, Selector};
use crate::userfile::{Cancel, Error, delete, lines, matching};
use std::io::{IsTerminal, Write};

/// Runs the command to its end.
pub fn run(args: Args) -> anyhow::Result<Exit> {
    super::work("userfile delete", |cancel| async move { command(&args, cancel).await })
}

async fn command(args: &Args, cancel: Cancel) -> Result<(), Failure> {
    if args.patterns.is_empty() {
        return Err(Failure::too_few(0));
    }
    let (host, selectors) = selectors(&args.patterns, &args.select, PlainRule::ExactOrBelow)?;
    let session = session::open(
        &args.connection,
        &host,
        Need { create: Create::Refuse, read_only: args.work.dry_run, recover: false },
    )
    .await?;
    let nothing = || if args.force { Ok(()) } else { Err(Failure::new("no files matched")) };
    let Some(table) = &session.table else {
        return nothing();
    };
    if selectors.iter().any(Selector::is_all) && !args.yes && !args.work.dry_run {
        confirm(table, &session.prefix).await?;
    }
    let done = files(args, table, &selectors, &cancel).await;
    session.settle().await;
    let mut count = done?;
    if !args.work.dry_run {
        for selector in &selectors {
            count += delete::leftovers(table, selector).await?;
        }
    }
    if count == 0 {
        return match nothing() {
            Ok(()) => Ok(()),
            Err(failure) => Err(session::explain(failure, table, &selectors).await),
        };
    }
    Ok(())
}

/// Deletes the files and says so; returns how many were found.
async fn files(
    args: &Args,
    table: &FileTable,
    selectors: &[Selector],
    cancel: &Cancel,
) -> Result<u64, Failure> {
    let mut count = 0u64;
    let mut failure: Option<Failure> = None;
    in_order(
        matching::rows(table, selectors.to_vec()),
        usize::from(args.work.jobs),
        |row| {
            let row = row.as_ref().ok().cloned();
            async move {
                let row = row?;
                if cancel.is_cancelled() {
                    return Some(Err(Error::Interrupted));
                }
                if args.work.dry_run {
                    return Some(Ok(row));
                }
                Some(delete::file(table, &row).await.map(|_| row))
            }
        },
        |done| if matches!(done, Some(Ok(_))) { Then::Continue } else { Then::Stop },
        |step| match step {
            Step::Start(_) => Then::Continue,
            Step::Done(_, Some(Ok(row))) => {
                count += 1;
                let word: &[u8] = if args.work.dry_run { b"would delete " } else { b"successfully deleted " };
                say(&[word, lines::shown(&row.name)].concat());
                Then::Continue
            }
            Step::Done(Ok(row), Some(Err(e))) => {
                let detail = format!("deletion failed at {}", lines::shown_text(&row.name));
                failure.get_or_insert_with(|| Failure::from(e).detail(detail));
                Then::Stop
            }
            Step::Done(row, _) => {
                if let Err(e) = row {
                    failure.get_or_insert_with(|| Failure::from_ref(e));
                }
                Then::Stop
            }
        },
    )
    .await;
    failure.map_or(Ok(count), Err)
}

/// Asks before everything goes, if there is somebody to ask.
async fn confirm(table: &FileTable, prefix: &TablePrefix) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Ok(());
    }
    let usage = table.usage().await.map_err(Error::from)?;
    if usage.files == 0 {
        return Ok(());
    }
    let question = format!(
        "delete all {} files ({}) in userfile://{prefix}? [y/N] ",
        usage.files,
        lines::size(usage.bytes)
    );
    let answer = tokio::task::spawn_blocking(move || {
        let _ = write!(std::io::stderr(), "{question}");
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer).map(|_| answer)
    })
    .await;
    match answer {
        Ok(Ok(answer)) if matches!(answer.trim(), "y" | "Y" | "yes") => Ok(()),
        _ => Err(Failure::new("nothing was deleted").hint("--yes deletes without asking")),
    }
}
