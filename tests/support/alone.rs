//! Tests that need a process of their own.

use std::process::Command;

/// Set in a process that runs one test only.
const VARIABLE: &str = "USERFILEFS_TEST_ALONE";

/// True in a process that runs nothing else. Otherwise runs the calling test in such a process, and panics if it
/// fails there; the caller then returns.
///
/// Another test's new processes inherit this one's open files for a moment, and a file that they close is flushed:
/// what a test says of unclosed files, or of a server that is away, holds only where nobody else starts processes.
pub fn alone() -> bool {
    let thread = std::thread::current();
    // With one thread the tests run on the main one, one after the other.
    let name = thread.name().filter(|name| *name != "main");
    let Some(name) = name.filter(|_| std::env::var_os(VARIABLE).is_none()) else { return true };
    let binary = std::env::current_exe().expect("the test binary");
    let done = Command::new(binary)
        .args(["--exact", name, "--test-threads=1", "--nocapture"])
        .env(VARIABLE, "1")
        .output()
        .expect("the test binary runs");
    let text = [done.stdout, done.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    eprintln!("{text}");
    assert!(done.status.success(), "{name} failed in a process of its own");
    assert!(text.contains("1 passed"), "{name} was not found in {text}");
    false
}
