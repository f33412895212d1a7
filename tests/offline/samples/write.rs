//! The samples: which layers, where, and what a restore of them must show.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use userfilefs::engine::store::Store;
use userfilefs::engine::write::{LayerSpec, LayerWriter, LocalityStore, MemorySink, Seal, SealVersion, Sink};
use userfilefs::format::crypt::{EncryptionInfo, Key};
use userfilefs::format::descriptor::layout::index_span;
use userfilefs::format::descriptor::{Descriptor, build};
use userfilefs::format::kv::mvcc;
use userfilefs::format::manifest::{Span, Timestamp, names};

use super::data::{DATABASE, FURTHER_CHECKS, SEQUENCE, everything, plain, row};
use super::model::Table;
use super::more;

pub const PASSPHRASE: &str = "correct horse battery staple";
const SECOND: i64 = 1_000_000_000;
/// 2021-03-01T00:00:00Z: in the past of any server, which would not show rows of its future.
const BASE: i64 = 1_614_556_800 * SECOND;
const CLUSTER_ID: [u8; 16] = *b"userfilefs-clstr";

/// What must be there after a restore.
pub struct Expected {
    pub name: String,
    /// AS OF SYSTEM TIME of the statement.
    pub as_of: Option<String>,
    /// The statement, in a form that 21.1 and later take; `{uri}`, `{uri2}` are the places of the sample.
    pub statement: String,
    /// The same by the collection's LATEST, which 22.1 and later take.
    pub by_latest: Option<String>,
    /// Statements that must give true afterwards.
    pub checks: Vec<String>,
    /// `db.schema.table` to jsonl.
    pub tables: BTreeMap<String, String>,
    /// Tables that must not be there.
    pub absent: Vec<String>,
}

impl Expected {
    /// The statement for 23.1 and later, which ask for this word where a backup says that it is of an older
    /// version than they would read.
    fn newest_servers(&self) -> String {
        let word = "unsafe_restore_incompatible_version";
        let statement = self.by_latest.as_ref().unwrap_or(&self.statement);
        let joint = if statement.contains(" WITH ") { ", " } else { " WITH " };
        format!("{statement}{joint}{word}")
    }
}

/// A backup and what it holds.
pub struct Sample {
    pub name: String,
    pub files: BTreeMap<String, Vec<u8>>,
    /// Files of the further places.
    pub stores: Vec<BTreeMap<String, Vec<u8>>>,
    pub encrypted: bool,
    /// Which backup of a collection.
    pub from: Option<String>,
    pub expected: Vec<Expected>,
}

impl Sample {
    /// `DIR/<name>/backup…`, `DIR/<name>/<expected>/*.jsonl`, `restore.sql`.
    pub fn write_to(&self, root: &Path) -> io::Result<()> {
        let folder = root.join(&self.name);
        let put = |path: &Path, content: &[u8]| {
            std::fs::create_dir_all(path.parent().unwrap())?;
            std::fs::write(path, content)
        };
        let places = std::iter::once(&self.files).chain(&self.stores);
        for (at, files) in places.enumerate() {
            let backup = if at == 0 { "backup".to_owned() } else { format!("backup-{}", at + 1) };
            for (name, content) in files {
                put(&folder.join(&backup).join(name), content)?;
            }
        }
        for expected in &self.expected {
            let place = |suffix: &str| format!("nodelocal://1/{}/backup{suffix}", self.name);
            let unsafe_too = expected.newest_servers();
            let statements = [
                ("restore.sql", Some(&expected.statement)),
                ("restore-22.1.sql", expected.by_latest.as_ref()),
                ("restore-23.1.sql", Some(&unsafe_too)),
            ];
            for (name, statement) in statements {
                let Some(statement) = statement else { continue };
                let statement = statement.replace("{uri2}", &place("-2")).replace("{uri}", &place(""));
                put(&folder.join(&expected.name).join(name), format!("{statement};\n").as_bytes())?;
            }
            let checks = expected.checks.iter().fold(String::new(), |all, check| all + check + ";\n");
            put(&folder.join(&expected.name).join("checks.sql"), checks.as_bytes())?;
            for (table, jsonl) in &expected.tables {
                put(&folder.join(&expected.name).join(format!("{table}.jsonl")), jsonl.as_bytes())?;
            }
            if !expected.absent.is_empty() {
                let absent = expected.absent.join("\n") + "\n";
                put(&folder.join(&expected.name).join("absent.txt"), absent.as_bytes())?;
            }
        }
        Ok(())
    }
}

