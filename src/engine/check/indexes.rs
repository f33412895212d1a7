//! Rows and indexes of the newest state.
//!
//! Every row says which entries each index must have. Sums of their hashes, in buckets, are compared with
//! those of the entries that are there: memory does not grow with the table. Where they differ a second
//! pass over the buckets concerned names the keys.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use crate::engine::open::Backup;
use crate::engine::scan::{FileId, Pair, Segment};
use crate::engine::table::{State, root_table, sequence_value};
use crate::engine::{Error, pretty};
use crate::format::descriptor::TableDescriptor;
use crate::format::descriptor::layout::index_span;
use crate::format::kv::datum::Datum;
use crate::format::kv::envelope;
use crate::format::kv::error::Error as KvError;
use crate::format::kv::index::{Entry, IndexDecoder};
use crate::format::kv::layout::{IndexKind, IndexLayout, TableLayout};
use crate::format::kv::row::{Decoded, RowDecoder};
use crate::format::kv::row_encode::RowEncoder;
use crate::format::kv::types::ColumnType;

use super::work::share;
use super::{Damage, Progress, Report};

const BUCKETS: usize = 256;
/// Buckets that are looked at closely, and keys that are kept of them.
const CLOSE_BUCKETS: usize = 8;
const CLOSE_KEYS: usize = 100_000;
/// Differences of an index that are named.
const NAMED_MAX: usize = 10;

/// How entries of an index are compared with rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The row gives the entry's bytes.
    Bytes,
    /// Keys hold what the value alone does not give: the columns are compared.
    Columns,
    /// The entries are decoded, no more.
    Decode,
}

/// Sums of hashes.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Sums([u64; BUCKETS]);

impl Default for Sums {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

fn bucket(hash: u64) -> usize {
    usize::try_from(hash % BUCKETS as u64).unwrap_or(0)
}

impl Sums {
    fn add(&mut self, hash: u64) {
        if let Some(sum) = self.0.get_mut(bucket(hash)) {
            *sum = sum.wrapping_add(hash | 1);
        }
    }

    fn absorb(&mut self, other: &Sums) {
        for (sum, more) in self.0.iter_mut().zip(other.0) {
            *sum = sum.wrapping_add(more);
        }
    }
}

#[derive(Default)]
struct Compared {
    expected: Sums,
    found: Sums,
}

/// One table or sequence.
struct Table<'s> {
    descriptor: &'s TableDescriptor,
    layout: Arc<TableLayout>,
    modes: Vec<Mode>,
    compared: Mutex<Vec<Compared>>,
}

struct Task {
    table: usize,
    /// `None`: the primary index.
    index: Option<usize>,
    segment: Segment,
}

/// Decodes every row and compares every index.
pub(super) fn check_tables(backup: &Backup, threads: usize, progress: &Progress, report: &mut Report) {
    let state = match backup.state(None) {
        Ok(state) => state,
        Err(error) => return report.error(error),
    };
    let mut tables = Vec::new();
    let mut tasks = Vec::new();
    for descriptor in state.catalog.tables() {
        if descriptor.has_data() && descriptor.is_visible() && !descriptor.exclude_data_from_backup() {
            prepare(&state, descriptor, &mut tables, &mut tasks, report);
        }
    }
    let sizes: u64 = tasks.iter().map(|task: &Task| task.segment.files.len() as u64).sum();
    progress.total.fetch_add(sizes * NOMINAL_LEN, Ordering::Relaxed);
    let before = report.damage_count;
    share(&tasks, threads, report, &|task, report| {
        if let Some(table) = tables.get(task.table) {
            let outcome = match task.index {
                None => rows(&state, table, &task.segment, report),
                Some(index) => entries(&state, table, index, &task.segment),
            };
            if let Err(error) = outcome {
                report.error(error);
            }
        }
        progress.add(task.segment.files.len() as u64 * NOMINAL_LEN);
    });
    if report.damage_count > before {
        return;
    }
    for table in &tables {
        compare(&state, table, &tasks, &tables, report);
    }
}

/// Bytes that a file of a segment counts for in the progress.
const NOMINAL_LEN: u64 = 1 << 20;

