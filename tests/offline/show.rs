//! `show` against what the server printed.

use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Local, Source};
use userfilefs::engine::show::{self, Details};
use userfilefs::engine::tabular::{Format, Table};
use userfilefs::engine::{Backup, OpenOptions};

use crate::support::fixtures::fixtures;

fn open(folder: &Path) -> Backup {
    let source: Arc<dyn Source> = Arc::new(Local::new(folder));
    Backup::open(&source, "", &OpenOptions::default()).unwrap()
}

fn compare(table: &Table, recorded: &Path) {
    let want = std::fs::read_to_string(recorded).unwrap();
    similar(&table.print(Format::Csv), &want, &recorded.display().to_string());
}

fn similar(got: &str, want: &str, what: &str) {
    for (number, (got, want)) in got.lines().zip(want.lines()).enumerate() {
        assert_eq!(got, want, "{what} line {}", number + 1);
    }
    assert_eq!(got, want, "{what}");
}

const ALL: Details = Details { schemas: true, privileges: true, debug_ids: false };
const SCHEMAS: Details = Details { schemas: true, privileges: false, debug_ids: false };

#[test]
fn shows_what_the_server_shows() {
    let Some(root) = fixtures() else { return };
    let mut compared = 0;
    for (backup, records) in [
        ("backups/bank-to/backup", "backups/bank-to"),
        ("backups/startrek/backup/2026/11/20-181709.68", "backups/startrek"),
        ("old-versions/v1.1.9/backup", "old-versions/v1.1.9"),
        ("old-versions/v2.1.8/backup", "old-versions/v2.1.8"),
        ("old-versions/cluster-v20.1.7/backup", "old-versions/cluster-v20.1.7"),
    ] {
        let (backup, records) = (open(&root.join(backup)), root.join(records));
        for (file, table) in [
            ("show_backup_default.csv", show::objects(&backup, Details::default())),
            ("show_backup_SCHEMAS.csv", show::objects(&backup, SCHEMAS)),
            ("show_backup_schemas.csv", show::objects(&backup, SCHEMAS)),
            ("show_backup_SCHEMAS_privileges.csv", show::objects(&backup, ALL)),
            ("show_backup_FILES.csv", Ok(show::files(&backup))),
            ("show_backup_RANGES.csv", Ok(show::ranges(&backup))),
        ] {
            if records.join(file).is_file() {
                compare(&table.unwrap(), &records.join(file));
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 5 + 1 + 4 + 4);
}

#[test]
fn lists_backups_of_a_collection() {
    let Some(root) = fixtures() else { return };
    let table = show::backups(&Local::new(root.join("backups/startrek/backup"))).unwrap();
    compare(&table, &root.join("backups/startrek/show_backups.csv"));
    let bank = show::backups(&Local::new(root.join("backups/bank-into/backup"))).unwrap();
    assert_eq!(bank.print(Format::Table).lines().last(), Some("(2 rows)"));
    let none = show::backups(&Local::new(root.join("no such folder"))).unwrap();
    assert_eq!(none.print(Format::Table), "  path\n--------\n(0 rows)\n");
}

/// What a transcript shows behind a statement.
fn transcript(text: &str, statement: &str) -> String {
    let after = text.split(&format!("> {statement}\n")).nth(1).unwrap();
    after.split("[exit ").next().unwrap().to_owned()
}

#[test]
fn tables_are_set_as_the_servers_client_sets_them() {
    let Some(root) = fixtures() else { return };
    let text = std::fs::read_to_string(root.join("transcripts/3-backup.md")).unwrap();
    let backup = open(&root.join("backups/bank-to/backup"));
    for (statement, table) in [
        ("SHOW BACKUP 'userfile:///bank-to'", show::objects(&backup, Details::default())),
        ("SHOW BACKUP SCHEMAS 'userfile:///bank-to'", show::objects(&backup, SCHEMAS)),
        ("SHOW BACKUP FILES 'userfile:///bank-to'", Ok(show::files(&backup))),
        ("SHOW BACKUP RANGES 'userfile:///bank-to'", Ok(show::ranges(&backup))),
    ] {
        similar(&table.unwrap().print(Format::Table), &transcript(&text, statement), statement);
    }
}

#[test]
fn a_collection_is_opened_by_its_latest_backup() {
    let Some(root) = fixtures() else { return };
    let source: Arc<dyn Source> = Arc::new(Local::new(root.join("backups/bank-into/backup")));
    let latest = OpenOptions { from: Some("LATEST".into()), ..Default::default() };
    let backup = Backup::open(&source, "", &latest).unwrap();
    assert_eq!(backup.layers[0].folder, "2026/11/20-180850.76");
    let named = OpenOptions { from: Some("/2026/11/20-180849.43".into()), ..Default::default() };
    assert_eq!(Backup::open(&source, "", &named).unwrap().layers[0].folder, "2026/11/20-180849.43");
    let error = Backup::open(&source, "", &OpenOptions::default()).err().unwrap();
    assert!(error.to_string().ends_with("is the root of a backup collection"), "{error}");
    let missing = Backup::open(&source, "2026/11", &OpenOptions::default()).err().unwrap();
    assert!(missing.to_string().contains("holds no finished backup"), "{missing}");
    let secret =
        OpenOptions { from: Some("latest".into()), passphrase: Some(b"x".to_vec()), ..Default::default() };
    let error = Backup::open(&source, "", &secret).err().unwrap();
    assert_eq!(error.to_string(), "could not find or read encryption information");
}
