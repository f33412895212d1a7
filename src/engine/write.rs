//! Writing layers: data files, statistics, manifest, in the order that makes a crash harmless.

use std::collections::{BTreeMap, BTreeSet};

use crate::format::crypt::{IV_LEN, Key, encrypt_v1};
use crate::format::descriptor::layout::index_span;
use crate::format::descriptor::{self, Descriptor};
use crate::format::kv::row::row_prefix;
use crate::format::kv::{key, mvcc, varint};
use crate::format::manifest::{
    BuildInfo, COVERAGE_ALL, DescriptorRevision, FILTER_ALL, FILTER_LATEST, File, Manifest, ManifestProto,
    PartitionDescriptor, RowCount, Span, Timestamp, Version as ClusterVersion, envelope, names,
};
use crate::format::sst::{SplitWriter, WriteError, WriterOptions};
use prost::Message;

use super::store::{Store, Version, Window};

/// Takes finished files.
pub trait Sink {
    /// Stores a file under a relative name. A name is never given twice.
    fn put(&mut self, name: &str, content: &[u8]) -> std::io::Result<()>;
}

/// Why a layer was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The sink failed.
    #[error("cannot write the backup: {0}")]
    Sink(#[from] std::io::Error),
    /// An entry cannot stand in a data file.
    #[error("cannot write a data file: {0}")]
    Table(#[from] WriteError),
    /// A descriptor cannot be read.
    #[error(transparent)]
    Descriptor(#[from] descriptor::Error),
    /// RESTORE would refuse the layer, or lose rows of it.
    #[error("a layer cannot be like this: {0}")]
    Layer(String),
}

/// Which of the two encryption formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SealVersion {
    /// Readable by every version.
    V1,
    /// Readable by 21.1 and later.
    V2,
}

/// How files are encrypted.
#[derive(Clone)]
pub struct Seal {
    /// The key.
    pub key: Key,
    /// The format.
    pub version: SealVersion,
}

/// Everything about a layer but its data.
#[derive(Clone, Default)]
pub struct LayerSpec {
    /// Folder in the sink, `""` for its root.
    pub folder: String,
    /// Zero for a full layer.
    pub start: Timestamp,
    /// The AS OF time.
    pub end: Timestamp,
    /// All versions.
    pub history: bool,
    /// History is there after this time.
    pub revision_start: Timestamp,
    /// Every index of every table.
    pub spans: Vec<Span>,
    /// Those that the layer before does not cover.
    pub introduced_spans: Vec<Span>,
    /// Raw, ordered by id.
    pub descriptors: Vec<Vec<u8>>,
    /// Changes within the window: time, id, raw descriptor.
    pub descriptor_changes: Vec<(Timestamp, u32, Option<Vec<u8>>)>,
    /// Databases that are there whole.
    pub complete_dbs: Vec<u32>,
    /// Everything in the cluster.
    pub cluster: bool,
    /// 16 bytes.
    pub cluster_id: Vec<u8>,
    /// 16 bytes, of this layer.
    pub id: Vec<u8>,
    /// Data files are cut at about so many bytes of keys and values.
    pub file_len: u64,
    /// Put data files into `data/`, as 21.2 and later do.
    pub data_folder: bool,
    /// Major and minor version for RESTORE of 22.1 and later.
    pub cluster_version: Option<(i32, i32)>,
}

/// Table and index ids of primary indexes: what counts as rows.
type Primaries = BTreeSet<(u64, u64)>;

impl LayerSpec {
    /// Refuses what RESTORE would refuse or silently lose; gives the primary indexes.
    fn verify(&self) -> Result<Primaries, Error> {
        let wrong = |what: String| Err(Error::Layer(what));
        if self.end.order() <= self.start.order() {
            return wrong("it ends before it begins".into());
        }
        let inside = |span: &Span, all: &Span| all.key <= span.key && span.end_key <= all.end_key;
        let mut spans: Vec<&Span> = self.spans.iter().collect();
        spans.sort();
        if let Some((a, _)) = spans.iter().zip(spans.iter().skip(1)).find(|(a, b)| a.overlaps(b)) {
            return wrong(format!("the span from {:x?} overlaps the next", a.key));
        }
        let covered = merged(&self.spans);
        let within = |span: &Span| covered.iter().any(|all| inside(span, all));
        if let Some(new) = self.introduced_spans.iter().find(|new| !within(new)) {
            return wrong(format!("the introduced span from {:x?} is none of its spans", new.key));
        }
        // A span is read from one time on.
        let introduced = merged(&self.introduced_spans);
        let partly = |span: &&Span| introduced.iter().any(|new| new.overlaps(span) && !inside(span, new));
        if let Some(span) = self.spans.iter().find(partly) {
            return wrong(format!("only a part of the span from {:x?} is introduced", span.key));
        }
        if !self.descriptor_changes.is_sorted_by_key(|(time, _, _)| time.order())
            || self.descriptor_changes.last().is_some_and(|(time, _, _)| time.order() > self.end.order())
        {
            return wrong(
                "the changes of descriptors are not in the order of their times, or after its end".into(),
            );
        }
        let (mut primaries, mut last) = (Primaries::new(), 0);
        for raw in &self.descriptors {
            let descriptor = Descriptor::decode(raw)?;
            if descriptor.id() <= last {
                return wrong(format!("descriptor {} comes after {last}", descriptor.id()));
            }
            last = descriptor.id();
            let Descriptor::Table(table) = descriptor else { continue };
            let ids = |index| (u64::from(table.id()), u64::from(index));
            primaries.extend(table.primary_index.iter().map(|index| ids(index.id())));
            for index in table.all_indexes().filter(|_| table.has_data() && table.is_visible()) {
                let elsewhere = index.interleave.as_ref().is_some_and(|i| !i.ancestors.is_empty());
                if !elsewhere && !within(&index_span(table.id(), index.id())) {
                    return wrong(format!("no span has index {} of table {}", index.name(), table.name()));
                }
            }
        }
        Ok(primaries)
    }
}

/// A file of random bytes for an initialisation vector.
fn random_iv() -> [u8; IV_LEN] {
    let mut iv = [0; IV_LEN];
    for (to, from) in iv.iter_mut().zip(uuid::Uuid::new_v4().into_bytes()) {
        *to = from;
    }
    // The version and variant bits of a UUID are constant; a second one fills them.
    for (to, from) in iv.iter_mut().zip(uuid::Uuid::new_v4().into_bytes().into_iter().rev()) {
        *to ^= from;
    }
    iv
}

impl Seal {
    fn apply(&self, plain: &[u8]) -> Vec<u8> {
        match self.version {
            SealVersion::V1 => encrypt_v1(&self.key, &random_iv(), plain),
            SealVersion::V2 => {
                let mut out = Vec::new();
                let mut encryptor = crate::format::crypt::Encryptor::new(self.key.clone(), random_iv());
                encryptor.push(plain, &mut out);
                encryptor.finish(&mut out);
                out
            }
        }
    }
}

fn sealed(seal: Option<&Seal>, plain: Vec<u8>) -> Vec<u8> {
    match seal {
        Some(seal) => seal.apply(&plain),
        None => plain,
    }
}

fn version_of(time: Timestamp) -> mvcc::Timestamp {
    mvcc::Timestamp {
        wall: u64::try_from(time.wall_time).unwrap_or(0),
        logical: u32::try_from(time.logical).unwrap_or(0),
        synthetic: false,
    }
}

/// Where a locality's files go: the sink and the files put there.
pub struct LocalityStore<'s> {
    /// `region=b`; empty for the default.
    pub locality_kv: String,
    /// Which spans go there: those for which this is true.
    pub takes: fn(&Span) -> bool,
    /// The place.
    pub sink: &'s mut dyn Sink,
}

