//! A PostgreSQL of the tests' own, from the system's server binaries, and a blocking client for it.

use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio_postgres::types::ToSql;
use tokio_postgres::{NoTls, Row};

/// A running server. Dropping it stops it and removes its data.
pub struct Server {
    root: PathBuf,
    bin: PathBuf,
    port: u16,
    child: Mutex<Option<Child>>,
    settings: Vec<String>,
}

fn bin_dir() -> Option<PathBuf> {
    if let Some(dir) = std::env::var_os("PG_BIN") {
        return Some(dir.into());
    }
    let mut found: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .ok()?
        .filter_map(Result::ok)
        .map(|e| e.path().join("bin"))
        .filter(|d| d.join("initdb").exists())
        .collect();
    found.sort();
    found.pop()
}

/// The account that runs the server: PostgreSQL refuses to run as root.
fn account() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = nix::unistd::User::from_name("postgres").ok().flatten()?;
    Some((user.uid.as_raw(), user.gid.as_raw()))
}

/// Commands whose process dies with the test binary, whatever happens to that.
fn spawn_dependent(mut command: Command) -> std::io::Result<Child> {
    // The death signal is tied to the *thread* that forks, so the thread that forks must outlive the tests.
    type Job = (Command, std::sync::mpsc::Sender<std::io::Result<Child>>);
    static SPAWNER: OnceLock<std::sync::mpsc::Sender<Job>> = OnceLock::new();
    // SAFETY: prctl is async-signal-safe and touches only the child.
    unsafe {
        command.pre_exec(|| {
            libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGQUIT);
            Ok(())
        });
    }
    let spawner = SPAWNER.get_or_init(|| {
        let (send, receive) = std::sync::mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (mut command, answer) in receive {
                    let _ = answer.send(command.spawn());
                }
            })
            .expect("spawner thread");
        send
    });
    let (send, receive) = std::sync::mpsc::channel();
    spawner.send((command, send)).expect("spawner lives");
    receive.recv().expect("spawner answers")
}

/// A TCP port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a free port").port()
}

/// A process that waits to become a server.
pub struct StandBy(Child);

