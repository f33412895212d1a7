//! Rows that break the contract: the file gives EIO and a line in the log, never wrong bytes; all others are fine.

use std::time::Duration;

use crate::mount;
use crate::support::mounted::{Mount, eventually, pattern};
use crate::support::tables::Tables;

const CHUNK: usize = 4096;

/// Every kind of damage as SQL; `$id` stands for the file's id.
const DAMAGES: [(&str, &str); 9] = [
    ("gap", "DELETE FROM payload WHERE file_id = $id AND byte_offset = 4096"),
    ("head", "DELETE FROM payload WHERE file_id = $id AND byte_offset = 0"),
    ("tail", "DELETE FROM payload WHERE file_id = $id AND byte_offset = 12288"),
    ("null", "UPDATE payload SET payload = NULL WHERE file_id = $id AND byte_offset = 4096"),
    ("negative", "UPDATE payload SET byte_offset = -4096 WHERE file_id = $id AND byte_offset = 0"),
    (
        "short",
        "UPDATE payload SET payload = substr(payload, 1, 100) WHERE file_id = $id AND byte_offset = 4096",
    ),
    ("overlap", "UPDATE payload SET byte_offset = 4000 WHERE file_id = $id AND byte_offset = 4096"),
    ("longer", "UPDATE files SET file_size = file_size + 1000 WHERE file_id = $id"),
    ("none", "DELETE FROM payload WHERE file_id = $id"),
];

fn contents(i: usize) -> Vec<u8> {
    pattern(i as u64, 3 * CHUNK + 500)
}

fn damage(t: &Tables, name: &str, sql: &str) {
    let id = t.file_id(name).expect("the file");
    let sql = sql.replace("FROM payload", &format!("FROM {}", t.payload));
    let sql = sql.replace("UPDATE payload", &format!("UPDATE {}", t.payload));
    let sql = sql.replace("UPDATE files", &format!("UPDATE {}", t.files));
    t.db.exec(&sql.replace("$id", &format!("'{id}'")));
}

fn damaged() -> Option<Mount> {
    let m = crate::support::mounted::fresh_with("attr_timeout=0,entry_timeout=0", |s| s.chunk_len(CHUNK))?;
    if m.is_plain() {
        return None;
    }
    let t = m.tables();
    for (i, (kind, sql)) in DAMAGES.iter().enumerate() {
        m.store(&format!("/{kind}"), &contents(i));
        damage(&t, &format!("/{kind}"), sql);
    }
    m.store("/good", &contents(99));
    Some(m)
}

/// Reading a damaged file is EIO and names the file in the log; nobody gets bytes that were never written there.
#[test]
fn damaged_files_are_errors() {
    let Some(m) = damaged() else { return };
    let listed: Vec<_> =
        std::fs::read_dir(m.dir()).expect("list").map(|e| e.expect("entry").file_name()).collect();
    assert_eq!(listed.len(), DAMAGES.len() + 1);
    for (kind, _) in DAMAGES {
        assert!(std::fs::metadata(m.path(kind)).is_ok(), "{kind} can be looked at");
        let result = std::fs::read(m.path(kind));
        assert_eq!(result.err().and_then(|e| e.raw_os_error()), Some(libc::EIO), "reading {kind}");
        let log = m.log_text();
        assert!(log.lines().any(|l| l.contains(&format!("/{kind}"))), "the log names {kind}:\n{log}");
        assert!(
            std::fs::read(m.path("good")).expect("read") == contents(99),
            "others are not affected by {kind}"
        );
    }
}

/// A file whose size column is too small reads as its chunks say, or is an error; never a part of it.
#[test]
fn sizes_below_the_sum() {
    let Some(m) = damaged() else { return };
    m.store("/small", &contents(5));
    damage(&m.tables(), "/small", "UPDATE files SET file_size = 100 WHERE file_id = $id");
    match std::fs::read(m.path("small")) {
        Ok(data) => assert!(data == contents(5), "{} bytes of {}", data.len(), contents(5).len()),
        Err(e) => assert_eq!(e.raw_os_error(), Some(libc::EIO)),
    }
}

