//! What versions after 21.1 write and the fixtures do not have: slim manifests, shortened keys, files of
//! several spans, range tombstones. Made here from a backup that a server wrote.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Local, Memory, Source};
use userfilefs::engine::check::{CheckOptions, Progress, Report, check};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::kv::layout::Direction;
use userfilefs::format::kv::mvcc::{self, decode_version};
use userfilefs::format::kv::ordered::{put_bytes, put_ku};
use userfilefs::format::manifest::{
    DescriptorRevision, File, Manifest, Span, Timestamp, elide, envelope, slim,
};
use userfilefs::format::sst::{Reader, Writer, WriterOptions, key};

use super::sst_goldens::goldens;

const TABLES: [&str; 2] = ["startrek.public.episodes", "startrek.public.quotes"];

fn folder() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/backups/startrek")
}

/// The only full backup of the collection, as files of one folder.
fn startrek() -> Memory {
    Memory::copy_of(&Local::new(folder().join("backup/2026/11/20-181709.68"))).unwrap()
}

fn manifest_of(source: &Memory) -> Manifest {
    Manifest::from_stored(&source.files["BACKUP_MANIFEST"]).unwrap()
}

fn put(source: &mut Memory, name: &str, content: Vec<u8>) {
    source.files.insert(name.to_owned(), Arc::new(content));
}

fn put_manifest(source: &mut Memory, name: &str, manifest: &Manifest) {
    let stored = manifest.to_stored();
    put(source, &format!("{name}-CHECKSUM"), envelope::checksum(&stored).to_vec());
    put(source, name, stored);
}