fn t(seconds: i64) -> Timestamp {
    Timestamp::from_nanos(BASE + seconds * SECOND)
}

fn mv(seconds: i64) -> mvcc::Timestamp {
    mvcc::Timestamp::from_wall(t(seconds).wall_time as u64)
}

fn checks<'t>(tables: impl IntoIterator<Item = &'t Table>) -> Vec<String> {
    tables.into_iter().flat_map(Table::index_checks).collect()
}

fn jsonl<'t>(tables: impl IntoIterator<Item = &'t Table>) -> BTreeMap<String, String> {
    tables.into_iter().map(|table| (table.name.clone(), table.jsonl())).collect()
}

fn encode(descriptors: &[Descriptor]) -> Vec<Vec<u8>> {
    let mut sorted: Vec<&Descriptor> = descriptors.iter().collect();
    sorted.sort_by_key(|descriptor| descriptor.id());
    sorted.into_iter().map(Descriptor::encode).collect()
}

fn spec(descriptors: &[Descriptor], spans: Vec<Span>, databases: &[u32]) -> LayerSpec {
    LayerSpec {
        spans,
        descriptors: encode(descriptors),
        complete_dbs: databases.to_vec(),
        cluster_id: CLUSTER_ID.to_vec(),
        id: uuid::Uuid::new_v4().as_bytes().to_vec(),
        file_len: 64 << 20,
        cluster_version: Some(cluster_version()),
        ..LayerSpec::default()
    }
}

/// What the manifests say that they were written by: 22.1, or `USERFILEFS_SAMPLES_VERSION`. A server refuses
/// what is newer than itself; 23.1 and later also what is older than 22.2.
fn cluster_version() -> (i32, i32) {
    let Ok(text) = std::env::var("USERFILEFS_SAMPLES_VERSION") else { return (22, 1) };
    let parsed = text.split_once('.').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
    parsed.unwrap_or_else(|| panic!("{text} is not a version such as 22.2"))
}

fn writer(sink: &mut MemorySink, at: i64) -> LayerWriter<'_> {
    LayerWriter { sink, stores: Vec::new(), seal: None, next_file: names::unique_int(t(at).wall_time, 1) }
}

/// What stands beside the samples.
pub const README: &str = "\
Backups that no CockroachDB wrote, for a CockroachDB's RESTORE.

Make this folder the server's external-io directory (cockroach start --external-io-dir=...), and for each
<sample>/<case>:

  1. DROP DATABASE IF EXISTS samples CASCADE; DROP DATABASE IF EXISTS chain CASCADE;
  2. run one of the statements:
       restore.sql       every server from 21.1 to 22.2
       restore-22.1.sql  22.1 and 22.2: the same backup by the collection's LATEST
       restore-23.1.sql  23.1 and later, which ask for one more word because of the older version in the manifests
     (all three must lead to the same)
  3. <db>.<schema>.<table>.jsonl is what the table must hold: one row a line in the order of its primary key,
     each column, hidden ones too, as the text of column::STRING, BYTES in hex, NULL as null
  4. every statement of checks.sql must give true (once: they use the sequences)
  5. absent.txt names tables that must not be there

backup, backup-2: the files. The passphrase of the encrypted ones is in their statements.
everything             every type, kind of index, constraint and object; the large table has several files
collection-*, chain-*  LATEST and incremental layers where servers before 22.1 (old), and since then (new), look
chain-*, history       three layers: updates, deletes, a new table, a dropped one; history has every version
encrypted-v1, -v2      both file formats (21.1 and later read both)
locality               two places, by locality
";

