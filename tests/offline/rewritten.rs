//! What a real server backed up, through our encoder and our writer: every row of every backup, and whole
//! layers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Memory, Source};
use userfilefs::engine::OpenOptions;
use userfilefs::engine::check::{CheckOptions, Progress, check};
use userfilefs::engine::store::Store;
use userfilefs::engine::write::{Error, LayerSpec, LayerWriter, MemorySink, Sink};
use userfilefs::format::descriptor::layout::index_span;
use userfilefs::format::descriptor::{Catalog, Descriptor, build};
use userfilefs::format::kv::error::Error as KvError;
use userfilefs::format::kv::layout::Direction::Asc;
use userfilefs::format::kv::mvcc;
use userfilefs::format::kv::row::{Decoded, RowDecoder, row_prefix};
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::ColumnType;
use userfilefs::format::manifest::{Manifest, RowCount, Span, Timestamp, names};
use userfilefs::format::sst::Reader;

use crate::support::fixtures::{LAYERS, fixtures};

type Pairs = BTreeMap<Vec<u8>, (mvcc::Timestamp, Vec<u8>)>;

fn manifest(folder: &Path) -> Manifest {
    let stored =
        std::fs::read(folder.join(names::MANIFEST)).or_else(|_| std::fs::read(folder.join("BACKUP")));
    Manifest::from_stored(&stored.unwrap()).unwrap()
}

/// All pairs of a layer with one version a key.
fn pairs(folder: &Path, manifest: &Manifest) -> Pairs {
    let mut found = Pairs::new();
    let paths: BTreeSet<&str> = manifest.files.iter().map(|file| file.path.as_str()).collect();
    for path in paths {
        let bytes = std::fs::read(folder.join(path)).unwrap();
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let mut iter = reader.iter();
        while let Some(entry) = iter.next().unwrap() {
            let (key, version) = mvcc::split(entry.user_key).unwrap();
            let old = found.insert(key.to_vec(), (version.unwrap(), entry.value.to_vec()));
            assert!(old.is_none(), "{path}: {key:x?} twice");
        }
    }
    found
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The checksum of a value may be left out; what comes behind it is compared then.
fn same_value(ours: &[u8], theirs: &[u8]) -> bool {
    ours == theirs || (theirs[..4] == [0; 4] && ours[4..] == theirs[4..])
}

#[test]
fn every_row_of_every_backup_encodes_to_its_bytes() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let folder = root.join(layer);
        let manifest = manifest(&folder);
        let catalog = Catalog::of_manifest(&manifest).unwrap();
        let pairs = pairs(&folder, &manifest);
        let mut rows = 0;
        for table in catalog.tables().filter(|table| table.has_data() && !table.is_sequence()) {
            let layout = Arc::new(catalog.layout(table).unwrap());
            let top = layout.primary.ancestors.first();
            let (id, index) = top.map_or((table.id(), layout.primary.id), |top| (top.table_id, top.index_id));
            let span = index_span(id, index);
            let own: Vec<(&[u8], &[u8])> = pairs
                .range(span.key..span.end_key)
                .map(|(key, (_, value))| (key.as_slice(), value.as_slice()))
                .collect();
            let decoder = RowDecoder::new(layout.clone()).unwrap();
            let mut encoder = RowEncoder::new(layout.clone()).unwrap();
            for group in own.chunk_by(|a, b| row_prefix(a.0).unwrap() == row_prefix(b.0).unwrap()) {
                let (mut row, name) = (Vec::new(), table.name());
                match decoder.decode(group, &mut row).unwrap_or_else(|e| panic!("{layer} {name}: {e}")) {
                    Decoded::Row => rows += 1,
                    Decoded::Foreign => continue,
                    other => panic!("{layer} {name}: {other:?}"),
                }
                let mut theirs = group.iter();
                // Clusters of 1.x started with rows that had no family 0.
                let mut bare = group[0].0.last() != Some(&0x88);
                let mut emit = |key: &[u8], value: &[u8]| {
                    if std::mem::take(&mut bare) && value[4..] == [0x0a] {
                        return Ok::<(), KvError>(());
                    }
                    let pair = theirs.next().unwrap_or_else(|| panic!("{layer} {name}: {}", hex(key)));
                    assert_eq!(hex(key), hex(pair.0), "{layer} {name}");
                    assert!(same_value(value, pair.1), "{layer} {name}: {} {}", hex(value), hex(pair.1));
                    Ok(())
                };
                encoder.primary(&row, &mut emit).unwrap();
                assert!(theirs.next().is_none(), "{layer} {name}");
            }
        }
        assert_eq!(rows > 0, !pairs.is_empty(), "{layer}");
    }
}

