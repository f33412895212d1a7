//! An independent implementation reads what we write, and we read what it writes: the small Go program in
//! `tests/go-sst-verifier`, made from the `pebble` module.

use super::sst_data::{Entry, SHAPES, Shape, entries, table, user_key};
use crate::support::require::skip;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use userfilefs::format::sst::{
    ChecksumKind, Compression, PropertyTemplate, PropertyValue, Reader, TableFormat, Writer, WriterOptions,
    property,
};

/// Builds the program once; `None` after a loud skip where Go, or the modules, cannot be had.
pub fn verifier(dir: &Path) -> Option<Verifier> {
    static BUILT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-sst-verifier");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go-sst-verifier");
        let mut go = Command::new("go");
        go.args(["build", "-o"]).arg(&out).arg(".").current_dir(source).env("CGO_ENABLED", "0");
        match go.output() {
            Err(e) => Err(format!("go cannot be started: {e}")),
            Ok(done) if done.status.success() => Ok(out),
            Ok(done) => Err(format!("go build: {}", String::from_utf8_lossy(&done.stderr))),
        }
    });
    match built {
        Ok(program) => Some(Verifier { program: program.clone(), dir: dir.to_owned(), jobs: String::new() }),
        Err(reason) => {
            skip("go", reason);
            None
        }
    }
}

pub struct Verifier {
    program: PathBuf,
    dir: PathBuf,
    jobs: String,
}

impl Verifier {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn dump(&mut self, table: &Path, out: &str) {
        writeln!(self.jobs, "dump {} {}", table.display(), self.path(out).display()).unwrap();
    }

    pub fn write(&mut self, table: &str, list: &str, settings: &str) {
        let (table, list) = (self.path(table), self.path(list));
        writeln!(self.jobs, "write {} {} {settings}", table.display(), list.display()).unwrap();
    }

    /// Runs all jobs in one process.
    pub fn run(&mut self) {
        let done = self.finish();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    }

    fn finish(&mut self) -> Output {
        let mut child = Command::new(&self.program)
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program that was just built");
        child.stdin.take().unwrap().write_all(self.jobs.as_bytes()).unwrap();
        self.jobs.clear();
        child.wait_with_output().unwrap()
    }
}

fn hex(bytes: &[u8]) -> String {
    match bytes {
        [] => "-".to_owned(),
        _ => bytes.iter().map(|b| format!("{b:02x}")).collect(),
    }
}

/// The list that the program prints for these entries.
pub fn list(entries: &[Entry]) -> String {
    let mut out = String::new();
    for (key, value) in entries {
        writeln!(out, "P {} 0 1 {}", hex(key), hex(value)).unwrap();
    }
    out
}

/// What our reader finds, as such a list.
pub fn our_list(table: &[u8]) -> String {
    let reader = Reader::open(table, table.len() as u64).unwrap();
    let mut damage = Vec::new();
    let stats = reader.verify(&mut |e| damage.push(e)).unwrap();
    assert!(damage.is_empty(), "{damage:?}");
    let (mut iter, mut out) = (reader.iter(), String::new());
    while let Some(entry) = iter.next().unwrap() {
        writeln!(out, "P {} {} 1 {}", hex(entry.user_key), entry.sequence, hex(entry.value)).unwrap();
    }
    for key in reader.range_keys().unwrap() {
        for version in &key.versions {
            let suffix = [version.version.as_slice(), &[version.version.len() as u8 + 1]].concat();
            let (start, end) = (user_key(&key.start, b""), user_key(&key.end, b""));
            writeln!(out, "R {} {} {} {}", hex(&start), hex(&end), hex(&suffix), hex(&version.value))
                .unwrap();
        }
    }
    writeln!(out, "T {}", stats.entries).unwrap();
    out
}

/// Every combination of the writer's settings.
fn all_settings() -> Vec<WriterOptions> {
    let mut all = Vec::new();
    for format in [TableFormat::LevelDb, TableFormat::RocksDbV2, TableFormat::PebbleV1, TableFormat::PebbleV2]
    {
        for compression in [Compression::None, Compression::Snappy] {
            for checksum in [ChecksumKind::Crc32c, ChecksumKind::XxHash64] {
                for (block_len, index_block_len, restart_interval) in
                    [(128 << 10, 256 << 10, 16), (1000, 300, 1), (4096, 1 << 20, 3)]
                {
                    for properties in [PropertyTemplate::none(), PropertyTemplate::v21_1("Snappy")] {
                        let options = WriterOptions {
                            format,
                            compression,
                            index_compression: compression,
                            checksum,
                            block_len,
                            index_block_len,
                            restart_interval,
                            properties,
                            ..WriterOptions::default()
                        };
                        // The program needs the index type to find a second level.
                        let blind = options.properties == PropertyTemplate::none() && index_block_len < 1000;
                        if Writer::new(options.clone()).is_ok() && !blind {
                            all.push(options);
                        }
                    }
                }
            }
        }
    }
    all
}

