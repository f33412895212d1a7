//! The files of a layer, each for itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::Ordering;

use sha2::{Digest, Sha512};

use crate::engine::open::{Backup, DataFile, Layer, fill_slim, join};
use crate::engine::range::RangeTombstone;
use crate::engine::scan::{FileId, read_error, table_error};
use crate::engine::{Error, pretty};
use crate::format::descriptor::proto::STATE_DROP;
use crate::format::descriptor::{Catalog, Descriptor, TableDescriptor};
use crate::format::kv::envelope;
use crate::format::kv::key;
use crate::format::kv::mvcc;
use crate::format::kv::row::row_prefix;
use crate::format::manifest::names::{self, FileKind};
use crate::format::manifest::{self, File, Manifest, Timestamp, chain, elide};
use crate::format::sst::{self, ReadAt, Reader};

use super::indexes::Tables;
use super::rows::Consumer;
use super::work::share;
use super::{Damage, Progress, Report};

/// Bytes that are hashed at a time.
const HASH_LEN: usize = 1 << 20;

/// Files that should be there, and those that should not.
pub(super) fn check_names(layer: &Layer, report: &mut Report) {
    let mut named: BTreeSet<&str> = layer.manifest.files.iter().map(|file| file.path.as_str()).collect();
    named.extend(layer.manifest.statistics_filenames.values().map(String::as_str));
    for name in layer.manifest.statistics_filenames.values().collect::<BTreeSet<_>>() {
        match layer.read_control(name) {
            Ok(bytes) => {
                if let Err(cause) = manifest::statistics_from_stored(&bytes) {
                    report.error(Error::Manifest { file: layer.place(name), cause });
                }
            }
            Err(error) => report.error(error),
        }
    }
    check_slim(layer, report);
    for place in layer.places() {
        let listed = match place.list(&join(&layer.folder, "")) {
            Ok(listed) => listed,
            Err(error) => {
                report.error(error.into());
                continue;
            }
        };
        let all: Vec<String> = listed.iter().map(|file| file.name.clone()).collect();
        let inner = chain::layers(&all);
        for file in listed {
            let prefix = join(&layer.folder, "");
            let Some(name) = file.name.strip_prefix(&prefix) else { continue };
            let of_other = inner.iter().any(|other| {
                *other != layer.folder
                    && file.name.strip_prefix(other.as_str()).is_some_and(|r| r.starts_with('/'))
            });
            let unfinished =
                name.rsplit_once('/').is_some_and(|(folder, _)| names::is_incremental_folder(folder));
            if of_other || unfinished || named.contains(name) {
                continue;
            }
            let what = match names::file_kind(name) {
                FileKind::Data => "data file is not named in the manifest",
                FileKind::Foreign if !is_of_collection(name) => "file is not part of a backup",
                _ => continue,
            };
            report.damage(Damage { file: place.place(&file.name), offset: None, what: what.into() });
        }
    }
}

/// A slim manifest beside the whole one says the same.
fn check_slim(layer: &Layer, report: &mut Report) {
    let name = join(&layer.folder, names::METADATA);
    let place = layer.source.place(&name);
    if layer.manifest_name == name {
        return;
    }
    let stored = match layer.source.read(&name) {
        Ok(stored) => stored,
        Err(error) if error.is_not_found() => return,
        Err(error) => return report.error(error.into()),
    };
    let look = || -> Result<Option<&str>, Error> {
        let of_manifest = |cause| Error::Manifest { file: place.clone(), cause };
        match layer.source.read(&format!("{name}{}", names::CHECKSUM_SUFFIX)) {
            Ok(sum) => manifest::envelope::verify(&stored, &sum).map_err(of_manifest)?,
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error.into()),
        }
        let mut slim =
            Manifest::from_stored(&layer.decrypted(stored.clone(), &place)?).map_err(of_manifest)?;
        if slim.has_external_manifest_ssts {
            fill_slim(&mut slim, &*layer.source, (&layer.folder, &place), layer.key())?;
        }
        let sorted = |manifest: &Manifest| {
            let mut files: Vec<_> = manifest.files.iter().map(|f| (f.span.clone(), f.path.clone())).collect();
            files.sort();
            files
        };
        Ok(match () {
            () if sorted(&slim) != sorted(&layer.manifest) => Some("files"),
            () if living(&slim) != living(&layer.manifest) => Some("descriptors"),
            () => None,
        })
    };
    match look() {
        Ok(None) => {}
        Ok(Some(what)) => {
            let what = format!("its {what} differ from those of {}", layer.manifest_name);
            report.damage(Damage { file: place, offset: None, what });
        }
        Err(Error::Manifest { cause: manifest::Error::Unsupported { field, what }, .. }) => {
            report.notices.insert(format!("{place}: not compared with the manifest: {field}: {what}"));
        }
        Err(error) => report.error(error),
    }
}

