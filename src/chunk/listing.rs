//! The skip-scan over names: what a page of rows means for one directory, and where to read on. No I/O.
//!
//! Names lie in byte order, so everything below a subdirectory is one run of rows. A page that ends inside such a
//! run is followed by one that begins behind it (`sub` + `0`, the character after `/`), whatever the run's length.

use super::names::{HIDDEN_DIR, is_hidden, showable_component, valid_not_below};
use super::types::{DirCursor, DirPage, FileRow};

/// Rows in the first page: most directories are listed by one query.
pub const PAGE_FIRST: usize = 1_024;
/// Rows in each page while subdirectories are hopped over.
pub const PAGE_MIN: usize = 128;
/// Rows in the largest page.
pub const PAGE_MAX: usize = 4_096;
/// Growth of the pages while most rows are entries of the directory.
const PAGE_GROWTH: usize = 4;
/// Unshowable names reported outside a leading slash before the scan leaves that region.
const STRAY_MAX: usize = 256;
/// Above every valid string.
const TOP: &str = "\u{10FFFF}";

/// The half-open range of names below a directory: `/a` gives `/a/` to `/a0`. The root (empty) gives everything,
/// names without a leading slash included.
pub fn range_below(dir: &str) -> (String, String) {
    if dir.is_empty() { (String::new(), TOP.to_owned()) } else { (format!("{dir}/"), format!("{dir}0")) }
}

/// Where the listing of a directory begins.
pub fn start(dir: &str) -> DirCursor {
    DirCursor { from: range_below(dir).0, after: false, page: PAGE_FIRST }
}

/// What the last row of a page was.
enum Last {
    /// An entry of the directory itself, or something to step over one by one.
    Entry,
    /// A row below this component.
    Below(Vec<u8>),
    /// A hidden row.
    Hidden,
    /// A name without a leading slash.
    Stray,
}

/// Takes a page of rows (in byte order, all from the directory's range) into `out` and returns where the next one
/// begins. `full`: the page had as many rows as were asked for, so there may be more.
pub fn take_page(
    dir: &str,
    rows: Vec<FileRow>,
    full: bool,
    cursor: &DirCursor,
    limit: usize,
    out: &mut DirPage,
) -> Option<DirCursor> {
    let entries_before = out.files.len() + out.dirs.len();
    let name = rows.last().map(|row| row.name.clone()).unwrap_or_default();
    let mut kind = Last::Entry;
    let mut strays = 0;
    for row in rows {
        kind = take_row(dir, row, out);
        if matches!(kind, Last::Stray) {
            strays += 1;
        }
    }
    if !full {
        return None;
    }
    let gained = out.files.len() + out.dirs.len() - entries_before;
    let largest = limit.clamp(PAGE_MIN, PAGE_MAX);
    let page = if gained * 2 >= cursor.page { (cursor.page * PAGE_GROWTH).min(largest) } else { PAGE_MIN };
    let next = |from: String, after| Some(DirCursor { from, after, page });
    match kind {
        Last::Below(component) => match std::str::from_utf8(&component) {
            Ok(c) => next(format!("{dir}/{c}0"), false),
            Err(_) => step(&name).and_then(|(from, after)| next(from, after)),
        },
        Last::Hidden => next(format!("{HIDDEN_DIR}0"), false),
        Last::Stray if strays >= STRAY_MAX.min(cursor.page) && name.as_slice() < b"/".as_slice() => {
            next("/".to_owned(), false)
        }
        Last::Stray if strays >= STRAY_MAX.min(cursor.page) => None,
        Last::Stray | Last::Entry => step(&name).and_then(|(from, after)| next(from, after)),
    }
}

/// Behind this very name.
fn step(name: &[u8]) -> Option<(String, bool)> {
    let valid = std::str::from_utf8(name).is_ok();
    valid_not_below(name).map(|from| (from, valid))
}

