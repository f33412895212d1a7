//! Fuzzing of the table reader: the goldens, changed by a seed. The seeds run in every test run;
//! `USERFILEFS_FUZZ=n` runs n times as many, and `scripts/test --long` 50 times.

use super::sst_data::Rng;
use super::sst_goldens::goldens;
use userfilefs::format::sst::{ChecksumKind, Reader, key};

/// How many rounds to run where `usual` are right for every day.
pub fn rounds(usual: u64) -> u64 {
    let long = if std::env::var_os("USERFILEFS_TEST_LONG").is_some() { 50 } else { 1 };
    let times = std::env::var("USERFILEFS_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(long);
    usual * times
}

/// The target: any bytes, and everything that can be asked of them.
pub fn target(bytes: &[u8]) {
    let Ok(reader) = Reader::open(bytes, bytes.len() as u64) else { return };
    let _ = reader.range_keys();
    let mut calls = 0u64;
    let mut iter = reader.iter().checked();
    loop {
        calls += 1;
        assert!(calls < 1 << 24, "no end");
        match iter.next() {
            Ok(Some(entry)) => {
                let _ = entry.mvcc();
            }
            Ok(None) => break,
            Err(e) => assert!(!e.to_string().is_empty()),
        }
    }
    for target in [&b""[..], b"\0", b"\xbd\x89\0\0\0\x09\x88\0", b"\xff\xff\xff\xff"] {
        let mut iter = reader.iter();
        if iter.seek(target).is_ok()
            && let Ok(Some(entry)) = iter.next()
        {
            let _ = key::compare(entry.user_key, target);
        }
    }
    reader.verify(&mut |e| assert!(!e.to_string().is_empty())).unwrap();
}

/// Changes bytes as a fuzzer would: flips, interesting values, moves, cuts; sometimes then makes every
/// checksum right that it can find, so that the change is seen behind it.
pub fn mutate(rng: &mut Rng, bytes: &mut Vec<u8>) {
    for _ in 0..1 + rng.below(6) {
        if bytes.is_empty() {
            return;
        }
        let at = rng.below(bytes.len());
        let len = rng.below(bytes.len() - at).min(40);
        match rng.below(6) {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes[at] = [0, 1, 0x7f, 0x80, 0xff, 0x10][rng.below(6)],
            2 => bytes.copy_within(at..at + len, at / 2),
            3 => drop(bytes.drain(at..at + len)),
            4 => {
                let part = bytes[at..at + len].to_vec();
                bytes.splice(at..at, part);
            }
            _ => bytes[at] = rng.next() as u8,
        }
    }
}

/// Ends of blocks of a table, as its reader sees them.
fn blocks(bytes: &[u8]) -> Vec<(usize, usize)> {
    let reader = Reader::open(bytes, bytes.len() as u64).unwrap();
    let mut starts: Vec<u64> = reader.metaindex().iter().map(|m| m.handle.offset).collect();
    starts.extend([reader.footer().index.offset, reader.footer().metaindex.offset]);
    let mut iter = reader.iter();
    while let Some(entry) = iter.next().unwrap() {
        starts.push(entry.block_offset);
    }
    starts.push((bytes.len() - reader.format().footer_len()) as u64);
    starts.sort_unstable();
    starts.dedup();
    starts.windows(2).map(|w| (w[0] as usize, w[1] as usize)).collect()
}

#[test]
fn fuzz_whole_files() {
    let mut rng = Rng(1);
    for (_, golden) in goldens() {
        for _ in 0..rounds(400) {
            let mut bytes = golden.clone();
            mutate(&mut rng, &mut bytes);
            target(&bytes);
        }
    }
}

#[test]
fn fuzz_behind_checksums() {
    let mut rng = Rng(2);
    for (_, golden) in goldens() {
        let kind = Reader::open(golden.as_slice(), golden.len() as u64).unwrap().footer().checksum;
        let blocks = blocks(&golden);
        for _ in 0..rounds(600) {
            let mut bytes = golden.clone();
            let (start, end) = blocks[rng.below(blocks.len())];
            let mut block = bytes[start..end - 4].to_vec();
            let len = block.len();
            mutate(&mut rng, &mut block);
            block.resize(len, 0);
            let (payload, kind_byte) = (&block[..len - 1], block[len - 1]);
            let sum = kind.compute(payload, kind_byte);
            bytes[start..end - 4].copy_from_slice(&block);
            bytes[end - 4..end].copy_from_slice(&sum.to_le_bytes());
            target(&bytes);
        }
    }
    assert_eq!(ChecksumKind::Crc32c.to_footer(), 1);
}
