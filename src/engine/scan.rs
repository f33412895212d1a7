//! The newest versions of keys at a time, merged over layers and files.
//!
//! A span is scanned in segments: pieces between file boundaries, moved to row boundaries, that touch few
//! files. A segment opens its files, holds one block of each, and never a row of another segment: memory
//! does not grow with the backup, and segments can be scanned at the same time.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use crate::format::kv::mvcc;
use crate::format::kv::row::row_prefix;
use crate::format::manifest::{Manifest, Span, Timestamp, chain, elide};
use crate::format::sst::{self, ReadError, Reader, key::compare_versions};

use super::Error;
use super::open::{DataError, DataFile, Layer};
use super::range::RangeTombstone;

/// Files that a segment has open at most, unless more of them cover the same keys.
const SEGMENT_FILES_MAX: usize = 16;

/// A data file: position of its layer and position in the layer's list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileId {
    /// Oldest layer: 0.
    pub layer: usize,
    /// In the manifest's list.
    pub file: usize,
}

/// A piece of a span and the files that may have keys of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// The keys.
    pub span: Span,
    /// In order of layers.
    pub files: Vec<FileId>,
}

/// A key-value pair and where it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Logical key, without version.
    pub key: Vec<u8>,
    /// Value with envelope; never empty.
    pub value: Vec<u8>,
    /// The file.
    pub file: FileId,
    /// Where the block that holds it begins in the (decrypted) file.
    pub offset: u64,
}

/// Layers at a time.
pub struct Scan<'b> {
    layers: &'b [Layer],
    at: Timestamp,
    masks: Vec<Vec<Span>>,
}

impl<'b> Scan<'b> {
    /// `layers` and `at` are those of [`super::Backup::at`].
    pub fn new(layers: &'b [Layer], at: Timestamp) -> Self {
        let manifests: Vec<&Manifest> = layers.iter().map(|layer| &layer.manifest).collect();
        Self { layers, at, masks: chain::masked(&manifests) }
    }

