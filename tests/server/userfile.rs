//! The userfile commands against the recorded sessions and tables of the original.

use crate::support::cli::{Done, run, shell, userfilefs};
use crate::support::postgres::Server;
use crate::support::tables::{CHUNK_LEN, Tables};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Once;

/// A user's storage in a database of its own, and a local directory to work in.
pub struct Desk {
    pub server: &'static Server,
    pub database: String,
    pub url: String,
    pub dir: tempfile::TempDir,
}

impl Desk {
    /// For the user root. `None`, after a loud skip, without PostgreSQL.
    pub fn new() -> Option<Desk> {
        Desk::of("root")
    }

    /// For any user, who is made a superuser.
    pub fn of(user: &str) -> Option<Desk> {
        static ROLES: Once = Once::new();
        let server = Server::shared()?;
        ROLES.call_once(|| {
            for role in ["root", "bob", "al.ice-1", "123foo", "MaxRoach"] {
                server.db("postgres").exec(&format!("CREATE ROLE \"{role}\" LOGIN SUPERUSER"));
            }
        });
        let database = server.fresh_database();
        let url = server.url_as(user, &database);
        let dir = tempfile::tempdir().expect("a directory");
        std::fs::write(dir.path().join("small.txt"), "hello userfile\n").expect("small.txt");
        std::fs::write(dir.path().join("empty.bin"), "").expect("empty.bin");
        Some(Desk { server, database, url, dir })
    }

    pub fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, data: impl AsRef<[u8]>) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("directories");
        std::fs::write(path, data).expect("a file");
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = userfilefs();
        command.args(args).current_dir(self.dir.path());
        command.env("COCKROACH_URL", &self.url).env_remove("RUST_LOG");
        command
    }

    pub fn run(&self, args: &[&str]) -> Done {
        run(&mut self.command(args))
    }

    /// Runs it and expects exactly this on standard output, and success.
    #[track_caller]
    pub fn ok(&self, args: &[&str], want: &str) {
        let done = self.run(args);
        assert_eq!(
            (done.stdout().as_str(), done.output.status.code()),
            (want, Some(0)),
            "{args:?}: {}",
            done.stderr()
        );
    }

    /// Runs it and expects the lines on standard error (after the line about the server) and exit code 1.
    #[track_caller]
    pub fn fails(&self, args: &[&str], want: &[&str]) {
        let done = self.run(args);
        let stderr = done.stderr();
        for line in want {
            assert!(stderr.lines().any(|l| l == *line), "{args:?}: no line {line:?} in\n{stderr}");
        }
        let last = stderr.lines().last().unwrap_or_default();
        let name = args.iter().find(|a| !a.starts_with('-') && **a != "userfile").unwrap_or(&"");
        assert_eq!(last, format!("Failed running \"userfile {name}\""), "{args:?}");
        assert_eq!(done.output.status.code(), Some(1), "{args:?}: {stderr}");
    }

    pub fn tables(&self) -> Tables {
        Tables::new(self.server.db(&self.database), "userfiles_root")
    }

    /// `userfile://db.public.userfiles_root`
    pub fn uri(&self) -> String {
        format!("userfile://{}.public.userfiles_root", self.database)
    }

    #[track_caller]
    pub fn uploads(&self, args: &[&str], stored: &str) {
        let all: Vec<&str> = ["upload"].iter().chain(args).copied().collect();
        self.ok(&all, &format!("successfully uploaded to {}{stored}\n", self.uri()));
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.server.drop_database(&self.database);
    }
}

fn not_clean(path: &str, clean: &str) -> String {
    format!(
        "ERROR: path {path} changes after normalization to {clean}. userfile upload does not permit such path \
         constructs"
    )
}

