//! Suites that were not written for this project: fsx and pjdfstest, from crates.io (`scripts/test` installs them).

use std::path::{Path, PathBuf};

use crate::mount;
use crate::support::cli::{find, ok, run};
use crate::support::mounted::Mount;
use crate::support::require::skip;

/// An installed suite, or a loud skip.
fn suite(name: &str) -> Option<PathBuf> {
    let found = find(name);
    if found.is_none() {
        skip(name, &format!("{name} is not installed (scripts/test installs it)"));
    }
    found
}

/// `operations` of fsx with this seed on a file of up to `flen` bytes.
fn fsx(m: &Mount, name: &str, config: &str, operations: u32, seed: u64) {
    let Some(program) = suite("fsx") else { return };
    let work = tempfile::tempdir().expect("directory");
    let file = work.path().join("fsx.toml");
    std::fs::write(&file, config).expect("configuration");
    let mut command = std::process::Command::new(program);
    command.current_dir(work.path()).args(["-N", &operations.to_string(), "-S", &seed.to_string(), "-f"]);
    let done = run(command.arg(&file).arg("-P").arg(work.path()).arg(m.path(name)));
    let tail: Vec<String> = done.stderr().lines().rev().take(40).map(str::to_owned).collect();
    assert!(done.success(), "fsx, seed {seed}: {}\n{}", done.output.status, tail.join("\n"));
}

fn config(flen: usize, op: usize, weights: &str) -> String {
    format!(
        "flen = {flen}\n[opsize]\nmax = {op}\n[weights]\nclose_open = 3\nread = 10\nwrite = 10\ntruncate = 3\n{weights}\n"
    )
}

const MAPPED: &str = "mapread = 10\nmapwrite = 10\ninvalidate = 1\nfsync = 0.3\nfdatasync = 0.3\nposix_fallocate = 1\npunch_hole = 1\nsendfile = 2\nposix_fadvise = 1\ncopy_file_range = 2";

fn is_long() -> bool {
    std::env::var_os("USERFILEFS_TEST_LONG").is_some()
}

/// fsx over several real chunks of 4 MiB: 4,000 operations, with `--long` 25,000 with each of two seeds (each store
/// writes whole chunks: 200,000 operations made more than 400 GB of WAL).
#[test]
fn fsx_over_real_chunks() {
    let m = mount!();
    let (operations, seeds) = if is_long() { (25_000, 2) } else { (4000, 1) };
    for seed in 0..seeds {
        fsx(&m, "fsx", &config(10 << 20, 128 << 10, MAPPED), operations, 40 + seed);
        m.assert_contract();
    }
}

/// fsx with small chunks, so that each operation crosses some: 8,000 operations, with `--long` 237,500 with each of
/// two seeds.
fn small_chunks(first_seed: u64) {
    let m = mount!("", |s| s.chunk_len(20_000));
    let (operations, seeds) = if is_long() { (237_500, 2) } else { (8000, 1) };
    for seed in 0..seeds {
        fsx(&m, "fsx", &config(300_000, 65_536, MAPPED), operations, first_seed + seed);
        m.assert_contract();
    }
}

#[test]
fn fsx_over_small_chunks() {
    small_chunks(50);
}

/// Beside the other: most of an operation is waiting.
#[test]
fn fsx_over_more_small_chunks() {
    small_chunks(52);
}

/// The names of `expected_failures` in our pjdfstest configuration.
fn expected_failures(config: &Path) -> usize {
    let text = std::fs::read_to_string(config).expect("pjdfstest.toml");
    let list =
        text.split("expected_failures = [").nth(1).and_then(|t| t.split("\n]").next()).expect("the list");
    let mut reason = false;
    let mut count = 0;
    for line in list.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.starts_with('#') {
            reason = true;
        } else {
            assert!(reason, "no reason is given above {line}");
            count += 1;
        }
    }
    count
}

/// pjdfstest, whole: what fails is expected, with its reason, and what is expected to fail fails.
#[test]
fn pjdfstest() {
    let m = mount!("allow_other,default_permissions");
    let Some(program) = suite("pjdfstest") else { return };
    let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mount/pjdfstest.toml");
    let expected = expected_failures(&config);
    let root = nix::unistd::geteuid().is_root();
    let mut command = std::process::Command::new(if root { program.clone() } else { "sudo".into() });
    if !root {
        command.arg("-n").arg(&program);
    }
    std::fs::set_permissions(m.dir(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("chmod");
    let done = run(command.arg("-c").arg(&config).arg("-p").arg(m.dir()).current_dir("/"));
    let text = done.stdout();
    let fine = |l: &&str| {
        l.ends_with(" ok") || l.ends_with("skipped") || l.starts_with('\t') || l.contains("expected fail")
    };
    let odd: Vec<&str> = text.lines().filter(|l| !fine(l)).collect();
    assert!(!text.contains("PASSED UNEXPECTEDLY"), "take out of the list:\n{}", odd.join("\n"));
    println!("{expected} failures are expected");
    assert!(done.success(), "pjdfstest: {}\n{}\n{}", done.output.status, odd.join("\n"), done.stderr());
}

/// The suites agree that a plain tmpfs is right: otherwise it is they that are broken here.
#[test]
fn the_suites_pass_where_they_must() {
    let Some(program) = suite("fsx") else { return };
    let tmpfs = tempfile::tempdir_in("/dev/shm").expect("tmpfs");
    ok(std::process::Command::new(program)
        .current_dir(tmpfs.path())
        .args(["-N", "500", "-S", "1"])
        .arg("file"));
}