#[test]
fn pebble_reads_what_we_write() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let data: Vec<_> =
        SHAPES.iter().map(|s| entries(*s, if *s == Shape::Large { 60 } else { 1500 }, 7)).collect();
    let mut expected = Vec::new();
    for (i, options) in all_settings().iter().enumerate() {
        let rows = &data[i % data.len()];
        let file = verifier.path(&format!("{i}.sst"));
        std::fs::write(&file, table(options, rows)).unwrap();
        verifier.dump(&file, &format!("{i}.list"));
        expected.push((i, options.clone(), format!("{}T {}\n", list(rows), rows.len())));
    }
    assert!(expected.len() > 50);
    verifier.run();
    for (i, options, want) in expected {
        let got = std::fs::read_to_string(verifier.path(&format!("{i}.list"))).unwrap();
        assert!(got == want, "{options:?}");
    }
}

/// One entry, none at all, and one key of each version length: the smallest files.
#[test]
fn pebble_reads_the_smallest_tables() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let all = entries(Shape::Versions, 20, 1);
    for n in 0..5 {
        let file = verifier.path(&format!("{n}.sst"));
        std::fs::write(&file, table(&WriterOptions::default(), &all[..n])).unwrap();
        verifier.dump(&file, &format!("{n}.list"));
    }
    verifier.run();
    for n in 0..5 {
        let got = std::fs::read_to_string(verifier.path(&format!("{n}.list"))).unwrap();
        assert_eq!(got, format!("{}T {n}\n", list(&all[..n])));
    }
}

/// It can fail: damage anywhere in a file, and properties that are not true.
#[test]
fn the_verifier_finds_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let rows = entries(Shape::Versions, 400, 3);
    let options = WriterOptions { block_len: 700, index_block_len: 400, ..WriterOptions::default() };
    let good = table(&options, &rows);
    let file = verifier.path("a.sst");
    let mut complaint = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        verifier.dump(&file, "a.list");
        let done = verifier.finish();
        (!done.status.success()).then(|| String::from_utf8_lossy(&done.stderr).into_owned())
    };
    assert_eq!(complaint(&good), None);
    // Without the footer, whose padding says nothing.
    let blocks = good.len() - 53;
    for at in (0..blocks).step_by(blocks / 25) {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        assert!(complaint(&bad).is_some(), "flip at {at}");
    }
    assert!(complaint(&good[..good.len() - 1]).is_some());
    for (name, value) in [
        (property::NUM_ENTRIES, vec![7]),
        (property::RAW_KEY_SIZE, vec![7]),
        (property::RAW_VALUE_SIZE, vec![7]),
        (property::NUM_DATA_BLOCKS, vec![7]),
        (property::DATA_SIZE, vec![7]),
        (property::INDEX_PARTITIONS, vec![1]),
        (property::TS_MIN, vec![7; 8]),
        (property::TS_MAX, vec![7; 8]),
        (property::COMPARATOR, b"leveldb.BytewiseComparator".to_vec()),
    ] {
        let properties = options.properties.clone().with(name, PropertyValue::Const(value));
        let options = WriterOptions { properties, ..options.clone() };
        let said = complaint(&table(&options, &rows)).unwrap_or_else(|| panic!("{name}"));
        assert!(said.starts_with("dump "), "{said}");
    }
}

