//! Rows and indexes of the newest state.
//!
//! Every row says which entries each index must have. Sums of their hashes, in buckets, are compared with
//! those of the entries that are there: memory does not grow with the table. Where they differ a second
//! pass over the buckets concerned names the keys.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::scan::{FileId, Pair, Segment};
use crate::engine::table::State;
use crate::engine::{Error, pretty};
use crate::format::descriptor::TableDescriptor;
use crate::format::descriptor::proto::STATE_PUBLIC;
use crate::format::kv::layout::{IndexLayout, TableLayout};
use crate::format::kv::row::RowDecoder;
use crate::format::manifest::Span;

use super::modes::{BUCKETS, Comparison, Mode, Sums, bucket};
use super::rows::{Depth, Gathered, Work, group_error};
use super::work::share;
use super::{Damage, Progress, Report, to_damage};

/// Buckets that are looked at closely, and keys that are kept of them.
const CLOSE_BUCKETS: usize = 8;
const CLOSE_KEYS: usize = 100_000;
/// Differences of an index that are named.
const NAMED_MAX: usize = 10;

#[derive(Default)]
pub(super) struct Compared {
    pub expected: Sums,
    pub found: Sums,
    /// Hashes that count once, however often they are found.
    pub distinct: Vec<u64>,
    /// More of them than are kept.
    pub too_many: bool,
}

/// One table or sequence.
pub(super) struct Table<'s> {
    pub descriptor: &'s TableDescriptor,
    pub layout: Arc<TableLayout>,
    pub comparisons: Vec<Comparison>,
    pub compared: Mutex<Vec<Compared>>,
    /// The primary index (`None`) and the others, as far as they are covered.
    spans: Vec<(Option<usize>, Span)>,
}

struct Task {
    table: usize,
    /// `None`: the primary index.
    index: Option<usize>,
    segment: Segment,
}

/// Everything that is compared.
pub(super) struct Tables<'s> {
    state: &'s State<'s>,
    tables: Vec<Table<'s>>,
    by_ids: BTreeMap<(u64, u64), (usize, Option<usize>)>,
    /// Files with keys that no other file has: their rows are looked at when the file is read.
    alone: BTreeSet<FileId>,
}

/// Bytes that a file of a segment counts for in the progress.
const NOMINAL_LEN: u64 = 1 << 20;

/// The table and index whose span holds the entries: the root's of old interleaved tables.
fn root_of(layout: &TableLayout, index: &IndexLayout) -> (u32, u32) {
    index.ancestors.first().map_or((layout.table_id, index.id), |root| (root.table_id, root.index_id))
}

impl<'s> Tables<'s> {
    /// Looks at descriptors and spans, not at data.
    pub(super) fn prepare(state: &'s State<'s>, report: &mut Report) -> Self {
        let mut own = Self { state, tables: Vec::new(), by_ids: BTreeMap::new(), alone: BTreeSet::new() };
        for descriptor in state.catalog.tables() {
            if descriptor.has_data() && descriptor.is_visible() && !descriptor.exclude_data_from_backup() {
                own.add(descriptor, report);
            }
        }
        own.find_ids();
        own.alone = state.scan.alone().into_iter().filter(|id| own.begins_with_rows(*id)).collect();
        own
    }

    fn add(&mut self, descriptor: &'s TableDescriptor, report: &mut Report) {
        let name = self.state.catalog.full_name(descriptor);
        let layout = match self.state.catalog.layout(descriptor) {
            Ok(layout) => Arc::new(layout),
            Err(error) => return report.troubles.push(format!("table {name}: {error}")),
        };
        let mut comparisons = Vec::new();
        for (at, index) in layout.indexes.iter().enumerate() {
            let comparison = Comparison::of(descriptor, &layout, at, index);
            if let Some(notice) = comparison.notice() {
                report.notices.insert(format!("index {} of {name}: {notice}", index.name));
            }
            comparisons.push(comparison);
        }
        let compared = Mutex::new(layout.indexes.iter().map(|_| Compared::default()).collect());
        let own = std::iter::once((None, &layout.primary));
        let mut spans = Vec::new();
        for (at, index) in own.chain(layout.indexes.iter().enumerate().map(|(at, index)| (Some(at), index))) {
            let (table, index) = root_of(&layout, index);
            let span = self.state.catalog.index_span(table, index);
            match self.state.scan.require_covered(&span) {
                Ok(()) => spans.push((at, span)),
                // Backups of old versions have such descriptors, not always with their data.
                Err(_) if descriptor.temporary() || descriptor.state() != STATE_PUBLIC => {
                    report.notices.insert(format!("table {name}: its data are not in the backup"));
                }
                Err(error) => {
                    report.damage(Damage { file: name.clone(), offset: None, what: error.to_string() });
                }
            }
        }
        self.tables.push(Table { descriptor, layout, comparisons, compared, spans });
    }