/// Section 2.1 of the recorded session; where ours differs on purpose, the line says so.
#[test]
fn recorded_uploads() {
    let Some(desk) = Desk::new() else { return };
    desk.write("ten.bin", vec![7u8; 10 << 20]);
    desk.uploads(&["small.txt", "small.txt"], "/small.txt");
    let exists = "ERROR: destination file already exists for /small.txt";
    desk.fails(&["upload", "small.txt"], &[exists]);
    desk.fails(&["upload", "small.txt", "small.txt"], &[exists]);
    desk.uploads(&["small.txt", "/abs/small.txt"], "/abs/small.txt");
    desk.uploads(&["small.txt", "nested/dir/small.txt"], "/nested/dir/small.txt");
    desk.uploads(&["small.txt", "nested/dir/deeper/small2.txt"], "/nested/dir/deeper/small2.txt");
    for (given, clean) in [
        ("nested//double.txt", "/nested/double.txt"),
        ("./dot.txt", "/dot.txt"),
        ("../up.txt", "/up.txt"),
        ("nested/../up2.txt", "/up2.txt"),
        ("nested/dir/", "/nested/dir"),
    ] {
        desk.fails(&["upload", "small.txt", given], &[&not_clean(&format!("/{given}"), clean)]);
    }
    desk.uploads(&["small.txt", "userfile:///viauri/a.txt"], "/viauri/a.txt");
    let db = desk.database.clone();
    desk.uploads(
        &["small.txt", &format!("userfile://{db}.public.userfiles_root/viauri/b.txt")],
        "/viauri/b.txt",
    );
    desk.uploads(
        &["small.txt", &format!("userfile://{db}.public.userfiles_$user/viauri/c.txt")],
        "/viauri/c.txt",
    );
    let other = format!("userfile://{db}.public.other_prefix/viauri/c.txt");
    desk.ok(&["upload", "small.txt", &other], &format!("successfully uploaded to {other}\n"));
    desk.uploads(&["small.txt", "with space.txt"], "/with space.txt");
    desk.uploads(&["small.txt", "ünï-日本.txt"], "/ünï-日本.txt");
    // Stored as given, not decoded; printed so that the URI reads back.
    desk.uploads(&["small.txt", "per%20cent.txt"], "/per%2520cent.txt");
    desk.uploads(&["small.txt", "q?x=1.txt"], "/q%3Fx=1.txt");
    desk.uploads(&["small.txt", "hash#1.txt"], "/hash%231.txt");
    desk.uploads(&["small.txt", "star*.txt"], "/star*.txt");
    desk.uploads(&["empty.bin", "empty.bin"], "/empty.bin");
    desk.uploads(&["ten.bin"], "/ten.bin");
    desk.fails(
        &["upload", "nosuchfile.txt", "a"],
        &["ERROR: open nosuchfile.txt: no such file or directory"],
    );
    desk.fails(&["upload", "/tmp", "a"], &["ERROR: source file /tmp is a directory, not a file"]);
    desk.fails(&["upload"], &["ERROR: requires at least 1 arg(s), only received 0"]);
    desk.fails(
        &["upload", "small.txt", "a", "b"],
        &["ERROR: accepts a source and a destination, received 3 arguments"],
    );

    let tables = desk.tables();
    tables.assert_contract(CHUNK_LEN);
    assert!(tables.hidden().is_empty());
    assert_eq!(tables.read("/small.txt").as_deref(), Some(&b"hello userfile\n"[..]));
    assert_eq!(tables.read("/ten.bin").map(|d| d.len()), Some(10 << 20));
    assert_eq!(
        tables.names(),
        [
            "/abs/small.txt",
            "/empty.bin",
            "/hash#1.txt",
            "/nested/dir/deeper/small2.txt",
            "/nested/dir/small.txt",
            "/per%20cent.txt",
            "/q?x=1.txt",
            "/small.txt",
            "/star*.txt",
            "/ten.bin",
            "/viauri/a.txt",
            "/viauri/b.txt",
            "/viauri/c.txt",
            "/with space.txt",
            "/ünï-日本.txt",
        ]
    );
}

