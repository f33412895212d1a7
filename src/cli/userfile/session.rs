//! From arguments to open tables.

use super::Failure;
use super::args::SelectArgs;
use super::unless_stopped;
use crate::chunk::{self, Create, FileTable, TableOptions, TablePrefix};
use crate::cli::connect::{self, ConnectionArgs};
use crate::sql::PoolOptions;
use crate::userfile::address::{self, ArgError, Host};
use crate::userfile::pattern::{PlainRule, Selector};
use crate::userfile::{Cancel, lines, matching};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// As `cockroach` has it. A line that the transfers themselves fill is slow to connect over.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);

/// Open tables.
pub(super) struct Session {
    /// `None`: they do not exist and were not to be made.
    pub(super) table: Option<FileTable>,
    /// Which they are.
    pub(super) prefix: TablePrefix,
}

impl Session {
    /// Waits until large files that were deleted or replaced are removed, which goes on in the background; no
    /// longer than the user likes, as what is left is removed by the next sweep.
    pub(super) async fn settle(&self, cancel: &Cancel) {
        let Some(table) = &self.table else { return };
        tokio::select! {
            () = table.idle() => {}
            () = cancel.cancelled() => {}
        }
    }
}

/// What a command needs of the tables.
#[derive(Clone, Copy)]
pub(super) struct Need {
    /// What about missing tables.
    pub(super) create: Create,
    /// Only looks.
    pub(super) read_only: bool,
    /// Reads damaged files by the order of their chunks.
    pub(super) recover: bool,
}

/// Connects and opens the tables that the arguments name.
pub(super) async fn open(
    connection: &ConnectionArgs,
    host: &Host,
    need: Need,
    cancel: &Cancel,
) -> Result<Session, Failure> {
    unless_stopped(cancel, connect_and_open(connection, host, need)).await
}

async fn connect_and_open(connection: &ConnectionArgs, host: &Host, need: Need) -> Result<Session, Failure> {
    let settings = connect::settings(connection).map_err(Failure::other)?;
    let named = match host {
        Host::Named(text) => Some(TablePrefix::for_user(text, settings.user()).map_err(chunk::Error::from)?),
        Host::Default => None,
    };
    let settings = match &named {
        Some(prefix) => settings.with_database(&prefix.database),
        None => settings,
    };
    let options = PoolOptions { connect_timeout: CONNECT_TIMEOUT, ..PoolOptions::default() };
    let disk = if need.read_only { None } else { connect::private_disk(&settings) };
    let pool = connect::pool_with(settings, options).await.map_err(Failure::other)?;
    let prefix = named.unwrap_or_else(|| {
        let prefix = TablePrefix::default_for(pool.settings().user());
        match pool.dialect().is_cockroach() {
            true => prefix,
            // PostgreSQL: the tables are where the connection goes.
            false => prefix.in_database(pool.settings().database()),
        }
    });
    let options = TableOptions {
        create: need.create,
        read_only: need.read_only,
        recover: need.recover,
        chunk_len: chunk_len(),
        disk,
        ..TableOptions::default()
    };
    match FileTable::open(pool, prefix.clone(), options).await {
        Ok(table) => Ok(Session { table: Some(table), prefix }),
        Err(chunk::Error::NoTables(_)) => Ok(Session { table: None, prefix }),
        Err(e) => Err(e.into()),
    }
}

/// Tests set smaller chunks.
fn chunk_len() -> usize {
    let test = std::env::var("USERFILEFS_TEST_CHUNK_LEN").ok();
    test.and_then(|n| n.parse().ok()).unwrap_or(chunk::CHUNK_LEN)
}

/// What the arguments of list, get or delete mean; all must name the same tables.
pub(super) fn selectors(
    arguments: &[OsString],
    options: &SelectArgs,
    rule: PlainRule,
) -> Result<(Host, Vec<Selector>), ArgError> {
    let mut host: Option<Host> = None;
    let mut selectors = Vec::new();
    let everything = [OsString::new()];
    for argument in if arguments.is_empty() { &everything[..] } else { arguments } {
        let argument = argument.as_bytes();
        let address = if options.literal { address::literal(argument)? } else { address::pattern(argument)? };
        selectors.push(match options.literal {
            true => Selector::exact(address.path.clone()),
            false => Selector::new(&address, rule)?,
        });
        match &host {
            Some(before) if *before != address.host => {
                return Err(ArgError::MixedHosts(shown(before), shown(&address.host)));
            }
            _ => host = Some(address.host),
        }
    }
    Ok((host.unwrap_or(Host::Default), selectors))
}

fn shown(host: &Host) -> String {
    match host {
        Host::Default => "the default".to_owned(),
        Host::Named(text) => text.clone(),
    }
}

/// An error if some arguments have found something and others nothing.
pub(super) async fn each_matched(
    table: &FileTable,
    arguments: &[OsString],
    selectors: &[Selector],
    matched: impl Fn(usize) -> bool,
) -> Result<(), Failure> {
    let without: Vec<(&OsString, &Selector)> = arguments
        .iter()
        .zip(selectors)
        .enumerate()
        .filter(|(i, _)| !matched(*i))
        .map(|(_, pair)| pair)
        .collect();
    if without.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = without.iter().map(|(a, _)| address::lossy(a.as_bytes())).collect();
    let failure = Failure::new(format!("no files matched {}", shown.join(", ")));
    let selectors: Vec<Selector> = without.into_iter().map(|(_, s)| s.clone()).collect();
    Err(explain(failure, table, &selectors).await)
}

/// Adds a hint to "nothing matched": a name that begins like the one that was given.
pub(super) async fn explain(failure: Failure, table: &FileTable, selectors: &[Selector]) -> Failure {
    for selector in selectors {
        if let Ok(Some(name)) = matching::similar(table, selector).await {
            return failure.hint(format!(
                "there is {:?}; a name without pattern characters must match to its end or to a slash",
                lines::shown_text(&name)
            ));
        }
    }
    failure
}
