//! `check` on real backups, whole and damaged.

use std::sync::Arc;

use userfilefs::destination::{Local, Memory, Source};
use userfilefs::engine::OpenOptions;
use userfilefs::engine::check::{CheckOptions, Progress, Report, check};
use userfilefs::format::manifest::{Manifest, envelope};

use crate::support::fixtures::{LAYERS, fixtures};

fn look(source: &Arc<dyn Source>) -> Report {
    let options = CheckOptions { open: OpenOptions::default(), threads: 2 };
    check(source, "", &options, &Progress::default())
}

fn memory(source: Memory) -> Arc<dyn Source> {
    Arc::new(source)
}

#[test]
fn real_backups_are_clean() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let source: Arc<dyn Source> = Arc::new(Local::new(root.join(layer)));
        let report = look(&source);
        let damages: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
        assert!(damages.is_empty(), "{layer}:\n{}", damages.join("\n"));
        assert!(report.troubles.is_empty(), "{layer}: {:?}", report.troubles);
        assert_eq!(report.layers, 1);
    }
    let collection: Arc<dyn Source> = Arc::new(Local::new(root.join("backups/bank-into/backup")));
    let report = look(&collection);
    assert_eq!((report.layers, report.damage_count), (2, 0));
    assert!(report.rows > 10_000, "{}", report.rows);
}

fn small(root: &std::path::Path) -> Memory {
    Memory::copy_of(&Local::new(root.join("backups/cust-acct"))).unwrap()
}

fn data_file(source: &Memory) -> String {
    source.files.keys().find(|name| name.ends_with(".sst")).unwrap().clone()
}

#[test]
fn damage_is_found_and_named() {
    let Some(root) = fixtures() else { return };
    let whole = small(&root);
    let sst = data_file(&whole);
    let content = whole.files[&sst].clone();

    let mut flipped = whole.clone();
    let mut bytes = content.to_vec();
    bytes[1000] ^= 1;
    flipped.files.insert(sst.clone(), Arc::new(bytes));
    let report = look(&memory(flipped));
    assert!(report.damage_count >= 1);
    assert!(
        report.damages[0].file.ends_with(&sst) && report.damages[0].offset == Some(0),
        "{:?}",
        report.damages
    );

    let mut missing = whole.clone();
    missing.files.remove(&sst);
    let report = look(&memory(missing));
    assert_eq!(report.damages[0].to_string(), format!("memory/{sst}: the file is missing"));

    let mut cut = whole.clone();
    cut.files.insert(sst.clone(), Arc::new(content[..content.len() - 7].to_vec()));
    assert!(look(&memory(cut)).damage_count >= 1);

    let mut added = whole.clone();
    added.files.insert("77.sst".into(), content.clone());
    added.files.insert("notes.txt".into(), Arc::new(vec![1]));
    let report = look(&memory(added));
    let texts: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "memory/77.sst: data file is not named in the manifest",
            "memory/notes.txt: file is not part of a backup"
        ]
    );

    let mut manifest = whole.clone();
    let mut bytes = manifest.files["BACKUP_MANIFEST"].to_vec();
    bytes[30] ^= 4;
    manifest.files.insert("BACKUP_MANIFEST".into(), Arc::new(bytes));
    let report = look(&memory(manifest));
    assert!(report.damages[0].to_string().contains("checksum mismatch"), "{:?}", report.damages);

    let empty = look(&memory(Memory::default()));
    assert!(empty.damages.is_empty() && empty.troubles.len() == 1);
}

/// Replaces the manifest by a changed one.
fn with_manifest(whole: &Memory, change: impl FnOnce(&mut Manifest)) -> Arc<dyn Source> {
    let mut source = whole.clone();
    let mut manifest = Manifest::from_stored(&source.files["BACKUP_MANIFEST"]).unwrap();
    change(&mut manifest);
    let stored = manifest.to_stored();
    source.files.insert("BACKUP_MANIFEST-CHECKSUM".into(), Arc::new(envelope::checksum(&stored).to_vec()));
    source.files.insert("BACKUP_MANIFEST".into(), Arc::new(stored));
    memory(source)
}