/// What a file's entry in the manifest says that it holds.
#[derive(Default)]
struct Counts {
    bytes: i64,
    rows: i64,
    index_entries: i64,
}

/// Writes layers of a store.
pub struct LayerWriter<'s> {
    /// The default place.
    pub sink: &'s mut dyn Sink,
    /// Further places of a locality-aware backup.
    pub stores: Vec<LocalityStore<'s>>,
    /// Encryption; ENCRYPTION-INFO is the caller's.
    pub seal: Option<Seal>,
    /// The number of the next data file; see [`names::unique_int`].
    pub next_file: i64,
}

impl LayerWriter<'_> {
    /// Writes a layer of what `store` holds. The manifest comes last but for its checksum.
    pub fn layer(&mut self, store: &Store, spec: &LayerSpec) -> Result<Manifest, Error> {
        let primaries = spec.verify()?;
        let mut files = Vec::new();
        for span in &spec.spans {
            let introduced = spec.introduced_spans.iter().any(|new| new.contains(&span.key));
            let start = if introduced { Timestamp::default() } else { spec.start };
            let window =
                Window { start: version_of(start), end: version_of(spec.end), history: spec.history };
            self.span(store.versions(span, window), span, spec, &primaries, &mut files)?;
        }
        files.sort_by(|a, b| a.span.cmp(&b.span));
        let mut manifest = Manifest { proto: self.proto(spec, files), unknown: Vec::new() };
        self.parts(spec, &mut manifest)?;
        self.control(spec, &mut manifest)?;
        Ok(manifest)
    }

    fn span(
        &mut self,
        versions: Vec<Version<'_>>,
        span: &Span,
        spec: &LayerSpec,
        primaries: &Primaries,
        files: &mut Vec<File>,
    ) -> Result<(), Error> {
        let boundary = |before: &[u8], after: &[u8]| row_prefix(before).ok() != row_prefix(after).ok();
        let mut writer = SplitWriter::new(WriterOptions::default(), spec.file_len, boundary);
        let (mut bytes, mut counts, mut last) = (Vec::new(), Counts::default(), &[][..]);
        let mut begin = span.key.clone();
        for version in versions {
            let prefix = row_prefix(version.key).unwrap_or(version.key);
            let user_key = mvcc::join(version.key, version.at);
            if writer.add(&user_key, version.value, &mut bytes)?.is_some() {
                // What is in `bytes` is the table before this entry.
                let key = std::mem::replace(&mut begin, prefix.to_vec());
                let own = Span { key, end_key: prefix.to_vec() };
                self.put(std::mem::take(&mut bytes), std::mem::take(&mut counts), own, spec, files)?;
            }
            if prefix != last {
                let ids = key::get_index_prefix(&mut varint::Reader::new(prefix));
                let is_row = ids.is_ok_and(|ids| primaries.contains(&ids));
                *(if is_row { &mut counts.rows } else { &mut counts.index_entries }) += 1;
                last = prefix;
            }
            counts.bytes += i64::try_from(version.key.len() + version.value.len()).unwrap_or(0);
        }
        if writer.finish(&mut bytes).is_some() {
            self.put(bytes, counts, Span { key: begin, end_key: span.end_key.clone() }, spec, files)?;
        }
        Ok(())
    }

    /// Stores a data file.
    fn put(
        &mut self,
        table: Vec<u8>,
        counts: Counts,
        span: Span,
        spec: &LayerSpec,
        files: &mut Vec<File>,
    ) -> Result<(), Error> {
        let number = self.next_file;
        self.next_file += 1 << 15;
        let path = if spec.data_folder { format!("data/{number}.sst") } else { format!("{number}.sst") };
        let name = super::open::join(&spec.folder, &path);
        let stored = sealed(self.seal.as_ref(), table);
        let mut locality_kv = String::new();
        match self.stores.iter_mut().find(|store| (store.takes)(&span)) {
            Some(store) => {
                locality_kv.clone_from(&store.locality_kv);
                store.sink.put(&name, &stored)?;
            }
            None => self.sink.put(&name, &stored)?,
        }
        files.push(File {
            span: Some(span),
            path,
            entry_counts: Some(RowCount::new(counts.bytes, counts.rows, counts.index_entries)),
            start_time: Some(Timestamp::default().into()),
            end_time: Some(Timestamp::default().into()),
            locality_kv,
            ..File::default()
        });
        Ok(())
    }

    fn proto(&self, spec: &LayerSpec, files: Vec<File>) -> ManifestProto {
        let sum =
            |get: fn(&RowCount) -> i64| files.iter().filter_map(|f| f.entry_counts.as_ref()).map(get).sum();
        let text = |text: &str| Some(text.to_owned());
        let revision = if spec.history { spec.revision_start } else { Timestamp::default() };
        ManifestProto {
            start_time: Some(spec.start.into()),
            end_time: Some(spec.end.into()),
            spans: merged(&spec.spans),
            entry_counts: Some(RowCount::new(
                sum(RowCount::data_size),
                sum(RowCount::rows),
                sum(RowCount::index_entries),
            )),
            files,
            descriptors: spec.descriptors.clone(),
            format_version: 1,
            cluster_id: spec.cluster_id.clone(),
            build_info: Some(BuildInfo {
                tag: text("v21.1.0"),
                platform: text("linux amd64"),
                distribution: text("userfilefs"),
                r#type: text("release"),
                ..BuildInfo::default()
            }),
            mvcc_filter: if spec.history { FILTER_ALL } else { FILTER_LATEST },
            complete_dbs: spec.complete_dbs.clone(),
            introduced_spans: merged(&spec.introduced_spans),
            descriptor_changes: spec
                .descriptor_changes
                .iter()
                .map(|(time, id, desc)| DescriptorRevision {
                    time: Some((*time).into()),
                    id: *id,
                    desc: desc.clone(),
                })
                .collect(),
            revision_start_time: Some(revision.into()),
            id: spec.id.clone(),
            descriptor_coverage: if spec.cluster { COVERAGE_ALL } else { 0 },
            cluster_version: spec.cluster_version.map(|(major, minor)| ClusterVersion {
                major,
                minor,
                ..ClusterVersion::default()
            }),
            ..ManifestProto::default()
        }
    }

    /// One part per further place.
    fn parts(&mut self, spec: &LayerSpec, manifest: &mut Manifest) -> Result<(), Error> {
        for (at, store) in self.stores.iter_mut().enumerate() {
            let name = names::part_name(at + 1, &store.locality_kv);
            let own = |file: &&File| file.locality_kv == store.locality_kv;
            let part = PartitionDescriptor {
                locality_kv: store.locality_kv.clone(),
                files: manifest.proto.files.iter().filter(own).cloned().collect(),
                backup_id: spec.id.clone(),
            };
            let stored = sealed(self.seal.as_ref(), envelope::pack(&part.encode_to_vec()));
            store.sink.put(&super::open::join(&spec.folder, &name), &stored)?;
            manifest.proto.partition_descriptor_filenames.push(name);
            manifest.proto.locality_kvs.push(store.locality_kv.clone());
        }
        Ok(())
    }

    /// Statistics (none), manifest, checksum.
    fn control(&mut self, spec: &LayerSpec, manifest: &mut Manifest) -> Result<(), Error> {
        let stored = sealed(self.seal.as_ref(), manifest.to_stored());
        let name = super::open::join(&spec.folder, names::MANIFEST);
        self.sink.put(&name, &stored)?;
        self.sink.put(&format!("{name}{}", names::CHECKSUM_SUFFIX), &envelope::checksum(&stored))?;
        Ok(())
    }
}

/// Adjacent spans joined, as the server writes them.
fn merged(spans: &[Span]) -> Vec<Span> {
    let ordered: BTreeSet<&Span> = spans.iter().collect();
    let mut out: Vec<Span> = Vec::new();
    for span in ordered {
        match out.last_mut() {
            Some(last) if last.end_key == span.key => last.end_key.clone_from(&span.end_key),
            _ => out.push(span.clone()),
        }
    }
    out
}

/// Files by name, in memory.
#[derive(Clone, Debug, Default)]
pub struct MemorySink(pub BTreeMap<String, Vec<u8>>);

impl Sink for MemorySink {
    fn put(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        self.0.insert(name.to_owned(), content.to_vec());
        Ok(())
    }
}