fn prepare<'s>(
    state: &'s State<'_>,
    descriptor: &'s TableDescriptor,
    tables: &mut Vec<Table<'s>>,
    tasks: &mut Vec<Task>,
    report: &mut Report,
) {
    let name = state.catalog.full_name(descriptor);
    let layout = match state.catalog.layout(descriptor) {
        Ok(layout) => Arc::new(layout),
        Err(error) => return report.troubles.push(format!("table {name}: {error}")),
    };
    let modes: Vec<Mode> = layout.indexes.iter().map(|index| mode(&layout, index)).collect();
    for (index, mode) in layout.indexes.iter().zip(&modes) {
        if *mode == Mode::Decode {
            report.notices.insert(format!(
                "index {} of {name}: its entries were decoded but not compared with the rows",
                index.name
            ));
        }
    }
    let compared = Mutex::new(layout.indexes.iter().map(|_| Compared::default()).collect());
    let at = tables.len();
    let decoder = RowDecoder::new(layout.clone());
    let primary = decoder.as_ref().ok();
    let row_start = |key: &[u8]| primary.map_or_else(|| key.to_vec(), |decoder| decoder.row_start(key));
    let own = std::iter::once((None, &layout.primary));
    let mut spans = Vec::new();
    for (index, layout_of) in own.chain(layout.indexes.iter().enumerate().map(|(i, index)| (Some(i), index)))
    {
        let root =
            layout_of.ancestors.first().map_or((layout.table_id, layout_of.id), |a| (a.table_id, a.index_id));
        spans.push((index, index_span(root.0, root.1)));
    }
    debug_assert_eq!(
        root_table(&layout),
        layout.primary.ancestors.first().map_or(layout.table_id, |a| a.table_id)
    );
    for (index, span) in spans {
        if let Err(error) = state.scan.require_covered(&span) {
            report.damage(Damage { file: name.clone(), offset: None, what: error.to_string() });
            continue;
        }
        let segments = match index {
            None => state.scan.segments(&span, &row_start),
            Some(_) => state.scan.segments(&span, &<[u8]>::to_vec),
        };
        tasks.extend(segments.into_iter().map(|segment| Task { table: at, index, segment }));
    }
    tables.push(Table { descriptor, layout, modes, compared });
}

fn mode(layout: &TableLayout, index: &IndexLayout) -> Mode {
    let ty = |id: u32| layout.columns.iter().find(|column| column.id == id).map(|column| &column.ty);
    let key_ids = || index.columns.iter().map(|column| column.id).chain(index.suffix_ids.iter().copied());
    let virtual_column = key_ids()
        .chain(index.stored_ids.iter().copied())
        .any(|id| layout.columns.iter().any(|column| column.id == id && column.is_virtual));
    let any = |wanted: fn(&ColumnType) -> bool| key_ids().filter_map(ty).any(wanted);
    let spatial = any(|ty| matches!(ty, ColumnType::Geometry(_) | ColumnType::Geography(_)));
    let carried =
        any(|ty| matches!(ty, ColumnType::Tuple(_) | ColumnType::Unknown { .. } | ColumnType::TsVector));
    let collated = any(|ty| match ty {
        ColumnType::Collated { .. } => true,
        ColumnType::Array(element) => matches!(**element, ColumnType::Collated { .. }),
        _ => false,
    });
    match index.kind {
        _ if index.partial || spatial || carried || virtual_column => Mode::Decode,
        IndexKind::Other => Mode::Decode,
        IndexKind::Forward if any(|ty| matches!(ty, ColumnType::Json)) => Mode::Decode,
        IndexKind::Inverted if collated => Mode::Decode,
        IndexKind::Forward if collated && !index.primary_encoding => Mode::Columns,
        IndexKind::Forward if collated => Mode::Decode,
        IndexKind::Forward | IndexKind::Inverted => Mode::Bytes,
    }
}

fn hash_entry(key: &[u8], value: &[u8]) -> u64 {
    let value = envelope::strip_header(value).unwrap_or(value);
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    // Without the checksum, which old backfills left out.
    value.get(4..).unwrap_or_default().hash(&mut hasher);
    hasher.finish()
}

