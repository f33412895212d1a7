//! The only place that prints. stdout is data, stderr is talk; a reader that goes away ends the program
//! quietly.

use crate::{chunk, embedded, sql};
use indicatif::{MultiProgress, ProgressDrawTarget};
use std::error::Error as StdError;
use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, StdoutLock, Write};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, Ordering};

static QUIET: AtomicBool = AtomicBool::new(false);
static LOG_TIMES: AtomicBool = AtomicBool::new(false);

/// Progress bars go here; shown on a terminal only, and out of the way of every line printed.
static BARS: LazyLock<MultiProgress> = LazyLock::new(|| {
    let visible = io::stderr().is_terminal() && !quiet();
    let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    MultiProgress::with_draw_target(target)
});

/// What a shell reports for a program that SIGPIPE ended.
const BROKEN_PIPE_EXIT: i32 = 141;

/// `-q`: notes are left out.
pub fn set_quiet(on: bool) {
    QUIET.store(on, Ordering::Relaxed);
}

/// True if notes are left out.
pub fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

/// Log lines begin with the time: they go to a file.
pub fn set_log_times(on: bool) {
    LOG_TIMES.store(on, Ordering::Relaxed);
}

/// True if log lines begin with the time.
pub fn log_times() -> bool {
    LOG_TIMES.load(Ordering::Relaxed)
}

/// Where commands add their progress bars.
pub fn bars() -> &'static MultiProgress {
    &BARS
}

/// True if stdout is a terminal.
pub fn to_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Buffered data for stdout. Written when full, by [`Out::flush`], and when dropped.
pub struct Out(BufWriter<StdoutLock<'static>>);

/// Data for stdout.
pub fn out() -> Out {
    Out(BufWriter::with_capacity(64 << 10, io::stdout().lock()))
}

impl Out {
    /// A line.
    pub fn line(&mut self, text: impl Display) {
        check(writeln!(self.0, "{text}"));
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        check(self.0.write_all(bytes));
    }

    /// Everything written so far goes out.
    pub fn flush(&mut self) {
        check(self.0.flush());
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        self.flush();
    }
}

/// Ends the program when the reader of stdout is gone, or the disk behind it is full.
fn check(result: io::Result<()>) {
    if let Err(e) = result {
        if e.kind() == io::ErrorKind::BrokenPipe {
            std::process::exit(BROKEN_PIPE_EXIT);
        }
        stderr(&format!("error: cannot write the output: {e}"));
        std::process::exit(i32::from(super::Exit::Failure.code()));
    }
}

/// One line of data on stdout, at once.
pub fn line(text: impl Display) {
    BARS.suspend(|| {
        let mut o = out();
        o.line(text);
    });
}

/// A line of any bytes on stdout, at once, for work that goes on even if nobody reads what it says.
pub fn try_line(bytes: &[u8]) {
    let line = [bytes, b"\n"].concat();
    BARS.suspend(|| {
        let _ = io::stdout().lock().write_all(&line);
    });
}

/// A line of talk on stderr, unless `-q`.
pub fn note(text: impl Display) {
    if !quiet() {
        stderr(&text.to_string());
    }
}

/// A warning on stderr.
pub fn warn(text: impl Display) {
    stderr(&format!("warning: {text}"));
}

/// Text on stderr as it is, even with `-q`.
pub fn stderr(text: &str) {
    BARS.suspend(|| {
        // Nobody is left to be told that stderr is gone.
        let _ = writeln!(io::stderr().lock(), "{text}");
    });
}

/// `error: …`, and `hint: …` where there is one.
pub fn error(e: &anyhow::Error) {
    stderr(&format!("error: {}", message(e)));
    if let Some(hint) = hint(e) {
        stderr(&format!("hint: {hint}"));
    }
}

/// The error and its causes in one line; causes that are part of it already are not repeated, and the system's
/// numbers of errors are left out.
pub fn message(e: &anyhow::Error) -> String {
    let mut text = e.to_string();
    for cause in e.chain().skip(1) {
        let said = cause.to_string();
        if !text.contains(&said) {
            text = format!("{text}: {said}");
        }
    }
    without_numbers(&text)
}

/// The text without each "(os error N)".
fn without_numbers(text: &str) -> String {
    let mut parts = text.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        out.push_str(rest.strip_prefix(')').unwrap_or(rest));
    }
    out
}

/// What the user can do: the first hint of the error and its causes.
pub fn hint(e: &anyhow::Error) -> Option<String> {
    if let Some(hinted) = e.downcast_ref::<Hint>() {
        return Some(hinted.hint.clone());
    }
    e.chain().find_map(|cause: &(dyn StdError + 'static)| {
        let sql = cause.downcast_ref::<sql::Error>().and_then(sql::Error::hint);
        let own = || cause.downcast_ref::<embedded::Error>().and_then(embedded::Error::hint);
        let said = || cause.downcast_ref::<Hint>().map(|h| h.hint.as_str());
        let table = || cause.downcast_ref::<chunk::Error>().and_then(chunk::Error::hint);
        sql.or_else(own).or_else(said).map(str::to_owned).or_else(table)
    })
}

/// An error of the command line itself, with a remedy.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Hint {
    /// What went wrong: lower case, no full stop.
    pub message: String,
    /// What to do about it.
    pub hint: String,
}

/// An error with a remedy.
pub fn failure(message: impl Into<String>, hint: impl Into<String>) -> anyhow::Error {
    Hint { message: message.into(), hint: hint.into() }.into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context;

    #[test]
    fn one_line_and_a_hint() {
        let inner = sql::Error::new(sql::ErrorClass::Other, "it broke").with_hint("mend it");
        let e = Err::<(), _>(inner).context("while trying").unwrap_err();
        assert_eq!(message(&e), "while trying: it broke");
        assert_eq!(hint(&e).as_deref(), Some("mend it"));
        let e = anyhow::Error::from(chunk::Error::NoTables("d.s.t".to_owned()));
        assert!(hint(&e).is_some_and(|h| h.contains("first upload")));
        let e = failure("bad flag", "leave it out").context("so: bad flag");
        assert_eq!(message(&e), "so: bad flag");
        assert_eq!(hint(&e).as_deref(), Some("leave it out"));
        let e = anyhow::Error::from(io::Error::from_raw_os_error(2)).context("cannot use /a");
        assert_eq!(message(&e), "cannot use /a: No such file or directory");
    }
}
