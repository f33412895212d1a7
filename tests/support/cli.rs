//! Running programs: ours, and the tools that the tests drive.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The program under test.
pub fn userfilefs() -> Command {
    Command::new(env!("CARGO_BIN_EXE_userfilefs"))
}

/// Where `name` is installed: the tools directory of `scripts/test` first, then PATH.
pub fn find(name: &str) -> Option<PathBuf> {
    let tools = std::env::var_os("USERFILEFS_TEST_TOOLS").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    tools
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

/// What a finished program left behind.
#[derive(Debug)]
pub struct Done {
    /// The command line, for messages.
    pub line: String,
    /// Exit status and both outputs.
    pub output: Output,
}

impl Done {
    /// Standard output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.output.stdout).into_owned()
    }

    /// Standard error as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.output.stderr).into_owned()
    }

    /// Did it exit with 0?
    pub fn success(&self) -> bool {
        self.output.status.success()
    }
}

/// Runs `command` to its end with no standard input and returns whatever happened.
pub fn run(command: &mut Command) -> Done {
    let line = format!("{command:?}");
    command.stdin(Stdio::null());
    let output = command.output().unwrap_or_else(|e| panic!("cannot run {line}: {e}"));
    Done { line, output }
}

/// Runs `command` and returns its standard output.
///
/// # Panics
/// Unless it exits with 0.
pub fn ok(command: &mut Command) -> String {
    let done = run(command);
    assert!(
        done.success(),
        "{} ended with {}\n--- stdout\n{}\n--- stderr\n{}",
        done.line,
        done.output.status,
        done.stdout(),
        done.stderr()
    );
    done.stdout()
}

/// Runs the program with a terminal of its own, types `keys` when it asks something, and returns what it showed
/// there, its output and its exit code.
pub fn on_a_terminal(mut command: Command, keys: &str) -> (String, String, Option<i32>) {
    use std::io::{Read, Write};
    use std::os::unix::process::CommandExt;
    let pty = nix::pty::openpty(None, None).expect("a terminal");
    let slave = std::fs::File::from(pty.slave);
    command.stdin(slave.try_clone().expect("dup")).stdout(Stdio::piped()).stderr(slave);
    // SAFETY: both calls are async-signal-safe; descriptor 0 is the terminal.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            libc::ioctl(0, libc::TIOCSCTTY, 0);
            Ok(())
        });
    }
    let mut child = command.spawn().expect("runs");
    drop(command);
    let mut master = std::fs::File::from(pty.master);
    let (mut shown, mut buffer) = (String::new(), [0; 1024]);
    let mut asked = false;
    // Ends with an error when the program has closed the terminal.
    while let Ok(n) = master.read(&mut buffer) {
        shown.push_str(&String::from_utf8_lossy(&buffer[..n]));
        let password = shown.contains("Password for ") && shown.ends_with(": ");
        if !asked && (password || shown.ends_with("[y/N] ")) {
            asked = true;
            master.write_all(keys.as_bytes()).expect("typed");
        }
        if n == 0 {
            break;
        }
    }
    let mut out = String::new();
    child.stdout.take().expect("a pipe").read_to_string(&mut out).expect("text");
    (shown, out, child.wait().expect("ends").code())
}

/// A tool with its arguments, in the C locale; `None`, after a loud skip, where it is not installed.
pub fn tool<A: AsRef<OsStr>>(name: &str, args: impl IntoIterator<Item = A>) -> Option<Command> {
    let Some(program) = find(name) else {
        super::require::skip("tools", &format!("{name} is not installed"));
        return None;
    };
    let mut command = Command::new(program);
    command.env("LC_ALL", "C.UTF-8").args(args);
    Some(command)
}

/// A line of shell run in `dir`, with `set -e -u -o pipefail`.
pub fn shell(dir: &Path, script: &str) -> Command {
    let mut command = Command::new("bash");
    command.env("LC_ALL", "C.UTF-8").current_dir(dir).args(["-e", "-u", "-o", "pipefail", "-c", script]);
    command
}
