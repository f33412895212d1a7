//! `check` and `export` of a large backup: speed against the limit, scaling with threads, memory.
//!
//! Each measurement is a process of its own, which tells its time and its largest resident size.

use std::fs::File;
use std::hint::black_box;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Instant;

use userfilefs::destination::{Local, Source};
use userfilefs::engine::check::{CheckOptions, Progress, check};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::descriptor::build::{self, ColumnSpec, IndexSpec, TableSpec};
use userfilefs::format::descriptor::layout::index_span;
use userfilefs::format::descriptor::{Catalog, Descriptor};
use userfilefs::format::kv::datum::Datum;
use userfilefs::format::kv::layout::Direction::Asc;
use userfilefs::format::kv::layout::TableLayout;
use userfilefs::format::kv::mvcc;
use userfilefs::format::kv::row::row_prefix;
use userfilefs::format::kv::row_encode::RowEncoder;
use userfilefs::format::manifest::{
    File as ManifestFile, Manifest, RowCount, Span, Timestamp, envelope, names,
};
use userfilefs::format::sst::{Writer, WriterOptions};

use super::{Anything, Outcome, blocks, columns, inflate, report, row, wide_row};

const TABLE: u32 = 120;
const END: i64 = 1_614_556_800_000_000_000;
/// Bytes of keys and values in a data file, as the server cuts them.
const FILE_LEN: u64 = 64 << 20;
/// Largest resident size of a command, in bytes.
const MEMORY_MAX: u64 = 200 << 20;

/// One data file at a time.
struct Files<'d> {
    dir: &'d Path,
    index: u32,
    open: Option<(Writer, Vec<u8>, RowCount)>,
    begin: Vec<u8>,
    done: Vec<ManifestFile>,
    stored: u64,
}

impl Files<'_> {
    fn add(&mut self, key: &[u8], value: &[u8]) -> Outcome {
        if self.open.as_ref().is_some_and(|(writer, _, _)| writer.raw_len() >= FILE_LEN) {
            let next = row_prefix(key)?.to_vec();
            self.close(next)?;
        }
        if self.open.is_none() {
            self.open = Some((Writer::new(WriterOptions::default())?, Vec::new(), RowCount::new(0, 0, 0)));
        }
        let Some((writer, bytes, counts)) = &mut self.open else { return Ok(()) };
        counts.data_size = Some(counts.data_size() + (key.len() + value.len()) as i64);
        let number = if self.index == 1 { &mut counts.rows } else { &mut counts.index_entries };
        *number = Some(number.unwrap_or(0) + 1);
        writer.add(&mvcc::join(key, mvcc::Timestamp::from_wall(END as u64 - 5)), value, bytes)?;
        Ok(())
    }

    fn close(&mut self, end: Vec<u8>) -> Outcome {
        let Some((writer, mut bytes, counts)) = self.open.take() else { return Ok(()) };
        writer.finish(&mut bytes);
        let path = format!(
            "data/{}.sst",
            names::unique_int(END, 1) + ((self.done.len() as i64) << 15) + i64::from(self.index)
        );
        File::create(self.dir.join(&path))?.write_all(&bytes)?;
        self.stored += bytes.len() as u64;
        let span = Span { key: std::mem::replace(&mut self.begin, end.clone()), end_key: end };
        self.done.push(ManifestFile {
            span: Some(span),
            path,
            entry_counts: Some(counts),
            ..ManifestFile::default()
        });
        Ok(())
    }
}

/// The table of the other measurements, with an index of its first text.
fn table() -> TableSpec {
    let columns = columns().into_iter().map(|(name, ty)| ColumnSpec {
        name: name.into(),
        ty,
        nullable: name != "id",
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    });
    TableSpec {
        id: TABLE,
        database: 110,
        schema: 29,
        name: "t".into(),
        columns: columns.collect(),
        primary: vec![("id".into(), Asc)],
        indexes: vec![IndexSpec {
            name: "t_created_idx".into(),
            columns: vec![("created".into(), Asc)],
            ..IndexSpec::default()
        }],
        modified: END - 10,
        ..TableSpec::default()
    }
}

/// Writes a backup of so many bytes or a little more. Returns rows and bytes.
fn write(dir: &Path, wanted: u64, row: fn(u64) -> Vec<Datum<'static>>) -> Result<(u64, u64), Anything> {
    std::fs::create_dir_all(dir.join("data"))?;
    let table = build::table(&table(), &|_| None)?;
    let descriptors =
        [build::database(110, "bench", &[], END - 10), Descriptor::Table(Box::new(table.clone()))];
    let raw: Vec<Vec<u8>> = descriptors.iter().map(Descriptor::encode).collect();
    let layout: Arc<TableLayout> = Arc::new(Catalog::new(raw.iter().map(Vec::as_slice))?.layout(&table)?);
    let mut encoder = RowEncoder::new(layout)?;
    let spans = [index_span(TABLE, 1), index_span(TABLE, 2)];
    let new = |index: u32| Files {
        dir,
        index,
        open: None,
        begin: index_span(TABLE, index).key,
        done: Vec::new(),
        stored: 0,
    };
    // Both grow in key order: times follow ids.
    let (mut rows, mut entries, mut count) = (new(1), new(2), 0);
    while rows.stored + entries.stored < wanted {
        for _ in 0..10_000 {
            let datums = row(count);
            count += 1;
            let mut failed: Outcome = Ok(());
            encoder.primary(&datums, &mut |key: &[u8], value: &[u8]| {
                failed = rows.add(key, value);
                Ok::<(), userfilefs::format::kv::error::Error>(())
            })?;
            failed?;
            let mut failed: Outcome = Ok(());
            encoder.index(0, &datums, &mut |key: &[u8], value: &[u8]| {
                failed = entries.add(key, value);
                Ok::<(), userfilefs::format::kv::error::Error>(())
            })?;
            failed?;
        }
    }
    rows.close(spans[0].end_key.clone())?;
    entries.close(spans[1].end_key.clone())?;
    let stored = rows.stored + entries.stored;
    let mut manifest = Manifest::default();
    manifest.proto.end_time = Some(Timestamp::from_nanos(END).into());
    manifest.proto.format_version = 1;
    manifest.proto.spans = spans.to_vec();
    manifest.proto.files = rows.done;
    manifest.proto.files.append(&mut entries.done);
    manifest.proto.descriptors = raw;
    manifest.proto.complete_dbs = vec![110];
    let packed = manifest.to_stored();
    std::fs::write(dir.join("BACKUP_MANIFEST"), &packed)?;
    std::fs::write(dir.join("BACKUP_MANIFEST-CHECKSUM"), envelope::checksum(&packed))?;
    Ok((count, stored))
}