    /// Which index has the keys with a table's and index's id; none where tables share a span.
    fn find_ids(&mut self) {
        let mut shared = BTreeSet::new();
        for (at, table) in self.tables.iter().enumerate() {
            for (index, _) in &table.spans {
                let layout =
                    index.and_then(|at| table.layout.indexes.get(at)).unwrap_or(&table.layout.primary);
                let (root_table, root_index) = root_of(&table.layout, layout);
                let ids = (u64::from(root_table), u64::from(root_index));
                if self.by_ids.insert(ids, (at, *index)).is_some() || !layout.ancestors.is_empty() {
                    shared.insert(ids);
                }
            }
        }
        self.by_ids.retain(|ids, _| !shared.contains(ids));
    }

    /// The table and index of keys with these ids.
    pub(super) fn of_ids(&self, ids: (u64, u64)) -> Option<(&Table<'s>, Option<usize>)> {
        let (table, index) = self.by_ids.get(&ids)?;
        Some((self.tables.get(*table)?, *index))
    }

    /// Whether the rows of a file can be looked at when it is read.
    pub(super) fn is_alone(&self, id: FileId) -> bool {
        self.alone.contains(&id)
    }

    /// Whether a file's span cuts no row, and lies in spans of single tables.
    fn begins_with_rows(&self, id: FileId) -> bool {
        let Some(span) = self.state.scan.span_of(id) else { return false };
        let mut covered = span.key.clone();
        let mut inside: Vec<(&Span, (usize, Option<usize>))> = Vec::new();
        for &(at, index) in self.by_ids.values() {
            let own = self.tables.get(at).and_then(|table| table.spans.iter().find(|(own, _)| *own == index));
            if let Some((_, own)) = own.filter(|(_, own)| own.overlaps(span)) {
                inside.push((own, (at, index)));
            }
        }
        inside.sort_by_key(|(own, _)| &own.key);
        for (own, (at, index)) in inside {
            // Keys before would belong to something that is looked at in another way, or not at all.
            if own.key > covered {
                return false;
            }
            covered = own.end_key.clone();
            let Some(table) = self.tables.get(at) else { return false };
            let whole = |cut: &[u8]| {
                cut <= own.key.as_slice()
                    || cut >= own.end_key.as_slice()
                    || match index {
                        None => RowDecoder::new(table.layout.clone())
                            .is_ok_and(|decoder| decoder.row_start(cut) == cut),
                        // Entries of several families would have to be read to tell.
                        Some(_) => table.layout.families.len() == 1,
                    }
            };
            if !whole(&span.key) || !whole(&span.end_key) {
                return false;
            }
        }
        covered >= span.end_key
    }

    /// Work on all files, or on those that were not looked at when they were read.
    fn tasks(&self, all: bool) -> Vec<Task> {
        let mut tasks = Vec::new();
        let none = BTreeSet::new();
        let skip = if all { &none } else { &self.alone };
        for (at, table) in self.tables.iter().enumerate() {
            let decoder = RowDecoder::new(table.layout.clone());
            let primary = decoder.as_ref().ok();
            let row_start =
                |key: &[u8]| primary.map_or_else(|| key.to_vec(), |decoder| decoder.row_start(key));
            for (index, span) in &table.spans {
                let segments = match index {
                    None => self.state.scan.segments_without(span, &row_start, skip),
                    Some(_) => self.state.scan.segments_without(span, &<[u8]>::to_vec, skip),
                };
                tasks.extend(segments.into_iter().map(|segment| Task { table: at, index: *index, segment }));
            }
        }
        tasks
    }