/// Sections 2.2 and 2.4 of the recorded session: list and delete.
#[test]
fn recorded_lists_and_deletions() {
    let Some(desk) = Desk::new() else { return };
    let names = [
        "abs/small.txt",
        "empty.bin",
        "nested/dir/deeper/small2.txt",
        "nested/dir/small.txt",
        "per cent.txt",
        "small.txt",
        "star*.txt",
        "viauri/a.txt",
        "viauri/b.txt",
        "ünï-日本.txt",
    ];
    // Nothing yet, not even tables: an empty list, not an error.
    let done = desk.run(&["list"]);
    assert_eq!((done.stdout().as_str(), done.success()), ("", true));
    assert!(done.stderr().contains(&format!("there are no files in {}", desk.uri())), "{}", done.stderr());
    assert!(
        desk.server
            .db(&desk.database)
            .query("SELECT 1 FROM pg_tables WHERE schemaname = 'public'", &[])
            .is_empty()
    );
    desk.fails(&["delete", "nothing.txt"], &["ERROR: no files matched"]);
    desk.fails(&["get", "nothing.txt"], &["ERROR: no files matched requested path or path pattern"]);

    for name in names {
        desk.uploads(&["small.txt", name], &format!("/{name}"));
    }
    let lines = |names: &[&str]| names.iter().map(|n| format!("{n}\n")).collect::<String>();
    let top = ["empty.bin", "per cent.txt", "small.txt", "star*.txt", "ünï-日本.txt"];
    let nested = ["nested/dir/deeper/small2.txt", "nested/dir/small.txt"];
    for (args, want) in [
        (&[][..], &names[..]),
        (&["*"], &names),
        (&[""], &names),
        (&["/"], &names),
        (&["/*"], &top),
        (&["*.txt"], &top[1..]),
        (&["/*.txt"], &top[1..]),
        (&["nested/*"], &[]),
        (&["nested/**"], &[]),
        (&["nested/*/*"], &["nested/dir/small.txt"]),
        (&["/nested/dir/small.txt"], &["nested/dir/small.txt"]),
        (&["nested/dir/small.txt"], &["nested/dir/small.txt"]),
        (&["nested/dir"], &nested),
        (&["nested/"], &nested),
        (&["nested"], &nested),
        (&["nes"], &nested),
        (&["/nested/dir/small[.2]*"], &["nested/dir/small.txt"]),
        (&["userfile:///viauri/*"], &["viauri/a.txt", "viauri/b.txt"]),
        (&["viauri/b.txt", "viauri/"], &["viauri/b.txt", "viauri/a.txt"]),
        (&["nosuch"], &[]),
        (&["--literal", "*.txt"], &[]),
        (&["--literal", "star*.txt"], &["star*.txt"]),
        (&["-0", "viauri"], &["viauri/a.txt\0viauri/b.txt\0"]),
    ] {
        let all: Vec<&str> = ["list"].iter().chain(args).copied().collect();
        let want = if args.first() == Some(&"-0") { want.concat() } else { lines(want) };
        desk.ok(&all, &want);
        let all: Vec<&str> = ["userfile", "ls"].iter().chain(args).copied().collect();
        desk.ok(&all, &want);
    }
    desk.ok(&["list", &desk.uri()], &lines(&names));
    desk.ok(&["list", &format!("userfile://{}.public.unknown_prefix", desk.database)], "");
    desk.fails(&["list", "[bad"], &["ERROR: syntax error in pattern"]);
    desk.fails(&["list", "../*"], &["ERROR: invalid path /../* changes to /* after normalization"]);

    desk.fails(&["delete", "nosuch"], &["ERROR: no files matched"]);
    desk.ok(&["delete", "--force", "nosuch"], "");
    desk.ok(&["delete", "small.txt"], "successfully deleted small.txt\n");
    desk.fails(&["delete", "small.txt"], &["ERROR: no files matched"]);
    desk.fails(&["delete", "nested/*"], &["ERROR: no files matched"]);
    desk.ok(&["delete", "/nested/dir/small.txt"], "successfully deleted nested/dir/small.txt\n");
    desk.ok(&["delete", "userfile:///viauri/a.txt"], "successfully deleted viauri/a.txt\n");
    desk.ok(&["rm", &format!("{}/viauri/b.txt", desk.uri())], "successfully deleted viauri/b.txt\n");
    desk.fails(&["delete", "[bad"], &["ERROR: syntax error in pattern"]);
    desk.fails(&["delete"], &["ERROR: requires at least 1 arg(s), only received 0"]);
    let rest = [
        "abs/small.txt",
        "empty.bin",
        "nested/dir/deeper/small2.txt",
        "per cent.txt",
        "star*.txt",
        "ünï-日本.txt",
    ];
    desk.ok(&["delete", "-n", ""], &rest.map(|n| format!("would delete {n}\n")).concat());
    desk.ok(&["delete", ""], &rest.map(|n| format!("successfully deleted {n}\n")).concat());
    desk.ok(&["list"], "");
    let tables = desk.tables();
    assert!(tables.names().is_empty() && tables.hidden().is_empty());
    assert!(tables.db.query(&format!("SELECT 1 FROM {}", tables.payload), &[]).is_empty());
}

