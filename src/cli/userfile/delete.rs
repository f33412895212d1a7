//! `userfilefs delete`.

pub use super::args::DeleteArgs as Args;
use super::session::{self, Need, selectors};
use super::{Failure, say, unless_stopped};
use crate::chunk::{Create, FileTable, TablePrefix};
use crate::cli::Exit;
use crate::userfile::matching::{self, Matched};
use crate::userfile::order::{Step, Then, in_order};
use crate::userfile::pattern::{PlainRule, Selector};
use crate::userfile::{Cancel, Error, delete, lines};
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
        &cancel,
    )
    .await?;
    let nothing = || if args.force { Ok(()) } else { Err(Failure::new("no files matched")) };
    let Some(table) = &session.table else {
        return nothing();
    };
    if selectors.iter().any(Selector::is_all) && !args.yes && !args.work.dry_run {
        unless_stopped(&cancel, confirm(table, &session.prefix)).await?;
    }
    let done = files(args, table, &selectors, &cancel).await;
    session.settle(&cancel).await;
    let (mut count, matched) = done?;
    let mut found: Vec<bool> = (0..selectors.len()).map(|i| matched.has(i)).collect();
    if !args.work.dry_run {
        for (selector, found) in selectors.iter().zip(&mut found) {
            let gone = delete::leftovers(table, selector).await?;
            *found |= gone > 0;
            count += gone;
        }
    }
    if count == 0 {
        return match nothing() {
            Ok(()) => Ok(()),
            Err(failure) => Err(session::explain(failure, table, &selectors).await),
        };
    }
    if args.force {
        return Ok(());
    }
    session::each_matched(table, &args.patterns, &selectors, |i| found[i]).await
}

/// Deletes the files and says so; returns how many were found, and by which arguments.
async fn files(
    args: &Args,
    table: &FileTable,
    selectors: &[Selector],
    cancel: &Cancel,
) -> Result<(u64, Matched), Failure> {
    let mut count = 0u64;
    let mut failure: Option<Failure> = None;
    let (rows, matched) = matching::rows(table, selectors.to_vec());
    in_order(
        rows,
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
            Step::Done(Ok(row), Some(Err(e))) if !e.is_interrupt() => {
                let detail = format!("deletion failed at {}", lines::shown_text(&row.name));
                failure.get_or_insert_with(|| Failure::from(e).detail(detail));
                Then::Stop
            }
            Step::Done(row, out) => {
                let error = out.and_then(Result::err).as_ref().or(row.as_ref().err()).map(Failure::from_ref);
                failure = failure.take().or(error);
                Then::Stop
            }
        },
    )
    .await;
    failure.map_or(Ok((count, matched)), Err)
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
