//! Entries for tests of tables, made from a seed, and helpers to write and list them.

use userfilefs::format::sst::{Reader, Writer, WriterOptions, key};

/// A user key and a value.
pub type Entry = (Vec<u8>, Vec<u8>);

/// SplitMix64: small, fast, and the same on every machine.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.next() as u8).collect()
    }
}

pub fn user_key(roachkey: &[u8], version: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    key::put_user_key(&mut out, roachkey, version);
    out
}

/// A version of 8, 12 or 13 bytes.
fn version(rng: &mut Rng) -> Vec<u8> {
    let wall = 0x18e9_d22f_0000_0000u64 + rng.below(1000) as u64;
    let mut version = wall.to_be_bytes().to_vec();
    match rng.below(8) {
        0..=4 => {}
        5..=6 => version.extend_from_slice(&(1 + rng.below(9) as u32).to_be_bytes()),
        _ => version.extend_from_slice(&[0, 0, 0, 3, 1]),
    }
    version
}

/// What the entries look like.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// Rows of a table: a common prefix, counting ids, one version, compressible values.
    Rows,
    /// Several versions a key, among them deleted ones.
    Versions,
    /// Random keys and values of random lengths, zero bytes and `ff` among them.
    Random,
    /// Some values larger than a block.
    Large,
}

pub const SHAPES: [Shape; 4] = [Shape::Rows, Shape::Versions, Shape::Random, Shape::Large];

/// About `count` entries in order, without repetition.
pub fn entries(shape: Shape, count: usize, seed: u64) -> Vec<Entry> {
    let mut rng = Rng(seed);
    let mut made = Vec::with_capacity(count);
    for i in 0..count {
        let mut row_key = vec![0xbd, 0x89];
        row_key.extend_from_slice(&(i as u32).to_be_bytes());
        row_key.push(0x88);
        let (roachkey, version, value) = match shape {
            Shape::Rows => {
                let text = format!("row {i} of the table, mostly like the one before it, {}", i % 7);
                (row_key, 5u64.to_be_bytes().to_vec(), text.into_bytes())
            }
            Shape::Versions => {
                row_key.truncate(5);
                let len = if rng.below(3) == 0 { 0 } else { 10 + rng.below(40) };
                (row_key, version(&mut rng), rng.bytes(len))
            }
            Shape::Random => {
                let mut key = rng.bytes(rng_len(i));
                for byte in &mut key {
                    *byte = [0, 0xff, 1, 0xfe, *byte][rng.below(5)];
                }
                let len = rng.below(300);
                (key, version(&mut rng), rng.bytes(len))
            }
            Shape::Large => {
                let len = if i % 10 == 0 { 20_000 + rng.below(300_000) } else { rng.below(100) };
                let value = if i % 20 == 0 { vec![b'x'; len] } else { rng.bytes(len) };
                (row_key, version(&mut rng), value)
            }
        };
        made.push((user_key(&roachkey, &version), value));
    }
    made.sort_by(|a, b| key::compare(&a.0, &b.0));
    made.dedup_by(|a, b| key::compare(&a.0, &b.0).is_eq());
    made
}

fn rng_len(i: usize) -> usize {
    [1, 2, 3, 9, 12, 30, 200][i % 7]
}

/// The table that holds the entries.
pub fn table(options: &WriterOptions, entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut writer) = (Vec::new(), Writer::new(options.clone()).unwrap());
    for (key, value) in entries {
        writer.add(key, value, &mut out).unwrap();
    }
    assert_eq!(writer.finish(&mut out).len, out.len() as u64);
    out
}

/// All entries of a table, or the first error.
pub fn read_all(table: &[u8]) -> Result<Vec<Entry>, String> {
    let reader = Reader::open(table, table.len() as u64).map_err(|e| e.to_string())?;
    let (mut iter, mut entries) = (reader.iter(), Vec::new());
    while let Some(entry) = iter.next().map_err(|e| e.to_string())? {
        entries.push((entry.user_key.to_vec(), entry.value.to_vec()));
    }
    Ok(entries)
}
