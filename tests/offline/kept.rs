//! The small real backups that are kept in `tests/testdata/backups`: shown, exported and checked.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use userfilefs::destination::{Local, Source};
use userfilefs::engine::check::{CheckOptions, Progress, check};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::show::{self, Details};
use userfilefs::engine::tabular::Format;
use userfilefs::engine::{Backup, OpenOptions};

const KEPT: &[(&str, &str, usize)] =
    &[("x-to", "", 1), ("v1.1.9", "", 4), ("startrek", "2026/11/20-181709.68", 2)];

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/backups").join(name)
}

fn source(name: &str) -> Arc<dyn Source> {
    Arc::new(Local::new(folder(name).join("backup")))
}

#[test]
fn rows_are_those_of_the_server() {
    for (name, layer, tables) in KEPT {
        let backup = Backup::open(&source(name), layer, &OpenOptions::default()).unwrap();
        let state = backup.state(None).unwrap();
        let mut compared = 0;
        for table in state.catalog.tables() {
            let full = state.catalog.full_name(table);
            let file = format!("{}.{}.jsonl", state.catalog.table_schema(table), table.name());
            let Ok(want) = std::fs::read_to_string(folder(name).join("dump").join(file)) else { continue };
            let mut got = Vec::new();
            state.export(&full, ExportFormat::Jsonl, &mut got).unwrap();
            assert_eq!(String::from_utf8(got).unwrap(), want, "{full}");
            compared += 1;
        }
        assert_eq!(compared, *tables, "{name}");
    }
}

#[test]
fn output_is_that_of_the_server() {
    let mut compared = 0;
    for (name, layer, _) in KEPT {
        let backup = Backup::open(&source(name), layer, &OpenOptions::default()).unwrap();
        let schemas = Details { schemas: true, ..Details::default() };
        for (file, table) in [
            ("show_backup_default.csv", show::objects(&backup, Details::default()).unwrap()),
            ("show_backup_SCHEMAS.csv", show::objects(&backup, schemas).unwrap()),
            ("show_backup_schemas.csv", show::objects(&backup, schemas).unwrap()),
            ("show_backup_FILES.csv", show::files(&backup)),
            ("show_backup_RANGES.csv", show::ranges(&backup)),
            ("show_backups.csv", show::backups(&*source(name)).unwrap()),
        ] {
            if let Ok(want) = std::fs::read_to_string(folder(name).join(file)) {
                assert_eq!(table.print(Format::Csv), want, "{name} {file}");
                compared += 1;
            }
        }
    }
    assert_eq!(compared, 6);
}

#[test]
fn they_are_clean() {
    for (name, _, _) in KEPT {
        let options = CheckOptions { open: OpenOptions::default(), threads: 1 };
        let report = check(&source(name), "", &options, &Progress::default());
        assert!(report.damages.is_empty() && report.troubles.is_empty(), "{name}: {report:?}");
        assert!(report.rows > 0 && report.files > 0);
    }
}
