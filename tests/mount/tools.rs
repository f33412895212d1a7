//! Programs at work on files in a mount: shells, editors, databases, load generators.

use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::copying::ODD_NAMES;
use crate::support::cli::{ok, run, shell};
use crate::support::mounted::pattern;
use crate::{mount, tool};

/// Redirection, `>>`, here documents, `truncate`, `dd conv=notrunc`, `sed -i`, `sort -o`, `split`, `tee`, `touch`.
#[test]
fn a_shell_at_work() {
    let mut m = mount!();
    let script = r#"
        echo one > f; echo two >> f; echo three >> f; test "$(cat f)" = "$(printf 'one\ntwo\nthree')"
        sed -i s/two/2/ f; test "$(sed -n 2p f)" = 2
        sort -r -o f f; test "$(head -1 f)" = two || test "$(head -1 f)" = three
        printf 0123456789 > d; printf ab | dd of=d bs=1 seek=4 conv=notrunc status=none; test "$(cat d)" = 0123ab6789
        printf xy | dd of=d oflag=append conv=notrunc status=none; test "$(cat d)" = 0123ab6789xy
        truncate -s 5 d; test "$(cat d)" = 0123a; truncate -s +3 d; test "$(stat -c %s d)" = 8
        test "$(od -An -tx1 d | tr -d ' ')" = 3031323361000000
        : > e; test -e e -a ! -s e; touch t; touch -d '2020-02-03 04:05:06.789' t; test "$(stat -c %Y t)" = "$(date -d '2020-02-03 04:05:06' +%s)"
        seq 100000 > s; split -n 7 s part.; cat part.* | cmp - s; seq 10 | tee t1 t2 > t3; cmp t1 t2; cmp t2 t3
        (echo a; echo b) > g; { cat g; echo c; } > h; mv h g; test "$(wc -l < g)" = 3
        exec 5<>rw; echo hello >&5; exec 5>&-; test "$(cat rw)" = hello
        cat > here <<'END'
$not expanded
END
        test "$(cat here)" = '$not expanded'
        ln -s f sl; test "$(cat sl)" = "$(cat f)"; chmod u+x f; test -x f; mkdir -p x/y/z; rmdir -p x/y/z; test ! -e x
        head -c 5000000 /dev/zero | tr "\\0" y > big; test "$(stat -c %s big)" = 5000000; tail -c 3 big | od -c > /dev/null
        gzip -k s; gunzip -c s.gz | cmp - s; diff <(sort s) <(sort s)
    "#;
    ok(&mut shell(m.dir(), script));
    m.assert_contract();
    m.remount();
    ok(&mut shell(
        m.dir(),
        "cat part.* | cmp - s; test \"$(stat -c %s d)\" = 8; test -x f; test -e e -a ! -s e",
    ));
    assert_eq!(m.stored("/rw").expect("stored"), b"hello\n");
    assert_eq!(m.stored("/e").expect("an empty file is stored"), b"");
}

/// The loop of the documentation's page: one copy command for each file of a backup folder.
#[test]
fn the_loop_of_the_documentation() {
    let m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let backup = outside.path().join("cluster-backup");
    std::fs::create_dir_all(backup.join("data")).expect("directories");
    for (i, name) in
        ["BACKUP_MANIFEST", "BACKUP-STATISTICS", "data/6770766.sst", "data/6770767.sst"].iter().enumerate()
    {
        std::fs::write(backup.join(name), pattern(i as u64, 1000 * (i + 1))).expect("file");
    }
    let line = "for x in cluster-backup/* cluster-backup/*/*; do if [ -f $x ]; then mkdir -p $MNT/$(dirname $x); cp $x $MNT/$x; fi; done";
    ok(shell(outside.path(), line).env("MNT", m.dir()));
    ok(std::process::Command::new("diff").arg("-r").arg(&backup).arg(m.path("cluster-backup")));
    assert_eq!(m.stored("/cluster-backup/data/6770767.sst").expect("stored"), pattern(3, 4000));
}

fn sqlite(m: &Path, mode: &str) -> Option<std::process::Command> {
    let sql = format!(
        "PRAGMA journal_mode={mode}; CREATE TABLE t(a INTEGER PRIMARY KEY, b TEXT); CREATE INDEX i ON t(b);
         WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c WHERE x<5000) INSERT INTO t SELECT x, hex(randomblob(100)) FROM c;
         BEGIN; DELETE FROM t WHERE a%3=0; ROLLBACK; BEGIN; DELETE FROM t WHERE a%5=0; COMMIT; UPDATE t SET b='x'||b WHERE a%2=0;
         VACUUM; SELECT count(*) FROM t; PRAGMA integrity_check;"
    );
    let mut command = crate::support::cli::tool("sqlite3", ["-batch", &format!("{mode}.db")])?;
    command.arg(sql).current_dir(m);
    Some(command)
}

