//! How fast tables and rows are written and read, against the limit that compression and checksums set.
//!
//! `scripts/bench format [rows [MiB]]` runs it, on one core, and [`backup`] with a backup of so many MiB. The last
//! lines are `RESULT name value goal ok|short`.
//! Speeds are 10^6 bytes of keys and values a second (uncompressed blocks for the limits), the best of three;
//! ratios compare with the limit measured on the same bytes in the same run.

#[path = "backup.rs"]
mod backup;

use std::borrow::Cow;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use userfilefs::format::kv::datum::{self, Datum};
use userfilefs::format::kv::decimal::Decimal;
use userfilefs::format::kv::envelope;
use userfilefs::format::kv::error::Error as KvError;
use userfilefs::format::kv::layout::{Column, Direction, Family, IndexLayout, KeyColumn, TableLayout};
use userfilefs::format::kv::row::RowDecoder;
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::kv::types::{ColumnType, StringKind};
use userfilefs::format::sst::{ChecksumKind, Reader, Writer, WriterOptions, key};

/// Measurements of each kind; the best counts, since other load on the machine only ever slows down.
const ROUNDS: usize = 3;

/// Rows that are made at a time, outside the measured time.
const SLICE: u64 = 250_000;

type Anything = Box<dyn std::error::Error>;
type Outcome = Result<(), Anything>;

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["one", dir, what, threads] => backup::one(Path::new(dir), what, threads.parse()?),
        ["backup", dir, mib] => backup::run(Path::new(dir), mib.parse()?),
        ["tables", rows] => tables(rows.parse()?),
        other => Err(format!("unknown arguments: {other:?}").into()),
    }
}

fn tables(rows: u64) -> Outcome {
    let layout = Arc::new(layout());
    let (mut file, mut written) = (Vec::new(), Written::default());
    for _ in 0..ROUNDS {
        file.clear();
        written = written.best(write(&layout, rows, &mut file)?);
    }
    let raw = written.raw;
    let blocks = blocks(&file)?;
    let plain: usize = blocks.iter().map(|b| b.plain_len).sum();

    let mut buffer = vec![0; blocks.iter().map(|b| b.plain_len).max().unwrap_or(0)];
    let read_limit = best(plain, || inflate(&file, &blocks, &mut buffer))?;
    let scanned = best(raw, || scan(&file, rows, false))?;
    let verified = best(raw, || scan(&file, rows, true))?;
    let decoded = best(raw, || decode(&layout, &file, rows))?;
    let plain_blocks = plain_blocks(&file, &blocks)?;
    let write_limit = best(plain, || deflate(&plain_blocks))?;
    let copied = best(plain, || {
        plain_blocks.iter().for_each(|b| buffer[..b.len()].copy_from_slice(black_box(b)));
        black_box(&mut buffer);
        Ok(())
    })?;

    let wrote = raw as f64 / 1e6 / written.sst;
    let rows_of = |speed: f64| rows as f64 * speed * 1e6 / raw as f64;
    report("format_rows", rows as f64);
    report("format_row_bytes", raw as f64 / rows as f64);
    report("format_memcpy_mb_s", copied);
    report("format_snappy_crc_write_mb_s", write_limit);
    report("format_snappy_crc_read_mb_s", read_limit);
    report("format_sst_write_mb_s", wrote);
    report("format_sst_scan_mb_s", scanned);
    report("format_sst_verify_mb_s", verified);
    report("format_rows_encoded_s", rows as f64 / written.encode);
    report("format_rows_read_and_decoded_s", rows_of(decoded));
    println!("RESULT format_sst_write_vs_snappy_crc {:.2} - ok", wrote / write_limit);
    let ratio = scanned / read_limit;
    println!(
        "RESULT format_sst_scan_vs_snappy_crc {ratio:.2} ge 0.5 {}",
        if ratio >= 0.5 { "ok" } else { "short" }
    );
    let ratio = verified / read_limit;
    println!("RESULT format_sst_verify_vs_snappy_crc {ratio:.2} - ok");
    println!("RESULT format_decode_vs_snappy_crc {:.2} - ok", decoded / read_limit);
    Ok(())
}

fn report(name: &str, value: f64) {
    println!("RESULT {name} {value:.0} - ok");
}

/// Runs `work` over `bytes` bytes several times; the best speed in MB/s.
fn best(bytes: usize, mut work: impl FnMut() -> Outcome) -> Result<f64, Anything> {
    let mut fastest = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        work()?;
        fastest = fastest.min(start.elapsed().as_secs_f64());
    }
    Ok(bytes as f64 / 1e6 / fastest)
}

