//! Every data file that a real CockroachDB wrote: opened, verified, walked, and written again.

use crate::support::fixtures::{files_below, fixtures};
use std::collections::BTreeSet;
use userfilefs::format::sst::{
    Compression, IndexPlace, Kind, PropertyTemplate, Reader, Separators, TableFormat, Writer, WriterOptions,
    property,
};

/// Name and bytes of every table.
pub fn tables() -> Vec<(String, Vec<u8>)> {
    let Some(folder) = fixtures() else { return Vec::new() };
    let files = files_below(&folder, ".sst");
    assert!(files.len() > 100, "only {} tables in {}", files.len(), folder.display());
    files
        .iter()
        .map(|path| (path.display().to_string(), std::fs::read(path).expect("readable file")))
        .collect()
}

#[test]
fn every_table_verifies() {
    let mut formats = BTreeSet::new();
    for (name, bytes) in tables() {
        let reader =
            Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap_or_else(|e| panic!("{name}: {e}"));
        formats.insert(reader.format());
        let mut damage = Vec::new();
        let stats = reader.verify(&mut |e| damage.push(e)).unwrap();
        assert!(damage.is_empty(), "{name}: {damage:?}");
        assert!(stats.entries > 0, "{name}");
        assert_eq!(reader.properties().number(property::NUM_ENTRIES), Ok(Some(stats.entries)), "{name}");
        assert!(reader.range_keys().unwrap().is_empty());
        let mut iter = reader.iter();
        while let Some(entry) = iter.next().unwrap() {
            assert_eq!((entry.kind, entry.sequence), (Kind::Set, 0), "{name}");
            let (_, version) = entry.mvcc().unwrap();
            assert!(matches!(version.len(), 8 | 12), "{name}");
        }
    }
    assert!(formats.is_empty() || formats == BTreeSet::from([TableFormat::LevelDb, TableFormat::RocksDbV2]));
}

/// Settings of the program that wrote a table, as far as its bytes show them.
fn settings_of(reader: &Reader<&[u8]>) -> WriterOptions {
    let properties = reader.properties();
    let rocksdb = reader.footer().index.offset > reader.footer().metaindex.offset;
    WriterOptions {
        format: reader.format(),
        compression: Compression::Snappy,
        properties_restart_interval: if rocksdb { 1 } else { usize::MAX },
        index_compression: if rocksdb { Compression::None } else { Compression::Snappy },
        index_place: if rocksdb { IndexPlace::BeforeFooter } else { IndexPlace::BeforeProperties },
        separators: if rocksdb { Separators::Full } else { Separators::Short },
        properties: PropertyTemplate::like(properties),
        ..WriterOptions::default()
    }
}

/// The entries of a table, written with its settings, give its bytes.
#[test]
fn every_table_is_written_again_byte_for_byte() {
    let mut different = Vec::new();
    for (name, bytes) in tables() {
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let mut writer = Writer::new(settings_of(&reader)).unwrap();
        let (mut out, mut iter) = (Vec::new(), reader.iter());
        while let Some(entry) = iter.next().unwrap() {
            writer.add(entry.user_key, entry.value, &mut out).unwrap();
        }
        let finished = writer.finish(&mut out);
        assert_eq!(finished.len, out.len() as u64);
        if out != bytes {
            let at = out.iter().zip(&bytes).take_while(|(a, b)| a == b).count();
            different.push(format!("{name}: {} bytes, {} written, differ at {at}", bytes.len(), out.len()));
        }
    }
    assert!(different.is_empty(), "{} differ\n{}", different.len(), different.join("\n"));
}