/// Every sample, with so many rows in the large table and data files of about so many bytes.
pub fn all(big_rows: usize, file_len: u64) -> Vec<Sample> {
    let mut store = Store::default();
    let (descriptors, tables) = everything(&mut store, mv(10), big_rows);
    let mut spans: Vec<Span> = tables.iter().flat_map(Table::spans).collect();
    spans.extend(more::SEQUENCES.into_iter().chain([SEQUENCE]).map(|id| index_span(id, 1)));
    spans.sort();
    let base = LayerSpec { end: t(20), file_len, ..spec(&descriptors, spans, &[DATABASE]) };
    let mut checks = checks(&tables);
    checks.extend(FURTHER_CHECKS.map(str::to_owned));
    let rows = Rows { tables: jsonl(&tables), checks };
    let mut samples = vec![single("everything", &store, &base, &rows, None)];
    samples.extend(collections(&store, &base, &rows));
    samples.push(single("encrypted-v1", &store, &base, &rows, Some(SealVersion::V1)));
    samples.push(single("encrypted-v2", &store, &base, &rows, Some(SealVersion::V2)));
    samples.push(locality(&store, &base, &rows));
    samples.push(chain("chain-old-place", false, false));
    samples.push(chain("chain-new-place", true, false));
    samples.push(chain("history", false, true));
    samples
}

/// What the database with everything must hold.
struct Rows {
    tables: BTreeMap<String, String>,
    checks: Vec<String>,
}

fn restored(name: &str, statement: &str, rows: &Rows) -> Expected {
    Expected {
        name: name.into(),
        as_of: None,
        statement: statement.into(),
        by_latest: None,
        checks: rows.checks.clone(),
        tables: rows.tables.clone(),
        absent: Vec::new(),
    }
}

fn single(name: &str, store: &Store, base: &LayerSpec, rows: &Rows, seal: Option<SealVersion>) -> Sample {
    let mut sink = MemorySink::default();
    let mut statement = "RESTORE DATABASE samples FROM '{uri}'".to_owned();
    let mut writer = writer(&mut sink, 20);
    if let Some(version) = seal {
        let salt = *b"0123456789abcdef";
        let key = Key::from_passphrase(PASSPHRASE.as_bytes(), &salt);
        writer.seal = Some(Seal { key, version });
        writer.sink.put(names::ENCRYPTION_INFO, &EncryptionInfo::with_salt(salt).encode()).unwrap();
        statement += &format!(" WITH encryption_passphrase = '{PASSPHRASE}'");
    }
    writer.layer(store, base).unwrap();
    Sample {
        name: name.into(),
        files: sink.0,
        stores: Vec::new(),
        encrypted: seal.is_some(),
        from: None,
        expected: vec![restored("restored", &statement, rows)],
    }
}

/// LATEST in the old place, and in the new one (with `data/`).
fn collections(store: &Store, base: &LayerSpec, rows: &Rows) -> Vec<Sample> {
    [("collection-old-place", false), ("collection-new-place", true)]
        .into_iter()
        .map(|(name, new)| {
            let mut sink = MemorySink::default();
            let folder = names::full_folder(base.end.wall_time);
            let layer = LayerSpec { folder: folder.clone(), data_folder: new, ..base.clone() };
            writer(&mut sink, 20).layer(store, &layer).unwrap();
            let latest = names::latest_content(&folder);
            let pointer = if new { names::latest_name(base.end.wall_time) } else { names::LATEST.to_owned() };
            sink.put(&pointer, latest.as_bytes()).unwrap();
            let by_folder = format!("RESTORE DATABASE samples FROM '{folder}' IN '{{uri}}'");
            let mut restored = restored("restored", &by_folder, rows);
            restored.by_latest = Some("RESTORE DATABASE samples FROM LATEST IN '{uri}'".into());
            Sample {
                name: name.into(),
                files: sink.0,
                stores: Vec::new(),
                encrypted: false,
                from: Some("LATEST".into()),
                expected: vec![restored],
            }
        })
        .collect()
}

