//! The userfile commands on the tables that a real CockroachDB wrote.

use crate::chunk_fixture::{fields, hex};
use crate::support::fixtures::fixtures;
use crate::userfile::Desk;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::io::Read;

/// Fills the desk's tables; (name, length, SHA-256) of each file.
fn load(desk: &Desk) -> Option<Vec<(String, u64, String)>> {
    let folder = fixtures()?.join("userfile-tables");
    let tables = desk.tables();
    tables.create();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect(name);
    let file = format!(
        "INSERT INTO {} VALUES ($1, $2::text::uuid, $3::text::int8, $4, $5::text::timestamp)",
        tables.files
    );
    for line in read("fixture_upload_files.tsv").lines() {
        let f = fields(line);
        tables.db.query(&file, &[&f[0], &f[1], &f[2], &f[3], &f[4]]);
    }
    let mut text = String::new();
    let packed = std::fs::File::open(folder.join("fixture_upload_payload.tsv.gz")).expect("payload");
    GzDecoder::new(packed).read_to_string(&mut text).expect("gzip");
    let chunk = format!(
        "INSERT INTO {} VALUES ($1::text::uuid, $2::text::int8, decode(substr($3, 3), 'hex'))",
        tables.payload
    );
    for line in text.lines() {
        let f = fields(line);
        tables.db.query(&chunk, &[&f[0], &f[1], &f[2]]);
    }
    let row = |f: Vec<String>| (f[0].clone(), f[1].parse().expect("a length"), f[2].clone());
    Some(read("contents.tsv").lines().map(fields).map(row).collect())
}

#[test]
fn what_the_original_stored_is_listed_fetched_and_deleted() {
    let Some(desk) = Desk::new() else { return };
    let Some(want) = load(&desk) else { return };
    let names: String = want.iter().map(|w| format!("{}\n", &w.0[1..])).collect();
    desk.ok(&["list"], &names);

    // Each by its own name, whatever characters it has.
    for (i, (name, len, sum)) in want.iter().enumerate().filter(|(_, w)| w.0 != "/" && w.0 != "/clash") {
        let to = format!("one/{i}");
        let done = desk.run(&["get", "--literal", name, &to]);
        assert!(done.success(), "{name}: {}", done.stderr());
        let data = std::fs::read(desk.path(&to)).expect("fetched");
        assert_eq!((data.len() as u64, hex(&Sha256::digest(&data))), (*len, sum.clone()), "{name}");
    }

    // All at once: but for the file named `/`, and one of `/clash` and `/clash/below.txt`.
    let done = desk.run(&["get", "/", "all", "--jobs", "8"]);
    assert_eq!(done.output.status.code(), Some(1), "{}", done.stderr());
    assert!(done.stderr().contains("ERROR: files not fetched: 2\n"), "{}", done.stderr());
    let clash = |name: &str| name == "/" || name.starts_with("/clash");
    for (name, _, sum) in want.iter().filter(|w| !clash(&w.0)) {
        let data = std::fs::read(desk.path("all").join(&name[1..])).expect("fetched");
        assert_eq!(hex(&Sha256::digest(&data)), *sum, "{name}");
    }

    let lines: String = want.iter().map(|w| format!("successfully deleted {}\n", &w.0[1..])).collect();
    desk.ok(&["delete", "*", "--jobs", "8"], &lines);
    assert!(desk.tables().names().is_empty() && desk.tables().hidden().is_empty());
}
