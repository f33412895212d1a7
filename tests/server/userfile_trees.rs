//! `upload -r` and `get`: where files go, what is refused, what stays.

use crate::support::cli::run;
use crate::userfile::{Desk, same_trees};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::{Command, Stdio};
use userfilefs::chunk::{Attrs, FileId, FileTable, PathKind, PathRow, TableOptions, TablePrefix};
use userfilefs::sql::{Pool, PoolOptions, Settings};
use userfilefs::util::clock::Micros;

const TREE: [&str; 5] = ["d1/d11/d111/d1111/f4", "d1/d11/f2", "d1/d11/f3", "d1/f1", "d2/d21/f5"];

fn tree(desk: &Desk) {
    for name in TREE {
        desk.write(&format!("testdir/{name}"), name);
    }
    std::fs::create_dir(desk.path("testdir/empty")).expect("an empty directory");
}

/// Every row of the contract's table of `upload -r`.
#[test]
fn recursive_uploads() {
    let Some(desk) = Desk::new() else { return };
    tree(&desk);
    let db = &desk.database;
    let foo = format!("userfile://{db}.public.foo/someDir");
    for (args, below) in [
        (&["testdir/", "foo"][..], format!("{}/foo/", desk.uri())),
        (&["testdir/", "/foo/bar/"], format!("{}/foo/bar/", desk.uri())),
        (&["testdir/"], format!("{}/testdir/", desk.uri())),
        (&["testdir", "bar"], format!("{}/bar/testdir/", desk.uri())),
        (&["testdir", "userfile:///someOtherDir"], format!("{}/someOtherDir/testdir/", desk.uri())),
        (&["testdir/", &foo], format!("{foo}/")),
    ] {
        let all: Vec<&str> = ["upload", "-r"].iter().chain(args).copied().collect();
        let mut want = String::new();
        for name in TREE {
            want += &format!("uploading: {name}\nsuccessfully uploaded to {below}{name}\n");
        }
        want += "successfully uploaded all files in the subtree rooted at testdir\n";
        desk.ok(&all, &want);
    }
    desk.ok(&["delete", "testdir"], &TREE.map(|n| format!("successfully deleted testdir/{n}\n")).concat());
    let done = desk.run(&["upload", "-r", "testdir", "--jobs", "8"]);
    assert!(done.success() && done.stdout().contains(&format!("{}/testdir/d1/f1\n", desk.uri())));

    desk.fails(
        &["upload", "-r", "testdir/", "foo/../bar"],
        &["ERROR: path /foo/../bar/d1/d11/d111/d1111/f4 changes after normalization to /bar/d1/d11/d111/d1111/f4. \
           userfile upload does not permit such path constructs"],
    );
    let done = desk.run(&["upload", "-r", "-j1", "testdir/", "foo/../bar"]);
    assert_eq!(done.stdout(), "uploading: d1/d11/d111/d1111/f4\n");
    desk.fails(
        &["upload", "-r", "/dir/does/not/exist"],
        &["ERROR: lstat /dir/does/not/exist: no such file or directory"],
    );
    desk.fails(
        &["upload", "-r", "testdir"],
        &["ERROR: destination file already exists for /testdir/d1/d11/d111/d1111/f4"],
    );
    // A single file is stored as without -r.
    desk.uploads(&["-r", "small.txt", "x/y.txt"], "/x/y.txt");
}

