//! A database, a mount point, and a namespace for scripts.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::support::cli::{self, Done};
use crate::support::mounted::fuse_works;
use crate::support::postgres::{Db, Server};
use crate::support::require;

/// Runs before each script. `fails CODE TEXT COMMAND...` wants the command to exit with CODE and to say TEXT on
/// standard error; `not COMMAND...` wants it to fail (a bare `!` is no check under -e); `pid DIR` is the daemon
/// of a mount; `gone PID` waits for the end of a process.
const PRELUDE: &str = r#"
mkdir -p "$BASE/sbin"
for name in mount.userfilefs mount.fuse.userfilefs umount.userfilefs umount.fuse.userfilefs; do
    ln -sf "$U" "$BASE/sbin/$name"
done
mount -t overlay overlay -o "lowerdir=$BASE/sbin:/usr/sbin" /usr/sbin
trap 'echo "FAILED in line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'jobs -p | xargs -r kill 2>/dev/null; umount -l "$D" 2>/dev/null || true
    [ ! -d "$BASE/private" ] || USERFILEFS_SERVER_DIR=$BASE/private "$U" server stop --force 2>/dev/null || true
    for d in "$BASE"/*/; do umount -l "$d" 2>/dev/null || true; done' EXIT
export RUST_BACKTRACE=0
fails() {
    local code=$1 text=$2 rc=0
    shift 2
    "$@" 2>"$BASE/stderr" || rc=$?
    if [ $rc -ne "$code" ] || ! grep -qF -- "$text" "$BASE/stderr"; then
        echo "exit $rc instead of $code, or not \"$text\", from: $*" >&2
        cat "$BASE/stderr" >&2
        return 1
    fi
}
not() {
    if "$@"; then
        echo "should fail: $*" >&2
        return 1
    fi
}
pid() { "$U" mount | sed -n "s|.* on $1 (.*pid \([0-9]*\),.*|\1|p"; }
alive() { # The first thread may be a zombie while others still hold the connection.
    [ -d "/proc/$1" ] && ! { grep -q '^State:.Z' "/proc/$1/status" && [ "$(ls "/proc/$1/task" | wc -l)" = 1 ]; }
}
gone() {
    for _ in $(seq 200); do
        alive "$1" || return 0
        sleep 0.05
    done
    echo "process $1 is still there" >&2
    return 1
}
mounted() { grep -q " $1 .* - fuse.userfilefs " /proc/self/mountinfo; }
"#;

/// A fresh database on the shared server, and a directory with a mount point.
pub(crate) struct Rig {
    server: &'static Server,
    database: String,
    base: PathBuf,
}

impl Rig {
    /// `None`, after a loud skip, where something is missing.
    pub(crate) fn new() -> Option<Rig> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        if !fuse_works() {
            return None;
        }
        let namespace = Command::new("unshare").args(["-m", "true"]).status();
        if !namespace.is_ok_and(|status| status.success()) {
            require::skip("fuse", "mount namespaces cannot be made");
            return None;
        }
        let server = Server::shared()?;
        let database = server.fresh_database();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let base =
            std::env::temp_dir().join(format!("userfilefs-test-session-{}-{number}", std::process::id()));
        std::fs::create_dir_all(base.join("mnt")).expect("mount point");
        Some(Rig { server, database, base })
    }

    /// The server's URL with a password, which the server does not ask for, and which must never show.
    pub(crate) fn url(&self) -> String {
        self.server.url(&self.database).replace("postgres@", "postgres:sekret@")
    }

    /// The mount point, `$D`.
    pub(crate) fn dir(&self) -> PathBuf {
        self.base.join("mnt")
    }

    /// The directory for everything else, `$BASE`.
    pub(crate) fn base(&self) -> &Path {
        &self.base
    }

    /// A connection to the database.
    pub(crate) fn db(&self) -> Db {
        self.server.db(&self.database)
    }

    /// How many files are stored.
    pub(crate) fn files(&self) -> i64 {
        self.db().query("SELECT count(*) FROM userfiles_postgres_upload_files", &[])[0].get(0)
    }

    fn run_with(&self, url: &str, script: &str) -> Done {
        let program = cli::userfilefs().get_program().to_owned();
        let mut command = Command::new("unshare");
        command
            .args(["-m", "bash", "-e", "-u", "-E", "-o", "pipefail", "-c"])
            .arg(format!("{PRELUDE}\n{script}"));
        command.env("U", program).env("URL", url).env("D", self.dir()).env("BASE", &self.base);
        command.env("LOG", self.base.join("log")).env("LC_ALL", "C.UTF-8");
        for name in ["COCKROACH_URL", "PGHOST", "PGUSER", "NOTIFY_SOCKET", "USERFILEFS_LOG"] {
            command.env_remove(name);
        }
        cli::run(&mut command)
    }

    /// The same with another server's URL.
    ///
    /// # Panics
    /// Unless the script succeeds.
    pub(crate) fn ok_with(&self, url: &str, script: &str) -> String {
        let done = self.run_with(url, script);
        assert!(
            done.success(),
            "the script ended with {}\n--- stdout\n{}\n--- stderr\n{}\n--- log\n{}",
            done.output.status,
            done.stdout(),
            done.stderr(),
            self.log()
        );
        done.stdout()
    }

    /// Runs a script with `$U` (the program), `$URL`, `$D` (the mount point), `$BASE`, `$LOG`, and returns its standard
    /// output.
    ///
    /// # Panics
    /// Unless the script succeeds.
    pub(crate) fn ok(&self, script: &str) -> String {
        self.ok_with(&self.url(), script)
    }

    /// The daemon's log.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.base.join("log")).unwrap_or_default()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("left for a look: {}", self.base.display());
            return;
        }
        self.server.drop_database(&self.database);
        // A mount that was left in a namespace does not show here.
        let _ = std::fs::remove_dir_all(&self.base);
    }
}