/// All formats, compressions and checksums that Pebble writes; and where we write the same format, the same
/// bytes.
#[test]
fn we_read_what_pebble_writes() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let data: Vec<_> =
        SHAPES.iter().map(|s| entries(*s, if *s == Shape::Large { 60 } else { 1500 }, 11)).collect();
    for (i, rows) in data.iter().enumerate() {
        std::fs::write(verifier.path(&format!("rows{i}")), list(rows)).unwrap();
    }
    let mut made = Vec::new();
    for format in ["LevelDb", "RocksDbV2", "PebbleV1", "PebbleV2", "PebbleV3", "PebbleV4"] {
        for compression in ["None", "Snappy", "Zstd"] {
            for checksum in ["Crc32c", "XxHash64"] {
                for sizes in
                    ["block=131072 index=262144 restart=16", "block=1000 index=300 restart=16 bloom=10"]
                {
                    if format == "LevelDb" && checksum != "Crc32c" {
                        continue;
                    }
                    let (n, rows) = (made.len(), made.len() % data.len());
                    let times = if format.starts_with("Pebble") { " times=on" } else { "" };
                    let settings = format!(
                        "format={format} compression={compression} checksum={checksum} {sizes}{times}"
                    );
                    verifier.write(&format!("{n}.sst"), &format!("rows{rows}"), &settings);
                    made.push((settings, rows));
                }
            }
        }
    }
    verifier.run();
    let mut same = 0;
    for (n, (settings, rows)) in made.iter().enumerate() {
        let bytes = std::fs::read(verifier.path(&format!("{n}.sst"))).unwrap();
        let rows = &data[*rows];
        let want = format!("{}T {}\n", list(rows), rows.len());
        assert!(our_list(&bytes) == want, "{settings}");
        same += usize::from(written_the_same(settings, &bytes, rows));
    }
    assert!(same >= 6, "{same}");
}

/// Whether the settings can be ours; then the bytes must be the same.
fn written_the_same(settings: &str, bytes: &[u8], rows: &[Entry]) -> bool {
    let reader = Reader::open(bytes, bytes.len() as u64).unwrap();
    let ours = reader.format() <= TableFormat::RocksDbV2;
    if !ours || settings.contains("Zstd") || settings.contains("bloom") {
        return false;
    }
    let compression = if settings.contains("Snappy") { Compression::Snappy } else { Compression::None };
    let options = WriterOptions {
        format: reader.format(),
        compression,
        index_compression: compression,
        checksum: reader.footer().checksum,
        properties: PropertyTemplate::like(reader.properties()),
        ..WriterOptions::default()
    };
    assert!(table(&options, rows) == bytes, "{settings}");
    true
}

/// Two-level indexes too are the same, bytes and properties.
#[test]
fn two_level_indexes_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let rows = entries(Shape::Versions, 4000, 3);
    std::fs::write(verifier.path("rows"), list(&rows)).unwrap();
    verifier.write(
        "a.sst",
        "rows",
        "format=RocksDbV2 compression=Snappy block=700 index=900 checksum=Crc32c",
    );
    verifier.run();
    let bytes = std::fs::read(verifier.path("a.sst")).unwrap();
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    assert!(reader.has_two_level_index());
    let options = WriterOptions {
        block_len: 700,
        index_block_len: 900,
        properties: PropertyTemplate::like(reader.properties()),
        ..WriterOptions::default()
    };
    assert!(table(&options, &rows) == bytes);
}

/// MVCC range tombstones, as 22.2 and later write them.
#[test]
fn range_keys_are_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let mut text = list(&entries(Shape::Rows, 50, 1));
    writeln!(text, "R bd89f800 bd89f900 18e9d22f00d2a49309 -").unwrap();
    writeln!(text, "R bd89fa00 bd89fb00 18e9d22f00d2a494000000050d -").unwrap();
    writeln!(text, "R bd89fa00 bd89fb00 18e9d22f00d2a49309 aabb").unwrap();
    std::fs::write(verifier.path("rows"), &text).unwrap();
    for format in ["PebbleV2", "PebbleV3", "PebbleV4"] {
        verifier.write(&format!("{format}.sst"), "rows", &format!("format={format} compression=Snappy"));
    }
    verifier.run();
    for format in ["PebbleV2", "PebbleV3", "PebbleV4"] {
        let file = verifier.path(&format!("{format}.sst"));
        verifier.dump(&file, "list");
        verifier.run();
        let theirs = std::fs::read_to_string(verifier.path("list")).unwrap();
        assert_eq!(theirs.lines().filter(|line| line.starts_with('R')).count(), 3);
        assert_eq!(our_list(&std::fs::read(&file).unwrap()), theirs, "{format}");
    }
}

/// Both see the same in every real file.
#[test]
fn real_files_look_the_same_to_both() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let Some(folder) = crate::support::fixtures::fixtures() else { return };
    let files = crate::support::fixtures::files_below(&folder, ".sst");
    for (i, file) in files.iter().enumerate() {
        verifier.dump(file, &format!("{i}.list"));
    }
    verifier.run();
    for (i, file) in files.iter().enumerate() {
        let theirs = std::fs::read_to_string(verifier.path(&format!("{i}.list"))).unwrap();
        assert!(our_list(&std::fs::read(file).unwrap()) == theirs, "{}", file.display());
    }
}