#[test]
fn carrying_on_and_overwriting() {
    let Some(desk) = Desk::new() else { return };
    tree(&desk);
    desk.uploads(&["testdir/d1/f1", "testdir/d1/f1"], "/testdir/d1/f1");
    desk.write("wrong", "another size");
    desk.uploads(&["wrong", "testdir/d1/d11/f3"], "/testdir/d1/d11/f3");

    // A plan first; nothing happens.
    let plan = desk.run(&["upload", "-r", "testdir", "--skip-existing", "--overwrite", "--dry-run"]);
    assert!(plan.success(), "{}", plan.stderr());
    assert_eq!(plan.stdout().lines().count(), 5, "{}", plan.stdout());
    assert!(
        plan.stdout().contains("/testdir/d1/d11/f3 (9 B), replacing what is there\n"),
        "{}",
        plan.stdout()
    );
    assert!(
        plan.stdout().contains(&format!("skipped {}/testdir/d1/f1, which is stored already\n", desk.uri()))
    );
    assert_eq!(desk.tables().names().len(), 2);

    // Another size is no file of an interrupted copy.
    desk.fails(
        &["upload", "-r", "testdir", "--skip-existing"],
        &[
            "ERROR: destination file already exists for /testdir/d1/d11/f3",
            "HINT: it has 12 bytes, the source has 9; --overwrite replaces it",
        ],
    );
    let done = desk.run(&["upload", "-r", "testdir", "--skip-existing", "--overwrite"]);
    assert!(done.success(), "{}", done.stderr());
    let done = desk.run(&["upload", "-r", "testdir", "--skip-existing"]);
    assert!(done.success() && !done.stdout().contains("successfully uploaded to"), "{}", done.stdout());
    let tables = desk.tables();
    for name in TREE {
        assert_eq!(tables.read(&format!("/testdir/{name}")).as_deref(), Some(name.as_bytes()));
    }
    let id = tables.file_id("/testdir/d1/f1");
    desk.uploads(&["testdir/d1/f1", "testdir/d1/f1", "--overwrite"], "/testdir/d1/f1");
    assert_ne!(tables.file_id("/testdir/d1/f1"), id);
    assert!(tables.hidden().is_empty());
    tables.assert_contract(4 << 20);

    // And back: the same for get.
    let got = |args: &[&str]| {
        let all: Vec<&str> = ["get", "testdir", "out"].iter().chain(args).copied().collect();
        desk.run(&all)
    };
    assert_eq!(got(&["-n"]).stdout().lines().filter(|l| l.starts_with("would download ")).count(), 5);
    assert!(!desk.path("out").exists());
    assert!(got(&[]).success());
    std::fs::remove_dir(desk.path("testdir/empty")).expect("rmdir");
    same_trees(&desk.path("testdir"), &desk.path("out/testdir"));
    let again = got(&[]);
    assert_eq!(again.output.status.code(), Some(1));
    let first = "out/testdir/d1/d11/d111/d1111/f4";
    assert!(again.stderr().contains(&format!("ERROR: open {first}: file exists\n")), "{}", again.stderr());
    std::fs::remove_file(desk.path(first)).expect("rm");
    let rest = got(&["--skip-existing"]);
    assert!(rest.success(), "{}", rest.stderr());
    assert_eq!(rest.stdout().lines().filter(|l| l.starts_with("downloaded ")).count(), 1);
    desk.write("out/testdir/d1/f1", "longer than it was");
    assert!(!got(&["--skip-existing"]).success());
    assert!(got(&["--overwrite"]).success());
    same_trees(&desk.path("testdir"), &desk.path("out/testdir"));
}