#[test]
fn a_bare_word_never_deletes_more_than_itself() {
    let Some(desk) = Desk::new() else { return };
    for name in ["bank-backup/a", "bank-backup/b/c", "bank-backup2/a", "bank-backup-old", "bank"] {
        desk.uploads(&["small.txt", name], &format!("/{name}"));
    }
    let done = desk.run(&["delete", "bank-back"]);
    assert_eq!((done.stdout().as_str(), done.output.status.code()), ("", Some(1)));
    assert!(done.stderr().contains("HINT: there is \"bank-backup-old\""), "{}", done.stderr());
    desk.ok(
        &["delete", "bank-backup", "--certs-dir=certs"],
        "successfully deleted bank-backup/a\nsuccessfully deleted bank-backup/b/c\n",
    );
    desk.ok(&["list"], "bank\nbank-backup-old\nbank-backup2/a\n");
}

/// Section 2.6 and the table of user names.
#[test]
fn other_users() {
    for (user, prefix) in [
        ("bob", "userfiles_bob"),
        ("al.ice-1", "userfilesx_616c2e6963652d31"),
        ("123foo", "userfilesx_313233666f6f"),
    ] {
        let Some(desk) = Desk::of(user) else { return };
        let uri = format!("userfile://{}.public.{prefix}", desk.database);
        desk.ok(
            &["upload", "small.txt", "b/small.txt"],
            &format!("successfully uploaded to {uri}/b/small.txt\n"),
        );
        for name in [
            "b/small.txt".to_owned(),
            "userfile:///b/small.txt".to_owned(),
            format!("userfile://{}.public.userfiles_$user/b/small.txt", desk.database),
            format!("{uri}/b/small.txt"),
        ] {
            desk.ok(&["list", &name], "b/small.txt\n");
        }
        // The literal table is another one.
        let literal = format!("userfile://{}.public.userfiles_%24user/x", desk.database);
        desk.ok(&["list", &literal], "");
        let done = desk.run(&["upload", "small.txt", &literal]);
        assert!(done.success(), "{}", done.stderr());
        desk.ok(&["list", &literal], "x\n");
        let sql = "SELECT count(*) FROM pg_tables WHERE tablename = 'userfiles_$user_upload_files'";
        assert_eq!(desk.server.db(&desk.database).query(sql, &[])[0].get::<_, i64>(0), 1);
    }
}

