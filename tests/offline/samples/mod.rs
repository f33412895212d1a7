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
    let at = expected
        .as_of
        .as_ref()
        .map(|text| asof::snap(asof::parse(text, i64::MAX).unwrap(), &backup.manifests()));
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

/// As `INCREMENTAL FROM` of old versions left them: every layer in some folder.
#[test]
fn layers_in_folders_of_their_own_make_a_chain() {
    let sample = all(10, 10 << 10).into_iter().find(|sample| sample.name == "chain-old-place").unwrap();
    let folder_of = |name: &String| name.strip_suffix("/BACKUP_MANIFEST").map(str::to_owned);
    let mut folders: Vec<String> = sample.files.keys().filter_map(folder_of).collect();
    folders.sort_by_key(String::len);
    let apart = |folder: &String| -> (Arc<dyn Source>, String) {
        let inside = |name: &String| {
            let rest = name.strip_prefix(folder.as_str())?.strip_prefix('/')?;
            (!rest.starts_with("2021")).then(|| rest.to_owned())
        };
        let own = sample.files.iter().filter_map(|(name, content)| Some((inside(name)?, content.clone())));
        (memory(&own.collect()), String::new())
    };
    let (full, _) = apart(&folders[0]);
    let mut open = OpenOptions { layers: folders[1..].iter().map(apart).collect(), ..OpenOptions::default() };
    // The order in which they are named does not matter.
    open.layers.reverse();
    assert_eq!(open.layers.len(), 2);
    let backup = Backup::open(&full, "", &open).unwrap();
    let state = backup.state(None).unwrap();
    let newest = sample.expected.iter().find(|expected| expected.as_of.is_none()).unwrap();
    for (table, want) in &newest.tables {
        let mut got = Vec::new();
        state.export(table, ExportFormat::Jsonl, &mut got).unwrap();
        assert_eq!(String::from_utf8(got).unwrap(), *want, "{table}");
    }
    let options = CheckOptions { open: open.clone(), threads: 1 };
    let report = check(&full, "", &options, &Progress::default());
    assert_eq!((report.damages, report.layers), (Vec::new(), 3));
    // One that is missing is a gap.
    open.layers.pop();
    assert!(Backup::open(&full, "", &open).unwrap().state(None).is_err());
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