fn locality(store: &Store, base: &LayerSpec, rows: &Rows) -> Sample {
    let (mut sink, mut other) = (MemorySink::default(), MemorySink::default());
    // The files of every other table go to the second place.
    let takes = |span: &Span| span.key.get(1).is_some_and(|byte| byte % 2 == 1);
    let store2 = LocalityStore { locality_kv: "region=b".into(), takes, sink: &mut other };
    let mut writer = writer(&mut sink, 20);
    writer.stores.push(store2);
    writer.layer(store, base).unwrap();
    drop(writer);
    let statement = "RESTORE DATABASE samples FROM ('{uri}?COCKROACH_LOCALITY=default', \
                     '{uri2}?COCKROACH_LOCALITY=region%3Db')";
    assert!(other.0.len() > 1, "nothing in the second place");
    Sample {
        name: "locality".into(),
        files: sink.0,
        stores: vec![other.0],
        encrypted: false,
        from: None,
        expected: vec![restored("restored", statement, rows)],
    }
}

/// Three layers: updates and deletes, a new table in the second, a dropped one in the third.
fn chain(name: &str, new_place: bool, history: bool) -> Sample {
    let modified = t(0).wall_time;
    let database = build::database(121, "chain", &[], modified);
    let table = |id: u32, name: &str, at: i64| {
        let built = build::table(&plain(id, 121, name, t(at).wall_time), &|_| None).unwrap();
        Descriptor::Table(Box::new(built))
    };
    let (kept, dropped, added) = (table(122, "kept", 0), table(123, "dropped", 0), table(124, "added", 25));
    let first = vec![database.clone(), kept.clone(), dropped.clone()];
    let second = vec![database.clone(), kept.clone(), dropped.clone(), added.clone()];
    let third = vec![database, kept.clone(), added.clone()];
    let make = |descriptor: &Descriptor| match descriptor {
        Descriptor::Table(table) => Table::new(&second, table, |_, _| true),
        _ => panic!("a table"),
    };
    let mut store = Store::default();
    let (mut kept, mut dropped, mut added) = (make(&kept), make(&dropped), make(&added));
    for n in 0..500i64 {
        let value = if n % 17 == 0 { "NULL".to_owned() } else { format!("first {n}") };
        kept.upsert(&mut store, mv(10), row(&[&n.to_string(), &value]));
        dropped.upsert(&mut store, mv(11), row(&[&n.to_string(), "soon gone"]));
    }
    kept.delete(&mut store, mv(12), |row| row[0].as_deref().is_some_and(|k| k.ends_with('7')));
    let full = if history { String::new() } else { names::full_folder(t(20).wall_time) };
    let from = chain_places(&full, new_place);
    let mut expected = Vec::new();
    let mut expect = |name: &str, seconds: Option<i64>, tables: &[&Table], absent: &[&str]| {
        let as_of = seconds.map(|at| t(at).wall_time.to_string());
        let when = as_of.as_ref().map_or(String::new(), |at| format!(" AS OF SYSTEM TIME '{at}'"));
        let statement = |from: &str| format!("RESTORE DATABASE chain FROM {from}{when}");
        expected.push(Expected {
            name: name.into(),
            by_latest: (!history).then(|| statement("LATEST IN '{uri}'")),
            statement: statement(&from),
            checks: checks(tables.iter().copied()),
            tables: jsonl(tables.iter().copied()),
            absent: absent.iter().map(|table| format!("chain.public.{table}")).collect(),
            as_of,
        });
    };
    expect("as-of-first", Some(20), &[&kept, &dropped], &["added"]);
    for n in 0..50i64 {
        added.upsert(&mut store, mv(25), row(&[&n.to_string(), "new"]));
    }
    kept.update(&mut store, mv(26), |row| {
        let k = row[0].clone()?;
        k.ends_with('3').then(|| vec![Some(k), Some("second".into())])
    });
    if history {
        expect("as-of-between", Some(27), &[&kept, &dropped, &added], &[]);
    }
    kept.delete(&mut store, mv(28), |row| row[0].as_deref().is_some_and(|k| k.ends_with('5')));
    expect("as-of-second", Some(30), &[&kept, &dropped, &added], &[]);
    kept.upsert(&mut store, mv(35), row(&["7", "again"]));
    kept.upsert(&mut store, mv(35), row(&["100000", "last"]));
    added.delete(&mut store, mv(36), |row| row[0].as_deref() == Some("0"));
    if history {
        expect("as-of-before-drop", Some(37), &[&kept, &dropped, &added], &[]);
        expect("as-of-after-drop", Some(39), &[&kept, &added], &["dropped"]);
    }
    expect("newest", None, &[&kept, &added], &["dropped"]);

    let layers =
        chain_layers(&full, new_place, history, [&first, &second, &third], [&kept, &dropped, &added]);
    let mut sink = MemorySink::default();
    for (at, layer) in layers.iter().enumerate() {
        writer(&mut sink, 20 + 10 * at as i64).layer(&store, layer).unwrap();
    }
    if !full.is_empty() {
        let pointer = if new_place { names::latest_name(t(20).wall_time) } else { names::LATEST.to_owned() };
        sink.put(&pointer, names::latest_content(&full).as_bytes()).unwrap();
    }
    Sample {
        name: name.into(),
        files: sink.0,
        stores: Vec::new(),
        encrypted: false,
        from: (!full.is_empty()).then(|| "LATEST".to_owned()),
        expected,
    }
}