#[test]
fn missing_rights_are_said_plainly() {
    let Some(desk) = Desk::new() else { return };
    desk.uploads(&["small.txt"], "/small.txt");
    let db = desk.server.db(&desk.database);
    db.exec(&format!("CREATE ROLE nobody_{} LOGIN", desk.database));
    let url = desk.server.url_as(&format!("nobody_{}", desk.database), &desk.database);
    let uri = format!("{}/", desk.uri());
    for args in [&["list", uri.as_str()][..], &["get", &uri], &["delete", &uri]] {
        let done = run(desk.command(args).env("COCKROACH_URL", &url));
        assert_eq!(done.output.status.code(), Some(1), "{args:?}: {}", done.stderr());
        assert!(done.stderr().contains("\nSQLSTATE: 42501\n"), "{args:?}: {}", done.stderr());
        assert_eq!(done.stderr().matches("42501").count(), 1, "{}", done.stderr());
        assert!(
            done.stderr().starts_with("ERROR: ") || done.stderr().contains("\nERROR: "),
            "{}",
            done.stderr()
        );
    }
    let done = run(desk.command(&["upload", "small.txt"]).env("COCKROACH_URL", &url));
    let remedy = format!(
        "HINT: an administrator can: GRANT CREATE ON SCHEMA \"public\" TO \"nobody_{}\"\n",
        desk.database
    );
    assert!(done.stderr().contains(&remedy), "{}", done.stderr());
    desk.ok(&["list"], "small.txt\n");
    db.exec(&format!("DROP ROLE nobody_{}", desk.database));
}

/// What stops `check` before it has begun is explained as everywhere.
#[test]
fn check_without_tables_or_server() {
    let Some(desk) = Desk::new() else { return };
    let done = desk.run(&["check", "userfile:///"]);
    assert_eq!(done.output.status.code(), Some(2), "{}", done.stderr());
    assert!(done.stderr().contains("\nhint: the tables are made by the first upload"), "{}", done.stderr());
    let done =
        run(desk.command(&["check", "userfile:///"]).env("COCKROACH_URL", "postgresql://x@127.0.0.1:1/x"));
    assert_eq!(done.output.status.code(), Some(2), "{}", done.stderr());
    assert!(done.stderr().contains("connection refused\nhint: is the server running"), "{}", done.stderr());
}

/// Who is granted the two tables can work with them, also where the owner's mount has made the third.
#[test]
fn grants_on_the_two_tables_are_enough() {
    let Some(desk) = Desk::new() else { return };
    desk.uploads(&["small.txt"], "/small.txt");
    let (db, friend, prefix) =
        (desk.server.db(&desk.database), format!("friend_{}", desk.database), "userfiles_root");
    db.exec(&format!(
        "CREATE TABLE {prefix}_userfilefs_attrs (dir text COLLATE \"C\", name text COLLATE \"C\", file_id uuid,
         kind int8, mode int8, uid int8, gid int8, mtime timestamp, target bytea, xattrs bytea,
         PRIMARY KEY (dir, name, file_id));
         CREATE ROLE {friend} LOGIN;
         GRANT SELECT ON {prefix}_upload_files, {prefix}_upload_payload TO {friend}"
    ));
    let url = desk.server.url_as(&friend, &desk.database);
    let as_friend = |args: &[&str]| {
        let done = run(desk.command(args).env("COCKROACH_URL", &url));
        assert!(done.success(), "{args:?}: {}", done.stderr());
        done.stdout()
    };
    let (all, mine) = (format!("{}/", desk.uri()), format!("{}/mine", desk.uri()));
    assert_eq!(as_friend(&["list", &all]), "small.txt\n");
    assert_eq!(as_friend(&["get", &format!("{all}small.txt"), "-"]), "hello userfile\n");
    db.exec(&format!("GRANT ALL ON {prefix}_upload_files, {prefix}_upload_payload TO {friend}"));
    as_friend(&["upload", "small.txt", &mine]);
    as_friend(&["upload", "small.txt", &mine, "--overwrite"]);
    assert_eq!(as_friend(&["delete", &mine]), "successfully deleted mine\n");
    db.exec(&format!("DROP OWNED BY {friend}; DROP ROLE {friend}"));
}

