//! Groups of pairs as they come: rows say what they ask of the indexes, entries what is there.

use std::sync::PoisonError;

use crate::engine::Error;
use crate::engine::pretty;
use crate::engine::range::RangeTombstone;
use crate::engine::scan::{FileId, Pair, RowBuffer};
use crate::engine::table::sequence_value;
use crate::format::kv::datum::Datum;
use crate::format::kv::envelope::{self, Value};
use crate::format::kv::error::Error as KvError;
use crate::format::kv::index::{Entry, IndexDecoder};
use crate::format::kv::key;
use crate::format::kv::layout::IndexLayout;
use crate::format::kv::row::{Decoded, RowDecoder};
use crate::format::kv::row_encode::RowEncoder;
use crate::format::kv::types::ColumnType;
use crate::format::kv::{geo, inverted};

use super::Report;
use super::indexes::{Table, Tables};
use super::modes::{Mode, Sums, hash_box, hash_columns, hash_entry};

/// Hashes of one index that are kept apart at most, to count each once.
pub(super) const DISTINCT_MAX: usize = 2 << 20;

/// What a row asks of an index, or what an entry is: the index's position, key (empty where the hash stands
/// for it), hash.
pub(super) type Tell<'f> = dyn FnMut(usize, &[u8], u64) + 'f;

/// Errors of groups, before they have the name of a file.
pub(super) type Cause = Box<dyn std::fmt::Display>;

fn cause(error: KvError) -> Cause {
    Box::new(error)
}

/// Takes the groups of one index of one table.
pub(super) enum Work<'t> {
    /// Rows of the primary index.
    Rows(Box<Rows<'t>>),
    /// Entries of a secondary one.
    Entries(Box<Entries<'t>>),
    /// The value of a sequence.
    Sequence,
}

pub(super) struct Rows<'t> {
    table: &'t Table<'t>,
    decoder: RowDecoder,
    encoder: RowEncoder,
    memory: RowMemory,
}

pub(super) struct Entries<'t> {
    table: &'t Table<'t>,
    at: usize,
    index: &'t IndexLayout,
    decoder: EntryDecoder,
    memory: RowMemory,
}

enum EntryDecoder {
    Entry(IndexDecoder),
    /// The index holds whole rows.
    Row(RowDecoder),
    /// See [`Depth::Hash`].
    Hash,
    Nothing,
}

/// How closely entries are looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Depth {
    /// Entries that must have the bytes that a row asks for are hashed only: if all sums agree, each is what a row that
    /// could be decoded gives. Not where keys of other tables may come between.
    Hash,
    /// Every entry is decoded: this tells what is wrong with it.
    Decode,
}

impl<'t> Work<'t> {
    /// For the primary index (`None`) or a secondary one.
    pub(super) fn new(table: &'t Table<'t>, index: Option<usize>, depth: Depth) -> Result<Work<'t>, KvError> {
        if table.descriptor.is_sequence() {
            return Ok(Work::Sequence);
        }
        let layout = &table.layout;
        let Some((at, index)) = index.and_then(|at| Some((at, layout.indexes.get(at)?))) else {
            // The files were read before, or are read now, with all checksums.
            let decoder = RowDecoder::new(layout.clone())?.verify_checksums(false);
            // Hashes of entries leave the checksums out.
            let encoder = RowEncoder::new(layout.clone())?.seal_values(false);
            return Ok(Work::Rows(Box::new(Rows { table, decoder, encoder, memory: RowMemory::default() })));
        };
        let mode = table.comparisons.get(at).map_or(Mode::Carry, |own| own.mode);
        let decoder = if matches!(mode, Mode::Carry | Mode::Count) {
            EntryDecoder::Nothing
        } else if mode == Mode::Bytes && depth == Depth::Hash {
            EntryDecoder::Hash
        } else if index.primary_encoding {
            EntryDecoder::Row(RowDecoder::for_index(layout.clone(), index)?.verify_checksums(false))
        } else {
            EntryDecoder::Entry(IndexDecoder::new(layout.clone(), index)?.verify_checksums(false))
        };
        Ok(Work::Entries(Box::new(Entries { table, at, index, decoder, memory: RowMemory::default() })))
    }

    /// Takes the pairs of one row or entry. Returns how many rows that were.
    pub(super) fn group(&mut self, pairs: &[Pair], tell: &mut Tell<'_>) -> Result<u64, Cause> {
        match self {
            Work::Rows(rows) => rows.group(pairs, tell),
            Work::Entries(entries) => entries.group(pairs, tell).map(|()| 0),
            Work::Sequence => {
                for pair in pairs {
                    sequence_value(&pair.key, &pair.value).map_err(cause)?;
                }
                Ok(0)
            }
        }
    }
}