/// sqlite works on a file in the mount, with either journal, and finds its database whole after a remount.
#[test]
fn sqlite_with_both_journals() {
    let mut m = mount!();
    for mode in ["delete", "wal"] {
        let Some(mut command) = sqlite(m.dir(), mode) else { return };
        let answer = ok(&mut command);
        assert_eq!(answer.lines().collect::<Vec<_>>(), [mode, "4000", "ok"], "journal mode {mode}");
    }
    m.assert_contract();
    m.remount();
    for mode in ["delete", "wal"] {
        let check = "PRAGMA integrity_check; SELECT count(*) FROM t";
        let answer = ok(tool!("sqlite3", "-batch", format!("{mode}.db"), check).current_dir(m.dir()));
        assert_eq!(answer, "ok\n4000\n", "{mode} after a remount");
    }
}

/// fio writes, reads back and verifies checksums: sequential, random, appended, mapped.
#[test]
fn fio_verifies() {
    let m = mount!();
    let job = |name: &str, more: &[&str]| -> Option<()> {
        let mut args = vec![format!("--name={name}"), format!("--directory={}", m.dir().display())];
        args.extend(
            ["--verify=crc32c", "--do_verify=1", "--verify_fatal=1", "--size=24M"].map(str::to_owned),
        );
        args.extend(more.iter().map(|s| (*s).to_owned()));
        let mut command = crate::support::cli::tool("fio", args)?;
        let done = run(command.current_dir("/tmp"));
        assert!(
            done.success() && done.stdout().contains("err= 0"),
            "{name}: {}{}",
            done.stdout(),
            done.stderr()
        );
        Some(())
    };
    let jobs: [(&str, &[&str]); 5] = [
        ("sequential", &["--rw=write", "--bs=128k", "--ioengine=psync", "--end_fsync=1"]),
        ("random", &["--rw=randwrite", "--bs=64k", "--ioengine=psync", "--end_fsync=1"]),
        ("mixed", &["--rw=randrw", "--bs=4k-96k", "--bsrange=4k-96k", "--ioengine=psync", "--size=6M"]),
        ("two", &["--rw=randwrite", "--bs=256k", "--ioengine=psync", "--numjobs=2", "--group_reporting"]),
        ("mapped", &["--rw=randwrite", "--bs=4k", "--ioengine=mmap", "--size=9M"]),
    ];
    for (name, more) in jobs {
        if job(name, more).is_none() {
            return;
        }
    }
    m.assert_contract();
}

/// A write far beyond the end leaves zeros, which are stored; a hole beyond all measure is EFBIG and changes nothing.
#[test]
fn holes() {
    let m = mount!();
    let at = 100 << 20;
    let mut file = std::fs::File::create(m.path("sparse")).expect("create");
    file.seek(SeekFrom::Start(at)).expect("seek");
    file.write_all(b"end").expect("write at 100 MiB");
    file.sync_all().expect("fsync");
    drop(file);
    let mut back = Vec::new();
    std::fs::File::open(m.path("sparse")).expect("open").read_to_end(&mut back).expect("read");
    assert_eq!(back.len() as u64, at + 3);
    assert!(back[..back.len() - 3].iter().all(|b| *b == 0) && back.ends_with(b"end"));
    assert_eq!(m.stored("/sparse").expect("stored").len() as u64, at + 3, "holes are stored as zeros");
    m.assert_contract();
    if m.is_plain() {
        return;
    }
    let file = std::fs::File::options().write(true).open(m.path("sparse")).expect("open");
    let far = 1 << 50;
    let errno = |r: std::io::Result<()>| r.expect_err("a hole of a pebibyte").raw_os_error();
    assert_eq!(errno(file.set_len(far)), Some(libc::EFBIG), "truncate");
    assert_eq!(errno(file.write_all_at(b"x", far)), Some(libc::EFBIG), "pwrite");
    drop(file);
    assert_eq!(std::fs::metadata(m.path("sparse")).expect("stat").len(), at + 3, "nothing has changed");
    let small = std::fs::File::create(m.path("small")).expect("create");
    assert_eq!(errno(small.set_len(far)), Some(libc::EFBIG), "on an empty file");
    small.write_all_at(b"fine", 0).expect("the file is still good");
    drop(small);
    assert_eq!(m.stored("/small").expect("stored"), b"fine");
}