    /// Looks at the rest, and compares.
    pub(super) fn compare(&self, threads: usize, progress: &Progress, report: &mut Report) {
        let tasks = self.tasks(false);
        let sizes: u64 = tasks.iter().map(|task: &Task| task.segment.files.len() as u64).sum();
        progress.total.fetch_add(sizes * NOMINAL_LEN, Ordering::Relaxed);
        let before = report.damage_count;
        share(&tasks, threads, report, &|task, report| {
            if let Some(table) = self.tables.get(task.table)
                && let Err(error) = self.gather(table, task, report)
            {
                report.error(error);
            }
            progress.add(task.segment.files.len() as u64 * NOMINAL_LEN);
        });
        if report.damage_count > before {
            return;
        }
        for table in &self.tables {
            self.compare_table(table, report);
        }
    }

    fn gather(&self, table: &Table<'_>, task: &Task, report: &mut Report) -> Result<(), Error> {
        let shared = !self.by_ids.values().any(|own| *own == (task.table, task.index));
        let depth = if shared { Depth::Decode } else { Depth::Hash };
        let mut work = new_work(table, task.index, depth)?;
        let mut gathered = Gathered::new(table, task.index);
        let scan = &self.state.scan;
        let outcome = scan.rows(&task.segment, &mut |pairs: &[Pair]| {
            let Some(first) = pairs.first() else { return Ok(()) };
            gathered
                .group(&mut work, pairs)
                .map_err(|cause| group_error(scan.place(first.file), first, &cause))
        });
        gathered.finish(report);
        outcome
    }

    fn compare_table(&self, table: &Table<'_>, report: &mut Report) {
        let mut compared = table.compared.lock().unwrap_or_else(PoisonError::into_inner);
        for (at, own) in compared.iter_mut().enumerate() {
            let Some(comparison) = table.comparisons.get(at) else { continue };
            match comparison.mode {
                Mode::Decode | Mode::Carry => continue,
                Mode::Boxes if own.too_many => {
                    let name = table.layout.indexes.get(at).map_or("", |index| &index.name);
                    report.notices.insert(format!(
                        "index {name} of {}: it has too many entries to be compared with the rows",
                        table.layout.name
                    ));
                    continue;
                }
                Mode::Boxes => {
                    own.distinct.sort_unstable();
                    own.distinct.dedup();
                    own.distinct.iter().for_each(|hash| own.found.add(*hash));
                }
                Mode::Bytes | Mode::Columns | Mode::Count => {}
            }
            if own.expected == own.found {
                continue;
            }
            if comparison.mode == Mode::Count {
                // Each adds one to the first sum.
                let count = |sums: &Sums| sums.0.first().copied().unwrap_or(0);
                let name = table.layout.indexes.get(at).map_or("", |index| &index.name);
                let what = format!(
                    "index {name} has {} entries for {} rows",
                    count(&own.found),
                    count(&own.expected)
                );
                report.damage(Damage { file: table.layout.name.clone(), offset: None, what });
                continue;
            }
            let differ: Vec<usize> = (0..BUCKETS)
                .filter(|&b| own.expected.0.get(b) != own.found.0.get(b))
                .take(CLOSE_BUCKETS)
                .collect();
            // Until now they may have been hashed only.
            let found = match self.undecodable(table, at) {
                Ok(found) if found.is_empty() => self.differences(table, at, &differ),
                found => found,
            };
            match found {
                Ok(found) => found.into_iter().for_each(|damage| report.damage(damage)),
                Err(error) => report.error(error),
            }
        }
    }
}

/// A key of a bucket that differs: how often it was asked for and found (hashes), and where.
#[derive(Default)]
struct Close {
    expected: u64,
    found: u64,
    file: Option<FileId>,
    offset: u64,
}

fn new_work<'t>(table: &'t Table<'t>, index: Option<usize>, depth: Depth) -> Result<Work<'t>, Error> {
    Work::new(table, index, depth).map_err(|error| Error::Request(error.to_string()))
}

