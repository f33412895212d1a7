//! Damaged tables: an error that says where, or the same data; never a panic, never much memory.

use super::sst_data::{Rng, Shape, entries, read_all, table};
use super::sst_fixtures::tables;
use super::sst_goldens::goldens;
use crate::support::alloc::peak;
use userfilefs::format::sst::{
    ChecksumKind, Compression, Reader, TableFormat, Writer, WriterOptions, limits,
};

/// Everything that can be read: entries, range keys, seeks. Errors as text.
fn read_everything(bytes: &[u8]) -> Result<String, String> {
    let mut seen = format!("{:?}", read_all(bytes)?);
    let reader = Reader::open(bytes, bytes.len() as u64).map_err(|e| e.to_string())?;
    seen.push_str(&format!("{:?}", reader.range_keys().map_err(|e| e.to_string())?));
    for roachkey in [&b""[..], b"\xbd\x89\0\0\0\x05", b"\xff"] {
        let mut iter = reader.iter_span(roachkey, b"\xfe").map_err(|e| e.to_string())?;
        let found = iter.next().map_err(|e| e.to_string())?;
        seen.push_str(&format!("{found:?}"));
    }
    Ok(seen)
}

/// Small tables: the goldens, and ours in the formats that we write.
fn small_tables() -> Vec<(String, Vec<u8>)> {
    let mut all: Vec<_> = goldens().into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
    for format in [TableFormat::LevelDb, TableFormat::RocksDbV2] {
        for compression in [Compression::None, Compression::Snappy] {
            let options = WriterOptions { format, compression, block_len: 300, ..WriterOptions::default() };
            let name = format!("ours {format:?} {compression:?}");
            all.push((name, table(&options, &entries(Shape::Versions, 20, 3))));
        }
    }
    all
}

#[test]
fn every_cut_is_an_error() {
    for (name, bytes) in small_tables() {
        for cut in 0..bytes.len() {
            let error = read_everything(&bytes[..cut]).expect_err(&format!("{name} cut at {cut}"));
            assert!(error.contains("offset"), "{error}");
        }
        // Cut at the front, the footer is whole.
        for cut in 1..bytes.len() {
            read_everything(&bytes[cut..]).expect_err(&format!("{name} without its first {cut} bytes"));
        }
    }
}

/// Blocks that are read are covered by checksums; so every flip before the footer is an error, but for
/// filters, which are not read. The footer has no checksum: there a flip may go unnoticed if it changes
/// nothing.
#[test]
fn every_flip_is_an_error_or_changes_nothing() {
    for (name, bytes) in small_tables() {
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let footer_at = bytes.len() - reader.format().footer_len();
        let filter = reader.metaindex().iter().find(|m| m.name.starts_with(b"fullfilter")).map(|m| m.handle);
        let whole = read_everything(&bytes).unwrap();
        let mut damaged = bytes.clone();
        for at in 0..bytes.len() {
            for bit in [0, 3, 7] {
                damaged[at] ^= 1 << bit;
                let seen = read_everything(&damaged);
                let in_filter = filter.is_some_and(|f| (f.offset..f.end().unwrap()).contains(&(at as u64)));
                if at < footer_at && !in_filter {
                    assert!(seen.is_err(), "{name}: bit {bit} of byte {at}");
                } else if let Ok(seen) = seen {
                    assert!(seen == whole, "{name}: bit {bit} of byte {at}");
                }
                damaged[at] = bytes[at];
            }
        }
    }
}

/// What a reader of the data does not notice, `verify` does.
#[test]
fn verify_finds_every_flip() {
    for (name, bytes) in small_tables() {
        let version_at = bytes.len() - 12;
        let mut damaged = bytes.clone();
        for at in 0..bytes.len() {
            damaged[at] ^= 0x10;
            let mut damage = Vec::new();
            if let Ok(reader) = Reader::open(damaged.as_slice(), damaged.len() as u64) {
                reader.verify(&mut |e| damage.push(e)).unwrap();
                assert!(!damage.is_empty() || at == version_at, "{name}: byte {at} of {}", bytes.len());
            }
            damaged[at] = bytes[at];
        }
    }
}

/// One damaged block costs its entries only, and is named.
#[test]
fn reading_goes_on_behind_a_damaged_block() {
    let options = WriterOptions { block_len: 1000, ..WriterOptions::default() };
    let rows = entries(Shape::Rows, 500, 1);
    let mut bytes = table(&options, &rows);
    bytes[2000] ^= 1;
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    let (mut iter, mut seen, mut errors) = (reader.iter(), 0, Vec::new());
    loop {
        match iter.next() {
            Ok(Some(_)) => seen += 1,
            Ok(None) => break,
            Err(e) => errors.push(e.table().unwrap().clone()),
        }
    }
    assert_eq!(errors.len(), 1);
    assert!(errors[0].offset <= 2000 && errors[0].offset > 1000, "{}", errors[0]);
    assert!(seen < rows.len() && seen > rows.len() - 40, "{seen}");
    let mut damage = Vec::new();
    reader.verify(&mut |e| damage.push(e)).unwrap();
    assert!(damage.contains(&errors[0]));
}

