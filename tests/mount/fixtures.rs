//! Tables that a real CockroachDB wrote, read through a mount; and what a mount writes, row by row.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::mount;
use crate::support::cli::ok;
use crate::support::fixtures::fixtures;
use crate::support::mounted::Mount;
use crate::support::tables::{CHUNK_LEN, Tables};

/// A mount of a fresh database in which the real tables of prefix `fixture` are loaded.
fn load(folder: &Path) -> Option<(Mount, Mount)> {
    let m = crate::support::mounted::fresh("")?;
    let server = crate::support::postgres::Server::shared()?;
    let database: String = m.db().query("SELECT current_database()::text", &[])[0].get(0);
    let t = Tables::new(server.db(&database), "fixture");
    t.create();
    let read = |name: &str| std::fs::read(folder.join(name)).expect("fixture");
    t.db.copy_in(&format!("COPY {} FROM STDIN", t.files), read("fixture_upload_files.tsv"));
    let mut rows = Vec::new();
    let packed = read("fixture_upload_payload.tsv.gz");
    flate2::read::GzDecoder::new(packed.as_slice()).read_to_end(&mut rows).expect("gzip");
    t.db.copy_in(&format!("COPY {} FROM STDIN", t.payload), rows);
    let mounted = m.second("prefix=public.fixture");
    Some((m, mounted))
}

/// The listed files: name (COPY text unescaped), length, SHA-256 in hex.
fn contents(folder: &Path) -> Vec<(String, u64, String)> {
    let text = std::fs::read_to_string(folder.join("contents.tsv")).expect("contents.tsv");
    let line = |line: &str| {
        let parts: Vec<&str> = line.split('\t').collect();
        (parts[0].replace("\\\\", "\\"), parts[1].parse().expect("a length"), parts[2].to_owned())
    };
    text.lines().map(line).collect()
}

fn sha256(data: &[u8]) -> String {
    Sha256::digest(data).iter().map(|b| format!("{b:02x}")).collect()
}

/// Every file that a real CockroachDB stored reads byte for byte; the two that a tree cannot show are kept apart.
#[test]
fn real_tables_read_byte_for_byte() {
    let Some(folder) = fixtures().map(|f| f.join("userfile-tables")) else { return };
    if crate::support::mounted::plain_dir().is_some() {
        return;
    }
    let Some((_owner, m)) = load(&folder) else { return };
    let listed = contents(&folder);
    let mut seen = BTreeSet::new();
    for (name, len, sum) in &listed {
        let path = match name.as_str() {
            "/" => continue,
            "/clash" => m.path(".userfilefs/shadowed/clash"),
            other => m.path(&other[1..]),
        };
        let data = std::fs::read(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(data.len() as u64, *len, "{name}");
        assert_eq!(std::fs::metadata(&path).expect("stat").len(), *len, "{name}");
        assert_eq!(sha256(&data), *sum, "{name}");
        seen.insert(name.clone());
    }
    let found: BTreeSet<String> = walkdir::WalkDir::new(m.dir())
        .into_iter()
        .map(|e| e.expect("entry"))
        .filter(|e| e.file_type().is_file())
        .map(|e| format!("/{}", e.path().strip_prefix(m.dir()).expect("below").display()))
        .collect();
    seen.remove("/clash");
    assert_eq!(found, seen, "the listing shows these and no others");
    let time = std::fs::metadata(m.path("small.txt")).expect("stat").modified().expect("mtime");
    let since = time.duration_since(std::time::UNIX_EPOCH).expect("after 1970");
    // 2026-11-20 18:19:36.157778 UTC.
    assert_eq!(since.as_micros(), 1_795_198_776_157_778);
}

/// Copied out, changed in the mount and read again by name, real files are what they should be, and so are their rows.
#[test]
fn real_tables_can_be_changed() {
    let Some(folder) = fixtures().map(|f| f.join("userfile-tables")) else { return };
    if crate::support::mounted::plain_dir().is_some() {
        return;
    }
    let Some((owner, m)) = load(&folder) else { return };
    let database: String = owner.db().query("SELECT current_database()::text", &[])[0].get(0);
    let t =
        Tables::new(crate::support::postgres::Server::shared().expect("a server").db(&database), "fixture");
    let mut big = std::fs::read(m.path("two-chunks-and-a-byte.bin")).expect("read");
    let file = std::fs::File::options().append(true).open(m.path("two-chunks-and-a-byte.bin")).expect("open");
    std::io::Write::write_all(&mut &file, &[7; 5_000_000]).expect("append");
    drop(file);
    big.extend_from_slice(&[7; 5_000_000]);
    assert!(t.read("/two-chunks-and-a-byte.bin").expect("stored") == big);
    let file = std::fs::File::options().write(true).open(m.path("one-chunk.bin")).expect("open");
    std::os::unix::fs::FileExt::write_all_at(&file, b"edited", 100).expect("write");
    drop(file);
    assert_eq!(&t.read("/one-chunk.bin").expect("stored")[100..106], b"edited");
    std::fs::rename(m.path("startrek"), m.path("moved")).expect("rename");
    assert!(t.read("/moved/LATEST").is_some() && t.read("/startrek/LATEST").is_none());
    std::fs::remove_file(m.path("empty.bin")).expect("unlink");
    std::fs::write(m.path("clash/new"), "new").expect("write");
    assert!(t.read("/clash").is_some() && t.read("/").is_some(), "what cannot be shown is left alone");
    // The name "/" is the only stored one that is not of our making and not a file's.
    t.assert_contract(CHUNK_LEN);
}

/// A real backup folder, copied in and out, is the same; every row of it keeps the contract.
#[test]
fn a_real_backup_in_and_out() {
    let Some(folder) = fixtures().map(|f| f.join("backups/bank-into/backup")) else { return };
    let m = mount!();
    let back = tempfile::tempdir().expect("directory");
    ok(std::process::Command::new("cp").arg("-r").arg(&folder).arg(m.path("bank")));
    m.assert_contract();
    ok(std::process::Command::new("cp").arg("-r").arg(m.path("bank")).arg(back.path().join("bank")));
    ok(std::process::Command::new("diff").arg("-r").arg(&folder).arg(back.path().join("bank")));
    if m.is_plain() {
        return;
    }
    let names: BTreeSet<String> = m.tables().names().into_iter().collect();
    let want: BTreeSet<String> = walkdir::WalkDir::new(&folder)
        .into_iter()
        .map(|e| e.expect("entry"))
        .filter(|e| e.file_type().is_file())
        .map(|e| format!("/bank/{}", e.path().strip_prefix(&folder).expect("below").display()))
        .collect();
    assert_eq!(names, want, "exactly these names are stored");
}