/// Damaged files can be renamed, deleted and replaced, and are whole again when they are.
#[test]
fn damaged_files_can_be_replaced() {
    let Some(m) = damaged() else { return };
    for (i, (kind, _)) in DAMAGES.iter().enumerate() {
        match i % 3 {
            0 => std::fs::write(m.path(kind), contents(50)).expect("overwrite"),
            1 => {
                std::fs::write(m.path("new"), contents(50)).expect("write");
                std::fs::rename(m.path("new"), m.path(kind)).expect("replace");
            }
            _ => {
                std::fs::rename(m.path(kind), m.path("moved")).expect("rename");
                std::fs::remove_file(m.path("moved")).expect("unlink");
                std::fs::write(m.path(kind), contents(50)).expect("write");
            }
        }
        assert!(std::fs::read(m.path(kind)).expect("read") == contents(50), "{kind}");
    }
    m.assert_contract();
}

/// Editing or appending to a damaged file fails and leaves its rows as they were.
#[test]
fn damaged_files_cannot_be_edited() {
    let Some(m) = damaged() else { return };
    let count =
        format!("SELECT count(*), coalesce(sum(length(payload)), 0)::int8 FROM {}", m.tables().payload);
    let t = m.tables();
    let rows =
        || -> (i64, i64) { t.db.query(&count, &[]).first().map(|r| (r.get(0), r.get(1))).expect("a row") };
    let before = rows();
    for kind in ["gap", "null", "short", "tail"] {
        let edit = || -> std::io::Result<()> {
            let file = std::fs::File::options().read(true).write(true).open(m.path(kind))?;
            std::os::unix::fs::FileExt::write_all_at(&file, b"edit", 4100)?;
            file.sync_all()
        };
        assert_eq!(edit().err().and_then(|e| e.raw_os_error()), Some(libc::EIO), "editing {kind}");
    }
    // What was begun goes after the close that gave it up.
    eventually("the rows are what they were", Duration::from_secs(20), || rows() == before);
}

/// Contiguous chunks of any sizes, also larger than ours, read and edit correctly.
#[test]
fn odd_but_contiguous_chunks() {
    let m = mount!("attr_timeout=0,entry_timeout=0", |s| s.chunk_len(CHUNK));
    if m.is_plain() {
        return;
    }
    let data = pattern(3, 30_000);
    for (name, len) in [("/tiny", 7), ("/unaligned", 1000), ("/large", 25_000), ("/one", 40_000)] {
        m.tables().write(name, &data, len);
        assert!(std::fs::read(m.path(&name[1..])).expect("read") == data, "{name}");
        let file = std::fs::File::options().read(true).write(true).open(m.path(&name[1..])).expect("open");
        std::os::unix::fs::FileExt::write_all_at(&file, b"edited", 12_345).expect("write");
        drop(file);
        let mut want = data.clone();
        want[12_345..12_351].copy_from_slice(b"edited");
        assert!(std::fs::read(m.path(&name[1..])).expect("read") == want, "{name} edited");
        assert!(m.stored(name).expect("stored") == want, "{name} stored");
        let mut file = std::fs::File::options().append(true).open(m.path(&name[1..])).expect("open");
        std::io::Write::write_all(&mut file, &data).expect("append");
        drop(file);
        want.extend_from_slice(&data);
        assert!(m.stored(name).expect("stored") == want, "{name} appended to");
    }
}

/// Chunks that belong to no file hurt nobody.
#[test]
fn orphaned_chunks() {
    let m = mount!();
    if m.is_plain() {
        return;
    }
    m.store("/f", b"fine");
    let t = m.tables();
    t.db.exec(&format!("ALTER TABLE {} DROP CONSTRAINT file_id_fk", t.payload));
    t.db.exec(&format!("INSERT INTO {} VALUES (gen_random_uuid(), 0, 'orphan')", t.payload));
    std::fs::write(m.path("g"), "also fine").expect("write");
    assert_eq!(std::fs::read_to_string(m.path("g")).expect("read"), "also fine");
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(std::fs::read_to_string(m.path("f")).expect("read"), "fine");
}