/// One measurement, in a process of its own: `check N`, `export` or `limit`. Prints seconds and KiB.
pub fn one(dir: &Path, what: &str, threads: usize) -> Outcome {
    let source: Arc<dyn Source> = Arc::new(Local::new(dir));
    let start = Instant::now();
    match what {
        "check" => {
            let options = CheckOptions { open: OpenOptions::default(), threads };
            let report = check(&source, "", &options, &Progress::default());
            if report.damage_count > 0 || !report.troubles.is_empty() || report.rows == 0 {
                return Err(format!("{:?} {:?}", report.damages.first(), report.troubles).into());
            }
        }
        "export" => {
            let backup = Backup::open(&source, "", &OpenOptions::default())?;
            let state = backup.state(None)?;
            state.export("bench.public.t", ExportFormat::Jsonl, &mut std::io::sink())?;
        }
        "limit" => {
            let mut buffer = Vec::new();
            for listed in source.list("data/")? {
                let file = source.read(&listed.name)?;
                let blocks = blocks(&file)?;
                let longest = blocks.iter().map(|block| block.plain_len).max().unwrap_or(0);
                buffer.resize(longest.max(buffer.len()), 0);
                let start = Instant::now();
                inflate(&file, &blocks, &mut buffer)?;
                black_box(&buffer);
                print!("{} ", start.elapsed().as_micros());
            }
        }
        other => return Err(format!("{other} is not a measurement").into()),
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    println!("{} {}", start.elapsed().as_micros(), peak.trim().trim_end_matches(" kB"));
    Ok(())
}

fn measure(dir: &Path, what: &str, threads: usize) -> Result<Vec<u64>, Anything> {
    let program = std::env::current_exe()?;
    let output = Command::new(program).arg("one").arg(dir).arg(what).arg(threads.to_string()).output()?;
    if !output.status.success() {
        return Err(format!("{what}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// Speed in MB/s of stored bytes, and the largest resident size in bytes.
fn speed(dir: &Path, what: &str, threads: usize, stored: u64) -> Result<(f64, u64), Anything> {
    let (mut best, mut peak) = (0f64, 0);
    for _ in 0..super::ROUNDS {
        if let [micros, kib] = measure(dir, what, threads)?.as_slice() {
            best = best.max(stored as f64 / *micros as f64);
            peak = peak.max(kib << 10);
        }
    }
    Ok((best, peak))
}

/// Writes a backup of `mib` MiB below `dir`, measures, and removes it; first with narrow rows, then with wide ones.
pub fn run(dir: &Path, mib: u64) -> Outcome {
    let dir = dir.join("backup");
    for (name, row) in [("", row as fn(u64) -> Vec<Datum<'static>>), ("wide_", wide_row)] {
        let (rows, stored) = write(&dir, mib << 20, row)?;
        let measured = measured(&dir, name, rows, stored);
        std::fs::remove_dir_all(&dir)?;
        measured?;
    }
    Ok(())
}

fn measured(dir: &Path, name: &str, rows: u64, stored: u64) -> Outcome {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let limits = measure(dir, "limit", 1)?;
    let limit = stored as f64 / limits.iter().rev().skip(2).sum::<u64>() as f64;
    let (one, peak_one) = speed(dir, "check", 1, stored)?;
    let (all, peak_all) = speed(dir, "check", cores, stored)?;
    let (exported, peak_export) = speed(dir, "export", 1, stored)?;
    report(&format!("format_{name}backup_mib"), stored as f64 / f64::from(1 << 20));
    report(&format!("format_{name}backup_rows"), rows as f64);
    report(&format!("format_{name}backup_limit_mb_s"), limit);
    report(&format!("format_{name}check_mb_s"), one);
    report(&format!("format_{name}check_rows_s"), rows as f64 * one * 1e6 / stored as f64);
    report(&format!("format_{name}export_rows_s"), rows as f64 * exported * 1e6 / stored as f64);
    println!("RESULT format_{name}check_vs_snappy_crc {:.2} - ok", one / limit);
    let (scaling, goal) = (all / one, 0.75 * cores as f64);
    let verdict = |good: bool| if good { "ok" } else { "short" };
    println!(
        "RESULT format_{name}check_scaling_{cores}_cores {scaling:.2} ge {goal:.2} {}",
        verdict(scaling >= goal)
    );
    for (command, peak) in [("check", peak_one.max(peak_all)), ("export", peak_export)] {
        let mib = peak as f64 / f64::from(1 << 20);
        let limit = MEMORY_MAX >> 20;
        println!(
            "RESULT format_{name}{command}_peak_mib {mib:.0} le {limit} {}",
            verdict(peak <= MEMORY_MAX)
        );
    }
    Ok(())
}