fn spec(manifest: &Manifest, file_len: u64) -> LayerSpec {
    LayerSpec {
        end: manifest.end(),
        spans: manifest.spans.clone(),
        descriptors: manifest.descriptors.clone(),
        complete_dbs: manifest.complete_dbs.clone(),
        cluster: manifest.descriptor_coverage == 1,
        id: b"0123456789abcdef".to_vec(),
        file_len,
        ..LayerSpec::default()
    }
}

/// Rows of system tables were counted apart in 1.x.
/// Rows of system tables were counted apart in 1.x.
fn counts(count: Option<&RowCount>) -> (i64, i64, i64) {
    count.map_or((0, 0, 0), |count| {
        (count.data_size(), count.rows() + count.system_records(), count.index_entries())
    })
}

fn writer(sink: &mut dyn Sink) -> LayerWriter<'_> {
    LayerWriter { sink, stores: Vec::new(), seal: None, next_file: 1 }
}

/// Every layer written again: the same totals as the server counted, no row in two files, and clean.
#[test]
fn every_layer_is_written_again() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let folder = root.join(layer);
        let real = manifest(&folder);
        let pairs = pairs(&folder, &real);
        let mut store = Store::default();
        for (key, (at, value)) in &pairs {
            store.put(key, *at, value.clone());
        }
        let mut sink = MemorySink::default();
        let ours = writer(&mut sink).layer(&store, &spec(&real, 20_000)).unwrap();
        assert_eq!(counts(ours.entry_counts.as_ref()), counts(real.entry_counts.as_ref()), "{layer}");
        let (mut entries, mut prefixes) = (0, BTreeSet::new());
        for file in &ours.files {
            let span = file.span.as_ref().unwrap();
            let bytes = &sink.0[&file.path];
            let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
            let (mut iter, mut own) = (reader.iter(), BTreeSet::new());
            while let Some(entry) = iter.next().unwrap() {
                let (key, at) = mvcc::split(entry.user_key).unwrap();
                assert!(span.contains(key), "{layer}");
                assert_eq!(pairs[key], (at.unwrap(), entry.value.to_vec()), "{layer}");
                own.insert(row_prefix(key).unwrap().to_vec());
                entries += 1;
            }
            assert!(own.iter().all(|prefix| prefixes.insert(prefix.clone())), "{layer}: a row in two files");
        }
        assert_eq!(entries, pairs.len(), "{layer}");

        let files = sink.0.iter().map(|(name, content)| (name.clone(), Arc::new(content.clone())));
        let source: Arc<dyn Source> = Arc::new(Memory { files: files.collect() });
        let options = CheckOptions { open: OpenOptions::default(), threads: 2 };
        let report = check(&source, "", &options, &Progress::default());
        let damages: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
        assert!(damages.is_empty(), "{layer}:\n{}", damages.join("\n"));

        let mut again = MemorySink::default();
        writer(&mut again).layer(&store, &spec(&real, 20_000)).unwrap();
        assert!(again.0 == sink.0, "{layer}: other bytes the second time");
    }
}

/// Takes so many files, and then no more.
struct FullDisk(usize, MemorySink);

impl Sink for FullDisk {
    fn put(&mut self, name: &str, content: &[u8]) -> std::io::Result<()> {
        self.0 = self.0.checked_sub(1).ok_or(std::io::ErrorKind::StorageFull)?;
        self.1.put(name, content)
    }
}

const TABLE: u32 = 120;