/// The descriptors of a layer, but for dropped tables, which one of two manifests may leave out.
fn living(manifest: &Manifest) -> BTreeSet<&[u8]> {
    let dropped = |raw: &[u8]| matches!(Descriptor::decode(raw), Ok(Descriptor::Table(table)) if table.state() == STATE_DROP);
    manifest.descriptors.iter().map(Vec::as_slice).filter(|raw| !dropped(raw)).collect()
}

/// Files that may stand beside a backup at the root of a collection.
fn is_of_collection(name: &str) -> bool {
    name == names::LATEST || name.starts_with(names::LATEST_FOLDER) || name.starts_with(names::INCREMENTALS)
}

/// One data file, which may stand in the manifest several times, with a span each.
struct Task<'b> {
    layer: &'b Layer,
    tables: &'b LayerTables,
    /// Ordered by span, never empty.
    entries: Vec<&'b File>,
    /// The one entry, where its rows are looked at now.
    alone: Option<FileId>,
    /// Its size is part of the progress's total already.
    listed: bool,
}

/// Reads every data file. Where that is possible its rows and entries are gathered for `tables`.
pub(super) fn check_data(
    backup: &Backup,
    tables: Option<&Tables<'_>>,
    threads: usize,
    progress: &Progress,
    report: &mut Report,
) {
    let of_layers: Vec<LayerTables> = backup.layers.iter().map(LayerTables::of).collect();
    let mut tasks = Vec::new();
    for (l, (layer, own)) in backup.layers.iter().zip(&of_layers).enumerate() {
        let sizes = stored_sizes(layer);
        let mut by_place: BTreeMap<(&str, &str), Vec<(usize, &File)>> = BTreeMap::new();
        for (at, file) in layer.manifest.files.iter().enumerate().filter(|(_, file)| !file.path.is_empty()) {
            by_place.entry((&file.locality_kv, &file.path)).or_default().push((at, file));
        }
        for named in by_place.into_values() {
            let alone = match named.as_slice() {
                [(file, _)] => Some(FileId { layer: l, file: *file }),
                _ => None,
            };
            let alone = alone.filter(|id| tables.is_some_and(|tables| tables.is_alone(*id)));
            let mut entries: Vec<&File> = named.into_iter().map(|(_, file)| file).collect();
            entries.sort_by(|a, b| a.span.cmp(&b.span));
            let name = entries.first().map(|file| join(&layer.folder, &file.path));
            let listed = name.and_then(|name| sizes.get(&name).copied());
            progress.total.fetch_add(listed.unwrap_or_default(), Ordering::Relaxed);
            tasks.push(Task { layer, tables: own, entries, alone, listed: listed.is_some() });
        }
    }
    share(&tasks, threads, report, &|task, report| {
        let consumer = task.alone.zip(tables).map(|(id, tables)| Consumer::new(tables, id));
        check_file(task, consumer, progress, report);
        report.condense();
    });
}