/// Memory of a row, kept from one to the next.
#[derive(Default)]
struct RowMemory(Vec<Datum<'static>>);

impl RowMemory {
    /// A vector for another row.
    fn take<'a>(&mut self) -> Vec<Datum<'a>> {
        std::mem::take(&mut self.0)
    }

    /// Keeps the memory.
    fn put(&mut self, row: Vec<Datum<'_>>) {
        // The standard library collects into the memory that is there.
        self.0 = row.into_iter().map(Datum::into_null).collect();
    }
}

/// Decodes the pairs of a row.
fn decode<'p>(decoder: &RowDecoder, pairs: &'p [Pair], row: &mut Vec<Datum<'p>>) -> Result<Decoded, Cause> {
    let borrow = |pair: &'p Pair| (pair.key.as_slice(), pair.value.as_slice());
    let decoded = match pairs {
        [pair] => decoder.decode(&[borrow(pair)], row),
        pairs => decoder.decode(&pairs.iter().map(borrow).collect::<Vec<_>>(), row),
    };
    decoded.map_err(cause)
}

impl Rows<'_> {
    fn group(&mut self, pairs: &[Pair], tell: &mut Tell<'_>) -> Result<u64, Cause> {
        let mut row = self.memory.take();
        let decoded = decode(&self.decoder, pairs, &mut row)?;
        if decoded == Decoded::Row {
            for (column, datum) in self.table.layout.columns.iter().zip(&row) {
                if datum.is_null() && !column.nullable && !column.is_virtual {
                    let what = format!("column {} is NULL, which the table does not allow", column.name);
                    return Err(Box::new(what));
                }
            }
            self.ask(&row, tell).map_err(cause)?;
        }
        self.memory.put(row);
        Ok(u64::from(decoded == Decoded::Row))
    }

    fn ask(&mut self, row: &[Datum<'_>], tell: &mut Tell<'_>) -> Result<(), KvError> {
        let layout = &self.table.layout;
        for (at, (index, own)) in layout.indexes.iter().zip(&self.table.comparisons).enumerate() {
            if !own.holds(row) {
                continue;
            }
            match own.mode {
                Mode::Decode | Mode::Carry => {}
                Mode::Count => tell(at, &[], 0),
                Mode::Columns => tell(at, &[], hash_columns(layout, index.key_ids(), row)?),
                Mode::Boxes => {
                    if let Some(hash) = self.spatial(index, row)? {
                        tell(at, &[], hash);
                    }
                }
                Mode::Bytes => self.encoder.index(at, row, &mut |key: &[u8], value: &[u8]| {
                    tell(at, key, hash_entry(key, value));
                    Ok::<(), KvError>(())
                })?,
            }
        }
        Ok(())
    }

    fn spatial(&self, index: &IndexLayout, row: &[Datum<'_>]) -> Result<Option<u64>, KvError> {
        let layout = &self.table.layout;
        let position = index.columns.last().and_then(|column| layout.column_position(column.id));
        let Some(Datum::Geo(object)) = position.and_then(|position| row.get(position)) else {
            return Ok(None);
        };
        let Some(bounds) = geo::bounding_box(object)? else { return Ok(None) };
        let columns = hash_columns(layout, index.suffix_ids.iter().copied(), row)?;
        Ok(Some(hash_box(columns, if is_geometry(self.table, index) { bounds } else { [0.0; 4] })))
    }
}

/// Bounding boxes of geographies in keys were not seen.
fn is_geometry(table: &Table<'_>, index: &IndexLayout) -> bool {
    let last = index.columns.last().and_then(|column| table.layout.column_position(column.id));
    let column = last.and_then(|position| table.layout.columns.get(position));
    column.is_some_and(|column| matches!(column.ty, ColumnType::Geometry(_)))
}

impl Entries<'_> {
    fn group(&mut self, pairs: &[Pair], tell: &mut Tell<'_>) -> Result<(), Cause> {
        let own = self.table.comparisons.get(self.at);
        let mode = own.map_or(Mode::Carry, |own| own.mode);
        match &self.decoder {
            EntryDecoder::Nothing => {
                let main = |pair: &&Pair| matches!(key::split_family(&pair.key), Ok((_, 0)));
                if mode == Mode::Count {
                    pairs.iter().filter(main).for_each(|_| tell(self.at, &[], 0));
                }
            }
            EntryDecoder::Hash => {
                for pair in pairs {
                    if let Value::Present { .. } = envelope::open(&pair.value).map_err(cause)? {
                        tell(self.at, &pair.key, hash_entry(&pair.key, &pair.value));
                    }
                }
            }
            EntryDecoder::Row(decoder) => {
                let mut row = self.memory.take();
                if decode(decoder, pairs, &mut row)? == Decoded::Row && mode == Mode::Bytes {
                    pairs
                        .iter()
                        .for_each(|pair| tell(self.at, &pair.key, hash_entry(&pair.key, &pair.value)));
                }
                self.memory.put(row);
            }
            EntryDecoder::Entry(decoder) => {
                let mut row = self.memory.take();
                for pair in pairs {
                    let entry = decoder.decode(&pair.key, &pair.value, &mut row).map_err(cause)?;
                    let Entry::Present { family, inverted } = entry else { continue };
                    match mode {
                        Mode::Bytes => tell(self.at, &pair.key, hash_entry(&pair.key, &pair.value)),
                        Mode::Columns if family == 0 => {
                            let hash = hash_columns(&self.table.layout, self.index.key_ids(), &row);
                            tell(self.at, &[], hash.map_err(cause)?);
                        }
                        Mode::Boxes => {
                            let ids = self.index.suffix_ids.iter().copied();
                            let columns = hash_columns(&self.table.layout, ids, &row).map_err(cause)?;
                            let bounds =
                                inverted::bounding_box(inverted.unwrap_or_default()).map_err(cause)?;
                            let bounds = if is_geometry(self.table, self.index) { bounds } else { [0.0; 4] };
                            tell(self.at, &[], hash_box(columns, bounds));
                        }
                        Mode::Columns | Mode::Count | Mode::Decode | Mode::Carry => {}
                    }
                }
                self.memory.put(row);
            }
        }
        Ok(())
    }
}