/// Random damage to larger files.
#[test]
fn random_damage_to_larger_tables() {
    let mut rng = Rng(42);
    let mut files = tables();
    files.retain(|(_, bytes)| bytes.len() > 3000);
    let options = WriterOptions { block_len: 4000, index_block_len: 500, ..WriterOptions::default() };
    files.push(("ours".to_owned(), table(&options, &entries(Shape::Random, 1000, 1))));
    for (name, bytes) in files {
        let whole = read_all(&bytes).unwrap();
        for round in 0..20 {
            let mut damaged = bytes.clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len());
                damaged[at] = rng.next() as u8;
            }
            if let Ok(seen) = read_all(&damaged) {
                assert!(seen == whole, "{name}, round {round}");
            }
        }
    }
}

/// Replaces the payload of a stored block and makes its checksum right again.
fn reseal(bytes: &mut [u8], offset: usize, len: usize, change: impl FnOnce(&mut [u8])) {
    change(&mut bytes[offset..=offset + len]);
    let sum = ChecksumKind::Crc32c.compute(&bytes[offset..offset + len], bytes[offset + len]);
    bytes[offset + len + 1..offset + len + 5].copy_from_slice(&sum.to_le_bytes());
}

/// Damage below a right checksum, as a hostile writer would make it: no panic, no endless loop, and memory
/// within the stated bound.
#[test]
fn hostile_blocks_with_right_checksums() {
    let mut rng = Rng(7);
    for (name, bytes) in small_tables() {
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        if reader.footer().checksum != ChecksumKind::Crc32c {
            continue;
        }
        let mut places = vec![reader.footer().index, reader.footer().metaindex];
        places.extend(reader.metaindex().iter().map(|m| m.handle));
        let mut iter = reader.iter();
        while let Some(entry) = iter.next().unwrap() {
            let after = places.iter().map(|p| p.offset).filter(|o| *o > entry.block_offset).min().unwrap();
            if !places.iter().any(|p| p.offset == entry.block_offset) {
                let len = after - entry.block_offset - 5;
                places.push(userfilefs::format::sst::Handle { offset: entry.block_offset, len });
            }
        }
        for round in 0..800 {
            let place = places[rng.below(places.len())];
            let mut damaged = bytes.clone();
            reseal(&mut damaged, place.offset as usize, place.len as usize, |payload| {
                for _ in 0..1 + rng.below(3) {
                    let at = rng.below(payload.len());
                    payload[at] = [0, 1, 0x7f, 0x80, 0xff, rng.next() as u8][rng.below(6)];
                }
            });
            let (_, held) = peak(|| walk(&damaged));
            let bound = if name.contains("zstd") { limits::BLOCK_LEN_MAX * 2 } else { bound(damaged.len()) };
            assert!(held <= bound, "{name}, round {round}: {held} bytes held, {bound} allowed");
        }
    }
}

/// The bound that `limits` states.
fn bound(len: usize) -> usize {
    24 * len + (64 << 10)
}

/// Opens and reads without keeping anything.
fn walk(bytes: &[u8]) {
    let Ok(reader) = Reader::open(bytes, bytes.len() as u64) else { return };
    let mut errors = 0;
    let mut iter = reader.iter().checked();
    loop {
        match iter.next() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(_) => errors += 1,
        }
        assert!(errors <= 4 * bytes.len(), "no end");
    }
    drop(iter);
    let mut iter = reader.iter();
    let _ = iter.seek_roachkey(b"\xbd\x89\0\0\0\x05");
    let _ = iter.next();
    drop(iter);
    let _ = reader.verify(&mut |_| {});
}

/// Lengths that promise gigabytes are refused before anything is allocated.
#[test]
fn promised_lengths_are_not_believed() {
    let options = WriterOptions { compression: Compression::Snappy, ..WriterOptions::default() };
    let rows = entries(Shape::Rows, 100, 1);
    let mut bytes = table(&options, &rows);
    let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
    let len = reader.footer().index.offset as usize - 5;
    drop(reader);
    // The preamble of a Snappy block: its uncompressed length.
    reseal(&mut bytes, 0, len, |payload| payload[..5].copy_from_slice(&[0xff, 0xff, 0xff, 0xff, 0x0f]));
    let (error, held) = peak(|| read_all(&bytes).unwrap_err());
    assert!(error.contains("uncompressed block length"), "{error}");
    assert!(held <= bound(bytes.len()), "{held}");
}

/// Memory of writing and reading does not grow with the table, but for its index.
#[test]
fn memory_is_bounded_by_blocks() {
    let value = vec![7u8; 200];
    let (bytes, held) = peak(|| {
        let mut writer = Writer::new(WriterOptions::default()).unwrap();
        let (mut file, mut out, mut user_key) = (Vec::with_capacity(16 << 20), Vec::new(), Vec::new());
        for i in 0..200_000u32 {
            user_key.clear();
            userfilefs::format::sst::key::put_user_key(&mut user_key, &i.to_be_bytes(), &[9; 8]);
            writer.add(&user_key, &value, &mut out).unwrap();
            file.append(&mut out);
        }
        writer.finish(&mut out);
        file.append(&mut out);
        file
    });
    assert!(held < (16 << 20) + (2 << 20), "{held} bytes held for writing");
    let (count, held) = peak(|| {
        let reader = Reader::open(bytes.as_slice(), bytes.len() as u64).unwrap();
        let (mut iter, mut count) = (reader.iter(), 0);
        while iter.next().unwrap().is_some() {
            count += 1;
        }
        count
    });
    assert_eq!(count, 200_000);
    assert!(held < 1 << 20, "{held} bytes held for reading");
}