#[test]
fn manifests_that_lose_data_are_found() {
    let Some(root) = fixtures() else { return };
    let whole = Memory::copy_of(&Local::new(root.join("backups/bank-to/backup"))).unwrap();
    // The file with the secondary index of `evolved` is not in the manifest any more.
    let report = look(&with_manifest(&whole, |manifest| {
        manifest.proto.files.retain(|file| !file.span.as_ref().unwrap().key.starts_with(&[0xd4, 0x8b]));
    }));
    let texts: Vec<String> = report.damages.iter().map(ToString::to_string).collect();
    assert!(texts.iter().any(|text| text.contains("is not named in the manifest")), "{texts:?}");
    assert!(
        texts.iter().any(|text| text.contains("index evolved_a_key of bank.public.evolved lacks the entry")),
        "{texts:?}"
    );
    // A span that is too narrow loses rows silently at a restore.
    let report = look(&with_manifest(&whole, |manifest| {
        let span = manifest.proto.files[2].span.as_mut().unwrap();
        span.key.extend([0x8a]);
    }));
    assert!(report.damages.iter().any(|d| d.what.contains("outside the span")), "{:?}", report.damages);
    // An index that no span covers.
    let report = look(&with_manifest(&whole, |manifest| {
        manifest.proto.spans.retain(|span| span.key != [0xce, 0x89]);
    }));
    assert!(report.damages.iter().any(|d| d.what.contains("no backup covers time")), "{:?}", report.damages);
    // Versions after the end of the layer.
    let report = look(&with_manifest(&whole, |manifest| {
        manifest.proto.end_time.as_mut().unwrap().wall_time = Some(1_795_198_114_500_000_000);
    }));
    assert!(
        report.damages.iter().any(|d| d.what.contains("outside the layer's window")),
        "{:?}",
        report.damages
    );
}

#[test]
fn every_flipped_byte_of_a_small_backup_is_found() {
    let Some(root) = fixtures() else { return };
    let whole = Memory::copy_of(&Local::new(root.join("backups/x-to"))).unwrap();
    let mut unseen = Vec::new();
    for name in whole.files.keys().filter(|name| name.ends_with(".sst") || *name == "BACKUP_MANIFEST") {
        for at in 0..whole.files[name].len() {
            let mut damaged = whole.clone();
            let mut bytes = damaged.files[name].to_vec();
            bytes[at] ^= 0x40;
            damaged.files.insert(name.clone(), Arc::new(bytes));
            let report = look(&memory(damaged));
            if report.damage_count == 0 && report.troubles.is_empty() {
                unseen.push(format!("{name}:{at}"));
            }
        }
    }
    assert!(unseen.is_empty(), "{unseen:?}");
}

#[test]
fn rows_that_came_in_two_pieces_may_count_twice() {
    use userfilefs::engine::show::table_of_key;
    use userfilefs::format::descriptor::Catalog;
    let Some(root) = fixtures() else { return };
    let whole = Memory::copy_of(&Local::new(root.join("backups/bank-to/backup"))).unwrap();
    let count_one_more = |table: &str| {
        look(&with_manifest(&whole, |manifest| {
            let catalog = Catalog::of_manifest(manifest).unwrap();
            let id = catalog.find_table(table).unwrap().id();
            let of_table = |file: &&mut userfilefs::format::manifest::File| {
                table_of_key(&file.span.as_ref().unwrap().key) == Some(id)
            };
            let file = manifest.proto.files.iter_mut().find(of_table).unwrap();
            let rows = &mut file.entry_counts.as_mut().unwrap().rows;
            *rows = Some(rows.unwrap_or_default() + 1);
        }))
    };
    // Its rows have several families, so several keys.
    assert_eq!(count_one_more("customers").damage_count, 0);
    let report = count_one_more("big");
    assert!(report.damages[0].what.starts_with("rows: the manifest says"), "{:?}", report.damages);
    // Bytes have no two ways to be counted.
    let report = look(&with_manifest(&whole, |manifest| {
        let counts = manifest.proto.files[0].entry_counts.as_mut().unwrap();
        counts.data_size = Some(counts.data_size() + 1);
    }));
    assert!(report.damages[0].what.starts_with("bytes: the manifest says"), "{:?}", report.damages);
    // Sums of hostile numbers.
    look(&with_manifest(&whole, |manifest| {
        let counts = manifest.proto.files[0].entry_counts.as_mut().unwrap();
        (counts.rows, counts.system_records) = (Some(i64::MAX), Some(i64::MAX));
    }));
}

