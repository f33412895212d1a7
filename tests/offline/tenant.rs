//! A backup that a secondary tenant made of itself, as serverless clusters do: every key has its prefix.

use std::sync::Arc;

use userfilefs::destination::{Local, Memory, Source};
use userfilefs::engine::check::{CheckOptions, Progress, Report, check};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::show::{self, Details};
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::kv::envelope;
use userfilefs::format::manifest::{Manifest, Span, envelope as stored};
use userfilefs::format::sst::{Reader, Writer, WriterOptions};

use crate::support::fixtures::fixtures;

/// Tenant 5.
const PREFIX: [u8; 2] = [0xfe, 0x8d];

fn whole(key: &[u8]) -> Vec<u8> {
    [&PREFIX[..], key].concat()
}

fn moved(span: &Span) -> Span {
    Span { key: whole(&span.key), end_key: whole(&span.end_key) }
}

/// The data file with the prefix before every key, and the number of its entries.
fn move_file(bytes: &[u8]) -> (Vec<u8>, i64) {
    let reader = Reader::open(bytes, bytes.len() as u64).unwrap();
    let mut writer = Writer::new(WriterOptions::default()).unwrap();
    let (mut iter, mut out, mut count) = (reader.iter(), Vec::new(), 0);
    while let Some(entry) = iter.next().unwrap() {
        let (key, _) = entry.mvcc().unwrap();
        let mut value = entry.value.to_vec();
        if !value.is_empty() {
            envelope::seal(&whole(key), &mut value);
        }
        writer.add(&whole(entry.user_key), &value, &mut out).unwrap();
        count += 1;
    }
    writer.finish(&mut out);
    (out, count)
}

/// The backup as a tenant would have made it.
fn of_tenant(source: &Memory) -> Memory {
    let mut moved_source = source.clone();
    let mut manifest = Manifest::from_stored(&source.files["BACKUP_MANIFEST"]).unwrap();
    for span in &mut manifest.proto.spans {
        *span = moved(span);
    }
    for file in &mut manifest.proto.files {
        file.span = file.span.as_ref().map(moved);
        let (bytes, count) = move_file(&source.files[&file.path]);
        let counts = file.entry_counts.as_mut().unwrap();
        counts.data_size = Some(counts.data_size() + count * PREFIX.len() as i64);
        moved_source.files.insert(file.path.clone(), Arc::new(bytes));
    }
    let bytes = manifest.to_stored();
    let sum = stored::checksum(&bytes).to_vec();
    moved_source.files.insert("BACKUP_MANIFEST-CHECKSUM".into(), Arc::new(sum));
    moved_source.files.insert("BACKUP_MANIFEST".into(), Arc::new(bytes));
    moved_source
}

fn open(source: &Memory) -> Backup {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    Backup::open(&source, "", &OpenOptions::default()).unwrap()
}

fn look(source: &Memory) -> Report {
    let source: Arc<dyn Source> = Arc::new(source.clone());
    let options = CheckOptions { open: OpenOptions::default(), threads: 2 };
    check(&source, "", &options, &Progress::default())
}

#[test]
fn tenants_backups_of_themselves_are_read() {
    let Some(root) = fixtures() else { return };
    for folder in ["backups/bank-to/backup", "backups/extra/backup"] {
        let source = Memory::copy_of(&Local::new(root.join(folder))).unwrap();
        let own = of_tenant(&source);
        let (expected, report) = (look(&source), look(&own));
        assert_eq!(report.damages, [], "{folder}");
        assert_eq!(
            (report.rows, report.entries, report.notices),
            (expected.rows, expected.entries, expected.notices)
        );
        let (original, backup) = (open(&source), open(&own));
        let (original_state, state) = (original.state(None).unwrap(), backup.state(None).unwrap());
        for table in state.catalog.tables().filter(|table| table.has_data()) {
            let name = format!("[{}]", table.id());
            let (mut want, mut got) = (Vec::new(), Vec::new());
            original_state.export(&name, ExportFormat::Jsonl, &mut want).unwrap();
            state.export(&name, ExportFormat::Jsonl, &mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), String::from_utf8(want).unwrap(), "{}", table.name());
        }
        let rows = |backup: &Backup| -> Vec<_> {
            let table = show::objects(backup, Details::default()).unwrap();
            table.rows.into_iter().map(|row| row[7].clone()).collect()
        };
        assert_eq!(rows(&backup), rows(&original));
    }
}

#[test]
fn data_of_tenants_are_not_taken_for_tables_of_the_system() {
    let Some(root) = fixtures() else { return };
    let source = Memory::copy_of(&Local::new(root.join("backups/bank-to/backup"))).unwrap();
    let tenant = of_tenant(&source);
    let mut both = source.clone();
    let mut manifest = Manifest::from_stored(&source.files["BACKUP_MANIFEST"]).unwrap();
    let other = Manifest::from_stored(&tenant.files["BACKUP_MANIFEST"]).unwrap();
    manifest.proto.tenants_deprecated = vec![vec![0x08, 5]];
    manifest.proto.spans.push(Span { key: PREFIX.to_vec(), end_key: vec![0xfe, 0x8e] });
    for mut file in other.proto.files {
        let path = format!("tenant-{}", file.path);
        both.files.insert(path.clone(), tenant.files[&file.path].clone());
        file.path = path;
        manifest.proto.files.push(file);
    }
    let bytes = manifest.to_stored();
    both.files.remove("BACKUP_MANIFEST-CHECKSUM");
    both.files.insert("BACKUP_MANIFEST".into(), Arc::new(bytes));
    let (expected, report) = (look(&source), look(&both));
    assert_eq!(report.damages, []);
    assert_eq!((report.rows, report.entries), (expected.rows, 2 * expected.entries));
    let sizes = |source: &Memory| -> Vec<_> {
        let table = show::objects(&open(source), Details::default()).unwrap();
        table.rows.into_iter().filter(|row| row[3].as_deref() != Some("TENANT")).collect()
    };
    assert_eq!(sizes(&both), sizes(&source));
}
