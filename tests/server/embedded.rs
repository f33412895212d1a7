//! The private PostgreSQL, through the program and at the same moment from many.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use userfilefs::embedded::{self, Place, State};

use crate::support::cli::{Done, run, userfilefs};
use crate::support::require;

/// A home for a private server; the server is stopped and the home removed at the end.
struct Home(PathBuf);

impl Home {
    /// None, after a loud skip, without PostgreSQL's binaries.
    fn new(label: &str) -> Option<Home> {
        if !Path::new("/usr/lib/postgresql").exists() && std::env::var_os("USERFILEFS_PG_BIN").is_none() {
            require::skip("postgres", "no PostgreSQL server binaries (apt install postgresql)");
            return None;
        }
        let dir = std::env::temp_dir().join(format!("ufs-embedded-{}-{label}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        Some(Home(dir))
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut c = userfilefs();
        c.args(args).env("USERFILEFS_SERVER_DIR", &self.0);
        for name in ["PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE", "PGHOSTADDR", "COCKROACH_URL"] {
            c.env_remove(name);
        }
        c
    }

    fn run(&self, args: &[&str]) -> Done {
        run(&mut self.command(args))
    }

    fn place(&self) -> Place {
        Place::at(&self.0)
    }

    fn pid(&self) -> i32 {
        let text = fs::read_to_string(self.place().data().join("postmaster.pid")).unwrap_or_default();
        text.lines().next().and_then(|l| l.trim().parse().ok()).expect("a running server")
    }

    fn kill(&self) {
        // SAFETY: the process is our own server.
        unsafe { libc::kill(self.pid(), libc::SIGKILL) };
        let end = Instant::now() + Duration::from_secs(10);
        while embedded::state(&self.place()) != State::Stopped && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = embedded::stop(&self.place(), Duration::from_secs(20));
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir_all(self.place().socket_dir());
    }
}

#[test]
fn life_of_a_private_server() {
    let Some(home) = Home::new("life") else { return };
    let done = home.run(&["server", "status"]);
    assert_eq!(done.output.status.code(), Some(1));
    assert!(done.stdout().contains("not made yet"), "{}", done.stdout());
    let done = home.run(&["server", "stop"]);
    assert_eq!((done.success(), done.stdout().trim()), (true, "not running"));
    let done = home.run(&["server", "start"]);
    assert!(done.success(), "{}", done.stderr());
    let url = done.stdout().trim().strip_prefix("started: ").expect("started").to_owned();
    assert_eq!(home.run(&["server", "url"]).stdout().trim(), url);
    assert!(home.run(&["server", "start"]).stdout().starts_with("already running: "));
    let status = home.run(&["server", "status"]);
    assert!(
        status.success()
            && status.stdout().contains("running")
            && status.stdout().contains("connections: none"),
        "{}",
        status.stdout()
    );
    let place = home.place();
    let meta = fs::metadata(place.data()).unwrap();
    assert_eq!(meta.mode() & 0o777, 0o700);
    if nix::unistd::geteuid().is_root() {
        assert_ne!(meta.uid(), 0, "the server's data belong to root");
    }
    assert_eq!(fs::metadata(place.socket_dir()).unwrap().mode() & 0o777, 0o700);
    let done = home.run(&["server", "stop"]);
    assert_eq!((done.success(), done.stdout().trim()), (true, "stopped"), "{}", done.stderr());
    assert_eq!(embedded::state(&place), State::Stopped);
    assert!(home.run(&["server", "logs"]).stdout().contains("redirecting log output"));
}

fn psql(home: &Home, sql: &str) -> String {
    let settings = embedded::settings(&home.place()).unwrap();
    let sql = sql.to_owned();
    let run = async move {
        let pool =
            userfilefs::sql::Pool::connect(settings, crate::support::database::options()).await.unwrap();
        let c = pool.conn(userfilefs::sql::Lane::Meta, None).await.unwrap();
        let mut last = String::new();
        for one in sql.split(';') {
            if let Some(row) = c.query(one, &[]).await.unwrap().first() {
                last = row.get(0);
            }
        }
        last
    };
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run)
}

#[test]
fn what_it_holds() {
    let Some(home) = Home::new("holds") else { return };
    embedded::start(&home.place()).unwrap();
    let facts = "SELECT concat_ws(' ', current_database(), current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = 'root'),
                 pg_encoding_to_char(encoding), datcollate, current_setting('listen_addresses') = '',
                 current_setting('synchronous_commit'), current_setting('fsync'), current_setting('data_checksums'))
                 FROM pg_database WHERE datname = current_database()";
    assert_eq!(psql(&home, facts), "defaultdb root t UTF8 C t on on on");
}