/// What is to be read, before it is: a bar shows how far it is. A place that cannot be listed is told elsewhere.
fn stored_sizes(layer: &Layer) -> BTreeMap<String, u64> {
    let listed = layer.places().filter_map(|place| place.list(&join(&layer.folder, "")).ok());
    listed.flatten().map(|file| (file.name, file.len)).collect()
}

/// What counting needs of the descriptors of a layer.
struct LayerTables {
    /// Table and index ids of primary indexes.
    primaries: BTreeSet<(u64, u64)>,
    /// Ids of tables with several families.
    in_families: BTreeSet<u64>,
}

impl LayerTables {
    fn of(layer: &Layer) -> Self {
        let catalog = Catalog::of_manifest(&layer.manifest).unwrap_or_default();
        let primary = |table: &TableDescriptor| {
            (u64::from(table.id()), table.primary_index.as_ref().map_or(1, |index| u64::from(index.id())))
        };
        let several = catalog.tables().filter(|table| table.families.len() > 1);
        Self {
            primaries: catalog.tables().map(primary).collect(),
            in_families: several.map(|table| u64::from(table.id())).collect(),
        }
    }

    /// What the entries of a key's index count as.
    fn index_of(&self, key: &[u8]) -> Option<IndexOf> {
        let (prefix, ids) = key::index_prefix(key).ok()?;
        Some(IndexOf {
            prefix: prefix.to_vec(),
            rows: self.primaries.contains(&ids),
            of_first_index: ids.1 == 1,
            of_unknown: ids.1 == 1 && !self.knows(ids.0),
            in_pieces: self.in_families.contains(&ids.0),
        })
    }

    fn knows(&self, table: u64) -> bool {
        self.primaries.range((table, 0)..=(table, u64::MAX)).next().is_some()
    }
}

fn check_file(task: &Task<'_>, consumer: Option<Consumer<'_>>, progress: &Progress, report: &mut Report) {
    let before = report.damage_count;
    let (layer, Some(file)) = (task.layer, task.entries.first()) else { return };
    let (data, len) = match layer.open_data(file) {
        Ok(opened) => opened,
        Err(error) => return report.error(error),
    };
    if !task.listed {
        progress.total.fetch_add(len, Ordering::Relaxed);
    }
    report.files += 1;
    report.bytes += len;
    let place = layer.store(file).place(&join(&layer.folder, &file.path));
    for file in task.entries.iter().filter(|file| file.sha512.len() == 64) {
        if let Err(error) = verify_hash(&data, len, &file.sha512, &place) {
            report.error(error);
        }
    }
    let reader = match Reader::open(data, len) {
        Ok(reader) => reader,
        Err(error) => {
            progress.add(len);
            return report.error(read_error(error, place));
        }
    };
    let mut found = Vec::new();
    if let Err(error) = reader.verify_layout(&mut |error| found.push(error)) {
        return report.error(read_error(sst::ReadError::Source(error), place));
    }
    let prefix = match prefix_of(task) {
        Ok(prefix) => prefix,
        Err(what) => return report.damage(Damage { file: place, offset: None, what }),
    };
    let counts = task.entries.iter().map(|_| Counts::default()).collect();
    let key = prefix.to_vec();
    let mut look = Look {
        task,
        prefix,
        place: &place,
        report,
        counts,
        at: 0,
        key,
        last: Last::default(),
        index: None,
        consumer,
    };
    if let Err(error) = look.tombstones(&reader) {
        look.report.error(error);
    }
    let read = look.entries(&reader, progress, len, &mut found);
    let consumer = look.consumer.take();
    if let Err(error) = read {
        report.error(error);
    }
    found.sort_by_key(|error| error.offset);
    found.dedup();
    for error in &found {
        report.error(table_error(error, place.clone()));
    }
    // Rows of a damaged file say nothing.
    if let Some(consumer) = consumer.filter(|_| report.damage_count == before) {
        for (offset, what) in consumer.finish(report) {
            report.damage(Damage { file: place.clone(), offset: Some(offset), what });
        }
    }
}

