//! `export` against the rows that a real server dumped.

use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Local, Source};
use userfilefs::engine::export::ExportFormat;
use userfilefs::engine::{Backup, OpenOptions};

use crate::support::fixtures::{LAYERS, fixtures};

fn open(folder: &Path) -> Backup {
    let source: Arc<dyn Source> = Arc::new(Local::new(folder));
    Backup::open(&source, "", &OpenOptions::default()).unwrap()
}

#[test]
fn jsonl_equals_the_dumps_byte_for_byte() {
    let Some(root) = fixtures() else { return };
    let mut compared = 0;
    for layer in LAYERS {
        let folder = root.join(layer);
        let Some(dump) = folder.ancestors().map(|dir| dir.join("dump")).find(|dir| dir.is_dir()) else {
            continue;
        };
        let backup = open(&folder);
        let state = backup.state(None).unwrap();
        for table in state.catalog.tables() {
            let name = format!("{}.{}.jsonl", state.catalog.table_schema(table), table.name());
            let Ok(want) = std::fs::read(dump.join(&name)) else { continue };
            let full = format!("\"{}\"", state.catalog.full_name(table).replace('.', "\".\""));
            let mut got = Vec::new();
            let (rows, notices) = state.export(&full, ExportFormat::Jsonl, &mut got).unwrap();
            assert!(notices.is_empty(), "{layer} {full}: {notices:?}");
            let (got, want) = (String::from_utf8(got).unwrap(), String::from_utf8(want).unwrap());
            for (at, (got, want)) in got.lines().zip(want.lines()).enumerate() {
                assert_eq!(got, want, "{layer} {full} row {}", at + 1);
            }
            assert_eq!(got, want, "{layer} {full}");
            assert_eq!(rows, want.lines().count() as u64);
            compared += 1;
        }
    }
    assert!(compared >= 60, "{compared}");
}

#[test]
fn sequences_export_their_value() {
    let Some(root) = fixtures() else { return };
    let backup = open(&root.join("backups/bank-to/backup"));
    let state = backup.state(None).unwrap();
    let mut got = Vec::new();
    state.export("bank.public.customer_seq", ExportFormat::Csv, &mut got).unwrap();
    let recorded =
        std::fs::read_to_string(root.join("backups/bank-to/dump/public.customer_seq.csv")).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), recorded.replace("true", "t"));
}

#[test]
fn other_formats() {
    let Some(root) = fixtures() else { return };
    let backup = open(&root.join("backups/bank-to/backup"));
    let state = backup.state(None).unwrap();
    let text = |table: &str, format| {
        let mut got = Vec::new();
        state.export(table, format, &mut got).unwrap();
        String::from_utf8(got).unwrap()
    };
    assert_eq!(text("bank.audit.events", ExportFormat::Csv).lines().count(), 92);
    assert!(text("nopk", ExportFormat::PgCopy).starts_with("1\tone\n1\t\\N\n"));
    assert!(
        text("bank.x", ExportFormat::Sql)
            .starts_with("INSERT INTO public.x (k, v) VALUES\n\t(-92233720368547758")
    );
    assert_eq!(text("bank.public.\"Quoted Name\"", ExportFormat::Csv), "Id,select,with space\n1,kw,sp\n");
    let mut out = Vec::new();
    assert!(state.export("bank.public.vip_view", ExportFormat::Csv, &mut out).is_err());
    assert!(state.export("bank.public.nothing", ExportFormat::Csv, &mut out).is_err());
}

#[test]
fn spatial_objects_are_made_as_the_server_makes_them() {
    use userfilefs::format::kv::datum::Datum;
    use userfilefs::format::kv::error::Error as KvError;
    use userfilefs::format::kv::geo;
    let Some(root) = fixtures() else { return };
    let backup = open(&root.join("backups/extra/backup"));
    let state = backup.state(None).unwrap();
    let table = state.catalog.find_table("extra.public.geo_t").unwrap();
    let layout = Arc::new(state.catalog.layout(table).unwrap());
    let mut compared = 0;
    state
        .rows(table, &layout, &mut |row| {
            for datum in row {
                let Datum::Geo(object) = datum else { continue };
                // Field 1: 1 stands for geography.
                match geo::from_ewkb(geo::ewkb(object).unwrap(), object[1] == 1) {
                    Ok(made) => assert_eq!(made, object.as_ref()),
                    Err(error) => {
                        assert!(matches!(error, KvError::NotDerivable { .. }), "{error}");
                        continue;
                    }
                }
                compared += 1;
            }
            Ok::<(), userfilefs::engine::Error>(())
        })
        .unwrap();
    assert_eq!(compared, 5);
}

#[test]
fn virtual_columns_that_cannot_be_computed_are_told() {
    use userfilefs::format::descriptor::Descriptor;
    let Some(root) = fixtures() else { return };
    let mut told = Vec::new();
    for expr in ["a % 0:::INT8", "sha256(a::STRING)", "a + b"] {
        let mut backup = open(&root.join("backups/extra/backup"));
        for raw in &mut backup.layers[0].manifest.proto.descriptors {
            if let Descriptor::Table(mut table) = Descriptor::decode(raw).unwrap()
                && table.name() == "virt"
            {
                table.columns[2].compute_expr = Some(expr.into());
                *raw = Descriptor::Table(table).encode();
            }
        }
        let mut got = Vec::new();
        let state = backup.state(None).unwrap();
        let (rows, notices) = state.export("virt", ExportFormat::Jsonl, &mut got).unwrap();
        assert!(rows > 0);
        told.push(notices.join("|").replace(&rows.to_string(), "N"));
    }
    assert_eq!(
        told,
        [
            "the expression of virtual column v could not be computed for N rows: NULL",
            "column v is virtual and not in the backup; its expression is not evaluated here: NULL",
            "",
        ]
    );
}