fn small() -> (Store, LayerSpec) {
    let column = |name: &str| build::ColumnSpec {
        name: name.into(),
        ty: ColumnType::INT8,
        nullable: name != "k",
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    };
    let table = build::TableSpec {
        id: TABLE,
        database: 110,
        schema: 29,
        name: "t".into(),
        columns: vec![column("k"), column("v")],
        primary: vec![("k".into(), Asc)],
        indexes: vec![build::IndexSpec {
            name: "v_idx".into(),
            columns: vec![("v".into(), Asc)],
            ..build::IndexSpec::default()
        }],
        ..build::TableSpec::default()
    };
    let table = Descriptor::Table(Box::new(build::table(&table, &|_| None).unwrap()));
    let mut store = Store::default();
    for row in 0..50u8 {
        let key = [index_span(TABLE, 1).key, vec![0x88 + row, 0x88]].concat();
        store.put(&key, mvcc::Timestamp::from_wall(5), vec![0, 0, 0, 0, 10]);
    }
    let spec = LayerSpec {
        end: Timestamp::from_nanos(10),
        spans: vec![index_span(TABLE, 1), index_span(TABLE, 2)],
        descriptors: vec![build::database(110, "d", &[], 1).encode(), table.encode()],
        complete_dbs: vec![110],
        file_len: 100,
        ..LayerSpec::default()
    };
    (store, spec)
}

/// Wherever the destination fails, there is no manifest: no backup, rather than half of one.
#[test]
fn a_failing_destination_leaves_no_manifest() {
    let (store, spec) = small();
    let mut whole = MemorySink::default();
    writer(&mut whole).layer(&store, &spec).unwrap();
    assert!(whole.0.len() > 4, "{}", whole.0.len());
    for room in 0..whole.0.len() {
        let mut sink = FullDisk(room, MemorySink::default());
        let error = writer(&mut sink).layer(&store, &spec).unwrap_err();
        assert!(matches!(error, Error::Sink(_)), "{error}");
        // Only the manifest's checksum comes after it, and may be absent.
        assert_eq!(sink.1.0.contains_key(names::MANIFEST), room + 1 == whole.0.len(), "{room}");
    }
}

/// What RESTORE would refuse, or silently lose, is not written at all.
#[test]
fn a_layer_that_restore_would_not_take_is_refused() {
    let (store, good) = small();
    let refused = |change: &dyn Fn(&mut LayerSpec)| {
        let mut spec = good.clone();
        change(&mut spec);
        let mut sink = MemorySink::default();
        let error = writer(&mut sink).layer(&store, &spec).unwrap_err().to_string();
        assert!(sink.0.is_empty(), "{error}");
        error
    };
    let lacks = "no span has index v_idx of table t";
    assert!(refused(&|spec| _ = spec.spans.pop()).ends_with(lacks));
    assert!(
        refused(&|spec| spec.spans[1].end_key = [&spec.spans[1].key[..], &[0x90]].concat()).ends_with(lacks)
    );
    let table = Span { key: vec![0xf6, 120], end_key: vec![0xf6, 121] };
    assert!(refused(&|spec| spec.spans.push(table.clone())).contains("overlaps"));
    assert!(refused(&|spec| spec.spans.push(spec.spans[0].clone())).contains("overlaps"));
    assert!(refused(&|spec| spec.introduced_spans = vec![index_span(121, 1)]).contains("introduced"));
    // Both indexes in one span, of which one is new.
    let joined = Span { key: index_span(TABLE, 1).key, end_key: index_span(TABLE, 2).end_key };
    let partly = |spec: &mut LayerSpec| {
        spec.spans = vec![joined.clone()];
        spec.introduced_spans = vec![index_span(TABLE, 2)];
    };
    assert!(refused(&partly).contains("only a part"));
    let change = |time: i64| (Timestamp::from_nanos(time), TABLE, None);
    for times in [vec![5, 4], vec![11]] {
        let changes: Vec<_> = times.into_iter().map(change).collect();
        assert!(refused(&|spec| spec.descriptor_changes.clone_from(&changes)).contains("changes"));
    }
    assert!(refused(&|spec| spec.start = spec.end).contains("ends before"));
    assert!(refused(&|spec| spec.descriptors.reverse()).contains("comes after"));
    assert!(refused(&|spec| spec.descriptors.push(vec![0xff])).contains("descriptor"));
}