    /// The layers.
    pub fn layers(&self) -> &'b [Layer] {
        self.layers
    }

    /// Full name of a file.
    pub fn place(&self, id: FileId) -> String {
        let Some(layer) = self.layers.get(id.layer) else { return String::new() };
        match layer.manifest.files.get(id.file) {
            Some(file) => layer.store(file).place(&super::open::join(&layer.folder, &file.path)),
            None => layer.place(""),
        }
    }

    /// The span of a file.
    pub fn span_of(&self, id: FileId) -> Option<&Span> {
        self.layers.get(id.layer)?.manifest.files.get(id.file)?.span.as_ref()
    }

    /// An error unless every layer covers the span since its introduction.
    pub fn require_covered(&self, span: &Span) -> Result<(), Error> {
        let manifests: Vec<&Manifest> = self.layers.iter().map(|layer| &layer.manifest).collect();
        Ok(chain::verify_span(&manifests, span)?)
    }

    /// All files with a span and something to read.
    fn files(&self) -> impl Iterator<Item = (FileId, &'b Span)> {
        let of_layer = |(layer, own): (usize, &'b Layer)| {
            let files = own.manifest.files.iter().enumerate().filter(|(_, file)| !file.path.is_empty());
            files.filter_map(move |(file, own)| Some((FileId { layer, file }, own.span.as_ref()?)))
        };
        self.layers.iter().enumerate().flat_map(of_layer)
    }

    /// Files whose span no other file overlaps and no later layer introduces anew: all versions of a key of
    /// theirs are in that one file.
    pub fn alone(&self) -> Vec<FileId> {
        let mut files: Vec<(FileId, &Span)> = self.files().collect();
        files.sort_by(|a, b| a.1.cmp(b.1));
        let mut found = Vec::new();
        let mut reach: &[u8] = &[];
        for (at, (id, span)) in files.iter().enumerate() {
            let next = files.get(at + 1).is_some_and(|(_, next)| next.key < span.end_key);
            let masked =
                self.masks.get(id.layer).is_some_and(|masks| masks.iter().any(|mask| mask.overlaps(span)));
            if span.key.as_slice() >= reach && !next && !masked {
                found.push(*id);
            }
            reach = reach.max(&span.end_key);
        }
        found
    }

    /// Divides a span. `row_start` moves a key back to the beginning of the row it lies in.
    pub fn segments(&self, span: &Span, row_start: &dyn Fn(&[u8]) -> Vec<u8>) -> Vec<Segment> {
        self.segments_without(span, row_start, &BTreeSet::new())
    }

    /// The same as if some files were not there.
    pub fn segments_without(
        &self,
        span: &Span,
        row_start: &dyn Fn(&[u8]) -> Vec<u8>,
        skip: &BTreeSet<FileId>,
    ) -> Vec<Segment> {
        let parts = self.files().filter_map(|(id, own)| Some((id, own.intersection(span)?)));
        let files: Vec<(FileId, Span)> = parts.filter(|(id, _)| !skip.contains(id)).collect();
        let mut cuts: Vec<Vec<u8>> = files.iter().map(|(_, part)| row_start(&part.key)).collect();
        cuts.push(span.key.clone());
        cuts.retain(|cut| span.contains(cut));
        cuts.sort();
        cuts.dedup();
        let ends = cuts.iter().skip(1).cloned().chain([span.end_key.clone()]);
        // A file of the first encryption format is decrypted as a whole, in memory.
        let encrypted = self.layers.iter().any(Layer::is_encrypted);
        let files_max = if encrypted { 1 } else { SEGMENT_FILES_MAX };
        let mut segments: Vec<Segment> = Vec::new();
        for (key, end_key) in cuts.iter().cloned().zip(ends) {
            let piece = Span { key, end_key };
            let own = files.iter().filter(|(_, part)| part.overlaps(&piece)).map(|(id, _)| *id);
            let own: Vec<FileId> = own.collect();
            if let Some(last) = segments.last_mut() {
                let mut both: Vec<FileId> = last.files.iter().chain(&own).copied().collect();
                both.sort();
                both.dedup();
                if both.len() <= files_max {
                    last.files = both;
                    last.span.end_key = piece.end_key;
                    continue;
                }
            }
            segments.push(Segment { span: piece, files: own });
        }
        segments.retain(|segment| !segment.files.is_empty());
        segments
    }

    /// Gives the newest version at the time of every key in a segment, grouped by rows, deleted keys left
    /// out. Stops at the first error, also of `emit`.
    pub fn rows<E: From<Error>>(
        &self,
        segment: &Segment,
        emit: &mut dyn FnMut(&[Pair]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut row = RowBuffer::default();
        self.pairs(segment, &mut |cursor: &Cursor| {
            let prefix = row_prefix(&cursor.key).map_err(|error| self.data_error(cursor, &error))?;
            if !row.continues(prefix) {
                if !row.is_empty() {
                    emit(row.pairs())?;
                }
                row.start(prefix);
            }
            row.push(&cursor.key, &cursor.value, cursor.id, cursor.offset);
            Ok::<(), E>(())
        })?;
        if !row.is_empty() {
            emit(row.pairs())?;
        }
        Ok(())
    }

    fn data_error(&self, cursor: &Cursor, cause: &dyn std::fmt::Display) -> Error {
        Error::Data { file: self.place(cursor.id), offset: cursor.offset, cause: cause.to_string() }
    }

    fn open(&self, id: FileId) -> Result<Opened, Error> {
        let place = || self.place(id);
        let request = || Error::Request(format!("there is no file {} in layer {}", id.file, id.layer));
        let layer = self.layers.get(id.layer).ok_or_else(request)?;
        let file = layer.manifest.files.get(id.file).ok_or_else(request)?;
        let prefix = match &file.span {
            Some(span) => elide::prefix(layer.manifest.elided_prefix, span),
            None => Ok(&[][..]),
        };
        let prefix = prefix
            .map_err(|cause| Error::Manifest { file: layer.source.place(&layer.manifest_name), cause })?
            .to_vec();
        let (data, len) = layer.open_data(file)?;
        let reader = Reader::open(data, len).map_err(|error| read_error(error, place()))?;
        Ok(Opened { id, reader, prefix })
    }

    /// The range tombstones of an open file that count at the time.
    fn tombstones(&self, file: &Opened, part: &Span) -> Result<Vec<RangeTombstone>, Error> {
        let keys = file.reader.range_keys().map_err(|error| read_error(error, self.place(file.id)))?;
        let found = RangeTombstone::of_file(file.id.layer, keys, &file.prefix, part);
        let mut found = found.map_err(|error| table_error(&error, self.place(file.id)))?;
        found.retain(|tombstone| tombstone.time().is_some_and(|time| time.order() <= self.at.order()));
        Ok(found)
    }

    /// Whether a later layer introduces the span of a layer's key anew.
    fn is_masked(&self, layer: usize, key: &[u8]) -> bool {
        self.masks.get(layer).is_some_and(|masks| masks.iter().any(|mask| mask.contains(key)))
    }

    fn pairs<E: From<Error>>(
        &self,
        segment: &Segment,
        emit: &mut dyn FnMut(&Cursor) -> Result<(), E>,
    ) -> Result<(), E> {
        let opened = segment.files.iter().map(|&id| self.open(id)).collect::<Result<Vec<_>, Error>>()?;
        let mut cursors = Vec::with_capacity(opened.len());
        let mut tombstones = Vec::new();
        for file in &opened {
            let Some(part) = self.span_of(file.id).and_then(|own| own.intersection(&segment.span)) else {
                continue;
            };
            tombstones.extend(self.tombstones(file, &part)?);
            let mut iter = file.reader.iter();
            let (start, end) = elide::shorten(&file.prefix, &part);
            if let Some(end) = end {
                iter.set_end(end);
            }
            iter.seek_roachkey(start).map_err(|error| read_error(error, self.place(file.id)))?;
            let mut cursor = Cursor::new(file.id, &file.prefix);
            if cursor.advance(self, &mut iter)? {
                cursors.push((cursor, iter));
            }
        }
        let hidden = |cursor: &Cursor| {
            tombstones.iter().any(|tombstone| {
                tombstone.hides(&cursor.key, &cursor.version) && !self.is_masked(tombstone.layer, &cursor.key)
            })
        };
        let mut last: Vec<u8> = Vec::new();
        let mut started = false;
        while let Some(at) = least(&cursors) {
            let Some((cursor, iter)) = cursors.get_mut(at) else { break };
            if !(started && cursor.key == last) {
                // The first, so the newest version at the time of this key.
                if !cursor.value.is_empty() && !hidden(cursor) {
                    emit(cursor)?;
                }
                last.clone_from(&cursor.key);
                started = true;
            }
            if !cursor.advance(self, iter)? {
                cursors.swap_remove(at);
            }
        }
        Ok(())
    }
}