/// What the keys of a file lack: one thing, whatever the number of its spans.
fn prefix_of<'b>(task: &Task<'b>) -> Result<&'b [u8], String> {
    let mut found = None;
    for span in task.entries.iter().filter_map(|file| file.span.as_ref()) {
        let own =
            elide::prefix(task.layer.manifest.elided_prefix, span).map_err(|error| error.to_string())?;
        if found.is_some_and(|other| other != own) {
            return Err("the file has shortened keys of several tables".into());
        }
        found = Some(own);
    }
    Ok(found.unwrap_or_default())
}

fn verify_hash(data: &DataFile, len: u64, expected: &[u8], place: &str) -> Result<(), Error> {
    let mut hash = Sha512::new();
    let (mut at, mut scratch) = (0, Vec::new());
    while at < len {
        let want = usize::try_from(len - at).unwrap_or(HASH_LEN).min(HASH_LEN);
        let bytes = data
            .read_at(at, want, &mut scratch)
            .map_err(|error| read_error(sst::ReadError::Source(error), place.to_owned()))?;
        if bytes.is_empty() {
            break;
        }
        hash.update(bytes);
        at += bytes.len() as u64;
    }
    if hash.finalize().as_slice() == expected {
        return Ok(());
    }
    Err(Error::Data {
        file: place.to_owned(),
        offset: 0,
        cause: "SHA-512 differs from the manifest's".into(),
    })
}

#[derive(Default)]
struct Counts {
    bytes: i64,
    /// All rows and index entries.
    groups: i64,
    /// Those of primary indexes.
    rows: i64,
    /// Those of index 1, which old versions took for the primary one always.
    of_first_index: i64,
    /// Those of index 1 of tables that the layer has no descriptor of: system tables, those of tenants.
    of_unknown: i64,
    /// A row may have been counted twice: its versions, or its families, came in two pieces.
    in_pieces: bool,
}

/// Where an entry stands after the one before.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// An older version.
    SameKey,
    /// Another family of its row.
    SameRow,
    NewRow,
}

/// The entry before.
#[derive(Default)]
struct Last {
    key: Vec<u8>,
    /// How much of the key is the row's; 0 where it cannot be told.
    row_len: usize,
    /// Which of the manifest's entries it belongs to.
    at: usize,
}

/// An index that keys belong to.
struct IndexOf {
    /// What its keys begin with.
    prefix: Vec<u8>,
    /// Of each counter, whether its entries count there.
    rows: bool,
    of_first_index: bool,
    of_unknown: bool,
    in_pieces: bool,
}

struct Look<'a, 't> {
    task: &'a Task<'a>,
    /// What the keys of the file lack.
    prefix: &'a [u8],
    place: &'a str,
    report: &'a mut Report,
    /// One for each of the manifest's entries.
    counts: Vec<Counts>,
    /// The entry with the key before.
    at: usize,
    /// The current key, whole.
    key: Vec<u8>,
    last: Last,
    index: Option<IndexOf>,
    consumer: Option<Consumer<'t>>,
}