/// Folder of the incremental layer that ends then.
fn inc_folder(full: &str, new_place: bool, seconds: i64) -> String {
    let own = names::incremental_folder(t(seconds).wall_time);
    match (full.is_empty(), new_place) {
        (true, _) => own,
        (false, true) => format!("{}/{full}/{own}", names::INCREMENTALS),
        (false, false) => format!("{full}/{own}"),
    }
}

/// How a statement that 21.1 takes names the three layers.
fn chain_places(full: &str, new_place: bool) -> String {
    match (full.is_empty(), new_place) {
        // It finds the layers below the full one.
        (true, _) => "'{uri}'".into(),
        (false, false) => format!("'{full}' IN '{{uri}}'"),
        (false, true) => {
            let place = |folder: &str| format!("'{{uri}}/{folder}'");
            let incs = [30, 40].map(|seconds| place(&inc_folder(full, new_place, seconds)));
            format!("{}, {}", place(full), incs.join(", "))
        }
    }
}

/// The three layers of a chain: descriptors of each, and the tables.
fn chain_layers(
    full: &str,
    new_place: bool,
    history: bool,
    [first, second, third]: [&[Descriptor]; 3],
    [kept, dropped, added]: [&Table; 3],
) -> [LayerSpec; 3] {
    let spans = |tables: &[&Table]| tables.iter().flat_map(|table| table.spans()).collect::<Vec<Span>>();
    // A layer's history begins with what there was at its start.
    let changes = |start: i64, before: &[Descriptor], later: Vec<(Timestamp, u32, Option<Vec<u8>>)>| {
        let at_start = before.iter().map(|descriptor| (t(start), descriptor.id(), Some(descriptor.encode())));
        if history { at_start.chain(later).collect() } else { Vec::new() }
    };
    let layer = |start: i64, end: i64, descriptors: &[Descriptor], tables: &[&Table]| LayerSpec {
        start: if start == 0 { Timestamp::default() } else { t(start) },
        end: t(end),
        history,
        // In a full backup: how far back the versions go.
        revision_start: t(if start == 0 { 5 } else { start }),
        data_folder: new_place,
        ..spec(descriptors, spans(tables), &[121])
    };
    let added_at = vec![(t(25), second[3].id(), Some(second[3].encode()))];
    // What was there during a part of the time is in a history.
    let last: &[&Table] = if history { &[kept, dropped, added] } else { &[kept, added] };
    [
        LayerSpec {
            folder: full.to_owned(),
            descriptor_changes: changes(6, first, Vec::new()),
            ..layer(0, 20, first, &[kept, dropped])
        },
        LayerSpec {
            folder: inc_folder(full, new_place, 30),
            introduced_spans: spans(&[added]),
            descriptor_changes: changes(20, first, added_at),
            ..layer(20, 30, second, &[kept, dropped, added])
        },
        LayerSpec {
            folder: inc_folder(full, new_place, 40),
            descriptor_changes: changes(30, second, vec![(t(38), 123, None)]),
            ..layer(30, 40, third, last)
        },
    ]
}
