//! The rows that arguments mean, page by page, while the caller already works on the first ones.

use super::Error;
use super::control::supervised;
use super::pattern::{Scan, Selector};
use crate::chunk::{FileRow, FileTable};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::mpsc;

/// Rows asked for at a time.
const PAGE_ROWS: usize = 1000;
/// Rows that wait for the caller at most.
const AHEAD_ROWS: usize = 256;

/// Which of several selectors have found a row; complete when the last row was received.
#[derive(Clone, Debug)]
pub struct Matched(Arc<[AtomicBool]>);

impl Matched {
    /// A row was found: for every selector that means it, as the caller may delete it before a later one looks.
    fn note(&self, selectors: &[Selector], name: &[u8]) {
        for (selector, matched) in selectors.iter().zip(self.0.iter()) {
            if selector.matches(name) {
                matched.store(true, Ordering::Release);
            }
        }
    }

    /// Whether the selector at this place has.
    pub fn has(&self, i: usize) -> bool {
        self.0.get(i).is_some_and(|m| m.load(Ordering::Acquire))
    }
}

/// Finds the rows of several selectors: selector by selector, each in byte order, no row twice.
///
/// The last value is an error if the search could not be finished. Dropping the receiver ends the search.
pub fn rows(
    table: &FileTable,
    selectors: Vec<Selector>,
) -> (mpsc::Receiver<Result<FileRow, Error>>, Matched) {
    let (tx, rx) = mpsc::channel(AHEAD_ROWS);
    let matched = Matched(selectors.iter().map(|_| AtomicBool::new(false)).collect());
    let noted = matched.clone();
    let table = table.clone();
    let last_word = tx.clone();
    let search = tokio::spawn(async move {
        for i in 0..selectors.len() {
            match search(&table, &selectors, i, &noted, &tx).await {
                Ok(true) => {}
                Ok(false) => return,
                Err(e) => {
                    let _ = tx.send(Err(e)).await;
                    return;
                }
            }
        }
    });
    supervised(search, last_word);
    (rx, matched)
}

/// False if nobody listens any more.
async fn search(
    table: &FileTable,
    selectors: &[Selector],
    i: usize,
    matched: &Matched,
    tx: &mpsc::Sender<Result<FileRow, Error>>,
) -> Result<bool, Error> {
    let (earlier, selector) = (&selectors[..i], &selectors[i]);
    for scan in selector.scans() {
        let (prefix, one) = match &scan {
            Scan::Prefix(prefix) => (prefix.as_str(), None),
            // The first name in byte order that starts with a name is that name itself, if it is there.
            Scan::One(name) => match std::str::from_utf8(name) {
                Ok(text) => (text, Some(name)),
                Err(e) => (std::str::from_utf8(&name[..e.valid_up_to()]).unwrap_or_default(), None),
            },
        };
        let limit = if one.is_some() { 1 } else { PAGE_ROWS };
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page = table.list_files(prefix, after.as_deref(), limit).await?;
            let full = page.len() >= limit && one.is_none();
            after = page.last().map(|row| row.name.clone());
            for row in page {
                let wanted = match &scan {
                    Scan::One(name) => row.name == *name,
                    Scan::Prefix(_) => selector.matches(&row.name),
                };
                if !wanted {
                    continue;
                }
                matched.note(selectors, &row.name);
                if earlier.iter().any(|s| s.matches(&row.name)) {
                    continue;
                }
                if tx.send(Ok(row)).await.is_err() {
                    return Ok(false);
                }
            }
            if !full || tx.is_closed() {
                break;
            }
        }
    }
    Ok(!tx.is_closed())
}

/// A name that starts with a mistyped one, for a hint.
pub async fn similar(table: &FileTable, selector: &Selector) -> Result<Option<Vec<u8>>, Error> {
    let Some(name) = selector.plain_name().and_then(|n| std::str::from_utf8(n).ok()) else {
        return Ok(None);
    };
    let found = table.list_files(name.trim_end_matches('/'), None, 1).await?;
    Ok(found.into_iter().next().map(|row| row.name))
}
