//! What is written is read again, whatever the entries and settings; seeks find what a sorted list would.

use super::sst_data::{Entry, Rng, SHAPES, entries, read_all, table, user_key};
use proptest::prelude::*;
use std::collections::BTreeMap;
use userfilefs::format::sst::{
    ChecksumKind, Compression, PropertyTemplate, Reader, SplitWriter, TableFormat, WriteError, Writer,
    WriterOptions, key, property,
};

/// Two letters and the extremes make many equal prefixes; versions of all lengths.
fn roachkeys() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(prop::sample::select(vec![0u8, 1, b'a', b'b', 0xfe, 0xff]), 0..6)
}

fn versions() -> impl Strategy<Value = Vec<u8>> {
    let wall = prop::sample::select(vec![1u64, 2, 255, 256, u64::MAX]);
    (wall, prop::option::of(1u32..3), any::<bool>()).prop_map(|(wall, logical, synthetic)| {
        let mut version = wall.to_be_bytes().to_vec();
        if let Some(logical) = logical {
            version.extend_from_slice(&logical.to_be_bytes());
            version.extend(synthetic.then_some(1));
        }
        version
    })
}

fn sorted_entries() -> impl Strategy<Value = Vec<Entry>> {
    let value = prop::collection::vec(any::<u8>(), 0..40);
    prop::collection::vec((roachkeys(), versions(), value), 0..80).prop_map(|all| {
        let mut all: Vec<Entry> = all.into_iter().map(|(k, v, value)| (user_key(&k, &v), value)).collect();
        all.sort_by(|a, b| key::compare(&a.0, &b.0));
        all.dedup_by(|a, b| key::compare(&a.0, &b.0).is_eq());
        all
    })
}

