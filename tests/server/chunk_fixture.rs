//! `chunk` on the tables that a real CockroachDB wrote.

use crate::chunk_bench::*;
use crate::support::fixtures::fixtures;
use flate2::read::GzDecoder;
use sha2::{Digest, Sha256};
use std::io::Read;
use std::path::Path;
use userfilefs::chunk::*;
use uuid::Uuid;

/// Fields of a line of COPY text.
pub fn fields(line: &str) -> Vec<String> {
    let unescape = |f: &str| {
        let mut out = String::new();
        let mut chars = f.chars();
        while let Some(c) = chars.next() {
            match (c, if c == '\\' { chars.next() } else { None }) {
                ('\\', Some('t')) => out.push('\t'),
                ('\\', Some('n')) => out.push('\n'),
                ('\\', Some(other)) => out.push(other),
                _ => out.push(c),
            }
        }
        out
    };
    line.split('\t').map(unescape).collect()
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Loads the fixture; (name, length, SHA-256) of each file.
fn load(b: &Bench, folder: &Path) -> Vec<(String, u64, String)> {
    b.tables.create();
    let read = |name: &str| std::fs::read_to_string(folder.join(name)).unwrap();
    for line in read("fixture_upload_files.tsv").lines() {
        let f = fields(line);
        b.tables.db.query(
            "INSERT INTO t_upload_files VALUES ($1, $2::text::uuid, $3::text::int8, $4, $5::text::timestamp)",
            &[&f[0], &f[1], &f[2], &f[3], &f[4]],
        );
    }
    let mut text = String::new();
    let packed = std::fs::File::open(folder.join("fixture_upload_payload.tsv.gz")).unwrap();
    GzDecoder::new(packed).read_to_string(&mut text).unwrap();
    for line in text.lines() {
        let f = fields(line);
        b.tables.db.query(
            "INSERT INTO t_upload_payload VALUES ($1::text::uuid, $2::text::int8, decode(substr($3, 3), 'hex'))",
            &[&f[0], &f[1], &f[2]],
        );
    }
    let listed = read("contents.tsv");
    listed.lines().map(fields).map(|f| (f[0].clone(), f[1].parse().unwrap(), f[2].clone())).collect()
}

#[test]
fn every_file_byte_for_byte() {
    let Some(folder) = fixtures() else { return };
    let Some(b) = Bench::new() else { return };
    let want = load(&b, &folder.join("userfile-tables"));
    assert!(want.len() > 20);
    for recover in [false, true] {
        let t = b.open(TableOptions { recover, create: Create::Refuse, ..TableOptions::default() }).unwrap();
        b.go(async {
            let all = t.list_files("", None, 1000).await.unwrap();
            assert_eq!(names(&all), want.iter().map(|w| w.0.clone()).collect::<Vec<_>>());
            for (row, (name, len, sum)) in all.iter().zip(&want) {
                assert_eq!(t.verify(row).await.unwrap(), *len, "{name}");
                let data = read(&t, row.id, *len).await.unwrap();
                assert_eq!((data.len() as u64, hex(&Sha256::digest(&data))), (*len, sum.clone()), "{name}");
                assert_eq!(row.size, *len as i64);
                assert!(row.mtime.is_some() && row.username == "root");
                if *len < 100_000 {
                    let (_, chunks) = t.small(&[row.id]).await.unwrap().remove(0);
                    let data: Vec<u8> = chunks.iter().flat_map(|c| c.data.to_vec()).collect();
                    assert_eq!(hex(&Sha256::digest(&data)), *sum);
                }
            }
            let page = t.list_dir("", None, 1000).await.unwrap();
            assert_eq!(page.unshowable, [b"/".to_vec()]);
            assert_eq!(page.dirs, [b"clash".to_vec(), b"nested".to_vec(), b"startrek".to_vec()]);
            let clash = t.lookup("/clash").await.unwrap();
            assert!(clash.file.is_some() && clash.has_children);
        });
    }
    // And it can be changed by us.
    let t = b.table();
    b.go(async {
        put(&t, "/small.txt", b"changed").await;
        t.rename_path("/nested/dir", "/moved", Replace::Refuse).await.unwrap();
    });
    let mut names = b.tables.names();
    names.retain(|n| n.starts_with("/moved"));
    assert_eq!(names, ["/moved/deeper/second.txt", "/moved/small.txt"]);
}

/// A file from rows of (offset, payload).
fn damaged(b: &Bench, name: &str, size: i64, rows: &[(i64, Option<&[u8]>)]) -> FileId {
    let id = Uuid::new_v4();
    b.tables.db.query("INSERT INTO t_upload_files VALUES ($1, $2, $3, 'x', now())", &[&name, &id, &size]);
    for (offset, payload) in rows {
        b.tables.db.query("INSERT INTO t_upload_payload VALUES ($1, $2, $3)", &[&id, offset, payload]);
    }
    FileId(id)
}

#[test]
fn damage_is_named_and_recovered() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let r = b.open(TableOptions { recover: true, ..tiny() }).unwrap();
    let (one, two): (&[u8], &[u8]) = (b"1111", b"2222");
    for (i, (size, rows, damage, recovered)) in [
        (8, vec![(0, Some(one)), (8, Some(two))], Damage::Gap { at: 4, until: 8 }, "11112222"),
        (8, vec![(4, Some(one))], Damage::Gap { at: 0, until: 4 }, "1111"),
        (7, vec![(0, Some(one)), (3, Some(two))], Damage::Overlap { at: 3, until: 4 }, "11112222"),
        (8, vec![(0, Some(one)), (4, None)], Damage::Null { at: 4 }, "1111"),
        (9, vec![(0, Some(one)), (4, Some(two))], Damage::Size { stored: 9, end: 8 }, "11112222"),
        (-9, vec![(0, Some(one))], Damage::Size { stored: -9, end: 4 }, "1111"),
        (4, vec![(-4, Some(one)), (0, Some(two))], Damage::NegativeOffset { at: -4 }, "11112222"),
        (0, vec![(0, Some(one))], Damage::Size { stored: 0, end: 4 }, "1111"),
        (5, vec![], Damage::Size { stored: 5, end: 0 }, ""),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("/damaged{i}");
        let id = damaged(&b, &name, size, &rows);
        b.go(async {
            let row = t.lookup(&name).await.unwrap().file.unwrap();
            match t.verify(&row).await.unwrap_err() {
                Error::Corrupt { what, id: which, damage: got } => {
                    assert_eq!((what, which, got), (name.clone(), id, damage));
                }
                e => panic!("{e}"),
            }
            // In order of offsets, whatever they are.
            let row = r.lookup(&name).await.unwrap().file.unwrap();
            assert_eq!(row.size, recovered.len() as i64, "{name}");
            assert_eq!(r.verify(&row).await.unwrap(), recovered.len() as u64);
            assert_eq!(read(&r, id, 100).await.unwrap(), recovered.as_bytes());
            let (_, chunks) = r.small(&[id]).await.unwrap().remove(0);
            let all: Vec<u8> = chunks.iter().flat_map(|c| c.data.to_vec()).collect();
            assert_eq!(all, recovered.as_bytes());
            if recovered.len() == 8 {
                assert_eq!(r.range(id, 5, 5, 2).await.unwrap().unwrap(), "22");
            }
            assert!(r.range(id, 100, 100, 4).await.unwrap().is_none_or(|d| d.is_empty()));
        });
    }
    let null = damaged(&b, "/null", 4, &[(0, None)]);
    let negative = damaged(&b, "/negative", 4, &[(-4, Some(one))]);
    b.go(async {
        assert!(matches!(
            t.chunk_at(null, 0).await,
            Err(Error::Corrupt { damage: Damage::Null { at: 0 }, .. })
        ));
        assert!(matches!(t.range(null, 0, 0, 4).await, Err(Error::Corrupt { .. })));
        assert!(matches!(t.small(&[null]).await, Err(Error::Corrupt { .. })));
        assert!(matches!(t.chunk_at(negative, 0).await, Err(Error::Corrupt { .. })));
    });
}

#[test]
fn any_contiguous_chunking_reads() {
    let Some(b) = Bench::new() else { return };
    let t = b.table();
    let data = pattern(5_000, 3);
    for (i, cuts) in [vec![], vec![1, 2, 3], vec![2_500], vec![999, 1_000, 4_999]].into_iter().enumerate() {
        let mut rows = Vec::new();
        let mut from = 0;
        for to in cuts.into_iter().chain([5_000]) {
            rows.push((from as i64, Some(&data[from..to])));
            from = to;
        }
        let name = format!("/{i}");
        let id = damaged(&b, &name, 5_000, &rows);
        b.go(async {
            assert_eq!(read(&t, id, 5_000).await.unwrap(), data);
            let row = t.lookup(&name).await.unwrap().file.unwrap();
            assert_eq!(t.verify(&row).await.unwrap(), 5_000);
        });
    }
}