impl Server {
    /// The server that all tests of this binary share. `None`, after a loud skip, without server binaries.
    pub fn shared() -> Option<&'static Server> {
        static SHARED: OnceLock<Option<Server>> = OnceLock::new();
        let server = SHARED.get_or_init(|| {
            remove_leftovers();
            Server::start(&[])
        });
        if server.is_none() {
            super::require::skip("postgres", "no PostgreSQL server binaries (apt install postgresql)");
        }
        server.as_ref()
    }

    /// A server of one test's own with extra `name=value` settings. `None` without server binaries.
    pub fn start(settings: &[&str]) -> Option<Server> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let n = NUMBER.fetch_add(1, Ordering::Relaxed);
        let root = std::env::temp_dir().join(format!("userfilefs-test-pg-{}-{n}", std::process::id()));
        Server::start_in(root, settings)
    }

    /// The same with its data below `root`, which is made if needed.
    pub fn start_in(root: PathBuf, settings: &[&str]) -> Option<Server> {
        let bin = bin_dir()?;
        std::fs::create_dir_all(&root).expect("data directory");
        std::fs::set_permissions(&root, std::fs::Permissions::from_mode(0o700)).expect("chmod");
        if let Some((uid, gid)) = account() {
            chown(&root, Some(uid), Some(gid)).expect("chown of the data directory");
        }
        let server = Server {
            root,
            bin,
            port: free_port(),
            child: Mutex::new(None),
            settings: settings.iter().map(|s| (*s).to_owned()).collect(),
        };
        let output = server
            .command("initdb")
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-D"])
            .arg(server.data())
            .output()
            .expect("initdb runs");
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
        server.run();
        Some(server)
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The directory of everything that belongs to this server.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Removes its files; for a server that lives in a static.
    pub fn remove(&self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }

    /// Where the server's log is.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    fn command(&self, program: &str) -> Command {
        // A bare name that is not among the server's programs is looked for in PATH.
        let own = self.bin.join(program);
        let mut command = Command::new(if own.exists() { own.as_path() } else { Path::new(program) });
        if let Some((uid, gid)) = account() {
            command.uid(uid).gid(gid);
        }
        command.current_dir("/").env("LC_ALL", "C.UTF-8").stdin(Stdio::null());
        command
    }

    /// Starts the (stopped) server and waits until it answers.
    pub fn run(&self) {
        self.run_from(self.stand_by());
    }

    /// A process that will become the server at [`Server::run_from`]. A process that is made later would inherit
    /// open files, and closing those of a mount waits for the server.
    pub fn stand_by(&self) -> StandBy {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(self.log()).expect("log file");
        let mut command = self.command("sh");
        command.args(["-c", "read -r go && exec \"$@\"", "sh"]);
        command.arg(self.bin.join("postgres")).arg("-D").arg(self.data());
        let port = format!("port={}", self.port);
        let fixed =
            [port.as_str(), "listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=200"];
        let quick = ["fsync=off", "full_page_writes=off", "shared_buffers=64MB", "max_wal_size=1GB"];
        for setting in fixed.into_iter().chain(quick).chain(self.settings.iter().map(String::as_str)) {
            command.arg("-c").arg(setting);
        }
        command.stdin(Stdio::piped()).stdout(log.try_clone().expect("log handle")).stderr(log);
        StandBy(spawn_dependent(command).expect("a shell starts"))
    }

    /// Starts the (stopped) server in a process made before, and waits until it answers.
    pub fn run_from(&self, stand_by: StandBy) {
        let mut child = stand_by.0;
        let mut go = child.stdin.take().expect("a pipe");
        std::io::Write::write_all(&mut go, b"go\n").expect("the shell listens");
        drop(go);
        *self.child.lock() = Some(child);
        let end = Instant::now() + Duration::from_secs(60);
        while Db::connect(&self.url("postgres")).is_err() {
            let text = std::fs::read_to_string(self.log()).unwrap_or_default();
            assert!(Instant::now() < end, "the server does not answer:\n{text}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends the server with `signal` (SIGQUIT = as if the machine had lost power) and waits for its end.
    pub fn stop(&self, signal: nix::sys::signal::Signal) {
        if let Some(mut child) = self.child.lock().take() {
            let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
            let _ = nix::sys::signal::kill(pid, signal);
            let _ = child.wait();
        }
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The URL of a database as the superuser.
    pub fn url(&self, database: &str) -> String {
        self.url_as("postgres", database)
    }

    /// The URL of a database as `user` (no passwords are asked for).
    pub fn url_as(&self, user: &str, database: &str) -> String {
        format!("postgresql://{user}@127.0.0.1:{}/{database}?sslmode=disable", self.port)
    }

    /// A connection to a database.
    pub fn db(&self, database: &str) -> Db {
        Db::connect(&self.url(database)).expect("connection to the test server")
    }

    /// Makes an empty database and returns its name.
    pub fn fresh_database(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.db("postgres").exec(&format!("CREATE DATABASE {name}"));
        name
    }

    /// Removes a database with everybody in it.
    pub fn drop_database(&self, name: &str) {
        if let Ok(db) = Db::connect(&self.url("postgres")) {
            let _ = db.try_exec(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(nix::sys::signal::Signal::SIGQUIT);
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

/// Removes data of test runs that are over (a shared server is never dropped).
fn remove_leftovers() {
    let Ok(entries) = std::fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.filter_map(Result::ok) {
        let name = entry.file_name().to_string_lossy().into_owned();
        let Some(rest) = name.strip_prefix("userfilefs-test-pg-") else { continue };
        let alive = rest.split('-').next().is_some_and(|pid| Path::new("/proc").join(pid).exists());
        if !alive {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}

/// A blocking connection.
pub struct Db {
    runtime: tokio::runtime::Runtime,
    client: tokio_postgres::Client,
}

impl Db {
    /// Connects without TLS.
    pub fn connect(url: &str) -> Result<Db, tokio_postgres::Error> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        let (client, connection) = runtime.block_on(tokio_postgres::connect(url, NoTls))?;
        runtime.spawn(connection);
        Ok(Db { runtime, client })
    }

    /// Runs statements without parameters.
    pub fn try_exec(&self, sql: &str) -> Result<(), tokio_postgres::Error> {
        self.runtime.block_on(self.client.batch_execute(sql))
    }

    /// The same; any error fails the test.
    pub fn exec(&self, sql: &str) {
        self.try_exec(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Runs statements without parameters; the first column of the first row in text, or nothing.
    pub fn first_text(&self, sql: &str) -> String {
        let answer = self.runtime.block_on(self.client.simple_query(sql));
        let answer = answer.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        let value = answer.iter().find_map(|m| match m {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0).map(str::to_owned),
            _ => None,
        });
        value.unwrap_or_default()
    }

    /// Runs one statement and returns its rows.
    pub fn try_query(
        &self,
        sql: &str,
        params: &[&(dyn ToSql + Sync)],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        self.runtime.block_on(self.client.query(sql, params))
    }

    /// The same; any error fails the test.
    pub fn query(&self, sql: &str, params: &[&(dyn ToSql + Sync)]) -> Vec<Row> {
        self.try_query(sql, params).unwrap_or_else(|e| panic!("{sql}: {e:?}"))
    }

    /// `COPY … FROM STDIN` of text.
    pub fn copy_in(&self, sql: &str, text: Vec<u8>) {
        use futures_util::SinkExt;
        let done = self.runtime.block_on(async {
            let sink = self.client.copy_in::<_, bytes::Bytes>(sql).await?;
            let mut sink = std::pin::pin!(sink);
            for part in text.chunks(1 << 20) {
                sink.send(bytes::Bytes::copy_from_slice(part)).await?;
            }
            sink.finish().await
        });
        done.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}