fn texts(report: &Report) -> Vec<String> {
    report.damages.iter().map(ToString::to_string).collect()
}

#[test]
fn one_file_does_not_hide_the_damages_of_others() {
    let Some(root) = fixtures() else { return };
    let whole = Memory::copy_of(&Local::new(root.join("backups/bank-to/backup"))).unwrap();
    let mut files: Vec<(usize, String)> = whole.files.iter().map(|(n, f)| (f.len(), n.clone())).collect();
    files.retain(|(_, name)| name.ends_with(".sst"));
    files.sort();
    let [.., second, first] = files.as_slice() else { panic!() };
    let mut swapped = whole.clone();
    swapped.files.insert(first.1.clone(), whole.files[&second.1].clone());
    swapped.files.insert(second.1.clone(), whole.files[&first.1].clone());
    let report = look(&memory(swapped));
    for (_, name) in [first, second] {
        let own = report.damages.iter().filter(|damage| damage.file.ends_with(name)).count();
        assert!((1..=20).contains(&own), "{name}: {own}");
    }
    assert!(report.damage_count > 1000);
    let told = report.notices.iter().filter(|notice| notice.contains("more damages of this file")).count();
    assert_eq!(told, 2, "{:?}", report.notices);
}

#[test]
fn the_pointer_of_a_collection_names_a_backup() {
    let Some(root) = fixtures() else { return };
    let whole = Memory::copy_of(&Local::new(root.join("backups/bank-into/backup"))).unwrap();
    assert_eq!(look(&memory(whole.clone())).damage_count, 0);
    for (content, what) in [
        (
            "/2099/01/01-000000.00",
            "memory/LATEST: it names 2099/01/01-000000.00, and there is no such backup",
        ),
        ("/", "memory/LATEST: it names no folder"),
    ] {
        let mut wrong = whole.clone();
        wrong.files.insert("LATEST".into(), Arc::new(content.as_bytes().to_vec()));
        assert_eq!(texts(&look(&memory(wrong))), [what]);
    }
    let mut none = whole.clone();
    none.files.remove("LATEST");
    let report = look(&memory(none));
    assert_eq!(report.damage_count, 0);
    assert!(report.notices.iter().any(|notice| notice.starts_with("memory: no LATEST file")));
    // Where the newest is asked for, the folder that is missing is named.
    let mut wrong = whole;
    wrong.files.insert("LATEST".into(), Arc::new(b"/2099/01/01-000000.00".to_vec()));
    let open = OpenOptions { from: Some("LATEST".into()), ..OpenOptions::default() };
    let report = check(&memory(wrong), "", &CheckOptions { open, threads: 1 }, &Progress::default());
    assert!(report.troubles[0].starts_with("memory/2099/01/01-000000.00 holds no"), "{:?}", report.troubles);
}

#[test]
fn what_is_to_be_read_is_known_before() {
    use std::sync::atomic::Ordering;
    let Some(root) = fixtures() else { return };
    let source: Arc<dyn Source> = Arc::new(Local::new(root.join("backups/bank-to/backup")));
    let progress = Progress::default();
    let options = CheckOptions { open: OpenOptions::default(), threads: 1 };
    let all = std::sync::atomic::AtomicU64::new(u64::MAX);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            // The first bytes that are done are not all that there is to do.
            while progress.done.load(Ordering::Relaxed) == 0 {
                std::thread::yield_now();
            }
            all.store(progress.total.load(Ordering::Relaxed), Ordering::Relaxed);
        });
        assert_eq!(check(&source, "", &options, &progress).damage_count, 0);
        watch.join().unwrap();
    });
    assert!(all.load(Ordering::Relaxed) >= 567_330, "{all:?}");
    assert!(progress.done.load(Ordering::Relaxed) <= progress.total.load(Ordering::Relaxed));
}
