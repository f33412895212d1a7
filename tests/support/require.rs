//! Prerequisites of a test: absent ones are skipped aloud, or fail where `USERFILEFS_REQUIRE` lists them.

use std::io::Write;

/// True where `USERFILEFS_REQUIRE` (comma-separated) lists `need`.
pub fn required(need: &str) -> bool {
    std::env::var("USERFILEFS_REQUIRE").is_ok_and(|list| list.split(',').any(|word| word.trim() == need))
}

/// Says that a test is skipped for want of `need`.
///
/// # Panics
/// Where `USERFILEFS_REQUIRE` lists `need`.
pub fn skip(need: &str, reason: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    assert!(!required(need), "{test} needs {need}, which USERFILEFS_REQUIRE lists: {reason}");
    // Not by eprintln, which the test harness keeps to itself when a test passes.
    let _ = std::io::stderr().lock().write_all(format!("SKIP {test}: {reason}\n").as_bytes());
}