#[test]
fn links_pipes_and_odd_sources() {
    let Some(desk) = Desk::new() else { return };
    desk.write("t/a", "a");
    symlink("a", desk.path("t/link-to-a")).expect("a link");
    let done = desk.run(&["upload", "-r", "t"]);
    assert!(done.success(), "{}", done.stderr());
    assert_eq!(desk.tables().read("/t/link-to-a").as_deref(), Some(&b"a"[..]));

    symlink("/", desk.path("t/link-to-dir")).expect("a link");
    let path = std::fs::canonicalize(desk.dir.path()).expect("canonical").join("t/link-to-dir");
    let message = format!("ERROR: source file {} is a directory, not a file", path.display());
    desk.fails(&["upload", "-r", "t", "x"], &[&message]);
    let done = desk.run(&["upload", "-r", "t", "y", "--skip-links"]);
    assert!(done.success(), "{}", done.stderr());
    desk.ok(&["list", "y"], "y/t/a\n");

    // The source itself may be a link.
    symlink("t", desk.path("to-t")).expect("a link");
    let done = desk.run(&["upload", "-r", "to-t", "--skip-links"]);
    assert!(done.success(), "{}", done.stderr());
    std::fs::remove_file(desk.path("t/link-to-dir")).expect("rm");
    let done = desk.run(&["upload", "-r", "to-t", "z"]);
    assert!(done.success(), "{}", done.stderr());
    desk.ok(&["list", "to-t", "z"], "to-t/a\nz/to-t/a\nz/to-t/link-to-a\n");

    nix::unistd::mkfifo(&desk.path("fifo"), nix::sys::stat::Mode::S_IRWXU).expect("mkfifo");
    desk.fails(&["upload", "fifo"], &["ERROR: source file fifo is a named pipe, not a regular file"]);
    desk.fails(
        &["upload", "/dev/zero", "zero"],
        &["ERROR: source file /dev/zero is a character device, not a regular file"],
    );
    desk.fails(&["upload", "-"], &["ERROR: standard input has no name to be stored under"]);

    // Standard input, smaller and larger than a chunk.
    for (name, bytes) in [("none", 0usize), ("little", 10), ("exact", 4 << 20), ("much", (9 << 20) + 5)] {
        let data: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let mut child = desk
            .command(&["upload", "-", &format!("in/{name}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("runs");
        std::io::Write::write_all(&mut child.stdin.take().expect("stdin"), &data).expect("writes");
        assert!(child.wait().expect("ends").success());
        assert!(desk.tables().read(&format!("/in/{name}")) == Some(data.clone()), "{name}");
        let out = desk.run(&["get", &format!("in/{name}"), "-"]);
        assert!(out.success() && out.output.stdout == data, "{name}: {}", out.stderr());
    }
    desk.tables().assert_contract(4 << 20);
}

/// The table of destinations of `get`.
#[test]
fn where_downloads_go() {
    let Some(desk) = Desk::new() else { return };
    desk.uploads(&["small.txt", "a/b/one.txt"], "/a/b/one.txt");
    desk.uploads(&["small.txt", "a/two.txt"], "/a/two.txt");
    desk.uploads(&["empty.bin", "a/empty"], "/a/empty");
    let line = |name: &str, to: &str| format!("downloaded {name} to {to} (15 B)\n");
    desk.ok(&["get", "a/b/one.txt"], &line("a/b/one.txt", "one.txt"));
    std::fs::create_dir(desk.path("dir")).expect("mkdir");
    desk.ok(&["get", "a/b/one.txt", "dir"], &line("a/b/one.txt", "dir/one.txt"));
    desk.ok(&["get", "a/b/one.txt", "new/name.txt"], &line("a/b/one.txt", "new/name.txt"));
    desk.ok(&["get", "a/b/one.txt", "newdir/"], &line("a/b/one.txt", "newdir/one.txt"));
    desk.ok(&["get", "a/b", "from-dir.txt"], &line("a/b/one.txt", "from-dir.txt"));
    desk.ok(
        &["get", "/", "all"],
        &[
            line("a/b/one.txt", "all/a/b/one.txt"),
            "downloaded a/empty to all/a/empty (0 B)\n".into(),
            line("a/two.txt", "all/a/two.txt"),
        ]
        .concat(),
    );
    desk.ok(
        &["get", "a/b", "a/two.txt", "both"],
        &[line("a/b/one.txt", "both/a/b/one.txt"), line("a/two.txt", "both/a/two.txt")].concat(),
    );
    let mode = |path: &str| std::fs::metadata(desk.path(path)).expect("stat").permissions().mode() & 0o7777;
    assert_eq!(
        (mode("one.txt"), mode("all/a/b/one.txt"), mode("all/a/b"), mode("new")),
        (0o600, 0o600, 0o700, 0o700)
    );
    desk.fails(&["get", "a/b/one.txt"], &["ERROR: open one.txt: file exists"]);
    desk.fails(&["get", "a/b/on"], &["ERROR: no files matched requested path or path pattern"]);
    desk.fails(&["get"], &["ERROR: requires at least 1 arg(s), only received 0"]);
    // Each of several must be there; the others are fetched all the same.
    desk.fails(
        &["get", "a/no", "a/b/one.txt", "a/b", "no/*", "some/"],
        &["ERROR: no files matched a/no, no/*"],
    );
    assert!(desk.path("some/one.txt").exists());
    desk.ok(&["get", "a/b/one.txt", "/dev/null"], &line("a/b/one.txt", "/dev/null"));
    // Nothing else is left behind.
    let left = run(Command::new("find").arg(desk.dir.path()).args(["-name", ".userfilefs*"]));
    assert_eq!(left.stdout(), "");
}

/// Names from another client that must not be followed, and ones that no command line can hold.
#[test]
fn hostile_names() {
    let Some(desk) = Desk::new() else { return };
    let tables = desk.tables();
    for name in
        ["/../escaped", "/ok/fine", "/ok/../../escaped2", "//escaped3", "/nl\nname", "noslash", "/tail/"]
    {
        tables.write(name, name.as_bytes(), 4);
    }
    std::fs::create_dir(desk.path("cage")).expect("mkdir");
    let done = desk.run(&["get", "/", "cage/in"]);
    assert_eq!(done.output.status.code(), Some(1), "{}", done.stdout());
    let refused =
        done.stderr().lines().filter(|l| l.contains("cannot be stored below the destination")).count();
    assert_eq!(refused, 4, "{}", done.stderr());
    assert_eq!(std::fs::read(desk.path("cage/in/ok/fine")).expect("fetched"), b"/ok/fine");
    assert_eq!(std::fs::read(desk.path("cage/in/nl\nname")).expect("fetched"), b"/nl\nname");
    assert_eq!(std::fs::read_dir(desk.path("cage")).expect("ls").count(), 1);
    assert!(!desk.path("escaped").exists() && !desk.path("escaped2").exists());
    // A file and a directory of the same name: one of the two, and the rest.
    for name in ["/both", "/both/below", "/zz"] {
        tables.write(name, name.as_bytes(), 4);
    }
    for jobs in ["-j1", "-j4"] {
        let done = desk.run(&["get", "both", "zz", "clash/", "--skip-existing", jobs]);
        assert_eq!(done.output.status.code(), Some(1));
        assert!(done.stderr().contains("clash/both is both a file and a directory"), "{}", done.stderr());
        assert!(desk.path("clash/zz").exists());
    }
    desk.ok(
        &["delete", "both", "zz"],
        "successfully deleted both\nsuccessfully deleted both/below\nsuccessfully deleted zz\n",
    );
    // They can be listed, and deleted by their exact names.
    let listed = desk.run(&["list", "--json"]);
    let all: serde_json::Value = serde_json::from_str(&listed.stdout()).expect("json");
    assert_eq!(all.as_array().map(Vec::len), Some(7));
    desk.ok(
        &["get", "--literal", "/../escaped", "cage/by-name"],
        "downloaded ../escaped to cage/by-name (11 B)\n",
    );
    desk.ok(&["delete", "--literal", "/../escaped"], "successfully deleted ../escaped\n");
    desk.ok(&["delete", "--literal", "//escaped3"], "successfully deleted /escaped3\n");
}

/// A name that the local file system does not take does not keep the others from being fetched.
#[test]
fn names_too_long_for_the_local_file_system() {
    let Some(desk) = Desk::new() else { return };
    let (tables, long) = (desk.tables(), "x".repeat(300));
    for name in [format!("/d/{long}"), format!("/d/{long}/below"), "/d/z".into(), "/d/zz".into()] {
        tables.write(&name, b"data", 4);
    }
    let too_long = |name: &str| format!("ERROR: open out/d/{name}: file name too long");
    desk.fails(
        &["get", "-j1", "d", "out"],
        &[&too_long(&long), &too_long(&format!("{long}/below")), "ERROR: files not fetched: 2"],
    );
    assert!(desk.path("out/d/z").exists() && desk.path("out/d/zz").exists());
    desk.ok(
        &["get", &format!("d/{long}/below"), "named"],
        &format!("downloaded d/{long}/below to named (4 B)\n"),
    );
}

/// What `get` does with files whose chunks are not as they should be.
#[test]
fn damaged_files() {
    let Some(desk) = Desk::new() else { return };
    let tables = desk.tables();
    for name in ["/gap", "/short", "/head", "/sizeless", "/long", "/good"] {
        tables.write(name, b"0123456789abcdef", 4);
    }
    let chunk =
        |name: &str| format!("{} WHERE file_id = '{}'", tables.payload, tables.file_id(name).expect("id"));
    tables.db.exec(&format!("DELETE FROM {} AND byte_offset = 8", chunk("/gap")));
    tables.db.exec(&format!("DELETE FROM {} AND byte_offset = 12", chunk("/short")));
    tables.db.exec(&format!("DELETE FROM {} AND byte_offset = 0", chunk("/head")));
    tables.db.exec(&format!("UPDATE {} SET file_size = 0 WHERE filename = '/sizeless'", tables.files));
    tables.db.exec(&format!("UPDATE {} SET file_size = 10 WHERE filename = '/long'", tables.files));
    desk.ok(&["get", "good"], "downloaded good to good (16 B)\n");
    for (name, recovered) in [
        ("gap", &b"01234567cdef"[..]),
        ("short", b"0123456789ab"),
        ("head", b"456789abcdef"),
        ("sizeless", b"0123456789abcdef"),
        ("long", b"0123456789abcdef"),
    ] {
        let done = desk.run(&["get", name]);
        assert_eq!(done.output.status.code(), Some(1), "{name}: {}", done.stdout());
        assert!(
            done.stderr().contains(&format!("ERROR: file /{name} is damaged at offset ")),
            "{}",
            done.stderr()
        );
        assert!(!desk.path(name).exists(), "{name}");
        let done = desk.run(&["get", name, "--recover"]);
        assert!(done.success(), "{name}: {}", done.stderr());
        assert_eq!(std::fs::read(desk.path(name)).expect("fetched"), recovered, "{name}");
    }
    let left: Vec<_> =
        std::fs::read_dir(desk.dir.path()).expect("ls").flatten().map(|e| e.file_name()).collect();
    assert!(!left.iter().any(|n| n.to_string_lossy().starts_with('.')), "{left:?}");
}

#[test]
fn list_forms() {
    let Some(desk) = Desk::new() else { return };
    desk.uploads(&["small.txt", "d/s.txt"], "/d/s.txt");
    let tables = desk.tables();
    tables.db.exec(&format!("UPDATE {} SET upload_time = '2024-02-29 12:34:56.789'", tables.files));
    desk.ok(&["list", "-l"], "          15  2024-02-29 12:34:56  root        d/s.txt\n");
    desk.ok(&["list", "-l", "--human"], "        15 B  2024-02-29 12:34:56  root        d/s.txt\n");
    let id = tables.file_id("/d/s.txt").expect("id");
    desk.ok(
        &["list", "--json"],
        &format!(
            "[\n{{\"name\":\"d/s.txt\",\"uri\":\"{}/d/s.txt\",\"size\":15,\
             \"modified\":\"2024-02-29T12:34:56.789000Z\",\"owner\":\"root\",\"file_id\":\"{id}\"}}\n]\n",
            desk.uri()
        ),
    );
    desk.ok(&["list", "--json", "nothing"], "[]\n");
    assert_eq!(std::fs::metadata(desk.path("small.txt")).expect("stat").size(), 15);
}

/// CockroachDB can hold names that are not UTF-8, which no statement can name; PostgreSQL cannot, so here any name
/// stands for one.
#[test]
fn files_are_removed_by_their_id() {
    let Some(desk) = Desk::new() else { return };
    desk.uploads(&["small.txt", "one"], "/one");
    desk.write("big", vec![1; 5 << 20]);
    desk.uploads(&["big", "two"], "/two");
    let tables = desk.tables();
    let (id, other) =
        (FileId(tables.file_id("/two").expect("id")), FileId(tables.file_id("/one").expect("id")));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let table = open(&desk).await;
        assert!(table.remove_by_id(id).await.expect("removed"));
        assert!(!table.remove_by_id(id).await.expect("gone"));
        let row = table.lookup("/one").await.expect("lookup").file.expect("a row");
        assert_eq!(row.id, other);
    });
    assert_eq!(tables.names(), ["/one"]);
    assert!(tables.hidden().is_empty());
    assert_eq!(tables.db.query(&format!("SELECT 1 FROM {}", tables.payload), &[]).len(), 1);
}

async fn open(desk: &Desk) -> FileTable {
    let settings = Settings::parse(&desk.url).expect("settings");
    let pool = Pool::connect(settings, PoolOptions::default()).await.expect("pool");
    let prefix = TablePrefix::default_for("root").in_database(&desk.database);
    FileTable::open(pool, prefix, TableOptions::default()).await.expect("table")
}

/// What a mount keeps beside the files of a directory goes when the directory is deleted.
#[test]
fn directories_and_links_go_with_their_files() {
    let Some(desk) = Desk::new() else { return };
    for name in ["d/a", "d/sub/b", "e/a"] {
        desk.uploads(&["small.txt", name], &format!("/{name}"));
    }
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    runtime.block_on(async {
        let table = open(&desk).await;
        let link = || PathKind::Symlink { target: b"a".to_vec() };
        for (path, kind) in [
            ("/d", PathKind::Dir),
            ("/d/sub", PathKind::Dir),
            ("/d/sub/empty", PathKind::Dir),
            ("/d/link", link()),
            ("/d2", PathKind::Dir),
            ("/e", PathKind::Dir),
            ("/e/empty", PathKind::Dir),
            ("/link", link()),
        ] {
            let row = PathRow { path: path.into(), kind, attrs: Attrs::default(), mtime: Micros(0) };
            table.put_path(&row, false).await.expect("a row");
        }
    });
    let tables = desk.tables();
    let left = || -> Vec<String> {
        let sql = format!("SELECT dir || '|' || name FROM {} ORDER BY 1", tables.attrs());
        tables.db.query(&sql, &[]).iter().map(|row| row.get(0)).collect()
    };
    assert_eq!(left().len(), 8);
    desk.ok(&["delete", "d"], "successfully deleted d/a\nsuccessfully deleted d/sub/b\n");
    assert_eq!(left(), ["/e|empty", "/|d2", "/|e", "/|link"]);
    // An empty directory, a link: found, although no file is.
    desk.ok(&["delete", "d2"], "");
    desk.ok(&["delete", "link"], "");
    desk.fails(&["delete", "d2"], &["ERROR: no files matched"]);
    desk.uploads(&["small.txt", "f"], "/f");
    desk.fails(&["delete", "d2", "f", "f*"], &["ERROR: no files matched d2"]);
    desk.ok(&["list", "f"], "");
    // A pattern means files.
    desk.ok(&["delete", "e/*"], "successfully deleted e/a\n");
    assert_eq!(left(), ["/e|empty", "/|e"]);
    desk.ok(&["delete", "/"], "");
    assert!(left().is_empty());
}