#[test]
fn many_commands_at_the_same_moment_without_data() {
    let Some(home) = Home::new("many") else { return };
    let children: Vec<_> = (0..6)
        .map(|_| {
            home.command(&["server", "url"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    let mut urls: Vec<String> = Vec::new();
    for child in children {
        let out = child.wait_with_output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        urls.push(String::from_utf8(out.stdout).unwrap());
    }
    urls.dedup();
    assert_eq!(urls.len(), 1, "{urls:?}");
    assert_eq!(embedded::state(&home.place()), State::Running);
}

#[test]
fn a_command_killed_at_any_moment_leaves_no_harm() {
    let Some(home) = Home::new("killed") else { return };
    for ms in [5, 60, 250, 600, 1100, 1700] {
        let mut child =
            home.command(&["server", "start"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(ms));
        let _ = child.kill();
        let _ = child.wait();
    }
    let done = home.run(&["server", "url"]);
    assert!(done.success(), "{}", done.stderr());
    psql(&home, "CREATE TABLE kept (k int8)");
    psql(&home, "INSERT INTO kept VALUES (7)");
    home.kill();
    assert!(home.run(&["server", "start"]).success());
    assert_eq!(psql(&home, "SELECT k::text FROM kept"), "7");
}

/// A session that computes does not hear that its server was killed, and holds the data until it is through.
#[test]
fn the_remains_of_a_killed_server_are_waited_for() {
    let Some(home) = Home::new("remains") else { return };
    embedded::start(&home.place()).unwrap();
    std::thread::scope(|threads| {
        threads.spawn(|| {
            let settings = embedded::settings(&home.place()).unwrap();
            tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
                let options = crate::support::database::options();
                let pool = userfilefs::sql::Pool::connect(settings, options).await.unwrap();
                let c = pool.conn(userfilefs::sql::Lane::Meta, None).await.unwrap();
                // Whether the answer still comes does not matter.
                let _ = c.query("SELECT count(*) FROM generate_series(1, 20000000)", &[]).await;
            });
        });
        std::thread::sleep(Duration::from_millis(500));
        home.kill();
        let done = home.run(&["server", "start"]);
        assert!(done.success(), "{}", done.stderr());
    });
}

#[test]
fn a_pid_file_of_another_process_is_no_obstacle() {
    let Some(home) = Home::new("stale") else { return };
    embedded::start(&home.place()).unwrap();
    let file = home.place().data().join("postmaster.pid");
    let saved = fs::read_to_string(&file).unwrap();
    assert!(embedded::stop(&home.place(), Duration::from_secs(20)).unwrap());
    // As after a reboot: the number belongs to somebody else now.
    let rest: String = saved.lines().skip(1).map(|l| format!("{l}\n")).collect();
    fs::write(&file, format!("{}\n{rest}", std::process::id())).unwrap();
    assert_eq!(embedded::state(&home.place()), State::Stopped);
    embedded::start(&home.place()).unwrap();
    assert_eq!(embedded::state(&home.place()), State::Running);
}

/// The same for an ordinary user, who may not look at the other process.
#[test]
fn a_pid_file_of_another_users_process_is_no_obstacle() {
    let Some(home) = Home::new("stale-user") else { return };
    let Some(nobody) = nix::unistd::User::from_name("nobody").ok().flatten() else { return };
    if !nix::unistd::geteuid().is_root() {
        require::skip("root", "only root can take another user's part");
        return;
    }
    // The program where everybody can reach it.
    fs::create_dir(&home.0).unwrap();
    let program = home.0.join("userfilefs");
    fs::copy(userfilefs().get_program(), &program).unwrap();
    let place = Place::at(home.0.join("place"));
    let data = place.data();
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "15\n").unwrap();
    let dir = data.display();
    let ready = format!("1\n{dir}\n1\n5432\n{}\n\n0\nready\n", place.socket_dir().display());
    fs::write(data.join("postmaster.pid"), ready).unwrap();
    for path in [place.home(), &data] {
        std::os::unix::fs::chown(path, Some(nobody.uid.as_raw()), None).unwrap();
    }
    let mut status = Command::new("setpriv");
    status.args(["--reuid=nobody", "--clear-groups", "--"]).arg(&program).args(["server", "status"]);
    let done = run(status.env("USERFILEFS_SERVER_DIR", place.home()));
    assert!(done.stdout().contains("state:       stopped"), "{}{}", done.stdout(), done.stderr());
}

/// As from another container with the same directory: no second server is started on the data.
#[test]
fn a_server_whose_process_is_out_of_sight() {
    let Some(home) = Home::new("unseen") else { return };
    let elsewhere = |args: &[&str]| {
        let mut c = Command::new("unshare");
        c.args(["--pid", "--fork", "--mount-proc"]).arg(userfilefs().get_program()).args(args);
        run(c.env("USERFILEFS_SERVER_DIR", &home.0))
    };
    if !elsewhere(&["--version"]).success() {
        require::skip("root", "process namespaces cannot be made");
        return;
    }
    embedded::start(&home.place()).unwrap();
    let done = elsewhere(&["server", "start"]);
    assert!(done.stdout().starts_with("already running: "), "{}{}", done.stdout(), done.stderr());
    let done = elsewhere(&["server", "stop"]);
    assert!(done.stderr().contains("cannot be seen from here"), "{}{}", done.stdout(), done.stderr());
    assert_eq!(embedded::state(&home.place()), State::Running);
}

/// A relative directory is meant as it is said.
#[test]
fn a_relative_directory() {
    let Some(home) = Home::new("relative") else { return };
    fs::create_dir(&home.0).unwrap();
    let mut status = home.command(&["server", "status"]);
    let done = run(status.env("USERFILEFS_SERVER_DIR", "a b/c").current_dir(&home.0));
    let expected = format!("data:        {}/a b/c/postgresql", home.0.display());
    assert!(done.stdout().contains(&expected), "{}{}", done.stdout(), done.stderr());
}

#[test]
fn stop_is_refused_while_in_use() {
    let Some(home) = Home::new("used") else { return };
    let settings = embedded::start(&home.place()).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let options = userfilefs::sql::PoolOptions {
        application_name: "userfilefs mount /mnt/x".to_owned(),
        ..crate::support::database::options()
    };
    let _pool = runtime.block_on(userfilefs::sql::Pool::connect(settings, options)).unwrap();
    let done = home.run(&["server", "stop"]);
    assert_eq!(done.output.status.code(), Some(1));
    assert!(done.stderr().contains("userfilefs mount /mnt/x: 1"), "{}", done.stderr());
    assert!(done.stderr().contains("hint: ") && done.stderr().contains("--force"), "{}", done.stderr());
    let done = home.run(&["server", "stop", "--force"]);
    assert!(done.success(), "{}", done.stderr());
}

#[test]
fn an_odd_path_still_gets_a_socket() {
    for label in ["long".repeat(30), "a,b %&=é\"'".to_owned()] {
        let Some(home) = Home::new(&label) else { return };
        assert!(!home.place().socket().starts_with(&home.0));
        embedded::start(&home.place()).unwrap();
        assert_eq!(psql(&home, "SELECT current_database()::text"), "defaultdb");
    }
}

#[test]
fn roots_data_are_explained() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let Some(home) = Home::new("roots") else { return };
    fs::create_dir_all(home.place().data()).unwrap();
    let version = fs::read_dir("/usr/lib/postgresql").unwrap().flatten().next().unwrap().file_name();
    fs::write(home.place().data().join("PG_VERSION"), version.as_encoded_bytes()).unwrap();
    let done = home.run(&["server", "start"]);
    assert!(!done.success());
    assert!(done.stderr().contains("belongs to root"), "{}", done.stderr());
    assert!(done.stderr().contains("chown -R postgres: "), "{}", done.stderr());
}

#[test]
fn data_of_another_version_are_explained() {
    let Some(home) = Home::new("version") else { return };
    embedded::start(&home.place()).unwrap();
    embedded::stop(&home.place(), Duration::from_secs(20)).unwrap();
    fs::write(home.place().data().join("PG_VERSION"), "9\n").unwrap();
    let done = home.run(&["server", "start"]);
    assert!(!done.success());
    assert!(done.stderr().contains("made by PostgreSQL 9"), "{}", done.stderr());
    assert!(done.stderr().contains("postgresql-9"), "{}", done.stderr());
}

#[test]
fn missing_binaries_are_explained() {
    let Some(home) = Home::new("missing") else { return };
    let done = run(home.command(&["server", "start"]).env("USERFILEFS_PG_BIN", "/nonexistent"));
    assert!(!done.success());
    assert!(done.stderr().contains("USERFILEFS_PG_BIN is /nonexistent, where initdb"), "{}", done.stderr());
    assert!(done.stderr().contains("pg_config --bindir"), "{}", done.stderr());
}