impl Tables<'_> {
    /// The entries of an index that cannot be decoded, where they were not decoded before.
    fn undecodable(&self, table: &Table<'_>, index: usize) -> Result<Vec<Damage>, Error> {
        let (mut found, mut more) = (Vec::new(), 0);
        if table.comparisons.get(index).is_none_or(|own| own.mode != Mode::Bytes) {
            return Ok(found);
        }
        let own = |task: &Task| self.tables.get(task.table).is_some_and(|own| std::ptr::eq(own, table));
        for task in self.tasks(true).into_iter().filter(|task| own(task) && task.index == Some(index)) {
            let mut work = new_work(table, task.index, Depth::Decode)?;
            self.state.scan.rows(&task.segment, &mut |pairs: &[Pair]| {
                let Some(first) = pairs.first() else { return Ok(()) };
                match work.group(pairs, &mut |_, _, _| {}) {
                    Err(cause) if found.len() < NAMED_MAX => {
                        let place = self.state.scan.place(first.file);
                        found.extend(to_damage(group_error(place, first, &cause)));
                    }
                    Err(_) => more += 1,
                    Ok(_) => {}
                }
                Ok::<(), Error>(())
            })?;
        }
        if more > 0 {
            let name = table.layout.indexes.get(index).map_or("", |index| &index.name);
            let what = format!("index {name}: {more} more entries cannot be decoded");
            found.push(Damage { file: table.layout.name.clone(), offset: None, what });
        }
        Ok(found)
    }

    /// The keys behind differing sums.
    fn differences(&self, table: &Table<'_>, index: usize, buckets: &[usize]) -> Result<Vec<Damage>, Error> {
        let state = self.state;
        let mode = table.comparisons.get(index).map(|own| own.mode);
        let mut keys: BTreeMap<Vec<u8>, Close> = BTreeMap::new();
        let mut note = |key: &[u8], hash: u64, pair: &Pair, expected: bool| {
            if !buckets.contains(&bucket(hash)) || keys.len() >= CLOSE_KEYS {
                return;
            }
            // Where columns are compared there is no key to ask for: the hash stands for it.
            let close = keys
                .entry(if key.is_empty() { hash.to_be_bytes().to_vec() } else { key.to_vec() })
                .or_default();
            let sum = if expected { &mut close.expected } else { &mut close.found };
            *sum = if mode == Some(Mode::Boxes) { hash | 1 } else { sum.wrapping_add(hash | 1) };
            if !expected || close.file.is_none() {
                (close.file, close.offset) = (Some(pair.file), pair.offset);
            }
        };
        let by_columns = matches!(mode, Some(Mode::Columns | Mode::Boxes));
        let own = |task: &Task| self.tables.get(task.table).is_some_and(|own| std::ptr::eq(own, table));
        let wanted = |task: &Task| own(task) && task.index.is_none_or(|at| at == index);
        for task in self.tasks(true).into_iter().filter(wanted) {
            let mut work = new_work(table, task.index, Depth::Decode)?;
            state.scan.rows(&task.segment, &mut |pairs: &[Pair]| {
                let Some(first) = pairs.first() else { return Ok(()) };
                let told = work.group(pairs, &mut |at, key, hash| {
                    if at == index {
                        note(key, hash, first, task.index.is_none());
                    }
                });
                told.map(|_| ()).map_err(|cause| group_error(state.scan.place(first.file), first, &cause))
            })?;
        }
        let name = table.layout.indexes.get(index).map_or("", |index| &index.name);
        let full = &table.layout.name;
        let wrong: Vec<(&Vec<u8>, &Close)> =
            keys.iter().filter(|(_, close)| close.expected != close.found).collect();
        let mut damages: Vec<Damage> = wrong
            .iter()
            .take(NAMED_MAX)
            .map(|(key, close)| {
                let key = if by_columns { String::new() } else { format!(" {}", pretty::key(key)) };
                let what = match (close.expected, close.found) {
                    (_, 0) => format!("index {name} of {full} lacks the entry{key} of a row"),
                    (0, _) => format!("index {name} of {full} has an entry{key} without a row"),
                    _ => format!("index {name} of {full}: the entry{key} differs from its row"),
                };
                let file = close.file.map_or(String::new(), |id| state.scan.place(id));
                Damage { file, offset: Some(close.offset), what }
            })
            .collect();
        if wrong.len() > NAMED_MAX || wrong.is_empty() {
            let what =
                format!("index {name} disagrees with its table ({} entries looked at differ)", wrong.len());
            damages.push(Damage { file: full.clone(), offset: None, what });
        }
        Ok(damages)
    }
}