impl<'a> Look<'a, '_> {
    fn damage(&mut self, offset: u64, what: String) {
        self.report.damage(Damage { file: self.place.to_owned(), offset: Some(offset), what });
    }

    /// Range tombstones have times of the layer.
    fn tombstones(&mut self, reader: &Reader<DataFile>) -> Result<(), Error> {
        for file in &self.task.entries {
            let Some(own) = &file.span else { continue };
            let keys = reader.range_keys().map_err(|error| read_error(error, self.place.to_owned()))?;
            let found = RangeTombstone::of_file(0, keys, self.prefix, own)
                .map_err(|error| table_error(&error, self.place.to_owned()))?;
            for tombstone in found {
                let at = tombstone.time().map(|time| time.order());
                if at.is_none_or(|at| !self.in_window(file, at, &tombstone.span.key)) {
                    let key = pretty::key(&tombstone.span.key);
                    self.damage(
                        0,
                        format!("range tombstone at {key}: its time is outside the layer's window"),
                    );
                }
            }
        }
        Ok(())
    }

    fn entries(
        &mut self,
        reader: &Reader<DataFile>,
        progress: &Progress,
        len: u64,
        found: &mut Vec<sst::Error>,
    ) -> Result<(), Error> {
        let mut iter = reader.iter().checked();
        let mut reported = 0;
        loop {
            match iter.next() {
                Ok(Some(entry)) => {
                    if entry.block_offset > reported {
                        progress.add(entry.block_offset - reported);
                        reported = entry.block_offset;
                    }
                    if entry.kind != sst::Kind::Set {
                        self.damage(entry.block_offset, format!("an entry is of kind {:?}", entry.kind));
                    }
                    match entry.mvcc() {
                        Ok((key, version)) => self.entry(key, version, entry.value, entry.block_offset),
                        Err(error) => found.push(error),
                    }
                }
                Ok(None) => break,
                Err(sst::ReadError::Table(error)) => found.push(error),
                Err(error) => return Err(read_error(error, self.place.to_owned())),
            }
        }
        progress.add(len.saturating_sub(reported));
        let stats = iter.stats();
        self.report.entries += stats.entries;
        if found.is_empty() {
            reader.verify_stats(&stats, &mut |error| found.push(error));
            let keys = reader.range_keys().map_err(|error| read_error(error, self.place.to_owned()))?;
            self.compare_counts(!keys.is_empty());
        }
        Ok(())
    }

    /// The manifest's entry whose span holds the key; usually that of the key before.
    fn file_of(&mut self, key: &[u8]) -> Option<&'a File> {
        let holds = |file: &&&'a File| file.span.as_ref().is_some_and(|span| span.contains(key));
        let entries = &self.task.entries;
        if let Some(file) = entries.get(self.at).filter(holds) {
            return Some(file);
        }
        self.at = entries.iter().position(|file| holds(&file))?;
        entries.get(self.at).copied()
    }

    fn entry(&mut self, short: &[u8], version: &[u8], value: &[u8], offset: u64) {
        if self.prefix.is_empty() {
            return self.whole_entry(short, version, value, offset);
        }
        let mut key = std::mem::take(&mut self.key);
        key.truncate(self.prefix.len());
        key.extend_from_slice(short);
        self.whole_entry(&key, version, value, offset);
        self.key = key;
    }

    fn whole_entry(&mut self, key: &[u8], version: &[u8], value: &[u8], offset: u64) {
        let shown = || pretty::key(key);
        if version.is_empty() {
            return self.damage(offset, format!("key {} has no version", shown()));
        }
        let file = self.file_of(key);
        if file.is_none() {
            let what = "is outside the span that the manifest gives the file";
            self.damage(offset, format!("key {} {what}", shown()));
        }
        match (mvcc::decode_version(version), file.or(self.task.entries.first().copied())) {
            (Ok(time), Some(file)) => self.version(file, time, key, offset),
            (Ok(_), None) => {}
            (Err(error), _) => self.damage(offset, format!("key {}: {error}", shown())),
        }
        if let Err(error) = envelope::open_verified(key, value) {
            self.damage(offset, format!("key {}: {error}", shown()));
        }
        let Some(place) = self.count(key, value, offset) else { return };
        if let Some(consumer) = self.consumer.as_mut().filter(|_| place != Place::SameKey) {
            consumer.pair((key, version), place == Place::NewRow, value, offset);
        }
    }

    fn in_window(&self, file: &File, at: (i64, i32), key: &[u8]) -> bool {
        let manifest = &self.task.layer.manifest;
        let own = |time: Option<manifest::TimestampProto>| Timestamp::from(time.unwrap_or_default());
        let (start, end) = match (own(file.start_time), own(file.end_time)) {
            (_, end) if end.is_zero() => (manifest.start(), manifest.end()),
            own => own,
        };
        let introduced = || manifest.introduced_spans.iter().any(|span| span.contains(key));
        at <= end.order() && (start.is_zero() || at > start.order() || introduced())
    }

    fn version(&mut self, file: &File, time: mvcc::Timestamp, key: &[u8], offset: u64) {
        let at =
            (i64::try_from(time.wall).unwrap_or(i64::MAX), i32::try_from(time.logical).unwrap_or(i32::MAX));
        if !self.in_window(file, at, key) {
            let what =
                format!("key {}: its version {} is outside the layer's window", pretty::key(key), time.wall);
            self.damage(offset, what);
        }
    }

    /// Counts an entry, and tells where it stands after the one before.
    fn count(&mut self, key: &[u8], value: &[u8], offset: u64) -> Option<Place> {
        let row = row_prefix(key).map_err(|error| {
            self.damage(offset, format!("key {}: {error}", pretty::key(key)));
        });
        let row_len = row.map_or(0, <[u8]>::len);
        let last = &mut self.last;
        let place = match () {
            () if last.key == key => Place::SameKey,
            () if row_len > 0 && last.row_len == row_len && last.key.get(..row_len) == key.get(..row_len) => {
                Place::SameRow
            }
            () => Place::NewRow,
        };
        if place != Place::SameKey {
            last.key.clear();
            last.key.extend_from_slice(key);
            last.row_len = row_len;
        }
        let elsewhere = std::mem::replace(&mut last.at, self.at) != self.at;
        row.ok()?;
        let counts = self.counts.get_mut(self.at)?;
        let bytes = i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX);
        counts.bytes = counts.bytes.saturating_add(bytes);
        if place != Place::NewRow && !elsewhere {
            return Some(place);
        }
        let known = self.index.take().filter(|index| key.starts_with(&index.prefix));
        self.index = known.or_else(|| self.task.tables.index_of(key));
        if let Some(index) = &self.index {
            counts.groups += 1;
            counts.rows += i64::from(index.rows);
            counts.of_first_index += i64::from(index.of_first_index);
            counts.of_unknown += i64::from(index.of_unknown);
            counts.in_pieces |= index.in_pieces;
        }
        Some(place)
    }

    /// Versions of 1.x and 2.x count rows of system tables apart; later ones count every version's bytes, and
    /// those of range keys.
    fn compare_counts(&mut self, range_keys: bool) {
        let mut found = Vec::new();
        let history = self.task.layer.manifest.has_history();
        for (file, counts) in self.task.entries.iter().zip(&self.counts) {
            let Some(stored) = file.entry_counts else { continue };
            let rows = stored.rows().saturating_add(stored.system_records());
            let (more_bytes, more_rows) = (range_keys, history || counts.in_pieces);
            // What counts as a row has changed with the versions.
            let ways = [counts.rows + counts.of_unknown, counts.rows, counts.of_first_index];
            let ways = ways.map(|rows| (rows, counts.groups.saturating_sub(rows)));
            let found_way = ways.iter().find(|way| **way == (rows, stored.index_entries()));
            let (seen_rows, seen_entries) = *found_way.unwrap_or(&ways[0]);
            for (name, stored, seen, more) in [
                ("bytes", stored.data_size(), counts.bytes, more_bytes),
                ("rows", rows, seen_rows, more_rows),
                ("index entries", stored.index_entries(), seen_entries, more_rows),
            ] {
                if stored != seen && !(more && stored > seen) {
                    found.push(format!("{name}: the manifest says {stored}, the file has {seen}"));
                }
            }
        }
        for what in found {
            self.report.damage(Damage { file: self.place.to_owned(), offset: None, what });
        }
    }
}