fn columns() -> [(&'static str, ColumnType); 10] {
    let text = ColumnType::String { kind: StringKind::Text, width: 0 };
    [
        ("id", ColumnType::Int { width: 64 }),
        ("name", text.clone()),
        ("mail", text.clone()),
        ("balance", ColumnType::Decimal { precision: 12, scale: 2 }),
        ("created", ColumnType::TimestampTz { precision: None }),
        ("born", ColumnType::Date),
        ("active", ColumnType::Bool),
        ("score", ColumnType::Float { width: 64 }),
        ("token", ColumnType::Uuid),
        ("note", text),
    ]
}

/// A table of ten columns in one family.
fn layout() -> TableLayout {
    let columns: Vec<Column> = (1..)
        .zip(columns())
        .map(|(id, (name, ty))| Column { id, name: name.to_owned(), ty, nullable: id > 1, is_virtual: false })
        .collect();
    let primary = IndexLayout {
        version: 1,
        ..IndexLayout::primary(vec![KeyColumn { id: 1, direction: Direction::Asc }])
    };
    let families = vec![Family { id: 0, column_ids: (1..=10).collect(), default_column_id: 0 }];
    TableLayout {
        key_prefix: Vec::new(),
        table_id: 53,
        name: "bench.public.t".to_owned(),
        columns,
        primary,
        families,
        indexes: Vec::new(),
    }
}

fn row(i: u64) -> Vec<Datum<'static>> {
    let mix = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let pick = |n: u64| (mix >> 20) % n;
    let text = |s: String| Datum::String(Cow::Owned(s.into_bytes()));
    let mut token = [0; 16];
    token[..8].copy_from_slice(&mix.to_be_bytes());
    token[8..].copy_from_slice(&mix.rotate_left(29).to_be_bytes());
    vec![
        Datum::Int(i.cast_signed()),
        text(
            ["Alice Meyer", "Bob van Dam", "Carmen Diaz", "Dmitri Orlov"][(mix >> 9) as usize % 4].to_owned(),
        ),
        text(format!("user{}@example.com", mix >> 40)),
        Datum::Decimal(Decimal::from_i128(i128::from(pick(10_000_000)), -2)),
        Datum::Timestamp(datum::Instant { secs: 1_700_000_000 + i.cast_signed(), nanos: 250_000_000 }),
        Datum::Date(pick(20_000).cast_signed()),
        Datum::Bool(pick(2) == 0),
        Datum::Float(pick(1_000_000) as f64 / 1000.0),
        Datum::Uuid(token),
        if pick(3) == 0 { Datum::Null } else { text(format!("note {}", pick(1000))) },
    ]
}

/// The same with a text of a kilobyte, which snappy packs to about a third.
fn wide_row(i: u64) -> Vec<Datum<'static>> {
    const WORDS: [&str; 8] =
        ["transfer ", "of the ", "monthly ", "balance ", "to ", "customer ", "invoice ", "paid by "];
    let mut datums = row(i);
    let (mut note, mut mix) = (String::new(), i);
    while note.len() < 1000 {
        mix = mix.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        note.push_str(WORDS[(mix >> 61) as usize]);
        if mix >> 50 & 7 == 0 {
            note.push_str(&(mix >> 44).to_string());
        }
    }
    if let Some(last) = datums.last_mut() {
        *last = Datum::String(Cow::Owned(note.into_bytes()));
    }
    datums
}

/// Seconds and bytes of one run of writing.
#[derive(Default)]
struct Written {
    encode: f64,
    sst: f64,
    raw: usize,
}

impl Written {
    fn best(self, other: Written) -> Written {
        if self.raw == 0 {
            return other;
        }
        Written { encode: self.encode.min(other.encode), sst: self.sst.min(other.sst), raw: other.raw }
    }
}