/// Tables with columns of somebody else's work like others.
#[test]
fn tables_with_more_columns() {
    let m = mount!("", |s| s.chunk_len(CHUNK));
    if m.is_plain() {
        return;
    }
    let t = m.tables();
    t.db.exec(&format!("ALTER TABLE {} ADD COLUMN note text DEFAULT 'n'", t.files));
    t.db.exec(&format!("ALTER TABLE {} ADD COLUMN note text", t.payload));
    let (small, large) = (pattern(1, 100), pattern(2, 5 * CHUNK + 3));
    for (name, data) in [("a", &small), ("b", &large)] {
        std::fs::write(m.path(name), data).expect("write");
        std::fs::copy(m.path(name), m.path(&format!("{name}2"))).expect("copy");
        std::fs::rename(m.path(&format!("{name}2")), m.path(&format!("{name}3"))).expect("rename");
        assert!(m.stored(&format!("/{name}3")).as_ref() == Some(data), "{name}");
    }
}

/// Tables that are dropped under a mount: an error that says so, and all is well when there are tables again.
#[test]
fn tables_that_are_dropped() {
    let m = mount!("attr_timeout=0,entry_timeout=0", |s| s.chunk_len(CHUNK));
    if m.is_plain() {
        return;
    }
    let t = m.tables();
    let code = |e: std::io::Error| e.raw_os_error().unwrap_or(0);
    std::fs::write(m.path("f"), contents(1)).expect("write");
    for both in [false, true] {
        t.db.exec(&format!("DROP TABLE {}", t.payload));
        if both {
            t.db.exec(&format!("DROP TABLE {}", t.files));
        }
        let written = std::fs::File::create(m.path("g")).and_then(|mut file| {
            std::io::Write::write_all(&mut file, &contents(2))?;
            file.sync_all()
        });
        assert_eq!(written.map_err(code), Err(libc::EIO), "both: {both}");
        let log = m.log_text();
        assert!(log.lines().any(|l| l.contains("does not exist") && l.contains("/g")), "{log}");
        if !both {
            t.db.exec(&format!("DROP TABLE {}", t.files));
        }
        t.create();
        std::fs::write(m.path("h"), contents(3)).expect("write");
        assert!(m.stored("/h") == Some(contents(3)), "both: {both}");
        assert!(std::fs::read(m.path("f")).is_err() && !m.path("f").exists());
    }
}

/// Names that are not UTF-8, of a database without an encoding: everything else is there, they are named apart, and
/// what they are in can be renamed and read.
#[test]
fn names_that_are_not_utf8() {
    let m = mount!("attr_timeout=0,entry_timeout=0", |s| s.chunk_len(CHUNK));
    if m.is_plain() {
        return;
    }
    let server = crate::support::postgres::Server::shared().expect("a server");
    let db = server.db("postgres");
    db.exec("DROP DATABASE IF EXISTS raw_names");
    db.exec("CREATE DATABASE raw_names TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'");
    {
        let raw = m.setup().of(server.url("raw_names")).mount();
        let t = Tables::new(server.db("raw_names"), "userfiles_postgres");
        std::fs::create_dir(raw.path("d")).expect("mkdir");
        std::fs::write(raw.path("d/fine"), contents(1)).expect("write");
        std::fs::write(raw.path("d/naïve"), contents(2)).expect("write");
        for name in ["/d/caf\\351", "/caf\\351/x", "/\\377", "/d/na\\303"] {
            t.db.exec(&format!(
                "INSERT INTO {} (filename, file_size, username, upload_time) \
                 VALUES (convert_from('{name}'::bytea, 'SQL_ASCII'), 0, 'u', now())",
                t.files
            ));
        }
        let list = |dir: &str| -> Vec<String> {
            let entries =
                std::fs::read_dir(raw.path(dir)).expect("list").map(|e| e.expect("entry").file_name());
            let mut names: Vec<String> = entries.map(|n| n.into_string().expect("UTF-8")).collect();
            names.sort();
            names
        };
        assert_eq!(list(""), ["d"]);
        assert_eq!(list("d"), ["fine", "naïve"]);
        std::fs::rename(raw.path("d"), raw.path("e")).expect("rename");
        assert_eq!(list("e"), ["fine", "naïve"]);
        assert!(std::fs::read(raw.path("e/naïve")).expect("read") == contents(2));
        let odd = std::fs::read_to_string(raw.path(".userfilefs/unshowable")).expect("read");
        assert!(odd.lines().count() >= 4, "{odd}");
        assert!(!raw.log_text().contains("panicked"), "{}", raw.log_text());
    }
    db.exec("DROP DATABASE raw_names WITH (FORCE)");
}
