//! Small tables of every generation, written by Pebble and kept in the repository, so that the later formats
//! are tested where there is no Go. `REWRITE=1` writes them anew.

use super::go_verifier::{list, our_list, verifier};
use super::sst_data::{Entry, Shape, entries};
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/format/sst")
}

/// Name and settings of each golden; the name says which entries it has.
const GOLDENS: [(&str, &str); 12] = [
    ("rows-leveldb", "format=LevelDb compression=Snappy"),
    ("rows-rocksdb", "format=RocksDbV2 compression=Snappy"),
    ("rows-rocksdb-raw", "format=RocksDbV2 compression=None"),
    ("rows-rocksdb-xxhash", "format=RocksDbV2 compression=Snappy checksum=XxHash64"),
    ("rows-pebble1", "format=PebbleV1 compression=Snappy"),
    ("versions-rocksdb-two-level", "format=RocksDbV2 compression=Snappy block=300 index=90"),
    ("versions-pebble1-two-level", "format=PebbleV1 compression=Snappy block=300 index=90"),
    ("versions-pebble2-zstd", "format=PebbleV2 compression=Zstd"),
    ("versions-pebble3", "format=PebbleV3 compression=Snappy block=300"),
    ("versions-pebble4-bloom", "format=PebbleV4 compression=Snappy block=300 bloom=10"),
    ("range-pebble2", "format=PebbleV2 compression=Snappy"),
    ("range-pebble4", "format=PebbleV4 compression=None"),
];

fn rows(name: &str) -> Vec<Entry> {
    let shape = if name.starts_with("versions") { Shape::Versions } else { Shape::Rows };
    entries(shape, if name.starts_with("range") { 4 } else { 40 }, 5)
}

fn listing(name: &str) -> String {
    let mut text = list(&rows(name));
    if name.starts_with("range") {
        text.push_str("R bd89f800 bd89f900 18e9d22f00d2a49309 -\n");
    }
    text
}

/// Every golden: name and bytes.
pub fn goldens() -> Vec<(&'static str, Vec<u8>)> {
    let read = |name: &str| std::fs::read(folder().join(format!("{name}.sst"))).expect("golden table");
    GOLDENS.iter().map(|(name, _)| (*name, read(name))).collect()
}

#[test]
fn goldens_hold_what_was_put_in() {
    if std::env::var_os("REWRITE").is_some() {
        rewrite();
    }
    for (name, bytes) in goldens() {
        let rows = rows(name).len();
        assert_eq!(our_list(&bytes), format!("{}T {rows}\n", listing(name)), "{name}");
    }
}

fn rewrite() {
    let dir = tempfile::tempdir().unwrap();
    let mut verifier = verifier(dir.path()).expect("REWRITE needs Go");
    for (name, settings) in GOLDENS {
        std::fs::write(dir.path().join(name), listing(name)).unwrap();
        verifier.write(&format!("{name}.sst"), name, settings);
    }
    verifier.run();
    std::fs::create_dir_all(folder()).unwrap();
    for (name, _) in GOLDENS {
        let file = format!("{name}.sst");
        std::fs::copy(dir.path().join(&file), folder().join(&file)).unwrap();
    }
}