/// Everybody can read the arguments of a process.
#[test]
fn passwords_leave_the_arguments() {
    // Takes the connection, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let url = format!("postgresql://bob:s3cret@127.0.0.1:{port}/d");
    for args in [&["list", "--url", &url][..], &["get", &format!("--url={url}?sslmode=disable"), "/"]] {
        let mut command = userfilefs();
        command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().expect("the program");
        let connection = silent.accept().expect("a connection");
        let shown = std::fs::read(format!("/proc/{}/cmdline", child.id())).expect("arguments");
        let _ = child.kill();
        let _ = child.wait();
        drop(connection);
        let shown = String::from_utf8_lossy(&shown).replace('\0', " ");
        assert!(!shown.contains("s3cret") && shown.contains("bob:xxxxx@127.0.0.1"), "{shown}");
    }
}

#[test]
fn unknown_words_and_wrong_flags() {
    let Some(desk) = Desk::new() else { return };
    let done = desk.run(&["userfile", "put", "small.txt"]);
    assert_eq!(done.output.status.code(), Some(1), "{}", done.stderr());
    assert!(done.stderr().contains("ERROR: unknown sub-command: \"put small.txt\"\n"), "{}", done.stderr());
    assert!(done.stderr().ends_with("Failed running \"userfile\"\n"), "{}", done.stderr());
    let done = desk.run(&["userfile"]);
    assert_eq!(done.output.status.code(), Some(1));
    assert!(done.stderr().contains("ERROR: unknown sub-command: \"\"\n"), "{}", done.stderr());
    assert_eq!(desk.run(&["upload", "--no-such-flag", "x"]).output.status.code(), Some(4));
}

/// The lines of the reference pages with the program's name replaced.
#[test]
fn the_reference_pages_loop() {
    let Some(desk) = Desk::new() else { return };
    for name in ["BACKUP_MANIFEST", "BACKUP-STATISTICS", "data/1.sst", "data/2.sst"] {
        desk.write(&format!("cluster-backup/{name}"), name.repeat(300));
    }
    let exe = env!("CARGO_BIN_EXE_userfilefs");
    let line = format!(
        "for x in cluster-backup/* cluster-backup/*/*; do {exe} userfile upload $x $x --url=\"{}\"; done",
        desk.url
    );
    let done = run(shell(desk.dir.path(), &format!("set +e; {line}")).env_remove("COCKROACH_URL"));
    let want = ["BACKUP-STATISTICS", "BACKUP_MANIFEST", "data/1.sst", "data/2.sst"]
        .map(|n| format!("successfully uploaded to {}/cluster-backup/{n}\n", desk.uri()))
        .concat();
    assert_eq!(done.stdout(), want, "{}", done.stderr());
    assert!(done.stderr().contains("ERROR: source file cluster-backup/data is a directory, not a file\n"));

    let uri = format!("userfile://{}.public.userfiles_$user/cluster-backup", desk.database);
    let away = tempfile::tempdir().expect("a directory");
    let get = format!("{exe} userfile get '{uri}' --url \"{}\"", desk.url);
    let done = run(shell(away.path(), &get).env_remove("COCKROACH_URL"));
    assert_eq!(
        done.stdout(),
        "downloaded cluster-backup/BACKUP-STATISTICS to cluster-backup/BACKUP-STATISTICS (5.0 KiB)\n\
         downloaded cluster-backup/BACKUP_MANIFEST to cluster-backup/BACKUP_MANIFEST (4.4 KiB)\n\
         downloaded cluster-backup/data/1.sst to cluster-backup/data/1.sst (2.9 KiB)\n\
         downloaded cluster-backup/data/2.sst to cluster-backup/data/2.sst (2.9 KiB)\n",
        "{}",
        done.stderr()
    );
    same_trees(&desk.path("cluster-backup"), &away.path().join("cluster-backup"));
}

/// `diff -r` finds nothing.
pub fn same_trees(a: &Path, b: &Path) {
    let done = run(Command::new("diff").arg("-r").arg(a).arg(b));
    assert!(done.success(), "{}{}", done.stdout(), done.stderr());
}
