//! `show` against what the server printed.

use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Local, Source};
use userfilefs::engine::show::{self, Details};
use userfilefs::engine::tabular::{Format, Table};
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::descriptor::proto::RangePartition;

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

const ALL: Details = Details { schemas: true, privileges: true, debug_ids: false, backup_type: false };
const SCHEMAS: Details = Details { schemas: true, privileges: false, debug_ids: false, backup_type: false };

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

fn range(name: &str, from: &[u8], to: &[u8]) -> RangePartition {
    RangePartition {
        name: Some(name.into()),
        from_inclusive: Some(from.to_vec()),
        to_exclusive: Some(to.to_vec()),
    }
}

#[test]
fn partitions_stand_in_create_statements() {
    use userfilefs::format::descriptor::build::{self, ColumnSpec, IndexSpec, TableSpec};
    use userfilefs::format::descriptor::create::Qualify;
    use userfilefs::format::descriptor::proto::{ListPartition, Partitioning};
    use userfilefs::format::descriptor::{Catalog, Descriptor};
    use userfilefs::format::kv::layout::Direction::Asc;
    use userfilefs::format::kv::types::ColumnType;

    let col = |name: &str, ty: ColumnType| ColumnSpec {
        name: name.into(),
        ty,
        nullable: false,
        default: None,
        computed: None,
        hidden: false,
        uses_sequences: Vec::new(),
    };
    let key = |names: &[&str]| names.iter().map(|name| ((*name).to_owned(), Asc)).collect::<Vec<_>>();
    let mut table = build::table(
        &TableSpec {
            id: 120,
            database: 110,
            schema: 29,
            name: "t".into(),
            columns: vec![col("a", ColumnType::TEXT), col("b", ColumnType::INT8), col("c", ColumnType::INT8)],
            primary: key(&["a", "b"]),
            indexes: vec![
                IndexSpec {
                    name: "i".into(),
                    columns: key(&["b"]),
                    predicate: "c > 1:::INT8".into(),
                    ..IndexSpec::default()
                },
                IndexSpec { name: "j".into(), columns: key(&["c", "b"]), ..IndexSpec::default() },
            ],
            ..TableSpec::default()
        },
        &|_| None,
    )
    .unwrap();
    // 'eu', DEFAULT; 5, MINVALUE, MAXVALUE: one tagged value for each column.
    let eu = [&[0x06, 0x02][..], b"eu"].concat();
    let (default, max, min) = (vec![2, 0], vec![2, 1], vec![2, 2]);
    let five = [0x03, 0x0a];
    let ranges = |count: u32| Partitioning {
        num_columns: Some(count),
        range: vec![range("low", &min, &five), range("High", &five, &max)],
        ..Partitioning::default()
    };
    let list = |name: &str, value: Vec<u8>, below: Option<Partitioning>| ListPartition {
        name: Some(name.into()),
        values: vec![value],
        subpartitioning: below,
    };
    table.primary_index.as_mut().unwrap().partitioning = Some(Partitioning {
        num_columns: Some(1),
        list: vec![list("europe", eu.clone(), Some(ranges(1))), list("rest", default, None)],
        ..Partitioning::default()
    });
    table.indexes[0].partitioning = Some(ranges(1));
    // Added by the partitions alone: not shown.
    table.indexes[1].partitioning = Some(Partitioning { num_implicit_columns: Some(1), ..ranges(1) });
    let show = |table: &userfilefs::format::descriptor::TableDescriptor| {
        let raw = [build::database(110, "d", &[], 0), Descriptor::Table(Box::new(table.clone()))];
        let raw: Vec<Vec<u8>> = raw.iter().map(Descriptor::encode).collect();
        let catalog = Catalog::new(raw.iter().map(Vec::as_slice)).unwrap();
        catalog.create_statement(catalog.tables().next().unwrap(), Qualify::No)
    };
    let text = show(&table).unwrap();
    let want = "CREATE TABLE t (\n\ta STRING NOT NULL,\n\tb INT8 NOT NULL,\n\tc INT8 NOT NULL,\n\
        \tCONSTRAINT \"primary\" PRIMARY KEY (a ASC, b ASC),\n\
        \tINDEX i (b ASC) PARTITION BY RANGE (b) (\n\
        \t\tPARTITION low VALUES FROM (MINVALUE) TO (5), \n\
        \t\tPARTITION \"High\" VALUES FROM (5) TO (MAXVALUE)\n\t) WHERE c > 1:::INT8,\n\
        \tINDEX j (b ASC) PARTITION BY RANGE (c) (\n\
        \t\tPARTITION low VALUES FROM (MINVALUE) TO (5), \n\
        \t\tPARTITION \"High\" VALUES FROM (5) TO (MAXVALUE)\n\t),\n\
        \tFAMILY \"primary\" (a, b, c)\n\
        ) PARTITION BY LIST (a) (\n\
        \tPARTITION europe VALUES IN (('eu')) PARTITION BY RANGE (b) (\n\
        \t\tPARTITION low VALUES FROM (MINVALUE) TO (5), \n\
        \t\tPARTITION \"High\" VALUES FROM (5) TO (MAXVALUE)\n\t), \n\
        \tPARTITION rest VALUES IN ((DEFAULT))\n)";
    assert_eq!(text, want);
    // Of a table that is partitioned as a whole only the primary index says so.
    table.partition_all_by = Some(true);
    let text = show(&table).unwrap();
    assert!(
        text.contains(") PARTITION ALL BY LIST (a) (") && !text.contains("INDEX i (b ASC) PARTITION"),
        "{text}"
    );
    // Broken values are errors.
    for broken in [&eu[..3], &[], &[2, 9], &[2], &[0x06, 0x02, b'e', b'u', 0]] {
        let primary = table.primary_index.as_mut().unwrap();
        primary.partitioning.as_mut().unwrap().list[0].values = vec![broken.to_vec()];
        assert!(show(&table).is_err(), "{broken:x?}");
    }
}

#[test]
fn kinds_of_backups_are_shown_where_asked() {
    let Some(root) = fixtures() else { return };
    let backup = open(&root.join("backups/x-to"));
    let table = show::objects(&backup, Details { backup_type: true, ..Details::default() }).unwrap();
    let names: Vec<&str> = table.columns.iter().map(|(name, _)| *name).collect();
    assert_eq!(names[3..6], ["object_type", "backup_type", "start_time"]);
    assert!(table.rows.iter().all(|row| row[4].as_deref() == Some("full") && row.len() == names.len()));
    let mut incremental = backup;
    incremental.layers[0].manifest.proto.start_time = incremental.layers[0].manifest.proto.end_time;
    let table = show::objects(&incremental, Details { backup_type: true, ..Details::default() }).unwrap();
    assert!(table.rows.iter().all(|row| row[4].as_deref() == Some("incremental")));
}

#[test]
fn manifests_are_shown_as_json() {
    let Some(root) = fixtures() else { return };
    let table = show::manifests(&open(&root.join("backups/x-to"))).unwrap();
    assert_eq!((table.columns[0].0, table.rows.len()), ("manifest", 1));
    let text = table.rows[0][0].as_ref().unwrap();
    let json: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(json["descriptors"][1]["table"]["name"], "x");
    assert!(text.starts_with("{\"buildInfo\": {\"cgoCompiler\": "), "{text}");
}