/// Sums of one task, for its table.
pub(super) struct Gathered<'t> {
    table: &'t Table<'t>,
    index: Option<usize>,
    /// By the index's position.
    sums: Vec<Option<Box<Sums>>>,
    distinct: Vec<u64>,
    /// Rows seen.
    pub rows: u64,
}

impl<'t> Gathered<'t> {
    pub(super) fn new(table: &'t Table<'t>, index: Option<usize>) -> Self {
        let sums = table.comparisons.iter().map(|_| None).collect();
        Self { table, index, sums, distinct: Vec::new(), rows: 0 }
    }

    /// Gives a group to `work` and keeps what comes of it.
    pub(super) fn group(&mut self, work: &mut Work<'t>, pairs: &[Pair]) -> Result<(), Cause> {
        let (sums, distinct) = (&mut self.sums, &mut self.distinct);
        let once = |at: usize| self.table.comparisons.get(at).is_some_and(|own| own.mode == Mode::Boxes);
        let entries = self.index.is_some();
        self.rows += work.group(pairs, &mut |at, _, hash| {
            if entries && once(at) {
                distinct.push(hash);
                if distinct.len() >= DISTINCT_MAX / 4 {
                    distinct.sort_unstable();
                    distinct.dedup();
                }
            } else if let Some(sums) = sums.get_mut(at) {
                sums.get_or_insert_default().add(hash);
            }
        })?;
        Ok(())
    }