/// Names with every awkward character are kept byte for byte, in listings, in the tables and after a remount.
#[test]
fn odd_names() {
    let mut m = mount!();
    let longest = "é".repeat(127) + "x";
    assert_eq!(longest.len(), 255);
    let mut names: Vec<&str> = ODD_NAMES.to_vec();
    names.push(&longest);
    for (i, name) in names.iter().enumerate() {
        std::fs::create_dir(m.path(&format!("d{i}"))).expect("directory");
        std::fs::create_dir(m.path(&format!("d{i}")).join(name)).expect("directory with an odd name");
        std::fs::write(m.path(&format!("d{i}")).join(name).join(name), name).expect("file with an odd name");
        assert_eq!(m.stored(&format!("/d{i}/{name}/{name}")).expect("stored"), name.as_bytes());
    }
    m.remount();
    for (i, name) in names.iter().enumerate() {
        let list: Vec<_> =
            std::fs::read_dir(m.path(&format!("d{i}"))).expect("list").map(|e| e.expect("entry")).collect();
        assert_eq!(list.len(), 1);
        assert_eq!(list[0].file_name().to_str(), Some(*name));
        assert_eq!(std::fs::read_to_string(list[0].path().join(name)).expect("read"), **name);
    }
    let too_long = "x".repeat(256);
    for result in [
        std::fs::write(m.path(&too_long), "").err(),
        std::fs::metadata(m.path(&too_long)).err(),
        std::fs::create_dir(m.path(&too_long)).err(),
        std::fs::rename(m.path("d0"), m.path(&too_long)).err(),
    ] {
        assert_eq!(result.and_then(|e| e.raw_os_error()), Some(libc::ENAMETOOLONG));
    }
    m.assert_contract();
}

/// Files of exactly one, two and three chunks, and a byte to either side, come back as they were.
#[test]
fn whole_chunks() {
    let mut m = mount!("", |s| s.chunk_len(4096));
    for n in 1..4_usize {
        for len in [n * 4096 - 1, n * 4096, n * 4096 + 1] {
            std::fs::write(m.path(&format!("f{len}")), pattern(len as u64, len)).expect("write");
        }
    }
    m.assert_contract();
    m.remount();
    for n in 1..4_usize {
        for len in [n * 4096 - 1, n * 4096, n * 4096 + 1] {
            assert!(
                std::fs::read(m.path(&format!("f{len}"))).expect("read") == pattern(len as u64, len),
                "{len}"
            );
        }
    }
}

/// Two thousand files in one directory, and three levels of many: listings are complete, removal removes.
#[test]
fn many_files() {
    let mut m = mount!();
    let script = "mkdir flat; for i in $(seq 2000); do echo $i > flat/$i; done
        mkdir -p tree/{a,b,c,d}/{1,2,3,4,5}/{x,y,z}; for d in tree/*/*/*; do for i in 1 2 3; do echo $d > $d/$i; done; done";
    ok(&mut shell(m.dir(), script));
    let check = "test $(ls flat | wc -l) = 2000; test $(cat flat/* | sort -n | uniq | wc -l) = 2000
        test $(find tree -type f | wc -l) = 180; test $(find tree -type d | wc -l) = 85; grep -rl . tree | wc -l | grep -x 180";
    ok(&mut shell(m.dir(), check));
    m.remount();
    ok(&mut shell(m.dir(), check));
    ok(&mut shell(m.dir(), "rm -r flat tree; test -z \"$(ls -A)\""));
    if !m.is_plain() {
        assert_eq!(m.tables().names(), Vec::<String>::new());
    }
}

/// vim's, emacs' and other editors' way of saving: a backup by rename, then a new file, with fsync.
#[test]
fn editors_save() {
    let m = mount!();
    let script =
        "printf 'a\\nb\\n' > f; mv f f~; printf 'a\\nc\\n' > f; sync f; rm f~; test \"$(sed -n 2p f)\" = c
        printf 'new\\n' > .f.swp; sync .f.swp; mv .f.swp f; test \"$(cat f)\" = new
        perl -i -pe s/new/newer/ f 2>/dev/null || sed -i s/new/newer/ f; test \"$(cat f)\" = newer";
    ok(&mut shell(m.dir(), script));
    assert_eq!(m.stored("/f").expect("stored"), b"newer\n");
}