/// Writes the table to `file`; measures encoding and writing apart, making the rows not at all.
fn write(layout: &Arc<TableLayout>, rows: u64, file: &mut Vec<u8>) -> Result<Written, Anything> {
    let (mut seconds, mut next) = (Written::default(), 0);
    let mut writer = Writer::new(WriterOptions::default())?;
    let mut encoder = RowEncoder::new(layout.clone())?;
    let version = 0x18e9_d22f_00d2_a493u64.to_be_bytes();
    while next < rows {
        let slice: Vec<_> = (next..rows.min(next + SLICE)).map(row).collect();
        next += slice.len() as u64;
        let mut bytes = Vec::with_capacity(slice.len() * 200);
        let mut ends = Vec::with_capacity(slice.len());
        let start = Instant::now();
        for row in &slice {
            encoder.primary::<KvError>(row, &mut |roachkey, value| {
                key::put_user_key(&mut bytes, roachkey, &version);
                let key_end = bytes.len();
                bytes.extend_from_slice(value);
                ends.push((key_end, bytes.len()));
                Ok(())
            })?;
        }
        seconds.encode += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let mut at = 0;
        for (key_end, end) in ends {
            writer.add(&bytes[at..key_end], &bytes[key_end..end], file)?;
            at = end;
        }
        seconds.sst += start.elapsed().as_secs_f64();
    }
    seconds.raw = usize::try_from(writer.raw_len())?;
    let start = Instant::now();
    writer.finish(file);
    seconds.sst += start.elapsed().as_secs_f64();
    Ok(seconds)
}

fn scan(file: &[u8], rows: u64, checked: bool) -> Outcome {
    let reader = Reader::open(file, file.len() as u64)?;
    let mut iter = if checked { reader.iter().checked() } else { reader.iter() };
    let mut seen = 0;
    while let Some(entry) = iter.next()? {
        black_box((entry.user_key, entry.value));
        seen += 1;
    }
    expect(seen, rows)
}

/// Reads and decodes every row, with all checksums.
fn decode(layout: &Arc<TableLayout>, file: &[u8], rows: u64) -> Outcome {
    let reader = Reader::open(file, file.len() as u64)?;
    let decoder = RowDecoder::new(layout.clone())?;
    let (mut iter, mut seen) = (reader.iter(), 0);
    while let Some(entry) = iter.next()? {
        let (roachkey, _) = entry.mvcc()?;
        let mut row = Vec::with_capacity(10);
        decoder.decode(&[(roachkey, envelope::strip_header(entry.value)?)], &mut row)?;
        black_box(&row);
        seen += 1;
    }
    expect(seen, rows)
}

fn expect(seen: u64, rows: u64) -> Outcome {
    if seen == rows { Ok(()) } else { Err(format!("{seen} of {rows} rows").into()) }
}

/// A data block in the file.
struct Stored {
    start: usize,
    /// End of the payload; the type byte follows.
    end: usize,
    plain_len: usize,
}

/// Where the data blocks are: between the offsets that the entries name.
fn blocks(file: &[u8]) -> Result<Vec<Stored>, Anything> {
    let reader = Reader::open(file, file.len() as u64)?;
    let mut starts = Vec::new();
    let mut iter = reader.iter();
    while let Some(entry) = iter.next()? {
        if starts.last() != Some(&(entry.block_offset as usize)) {
            starts.push(entry.block_offset as usize);
        }
    }
    starts.push(reader.footer().index.offset as usize);
    let stored = starts.windows(2).map(|w| {
        let end = w[1] - 5;
        let snappy = file[end] == 1;
        let plain_len = if snappy { snap::raw::decompress_len(&file[w[0]..end])? } else { end - w[0] };
        Ok(Stored { start: w[0], end, plain_len })
    });
    stored.collect()
}

/// What any reader must do: verify each checksum and uncompress each block.
fn inflate(file: &[u8], blocks: &[Stored], buffer: &mut [u8]) -> Outcome {
    for block in blocks {
        let payload = &file[block.start..block.end];
        black_box(ChecksumKind::Crc32c.compute(payload, file[block.end]));
        if file[block.end] == 1 {
            snap::raw::Decoder::new().decompress(payload, buffer)?;
        } else {
            buffer[..payload.len()].copy_from_slice(payload);
        }
        black_box(&buffer);
    }
    Ok(())
}

fn plain_blocks(file: &[u8], blocks: &[Stored]) -> Result<Vec<Vec<u8>>, Anything> {
    let inflate = |b: &Stored| match file[b.end] {
        1 => Ok(snap::raw::Decoder::new().decompress_vec(&file[b.start..b.end])?),
        _ => Ok(file[b.start..b.end].to_vec()),
    };
    blocks.iter().map(inflate).collect()
}

/// What any writer must do: compress each block and compute its checksum.
fn deflate(blocks: &[Vec<u8>]) -> Outcome {
    let mut encoder = snap::raw::Encoder::new();
    let mut out = vec![0; snap::raw::max_compress_len(256 << 10)];
    for block in blocks {
        let len = encoder.compress(block, &mut out)?;
        black_box(ChecksumKind::Crc32c.compute(&out[..len], 1));
    }
    Ok(())
}