    /// Adds everything to what the table has.
    pub(super) fn finish(mut self, report: &mut Report) {
        report.rows += self.rows;
        let mut compared = self.table.compared.lock().unwrap_or_else(PoisonError::into_inner);
        for (own, sums) in compared.iter_mut().zip(&self.sums) {
            let Some(sums) = sums else { continue };
            if self.index.is_some() { own.found.absorb(sums) } else { own.expected.absorb(sums) }
        }
        if let Some(own) = self.index.and_then(|at| compared.get_mut(at)) {
            own.distinct.append(&mut self.distinct);
            if own.distinct.len() >= DISTINCT_MAX {
                own.distinct.sort_unstable();
                own.distinct.dedup();
            }
            if own.distinct.len() >= DISTINCT_MAX {
                own.too_many = true;
                own.distinct.clear();
            }
        }
    }
}

/// The current index of a file that is read as a whole.
struct Current<'t> {
    /// What its keys begin with.
    prefix: Vec<u8>,
    work: Option<(Work<'t>, Gathered<'t>)>,
}

/// The indexes of a file, one after the other.
struct Indexes<'t> {
    tables: &'t Tables<'t>,
    current: Option<Current<'t>>,
    done: Vec<Gathered<'t>>,
}

impl<'t> Indexes<'t> {
    /// Turns to the index that a key belongs to; `None`: its entries are not looked at here.
    fn of(&mut self, key: &[u8]) -> Option<&mut (Work<'t>, Gathered<'t>)> {
        if self.current.as_ref().is_none_or(|current| !key.starts_with(&current.prefix)) {
            let (prefix, ids) = key::index_prefix(key).unwrap_or((key, (0, 0)));
            let work = self.tables.of_ids(ids).and_then(|(table, index)| {
                let work = Work::new(table, index, Depth::Hash).ok()?;
                Some((work, Gathered::new(table, index)))
            });
            let before = self.current.replace(Current { prefix: prefix.to_vec(), work });
            self.done.extend(before.and_then(|before| before.work).map(|(_, gathered)| gathered));
        }
        self.current.as_mut()?.work.as_mut()
    }
}

/// Takes the pairs of a file that no other file overlaps, in order, while it is read for its own sake.
pub(super) struct Consumer<'t> {
    file: FileId,
    indexes: Indexes<'t>,
    row: RowBuffer,
    /// Those of the file.
    pub tombstones: Vec<RangeTombstone>,
    /// What is wrong with rows and entries: offset and cause.
    pub errors: Vec<(u64, String)>,
}

/// Errors of one file that are kept.
const ERRORS_MAX: usize = 100;

impl<'t> Consumer<'t> {
    pub(super) fn new(tables: &'t Tables<'t>, file: FileId) -> Self {
        Self {
            file,
            indexes: Indexes { tables, current: None, done: Vec::new() },
            row: RowBuffer::default(),
            tombstones: Vec::new(),
            errors: Vec::new(),
        }
    }

    /// The first pair of a key, so its newest version, in the order of the file; and whether its row begins.
    pub(super) fn pair(
        &mut self,
        (key, version): (&[u8], &[u8]),
        is_new_row: bool,
        value: &[u8],
        offset: u64,
    ) {
        if is_new_row {
            self.flush();
        }
        if !value.is_empty() && !self.tombstones.iter().any(|tombstone| tombstone.hides(key, version)) {
            self.row.push(key, value, self.file, offset);
        }
    }

    fn flush(&mut self) {
        if let Some(first) = self.row.pairs().first()
            && let Some((work, gathered)) = self.indexes.of(&first.key)
            && let Err(cause) = gathered.group(work, self.row.pairs())
            && self.errors.len() < ERRORS_MAX
        {
            self.errors.push((first.offset, format!("key {}: {cause}", pretty::key(&first.key))));
        }
        self.row.clear();
    }

    /// Adds what was gathered, unless the file is damaged.
    pub(super) fn finish(mut self, report: &mut Report) -> Vec<(u64, String)> {
        self.flush();
        let last = self.indexes.current.take().and_then(|current| current.work).map(|(_, gathered)| gathered);
        for gathered in self.indexes.done.drain(..).chain(last) {
            gathered.finish(report);
        }
        self.errors
    }
}

/// An error of a group, with its place.
pub(super) fn group_error(place: String, pair: &Pair, cause: &dyn std::fmt::Display) -> Error {
    Error::Data {
        file: place,
        offset: pair.offset,
        cause: format!("key {}: {cause}", pretty::key(&pair.key)),
    }
}
