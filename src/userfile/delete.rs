//! Deleting stored files, and the directories that they leave behind.

use super::Error;
use super::pattern::Selector;
use crate::chunk::{FileRow, FileTable, Old, PathKind};
use std::collections::HashSet;

/// Deletes one file with its contents and attributes, in one transaction where it is small. False if it was
/// gone already.
pub async fn file(table: &FileTable, row: &FileRow) -> Result<bool, Error> {
    let size_hint = u64::try_from(row.size).unwrap_or(0);
    match std::str::from_utf8(&row.name) {
        Ok(name) => Ok(table.remove(name, Old::Delete { size_hint }, None).await?),
        // No statement can name it.
        Err(_) => Ok(table.remove_by_id(row.id).await?),
    }
}

/// Removes what a mount keeps beside the files of a deleted tree: rows of empty directories and of symbolic
/// links. Directories that still hold files stay. Returns how many rows went.
pub async fn leftovers(table: &FileTable, selector: &Selector) -> Result<u64, Error> {
    let root = match selector {
        Selector::All => "",
        Selector::Tree(name) => match std::str::from_utf8(name) {
            Ok(name) => name,
            Err(_) => return Ok(0),
        },
        // `dir/` means what is below the directory; patterns mean files.
        Selector::StartsWith(_) | Selector::Glob(_) => return Ok(0),
    };
    if !table.attrs_available() {
        return Ok(0);
    }
    let looked = table.lookup(if root.is_empty() { "/" } else { root }).await?;
    let mut gone = 0;
    if root.is_empty() || looked.has_children || looked.path.is_some() {
        gone += below(table, root).await?;
    }
    if !root.is_empty() && looked.path.is_some() {
        gone += u64::from(remove_path(table, root).await?);
    }
    Ok(gone)
}

async fn below(table: &FileTable, root: &str) -> Result<u64, Error> {
    const PAGE: usize = 1000;
    // Directories whose rows go once everything below them was looked at, deepest last.
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    let mut open = vec![root.to_owned()];
    let mut gone = 0;
    while let Some(dir) = open.pop() {
        let mut after = None;
        loop {
            let page = table.list_dir(&dir, after, PAGE).await?;
            for row in page.paths {
                let Ok(path) = String::from_utf8(row.path) else { continue };
                match row.kind {
                    PathKind::Dir => {
                        found.push(path.clone());
                        if seen.insert(path.clone()) {
                            open.push(path);
                        }
                    }
                    PathKind::Symlink { .. } => gone += u64::from(remove_path(table, &path).await?),
                }
            }
            for name in page.dirs {
                let Ok(name) = String::from_utf8(name) else { continue };
                let path = format!("{dir}/{name}");
                if seen.insert(path.clone()) {
                    open.push(path);
                }
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
    }
    for dir in found.iter().rev() {
        gone += u64::from(remove_path(table, dir).await?);
    }
    Ok(gone)
}

async fn remove_path(table: &FileTable, path: &str) -> Result<bool, Error> {
    match table.remove_path(path, None).await {
        Err(crate::chunk::Error::NotEmpty(_)) => Ok(false),
        done => Ok(done?),
    }
}