fn take_row(dir: &str, row: FileRow, out: &mut DirPage) -> Last {
    if is_hidden(&row.name) {
        return Last::Hidden;
    }
    let rest = match row.name.get(dir.len()..) {
        Some([b'/', rest @ ..]) => rest,
        _ => {
            out.unshowable.push(row.name);
            return Last::Stray;
        }
    };
    match rest.iter().position(|&b| b == b'/') {
        Some(end) => {
            let component = rest[..end].to_vec();
            if showable_component(&component).is_none() {
                out.unshowable.push(row.name);
            } else if out.dirs.last() != Some(&component) {
                out.dirs.push(component.clone());
            }
            Last::Below(component)
        }
        None => {
            if showable_component(rest).is_some() {
                out.files.push(row);
            } else {
                out.unshowable.push(row.name);
            }
            Last::Entry
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chunk::{Attrs, FileId};
    use std::collections::BTreeSet;

    fn row(name: &[u8]) -> FileRow {
        FileRow {
            name: name.to_vec(),
            id: FileId(uuid::Uuid::nil()),
            size: 0,
            mtime: None,
            username: String::new(),
            attrs: Attrs::default(),
        }
    }

    /// Lists a directory of an in-memory table; returns the page and the number of queries.
    fn list(names: &BTreeSet<Vec<u8>>, dir: &str) -> (DirPage, usize) {
        let (mut out, mut queries) = (DirPage::default(), 0);
        let mut cursor = Some(start(dir));
        let end = range_below(dir).1;
        while let Some(c) = cursor {
            queries += 1;
            assert!(queries < 10_000, "{dir}: no end at {c:?}");
            let rows: Vec<FileRow> = names
                .range(c.from.as_bytes().to_vec()..)
                .take_while(|n| n.as_slice() < end.as_bytes())
                .skip_while(|n| c.after && n.as_slice() == c.from.as_bytes())
                .take(c.page)
                .map(|n| row(n))
                .collect();
            let full = rows.len() == c.page;
            cursor = take_page(dir, rows, full, &c, 100_000, &mut out);
        }
        (out, queries)
    }

    fn text(names: &[Vec<u8>]) -> Vec<String> {
        names.iter().map(|n| String::from_utf8_lossy(n).into_owned()).collect()
    }

    #[test]
    fn hundred_directories_cost_a_page_each() {
        let names: BTreeSet<Vec<u8>> =
            (0..100_000).map(|i| format!("/d{:02}/f{:03}", i / 1000, i % 1000).into_bytes()).collect();
        let (page, queries) = list(&names, "");
        assert_eq!(page.dirs.len(), 100);
        assert!(queries <= 101, "{queries}");
        let (page, queries) = list(&names, "/d07");
        assert_eq!(page.files.len(), 1000);
        assert_eq!(queries, 1);
    }

    #[test]
    fn flat_directories_come_in_large_pages() {
        let names: BTreeSet<Vec<u8>> = (0..100_000).map(|i| format!("/a/{i:06}").into_bytes()).collect();
        let (page, queries) = list(&names, "/a");
        assert_eq!(page.files.len(), 100_000);
        assert!(queries < 30, "{queries}");
    }

    #[test]
    fn tiny_subdirectories_grow_the_page_too() {
        let names: BTreeSet<Vec<u8>> = (0..20_000).map(|i| format!("/{i:06}/x").into_bytes()).collect();
        let (page, queries) = list(&names, "");
        assert_eq!(page.dirs.len(), 20_000);
        assert!(queries < 12, "{queries}");
    }

    #[test]
    fn names_that_nest_and_clash() {
        let mut names: BTreeSet<Vec<u8>> = ["/a", "/a-b", "/a-b/c", "/a/b", "/a/b/c", "/a0", "/b/c"]
            .iter()
            .map(|n| n.as_bytes().to_vec())
            .collect();
        for i in 0..500 {
            names.insert(format!("/a/{i}").into_bytes());
            names.insert(format!("/.userfilefs/x/{i:04}").into_bytes());
        }
        let (page, _) = list(&names, "");
        assert_eq!(
            text(&page.files.iter().map(|f| f.name.clone()).collect::<Vec<_>>()),
            ["/a", "/a-b", "/a0"]
        );
        assert_eq!(text(&page.dirs), ["a-b", "a", "b"]);
        assert!(page.unshowable.is_empty());
        let (page, _) = list(&names, "/a");
        assert_eq!((page.files.len(), text(&page.dirs)), (501, vec!["b".to_owned()]));
        assert_eq!(list(&names, "/none").0, DirPage::default());
    }

    #[test]
    fn odd_names_are_reported_once_and_stop_nothing() {
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        for n in ["", "/", "rel", "!x", "//a", "/./b", "/../c", "/ok/", "/ok//x", "/z"] {
            names.insert(n.as_bytes().to_vec());
        }
        names.insert(b"/bad\xff".to_vec());
        names.insert(b"/bad\xff/x".to_vec());
        names.insert(format!("/{}", "l".repeat(256)).into_bytes());
        for i in 0..300 {
            names.insert([&b"/\xc3"[..], format!("{i:04}/q").as_bytes()].concat());
        }
        let (page, _) = list(&names, "");
        assert_eq!(page.files.len(), 1);
        assert_eq!(text(&page.dirs), ["ok"]);
        for n in ["", "/", "rel", "!x", "//a", "/./b", "/../c"] {
            assert!(page.unshowable.contains(&n.as_bytes().to_vec()), "{n}");
        }
        let (page, _) = list(&names, "/ok");
        assert_eq!(text(&page.unshowable), ["/ok/", "/ok//x"]);
    }

    #[test]
    fn crowds_of_strays_are_left_behind() {
        let mut names: BTreeSet<Vec<u8>> = BTreeSet::new();
        for i in 0..5_000 {
            names.insert(format!("!{i}").into_bytes());
            names.insert(format!("z{i}").into_bytes());
        }
        names.insert(b"/f".to_vec());
        let (page, queries) = list(&names, "");
        assert_eq!(page.files.len(), 1);
        assert!(queries < 10, "{queries}");
    }
}
