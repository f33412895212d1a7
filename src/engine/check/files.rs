//! The files of a layer, each for itself.

use std::collections::BTreeSet;

use sha2::{Digest, Sha512};

use crate::engine::open::{Backup, DataFile, Layer, join};
use crate::engine::scan::{read_error, table_error};
use crate::engine::{Error, pretty};
use crate::format::descriptor::Catalog;
use crate::format::kv::envelope;
use crate::format::kv::key;
use crate::format::kv::mvcc;
use crate::format::kv::row::row_prefix;
use crate::format::kv::varint::Reader as KeyReader;
use crate::format::manifest::names::{self, FileKind};
use crate::format::manifest::{self, File, Timestamp, chain};
use crate::format::sst::{self, ReadAt, Reader};

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

/// Files that may stand beside a backup at the root of a collection.
fn is_of_collection(name: &str) -> bool {
    name == names::LATEST || name.starts_with(names::LATEST_FOLDER) || name.starts_with(names::INCREMENTALS)
}

struct Task {
    layer: usize,
    file: usize,
}

/// Reads every data file.
pub(super) fn check_data(backup: &Backup, threads: usize, progress: &Progress, report: &mut Report) {
    let mut tasks = Vec::new();
    let mut primaries = Vec::new();
    for (l, layer) in backup.layers.iter().enumerate() {
        let catalog = Catalog::of_manifest(&layer.manifest).unwrap_or_default();
        let primary = |table: &crate::format::descriptor::TableDescriptor| {
            (u64::from(table.id()), table.primary_index.as_ref().map_or(1, |index| u64::from(index.id())))
        };
        primaries.push(catalog.tables().map(primary).collect::<BTreeSet<(u64, u64)>>());
        for (f, file) in layer.manifest.files.iter().enumerate() {
            if !file.path.is_empty() {
                tasks.push(Task { layer: l, file: f });
            }
        }
    }
    share(&tasks, threads, report, &|task, report| {
        let Some(layer) = backup.layers.get(task.layer) else { return };
        let (Some(file), Some(primaries)) = (layer.manifest.files.get(task.file), primaries.get(task.layer))
        else {
            return;
        };
        check_file(layer, file, primaries, progress, report);
    });
}

fn check_file(
    layer: &Layer,
    file: &File,
    primaries: &BTreeSet<(u64, u64)>,
    progress: &Progress,
    report: &mut Report,
) {
    let (data, len) = match layer.open_data(file) {
        Ok(opened) => opened,
        Err(error) => return report.error(error),
    };
    progress.total.fetch_add(len, std::sync::atomic::Ordering::Relaxed);
    report.files += 1;
    report.bytes += len;
    let place = layer.store(file).place(&join(&layer.folder, &file.path));
    if file.sha512.len() == 64
        && let Err(error) = verify_hash(&data, len, &file.sha512, &place)
    {
        report.error(error);
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
    let mut look = Look { layer, file, primaries, place: &place, report, counts: Counts::default() };
    if let Err(error) = look.entries(&reader, progress, len, &mut found) {
        report.error(error);
    }
    found.sort_by_key(|error| error.offset);
    found.dedup();
    for error in &found {
        report.error(table_error(error, place.clone()));
    }
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
    rows: i64,
    index_entries: i64,
    last_prefix: Vec<u8>,
    last_key: Vec<u8>,
}

struct Look<'a> {
    layer: &'a Layer,
    file: &'a File,
    primaries: &'a BTreeSet<(u64, u64)>,
    place: &'a str,
    report: &'a mut Report,
    counts: Counts,
}

impl Look<'_> {
    fn damage(&mut self, offset: u64, what: String) {
        self.report.damage(Damage { file: self.place.to_owned(), offset: Some(offset), what });
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
            self.compare_counts();
        }
        Ok(())
    }

    fn entry(&mut self, key: &[u8], version: &[u8], value: &[u8], offset: u64) {
        let shown = || pretty::key(key);
        if version.is_empty() {
            return self.damage(offset, format!("key {} has no version", shown()));
        }
        match mvcc::decode_version(version) {
            Ok(time) => self.version(time, key, offset),
            Err(error) => self.damage(offset, format!("key {}: {error}", shown())),
        }
        if !self.file.span.as_ref().is_some_and(|span| span.contains(key)) {
            self.damage(
                offset,
                format!("key {} is outside the span that the manifest gives the file", shown()),
            );
        }
        if let Err(error) = envelope::open_verified(key, value) {
            self.damage(offset, format!("key {}: {error}", shown()));
        }
        let first = self.counts.last_key != key;
        if first {
            self.counts.last_key.clear();
            self.counts.last_key.extend_from_slice(key);
        }
        self.count(key, value, first, offset);
    }

    fn version(&mut self, time: mvcc::Timestamp, key: &[u8], offset: u64) {
        let own = |time: Option<manifest::TimestampProto>| Timestamp::from(time.unwrap_or_default());
        let (start, end) = match (own(self.file.start_time), own(self.file.end_time)) {
            (_, end) if end.is_zero() => (self.layer.manifest.start(), self.layer.manifest.end()),
            own => own,
        };
        let at =
            (i64::try_from(time.wall).unwrap_or(i64::MAX), i32::try_from(time.logical).unwrap_or(i32::MAX));
        let introduced = self.layer.manifest.introduced_spans.iter().any(|span| span.contains(key));
        if (at <= start.order() && !start.is_zero() && !introduced) || at > end.order() {
            let what =
                format!("key {}: its version {} is outside the layer's window", pretty::key(key), time.wall);
            self.damage(offset, what);
        }
    }

    fn count(&mut self, key: &[u8], value: &[u8], first: bool, offset: u64) {
        let bytes = i64::try_from(key.len() + value.len()).unwrap_or(i64::MAX);
        self.counts.bytes = self.counts.bytes.saturating_add(bytes);
        let prefix = match row_prefix(key) {
            Ok(prefix) => prefix,
            Err(error) => return self.damage(offset, format!("key {}: {error}", pretty::key(key))),
        };
        if !first || (self.counts.last_prefix == prefix && self.counts.rows + self.counts.index_entries > 0) {
            return;
        }
        self.counts.last_prefix.clear();
        self.counts.last_prefix.extend_from_slice(prefix);
        let Ok((_, rest)) = key::split_tenant(key) else { return };
        let Ok(ids) = key::get_index_prefix(&mut KeyReader::new(rest)) else { return };
        if self.primaries.contains(&ids)
            || (ids.1 == 1 && !self.primaries.iter().any(|(table, _)| *table == ids.0))
        {
            self.counts.rows += 1;
        } else {
            self.counts.index_entries += 1;
        }
    }

    /// Versions of 1.x and 2.x count rows of system tables apart; later ones count every version's bytes.
    fn compare_counts(&mut self) {
        let Some(stored) = self.file.entry_counts else { return };
        let rows = stored.rows() + stored.system_records();
        let differ = |name: &str, stored: i64, seen: i64| {
            (stored != seen).then(|| format!("{name}: the manifest says {stored}, the file has {seen}"))
        };
        let found = [
            differ("bytes", stored.data_size(), self.counts.bytes),
            differ("rows", rows, self.counts.rows),
            differ("index entries", stored.index_entries(), self.counts.index_entries),
        ];
        for what in found.into_iter().flatten() {
            self.report.damage(Damage { file: self.place.to_owned(), offset: None, what });
        }
    }
}