fn table(entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Vec<u8> {
    let mut sorted: Vec<_> = entries.iter().collect();
    sorted.sort_by(|a, b| key::compare(a.0, b.0));
    let mut writer = Writer::new(WriterOptions { versionless: true, ..WriterOptions::default() }).unwrap();
    let mut out = Vec::new();
    for (key, value) in sorted {
        writer.add(key, value, &mut out).unwrap();
    }
    writer.finish(&mut out);
    out
}

fn entries_of(bytes: &[u8]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let reader = Reader::open(bytes, bytes.len() as u64).unwrap();
    let mut iter = reader.iter();
    let mut found = BTreeMap::new();
    while let Some(entry) = iter.next().unwrap() {
        found.insert(entry.user_key.to_vec(), entry.value.to_vec());
    }
    found
}

fn file_key(span_key: &[u8], path: &str) -> Vec<u8> {
    let mut key = Vec::new();
    put_bytes(&mut key, span_key, Direction::Asc);
    put_bytes(&mut key, path.as_bytes(), Direction::Asc);
    key.push(0);
    key
}

fn file_list(files: &[File]) -> BTreeMap<Vec<u8>, Vec<u8>> {
    use prost::Message;
    let entry = |file: &File| (file_key(&file.span.as_ref().unwrap().key, &file.path), file.encode_to_vec());
    files.iter().map(entry).collect()
}

/// Keys that a reader must not look into, one for each descriptor.
fn descriptor_key(id: u32, at: Option<Timestamp>) -> Vec<u8> {
    let mut key = b"some prefix/".to_vec();
    key.extend(id.to_be_bytes());
    match at {
        None => key.push(0),
        Some(at) => mvcc::put_version(&mut key, mvcc::Timestamp::from_wall(at.wall_time as u64)),
    }
    key
}

fn descriptor_id(raw: &[u8]) -> u32 {
    userfilefs::format::descriptor::Descriptor::decode(raw).unwrap().id()
}

/// The backup with a slim manifest instead of, or beside, the whole one.
fn slimmed(beside: bool) -> Memory {
    let mut source = startrek();
    let whole = manifest_of(&source);
    let mut slim = whole.clone();
    slim.proto.has_external_manifest_ssts = true;
    slim.proto.files = vec![File::default()];
    slim.proto.descriptors.clear();
    put(&mut source, slim::FILE_LIST, table(&file_list(&whole.files)));
    let descriptors =
        whole.descriptors.iter().map(|raw| (descriptor_key(descriptor_id(raw), None), raw.clone()));
    put(&mut source, slim::DESCRIPTOR_LIST, table(&descriptors.collect()));
    put_manifest(&mut source, "BACKUP_METADATA", &slim);
    if !beside {
        source.files.remove("BACKUP_MANIFEST");
        source.files.remove("BACKUP_MANIFEST-CHECKSUM");
    }
    source
}

fn open(source: &Memory) -> Result<Backup, userfilefs::engine::Error> {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    Backup::open(&source, "", &OpenOptions::default())
}

fn look(source: &Memory) -> Report {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    let options = CheckOptions { open: OpenOptions::default(), threads: 2 };
    check(&source, "", &options, &Progress::default())
}

fn texts(report: &Report) -> Vec<String> {
    report.damages.iter().map(ToString::to_string).chain(report.troubles.iter().cloned()).collect()
}

fn assert_whole(source: &Memory) {
    let backup = open(source).unwrap();
    let state = backup.state(None).unwrap();
    for name in TABLES {
        let mut got = Vec::new();
        state.export(name, ExportFormat::Jsonl, &mut got).unwrap();
        let short = name.strip_prefix("startrek.").unwrap();
        let want = std::fs::read(folder().join(format!("dump/{short}.jsonl"))).unwrap();
        assert!(got == want, "{name}");
    }
    assert_eq!(texts(&look(source)), Vec::<String>::new());
}

#[test]
fn slim_manifests_are_read() {
    assert_whole(&slimmed(false));
    assert_whole(&slimmed(true));
}

#[test]
fn slim_manifests_that_lie_are_found() {
    let mut source = slimmed(false);
    let mut files = manifest_of(&startrek()).proto.files.clone();
    let mut wrong = file_list(&files[..1]);
    let value = wrong.into_values().next().unwrap();
    wrong = BTreeMap::from([(file_key(b"\xbd\x89", "another.sst"), value)]);
    put(&mut source, slim::FILE_LIST, table(&wrong));
    let error = open(&source).err().unwrap().to_string();
    assert!(error.contains("filelist.sst of the manifest: the entry of"), "{error}");

    // Beside a whole manifest: another set of files is a damage.
    let mut source = slimmed(true);
    files.pop();
    put(&mut source, slim::FILE_LIST, table(&file_list(&files)));
    let found = texts(&look(&source));
    assert!(found.iter().any(|text| text.contains("its files differ from those of")), "{found:?}");

    // No table of descriptors: the error says what is missing.
    let mut source = slimmed(false);
    let descriptors = source.files.remove(slim::DESCRIPTOR_LIST).unwrap();
    let error = open(&source).err().unwrap().to_string();
    assert!(error.contains("there is no descriptorslist.sst, and 0 other tables"), "{error}");
    // Under another name it is found.
    source.files.insert("descs.sst".into(), descriptors);
    assert_eq!(open(&source).unwrap().layers[0].manifest.descriptors.len(), 3);

    let mut cut = slimmed(false);
    let list = cut.files[slim::FILE_LIST].to_vec();
    put(&mut cut, slim::FILE_LIST, list[..list.len() - 1].to_vec());
    assert!(open(&cut).is_err());
}

#[test]
fn slim_histories_are_read() {
    let whole = manifest_of(&startrek());
    let end = whole.end();
    let at = |back: i64| Timestamp::from_nanos(end.wall_time - back);
    let start = at(1000);
    let (first, second) = (&whole.descriptors[0], &whole.descriptors[1]);
    let (a, b) = (descriptor_id(first), descriptor_id(second));
    let list = BTreeMap::from([
        (descriptor_key(a, Some(start)), first.clone()),
        (descriptor_key(b, Some(start)), second.clone()),
        (descriptor_key(b, Some(at(10))), Vec::new()),
        (descriptor_key(b, Some(at(20))), second.clone()),
    ]);
    let found = slim::descriptors(&table(&list), true, (start, end)).unwrap();
    assert_eq!(found.at_end, std::slice::from_ref(first));
    let change = |back, desc| DescriptorRevision { time: Some(at(back).into()), id: b, desc };
    assert_eq!(found.changes, [change(20, Some(second.clone())), change(10, None)]);
    // Nothing but a deletion: the key alone does not tell which descriptor.
    let only = BTreeMap::from([(descriptor_key(b, Some(at(10))), Vec::new())]);
    let error = slim::descriptors(&table(&only), true, (start, end)).unwrap_err().to_string();
    assert!(error.contains("nothing but its key tells which one"), "{error}");
    // Keys as the server makes them do.
    let mut key = b"desc/".to_vec();
    put_ku(&mut key, u64::from(b));
    mvcc::put_version(&mut key, mvcc::Timestamp::from_wall(at(10).wall_time as u64));
    let only = BTreeMap::from([(key, Vec::new())]);
    let found = slim::descriptors(&table(&only), true, (start, end)).unwrap();
    assert_eq!(found.changes, [change(10, None)]);
}

/// The backup with keys that lack what `elided` says.
fn shortened(elided: i32) -> Memory {
    let mut source = startrek();
    let mut manifest = manifest_of(&source);
    manifest.proto.elided_prefix = elided;
    for file in &manifest.files {
        let prefix = elide::prefix(elided, file.span.as_ref().unwrap()).unwrap().len();
        let entries = entries_of(&source.files[&file.path]);
        let short = entries.into_iter().map(|(key, value)| (key[prefix..].to_vec(), value));
        put(&mut source, &file.path, table(&short.collect()));
    }
    put_manifest(&mut source, "BACKUP_MANIFEST", &manifest);
    source
}

#[test]
fn shortened_keys_are_read() {
    assert_whole(&shortened(elide::TENANT));
    assert_whole(&shortened(elide::TENANT_AND_TABLE));
    let mut source = startrek();
    let mut manifest = manifest_of(&source);
    manifest.proto.elided_prefix = 3;
    put_manifest(&mut source, "BACKUP_MANIFEST", &manifest);
    let error = open(&source).err().unwrap().to_string();
    assert!(error.contains("elided_prefix is not supported: 3 is not known"), "{error}");
}

#[test]
fn files_of_several_spans_are_read() {
    let mut source = startrek();
    let mut manifest = manifest_of(&source);
    let mut all = BTreeMap::new();
    for file in &mut manifest.proto.files {
        all.extend(entries_of(&source.files[&file.path]));
        source.files.remove(&file.path);
        file.path = "data/1.sst".into();
    }
    assert!(manifest.proto.files.len() > 1);
    put(&mut source, "data/1.sst", table(&all));
    put_manifest(&mut source, "BACKUP_MANIFEST", &manifest);
    assert_whole(&source);
    assert_eq!(look(&source).files, 1);
    // Each entry's own numbers count.
    manifest.proto.files[0].entry_counts.as_mut().unwrap().rows = Some(3);
    put_manifest(&mut source, "BACKUP_MANIFEST", &manifest);
    let found = texts(&look(&source));
    assert!(found.len() == 1 && found[0].contains("rows: the manifest says 3"), "{found:?}");
}

/// An incremental layer whose only file is a table with a range tombstone that Pebble wrote.
#[test]
fn range_tombstones_hide_what_is_older() {
    use userfilefs::engine::scan::Scan;
    let (_, golden) = goldens().into_iter().find(|(name, _)| *name == "range-pebble2").unwrap();
    let deleted = decode_version(&[0x18, 0xe9, 0xd2, 0x2f, 0x00, 0xd2, 0xa4, 0x93]).unwrap();
    let at = |wall: u64| Timestamp::from_nanos(wall as i64);
    let span = Span { key: vec![0xbd, 0x89], end_key: vec![0xbd, 0x8a] };
    // One row inside the deleted span, before and after, and one outside of it.
    let mut entries = BTreeMap::new();
    let row = |id: u8, wall: u64| mvcc::join(&[0xbd, 0x89, id, 0x88], mvcc::Timestamp::from_wall(wall));
    entries.insert(row(0xf8, deleted.wall - 5), b"0000x".to_vec());
    entries.insert(row(0xf0, deleted.wall - 5), b"0000x".to_vec());
    let mut source = Memory::default();
    let mut layer = |folder: &str, start: Timestamp, end: Timestamp, bytes: Vec<u8>| {
        let mut manifest = Manifest::default();
        manifest.proto.start_time = Some(start.into());
        manifest.proto.end_time = Some(end.into());
        manifest.proto.spans = vec![span.clone()];
        manifest.proto.files =
            vec![File { span: Some(span.clone()), path: "1.sst".into(), ..File::default() }];
        put(&mut source, &format!("{folder}1.sst"), bytes);
        put_manifest(&mut source, &format!("{folder}BACKUP_MANIFEST"), &manifest);
    };
    layer("", Timestamp::default(), at(deleted.wall - 1), table(&entries));
    layer("20260101/000000.00/", at(deleted.wall - 1), at(deleted.wall + 10), golden);
    let backup = open(&source).unwrap();
    let keys = |time: Option<Timestamp>| {
        let (layers, time) = backup.at(time).unwrap();
        let scan = Scan::new(layers, time);
        let mut found = Vec::new();
        for segment in scan.segments(&span, &<[u8]>::to_vec) {
            scan.rows(&segment, &mut |pairs| {
                found.extend(pairs.iter().map(|pair| pair.key.clone()));
                Ok::<(), userfilefs::engine::Error>(())
            })
            .unwrap();
        }
        found.retain(|key| key.len() == 4);
        found
    };
    assert_eq!(keys(Some(at(deleted.wall - 1))), [[0xbd, 0x89, 0xf0, 0x88], [0xbd, 0x89, 0xf8, 0x88]]);
    assert_eq!(keys(None), [[0xbd, 0x89, 0xf0, 0x88]]);
    assert!(!texts(&look(&source)).iter().any(|text| text.contains("range")), "{:?}", texts(&look(&source)));
}

/// The target: any bytes as the tables of a slim manifest.
fn target(bytes: &[u8]) {
    let times = (Timestamp::default(), Timestamp::from_nanos(i64::MAX));
    for history in [false, true] {
        if let Err(error) = slim::descriptors(bytes, history, times) {
            assert!(!error.to_string().is_empty());
        }
    }
    if let Ok(files) = slim::files(bytes) {
        for span in files.iter().filter_map(|file| file.span.as_ref()) {
            for elided in -1..4 {
                let _ = elide::prefix(elided, span).map(|prefix| elide::shorten(prefix, span));
            }
        }
    }
}

#[test]
fn fuzz_slim_tables() {
    let source = slimmed(false);
    let mut rng = super::sst_data::Rng(3);
    for name in [slim::FILE_LIST, slim::DESCRIPTOR_LIST] {
        let whole = &source.files[name];
        for len in (0..whole.len()).step_by(7) {
            target(&whole[..len]);
        }
        for _ in 0..super::fuzz_sst::rounds(300) {
            // Behind the checksums: entries with changed keys and values.
            let mut entries = entries_of(whole);
            let which = rng.below(entries.len());
            let (mut key, mut value) = entries.pop_first().unwrap();
            if which == 0 {
                key.pop();
                super::fuzz_sst::mutate(&mut rng, &mut key);
                key.push(0);
            } else {
                super::fuzz_sst::mutate(&mut rng, &mut value);
            }
            entries.insert(key, value);
            target(&table(&entries));
        }
    }
}