fn options() -> impl Strategy<Value = WriterOptions> {
    let formats =
        vec![TableFormat::LevelDb, TableFormat::RocksDbV2, TableFormat::PebbleV1, TableFormat::PebbleV2];
    let formats = prop::sample::select(formats);
    (formats, any::<[bool; 3]>(), 20usize..600, 30usize..300, 1usize..20).prop_map(
        |(format, [snappy, xxhash, none], block_len, index_block_len, restart_interval)| WriterOptions {
            format,
            compression: if snappy { Compression::Snappy } else { Compression::None },
            index_compression: if snappy { Compression::Snappy } else { Compression::None },
            checksum: match xxhash && format != TableFormat::LevelDb {
                true => ChecksumKind::XxHash64,
                false => ChecksumKind::Crc32c,
            },
            block_len,
            // Without properties nothing says that there is a second level.
            index_block_len: if none { 1 << 20 } else { index_block_len },
            restart_interval,
            properties: if none { PropertyTemplate::none() } else { PropertyTemplate::v21_1("Snappy") },
            ..WriterOptions::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn written_is_read_again(entries in sorted_entries(), options in options()) {
        let bytes = table(&options, &entries);
        prop_assert_eq!(&bytes, &table(&options, &entries), "not deterministic");
        prop_assert_eq!(&read_all(&bytes).unwrap(), &entries);
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let mut damage = Vec::new();
        let stats = reader.verify(&mut |e| damage.push(e)).unwrap();
        prop_assert!(damage.is_empty(), "{:?}", damage);
        prop_assert_eq!(stats.entries, entries.len() as u64);
    }

    #[test]
    fn seeks_find_what_a_list_would(
        entries in sorted_entries(),
        options in options(),
        targets in prop::collection::vec((roachkeys(), versions()), 1..20),
        ends in prop::collection::vec(roachkeys(), 1..5),
    ) {
        let bytes = table(&options, &entries);
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let mut iter = reader.iter();
        for (roachkey, version) in &targets {
            let target = user_key(roachkey, version);
            let at = entries.partition_point(|e| key::compare(&e.0, &target).is_lt());
            iter.seek(&target).unwrap();
            for want in entries[at..].iter().take(3) {
                let got = iter.next().unwrap().map(|e| (e.user_key.to_vec(), e.value.to_vec()));
                prop_assert_eq!(got.as_ref(), Some(want));
            }
            for end in &ends {
                let mut span = reader.iter_span(roachkey, end).unwrap();
                let mut got = Vec::new();
                while let Some(entry) = span.next().unwrap() {
                    got.push(entry.user_key.to_vec());
                }
                let inside = |k: &[u8]| key::split(k).is_some_and(|(k, _)| k >= &roachkey[..] && k < &end[..]);
                let want: Vec<_> = entries.iter().map(|e| e.0.clone()).filter(|k| inside(k)).collect();
                prop_assert_eq!(got, want);
            }
        }
    }

    /// Tables cut at a target size together hold everything, in order, and no row is cut.
    #[test]
    fn split_tables_hold_everything(entries in sorted_entries(), target in 1u64..2000) {
        // A row is what shares its first byte.
        let boundary = |a: &[u8], b: &[u8]| a.first() != b.first();
        let mut writer = SplitWriter::new(WriterOptions::default(), target, boundary);
        let (mut files, mut out) = (Vec::new(), Vec::new());
        for (key, value) in &entries {
            if let Some(done) = writer.add(key, value, &mut out).unwrap() {
                prop_assert!(done.stats.key_bytes - 8 * done.stats.entries + done.stats.value_bytes >= target);
                files.push((done, std::mem::take(&mut out)));
            }
        }
        files.extend(writer.finish(&mut out).map(|done| (done, std::mem::take(&mut out))));
        prop_assert!(out.is_empty());
        let mut all = Vec::new();
        let mut last: Option<Vec<u8>> = None;
        for (done, bytes) in &files {
            prop_assert_eq!(done.len, bytes.len() as u64);
            let first = done.first_roachkey.clone().unwrap();
            if let Some(last) = &last {
                prop_assert!(boundary(last, &first));
            }
            last = done.last_roachkey.clone();
            all.extend(read_all(bytes).unwrap());
        }
        prop_assert_eq!(all, entries);
    }

    /// The order of user keys is a total order that agrees with the page's words.
    #[test]
    fn order_of_keys(a in (roachkeys(), versions()), b in (roachkeys(), versions())) {
        let want = a.0.cmp(&b.0).then_with(|| b.1.cmp(&a.1));
        let (a, b) = (user_key(&a.0, &a.1), user_key(&b.0, &b.1));
        prop_assert_eq!(key::compare(&a, &b), want);
        prop_assert_eq!(key::compare(&b, &a), want.reverse());
    }
}

/// Every shape of entries at block sizes around the defaults.
#[test]
fn shapes_at_default_sizes() {
    for shape in SHAPES {
        let rows = entries(shape, 3000, 9);
        let bytes = table(&WriterOptions::default(), &rows);
        assert!(read_all(&bytes).unwrap() == rows, "{shape:?}");
    }
}

/// The writer keeps a block and the index: whatever the length of the file, bytes come out as blocks fill.
#[test]
fn bytes_come_out_as_blocks_fill() {
    let block_len = 4 << 10;
    let options = WriterOptions { compression: Compression::None, block_len, ..WriterOptions::default() };
    let mut writer = Writer::new(options).unwrap();
    let (mut out, mut given, mut written) = (Vec::new(), 0, 0);
    let mut roachkey = vec![b'p'; 300];
    for n in 0..50_000u32 {
        roachkey.truncate(300);
        roachkey.extend_from_slice(&n.to_be_bytes());
        let value = vec![n as u8; if n % 5000 == 0 { 1 << 20 } else { 200 }];
        writer.add(&user_key(&roachkey, &5u64.to_be_bytes()), &value, &mut out).unwrap();
        written += out.len();
        out.clear();
        given += value.len();
        assert!(given <= written + block_len + value.len(), "{} bytes are kept", given - written);
    }
    let finished = writer.finish(&mut out);
    assert_eq!(finished.len as usize, written + out.len());
    // What is left is a block, the index of two levels, and the properties.
    assert!(out.len() < 2 << 20, "{}", out.len());
}

/// Properties of a default table, name by name, as the format page lists them.
#[test]
fn properties_of_the_page() {
    let rows = [
        (user_key(b"a", &2u64.to_be_bytes()), b"xy".to_vec()),
        (user_key(b"b", &[0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]), Vec::new()),
        (user_key(b"c", &1u64.to_be_bytes()), b"z".to_vec()),
    ];
    let bytes = table(&WriterOptions::default(), &rows);
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    let properties: BTreeMap<_, _> = reader.properties().iter().collect();
    let get = |name: &str| properties[name.as_bytes()];
    assert_eq!(get("crdb.ts.min"), 1u64.to_be_bytes());
    assert_eq!(get("crdb.ts.max"), [0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1]);
    assert_eq!(get("rocksdb.block.based.table.index.type"), [0; 4]);
    assert_eq!(get("rocksdb.column.family.id"), [0xff, 0xff, 0xff, 0xff, 0x07]);
    assert_eq!(get("rocksdb.comparator"), b"cockroach_comparator");
    assert_eq!(get("rocksdb.compression"), b"Snappy");
    assert_eq!(get("rocksdb.external_sst_file.global_seqno"), [0; 8]);
    assert_eq!(get("rocksdb.external_sst_file.version"), [2, 0, 0, 0]);
    assert_eq!(get("rocksdb.block.based.table.prefix.filtering"), b"0");
    assert_eq!(reader.properties().number(property::NUM_ENTRIES), Ok(Some(3)));
    assert_eq!(reader.properties().number(property::RAW_KEY_SIZE), Ok(Some(3 * 19 + 4)));
    assert_eq!(reader.properties().number(property::RAW_VALUE_SIZE), Ok(Some(3)));
    assert_eq!(reader.properties().len(), 30);
    assert!(!properties.contains_key(property::INDEX_PARTITIONS.as_bytes()));
}

#[test]
fn wrong_entries_are_refused_and_change_nothing() {
    let mut writer = Writer::new(WriterOptions::default()).unwrap();
    let mut out = Vec::new();
    let key = user_key(b"k", &5u64.to_be_bytes());
    writer.add(&key, b"v", &mut out).unwrap();
    let newer = user_key(b"k", &6u64.to_be_bytes());
    assert!(matches!(writer.add(&key, b"", &mut out), Err(WriteError::Order(..))));
    assert!(matches!(writer.add(&newer, b"", &mut out), Err(WriteError::Order(..))));
    assert!(matches!(writer.add(b"l\0", b"", &mut out), Err(WriteError::NoVersion(_))));
    assert!(matches!(writer.add(b"", b"", &mut out), Err(WriteError::MalformedKey(_))));
    assert!(matches!(writer.add(b"l\x09", b"", &mut out), Err(WriteError::MalformedKey(_))));
    writer.finish(&mut out);
    assert_eq!(read_all(&out).unwrap(), [(key, b"v".to_vec())]);
    let pebble = WriterOptions { format: TableFormat::PebbleV3, ..WriterOptions::default() };
    assert!(matches!(Writer::new(pebble), Err(WriteError::Format(..))));
}

/// Metadata files hold keys without versions.
#[test]
fn versionless_tables() {
    let rows: Vec<Entry> = ["a", "b", "ba"].iter().map(|k| (user_key(k.as_bytes(), b""), vec![1])).collect();
    let options = WriterOptions { versionless: true, ..WriterOptions::default() };
    let bytes = table(&options, &rows);
    assert_eq!(read_all(&bytes).unwrap(), rows);
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    assert_eq!(reader.properties().get("crdb.ts.min"), None);
}

/// Threads may share a reader.
#[test]
fn one_reader_serves_threads() {
    let rows = entries(super::sst_data::Shape::Rows, 2000, 1);
    let options = WriterOptions { block_len: 2000, ..WriterOptions::default() };
    let bytes = table(&options, &rows);
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4 {
            let (reader, rows) = (&reader, &rows);
            scope.spawn(move || {
                let mut rng = Rng(seed);
                let mut iter = reader.iter();
                for _ in 0..200 {
                    let want = &rows[rng.below(rows.len())];
                    iter.seek(&want.0).unwrap();
                    assert_eq!(iter.next().unwrap().unwrap().value, want.1);
                }
            });
        }
    });
}