/// Hash of an index's key columns, as text.
fn hash_columns(layout: &TableLayout, index: &IndexLayout, row: &[Datum<'_>]) -> Result<u64, KvError> {
    let mut hasher = DefaultHasher::new();
    for id in index.columns.iter().map(|column| column.id).chain(index.suffix_ids.iter().copied()) {
        let Some(position) = layout.column_position(id) else { continue };
        let (Some(column), Some(datum)) = (layout.columns.get(position), row.get(position)) else { continue };
        datum.to_string_cast(&column.ty)?.hash(&mut hasher);
    }
    Ok(hasher.finish())
}

fn pair_error(state: &State<'_>, pair: &Pair, cause: &dyn std::fmt::Display) -> Error {
    Error::Data {
        file: state.scan.place(pair.file),
        offset: pair.offset,
        cause: format!("key {}: {cause}", pretty::key(&pair.key)),
    }
}

/// What a row asks of an index: key (empty when columns are compared) and hash.
type Ask<'f> = dyn FnMut(usize, &[u8], u64) + 'f;
/// The same, with the first pair of the row.
type AskOfPair<'f> = dyn FnMut(&Pair, usize, &[u8], u64) + 'f;

/// Decodes the rows of a segment and tells what they ask of the indexes.
fn each_row(
    state: &State<'_>,
    table: &Table<'_>,
    segment: &Segment,
    ask: &mut AskOfPair<'_>,
) -> Result<u64, Error> {
    let decoder = RowDecoder::new(table.layout.clone())
        .map_err(|error| Error::Request(error.to_string()))?
        .verify_checksums(false);
    let mut encoder =
        RowEncoder::new(table.layout.clone()).map_err(|error| Error::Request(error.to_string()))?;
    let mut count = 0;
    state.scan.rows(segment, &mut |pairs: &[Pair]| {
        let Some(first) = pairs.first() else { return Ok(()) };
        let borrowed: Vec<(&[u8], &[u8])> =
            pairs.iter().map(|pair| (pair.key.as_slice(), pair.value.as_slice())).collect();
        let mut row = Vec::new();
        match decoder.decode(&borrowed, &mut row) {
            Ok(Decoded::Row) => count += 1,
            Ok(Decoded::Deleted | Decoded::Foreign) => return Ok(()),
            Err(error) => return Err(pair_error(state, first, &error)),
        }
        for (column, datum) in table.layout.columns.iter().zip(&row) {
            if datum.is_null() && !column.nullable && !column.is_virtual {
                let what = format!("column {} is NULL, which the table does not allow", column.name);
                return Err(pair_error(state, first, &what));
            }
        }
        let mut tell: Box<Ask<'_>> = Box::new(|index, key, hash| ask(first, index, key, hash));
        asked(table, &mut encoder, &row, &mut tell).map_err(|error| pair_error(state, first, &error))
    })?;
    Ok(count)
}

fn asked(
    table: &Table<'_>,
    encoder: &mut RowEncoder,
    row: &[Datum<'_>],
    ask: &mut Ask<'_>,
) -> Result<(), KvError> {
    for (at, (index, mode)) in table.layout.indexes.iter().zip(&table.modes).enumerate() {
        match mode {
            Mode::Decode => {}
            Mode::Columns => ask(at, &[], hash_columns(&table.layout, index, row)?),
            Mode::Bytes => encoder.index(at, row, &mut |key: &[u8], value: &[u8]| {
                ask(at, key, hash_entry(key, value));
                Ok::<(), KvError>(())
            })?,
        }
    }
    Ok(())
}

fn rows(state: &State<'_>, table: &Table<'_>, segment: &Segment, report: &mut Report) -> Result<(), Error> {
    if table.descriptor.is_sequence() {
        return state.scan.rows(segment, &mut |pairs: &[Pair]| {
            for pair in pairs {
                sequence_value(&pair.key, &pair.value).map_err(|error| pair_error(state, pair, &error))?;
            }
            Ok(())
        });
    }
    let mut sums = vec![Sums::default(); table.layout.indexes.len()];
    report.rows += each_row(state, table, segment, &mut |_, index, _, hash| {
        if let Some(sum) = sums.get_mut(index) {
            sum.add(hash);
        }
    })?;
    let mut compared = table.compared.lock().unwrap_or_else(PoisonError::into_inner);
    for (compared, sum) in compared.iter_mut().zip(&sums) {
        compared.expected.absorb(sum);
    }
    Ok(())
}

/// Decodes the entries of an index and tells each one's hash.
fn each_entry(
    state: &State<'_>,
    table: &Table<'_>,
    index: usize,
    segment: &Segment,
    tell: &mut dyn FnMut(&Pair, u64),
) -> Result<(), Error> {
    let Some((layout, mode)) = table.layout.indexes.get(index).zip(table.modes.get(index)) else {
        return Ok(());
    };
    let request = |error: KvError| Error::Request(error.to_string());
    if layout.kind == IndexKind::Other {
        return Ok(());
    }
    if layout.primary_encoding {
        let decoder =
            RowDecoder::for_index(table.layout.clone(), layout).map_err(request)?.verify_checksums(false);
        return state.scan.rows(segment, &mut |pairs: &[Pair]| {
            let Some(first) = pairs.first() else { return Ok(()) };
            let borrowed: Vec<(&[u8], &[u8])> =
                pairs.iter().map(|pair| (pair.key.as_slice(), pair.value.as_slice())).collect();
            let mut row = Vec::new();
            match decoder.decode(&borrowed, &mut row) {
                Ok(Decoded::Row) => {
                    pairs.iter().for_each(|pair| tell(pair, hash_entry(&pair.key, &pair.value)))
                }
                Ok(Decoded::Deleted | Decoded::Foreign) => {}
                Err(error) => return Err(pair_error(state, first, &error)),
            }
            Ok(())
        });
    }
    let decoder = IndexDecoder::new(table.layout.clone(), layout).map_err(request)?.verify_checksums(false);
    state.scan.rows(segment, &mut |pairs: &[Pair]| {
        let mut row = Vec::new();
        for pair in pairs {
            match decoder.decode(&pair.key, &pair.value, &mut row) {
                Ok(Entry::Present { family, .. }) => match mode {
                    Mode::Bytes => tell(pair, hash_entry(&pair.key, &pair.value)),
                    Mode::Columns if family == 0 => {
                        let hash = hash_columns(&table.layout, layout, &row);
                        tell(pair, hash.map_err(|error| pair_error(state, pair, &error))?);
                    }
                    Mode::Columns | Mode::Decode => {}
                },
                Ok(Entry::Deleted | Entry::Foreign) => {}
                Err(error) => return Err(pair_error(state, pair, &error)),
            }
        }
        Ok(())
    })
}

fn entries(state: &State<'_>, table: &Table<'_>, index: usize, segment: &Segment) -> Result<(), Error> {
    let mut sums = Sums::default();
    each_entry(state, table, index, segment, &mut |_, hash| sums.add(hash))?;
    let mut compared = table.compared.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(compared) = compared.get_mut(index) {
        compared.found.absorb(&sums);
    }
    Ok(())
}

/// A key of a bucket that differs: how often it was asked for and found (hashes), and where.
#[derive(Default)]
struct Close {
    expected: u64,
    found: u64,
    file: Option<FileId>,
    offset: u64,
}

fn compare(state: &State<'_>, table: &Table<'_>, tasks: &[Task], tables: &[Table<'_>], report: &mut Report) {
    let compared = table.compared.lock().unwrap_or_else(PoisonError::into_inner);
    for (at, sums) in compared.iter().enumerate() {
        if sums.expected == sums.found || table.modes.get(at) == Some(&Mode::Decode) {
            continue;
        }
        let differ: Vec<usize> = (0..BUCKETS)
            .filter(|&b| sums.expected.0.get(b) != sums.found.0.get(b))
            .take(CLOSE_BUCKETS)
            .collect();
        let own = tasks.iter().filter(|task| tables.get(task.table).is_some_and(|t| std::ptr::eq(t, table)));
        match differences(state, table, at, &differ, own) {
            Ok(found) => found.into_iter().for_each(|damage| report.damage(damage)),
            Err(error) => report.error(error),
        }
    }
}

/// The keys behind differing sums.
fn differences<'t>(
    state: &State<'_>,
    table: &Table<'_>,
    index: usize,
    buckets: &[usize],
    tasks: impl Iterator<Item = &'t Task>,
) -> Result<Vec<Damage>, Error> {
    let mut keys: BTreeMap<Vec<u8>, Close> = BTreeMap::new();
    let mut note = |key: &[u8], hash: u64, pair: &Pair, expected: bool| {
        if !buckets.contains(&bucket(hash)) || keys.len() >= CLOSE_KEYS {
            return;
        }
        // Where columns are compared there is no key to ask for: the hash stands for it.
        let close =
            keys.entry(if key.is_empty() { hash.to_be_bytes().to_vec() } else { key.to_vec() }).or_default();
        let sum = if expected { &mut close.expected } else { &mut close.found };
        *sum = sum.wrapping_add(hash | 1);
        if !expected || close.file.is_none() {
            (close.file, close.offset) = (Some(pair.file), pair.offset);
        }
    };
    let by_columns = table.modes.get(index) == Some(&Mode::Columns);
    for task in tasks {
        match task.index {
            None => {
                each_row(state, table, &task.segment, &mut |pair, at, key, hash| {
                    if at == index {
                        note(key, hash, pair, true);
                    }
                })?;
            }
            Some(at) if at == index => each_entry(state, table, index, &task.segment, &mut |pair, hash| {
                note(if by_columns { &[] } else { &pair.key }, hash, pair, false);
            })?,
            Some(_) => {}
        }
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
