//! Backups of our own making, for our reader here and for a real server's RESTORE
//! (`scripts/make-interop-samples DIR`).

mod data;
mod model;
mod more;
mod types;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;

use userfilefs::destination::{Memory, Source};
use userfilefs::engine::check::{CheckOptions, Progress, check};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::{Backup, OpenOptions, asof};

use super::go_verifier::verifier;
use write::{Expected, PASSPHRASE, README, Sample, all};

fn memory(files: &BTreeMap<String, Vec<u8>>) -> Arc<dyn Source> {
    let files = files.iter().map(|(name, content)| (name.clone(), Arc::new(content.clone()))).collect();
    Arc::new(Memory { files })
}

fn options(sample: &Sample) -> OpenOptions {
    OpenOptions {
        passphrase: sample.encrypted.then(|| PASSPHRASE.as_bytes().to_vec()),
        from: sample.from.clone(),
        stores: sample.stores.iter().map(memory).collect(),
        ..OpenOptions::default()
    }
}

fn compare(sample: &Sample, expected: &Expected) {
    let source = memory(&sample.files);
    let backup = Backup::open(&source, "", &options(sample)).unwrap();
    let at = expected.as_of.as_ref().map(|text| asof::snap(asof::parse(text).unwrap(), &backup.manifests()));
    let state = backup.state(at).unwrap();
    for (table, want) in &expected.tables {
        let mut got = Vec::new();
        state
            .export(table, ExportFormat::Jsonl, &mut got)
            .unwrap_or_else(|error| panic!("{} {table}: {error}", sample.name));
        let got = String::from_utf8(got).unwrap();
        for (at, (got, want)) in got.lines().zip(want.lines()).enumerate() {
            assert_eq!(got, want, "{} {} {table} row {}", sample.name, expected.name, at + 1);
        }
        assert_eq!(got.lines().count(), want.lines().count(), "{} {} {table}", sample.name, expected.name);
    }
    for gone in &expected.absent {
        assert!(state.catalog.find_table(gone).is_err(), "{} {}: {gone}", sample.name, expected.name);
    }
}

#[test]
fn our_backups_hold_what_was_put_in() {
    for sample in all(2000, 20 << 10) {
        for expected in &sample.expected {
            compare(&sample, expected);
        }
    }
}

#[test]
fn our_backups_are_clean() {
    for sample in all(500, 10 << 10) {
        let options = CheckOptions { open: options(&sample), threads: 2 };
        let report = check(&memory(&sample.files), "", &options, &Progress::default());
        let damages: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
        assert!(damages.is_empty(), "{}:\n{}", sample.name, damages.join("\n"));
        assert!(report.troubles.is_empty(), "{}: {:?}", sample.name, report.troubles);
        assert!(report.rows > 0);
    }
}

/// The data files of all samples, by an implementation that is not ours.
#[test]
fn pebble_reads_the_samples() {
    let dir = tempfile::tempdir().unwrap();
    let Some(mut verifier) = verifier(dir.path()) else { return };
    let samples = all(2000, 20 << 10);
    let plain = samples.iter().filter(|sample| !sample.encrypted);
    let files = plain.flat_map(|sample| std::iter::once(&sample.files).chain(&sample.stores).flatten());
    let mut tables = 0;
    for (_, content) in files.filter(|(name, _)| name.ends_with(".sst")) {
        let file = dir.path().join(format!("{tables}.sst"));
        std::fs::write(&file, content).unwrap();
        verifier.dump(&file, "list");
        tables += 1;
    }
    assert!(tables > 100, "{tables}");
    verifier.run();
}

/// `scripts/make-interop-samples DIR` runs this with `USERFILEFS_SAMPLES=DIR`; without it nothing is written.
#[test]
fn write_interop_samples() {
    let Some(root) = std::env::var_os("USERFILEFS_SAMPLES").map(std::path::PathBuf::from) else { return };
    std::fs::write(root.join("README.txt"), README).unwrap();
    for sample in all(100_000, 2 << 20) {
        sample.write_to(&root).unwrap_or_else(|error| panic!("{}: {error}", sample.name));
        println!("{}", root.join(&sample.name).display());
    }
}