/// A file of a segment.
struct Opened {
    id: FileId,
    reader: Reader<DataFile>,
    /// What its keys lack.
    prefix: Vec<u8>,
}

pub(super) fn read_error(error: ReadError<DataError>, file: String) -> Error {
    match error {
        ReadError::Source(DataError::Source(error)) => Error::Source(error),
        ReadError::Source(DataError::Crypt(cause)) => Error::Crypt { file, cause },
        ReadError::Table(cause) => table_error(&cause, file),
    }
}

/// A damage of a table, with the name of the file.
pub(super) fn table_error(error: &sst::Error, file: String) -> Error {
    let within = error.within.map_or(String::new(), |at| format!(" (byte {at} of the block)"));
    Error::Data { file, offset: error.offset, cause: format!("{}{within}: {}", error.field, error.detail) }
}

/// Position of the least cursor: by key, then newest version, then newest layer.
fn least(cursors: &[(Cursor, sst::Iter<'_, DataFile>)]) -> Option<usize> {
    let mut found: Option<(usize, &Cursor)> = None;
    for (at, (cursor, _)) in cursors.iter().enumerate() {
        if found.is_none_or(|(_, best)| cursor.order(best) == Ordering::Less) {
            found = Some((at, cursor));
        }
    }
    found.map(|(at, _)| at)
}

/// The current pair of one file.
struct Cursor {
    id: FileId,
    key: Vec<u8>,
    /// Length of what the file's keys lack, which `key` always begins with.
    prefix_len: usize,
    version: Vec<u8>,
    value: Vec<u8>,
    offset: u64,
}

impl Cursor {
    fn new(id: FileId, prefix: &[u8]) -> Self {
        let key = prefix.to_vec();
        Self { id, key, prefix_len: prefix.len(), version: Vec::new(), value: Vec::new(), offset: 0 }
    }

    fn order(&self, other: &Self) -> Ordering {
        self.key
            .cmp(&other.key)
            .then_with(|| compare_versions(&self.version, &other.version))
            .then_with(|| other.id.layer.cmp(&self.id.layer))
    }

    /// Goes to the next pair that is not newer than the time and not masked. `false` at the end.
    fn advance(&mut self, scan: &Scan<'_>, iter: &mut sst::Iter<'_, DataFile>) -> Result<bool, Error> {
        loop {
            let entry = match iter.next() {
                Ok(Some(entry)) => entry,
                Ok(None) => return Ok(false),
                Err(error) => return Err(read_error(error, scan.place(self.id))),
            };
            let offset = entry.block_offset;
            let damaged = |cause: String| Error::Data { file: scan.place(self.id), offset, cause };
            let (key, version) = entry.mvcc().map_err(|error| table_error(&error, scan.place(self.id)))?;
            if version.is_empty() {
                return Err(damaged("a key has no version".into()));
            }
            if entry.kind != sst::Kind::Set {
                return Err(damaged(format!("an entry is of kind {:?}", entry.kind)));
            }
            let time = mvcc::decode_version(version).map_err(|error| damaged(error.to_string()))?;
            let wall = i64::try_from(time.wall).unwrap_or(i64::MAX);
            let logical = i32::try_from(time.logical).unwrap_or(i32::MAX);
            if (wall, logical) > scan.at.order() {
                continue;
            }
            self.key.truncate(self.prefix_len);
            self.key.extend_from_slice(key);
            if scan.is_masked(self.id.layer, &self.key) {
                continue;
            }
            self.version.clear();
            self.version.extend_from_slice(version);
            self.value.clear();
            self.value.extend_from_slice(entry.value);
            self.offset = offset;
            return Ok(true);
        }
    }
}

/// The pairs of one row; buffers are reused.
#[derive(Default)]
pub(super) struct RowBuffer {
    prefix: Vec<u8>,
    pairs: Vec<Pair>,
    len: usize,
}

impl RowBuffer {
    fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn continues(&self, prefix: &[u8]) -> bool {
        self.len > 0 && self.prefix == prefix
    }

    pub(super) fn start(&mut self, prefix: &[u8]) {
        self.len = 0;
        self.prefix.clear();
        self.prefix.extend_from_slice(prefix);
    }

    pub(super) fn clear(&mut self) {
        self.len = 0;
    }

    pub(super) fn pairs(&self) -> &[Pair] {
        self.pairs.get(..self.len).unwrap_or_default()
    }

    pub(super) fn push(&mut self, key: &[u8], value: &[u8], file: FileId, offset: u64) {
        if self.len == self.pairs.len() {
            self.pairs.push(Pair { key: Vec::new(), value: Vec::new(), file, offset: 0 });
        }
        if let Some(pair) = self.pairs.get_mut(self.len) {
            pair.key.clear();
            pair.key.extend_from_slice(key);
            pair.value.clear();
            pair.value.extend_from_slice(value);
            pair.file = file;
            pair.offset = offset;
            self.len += 1;
        }
    }
}
