//! One writer that does everything that can be done to files, while the process of its mount, its server or its
//! connections die under it: what is stored is what it has done, step by step.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::fd::IntoRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::{CHUNK, Stage, put};
use crate::support::mounted::{Mount, eventually, pattern};
use crate::support::sys::renameat2;
use crate::support::tables::{CHUNK_LEN, Tables};
use crate::support::wire::Wire;

/// Contents by name, without a leading slash.
type Names = BTreeMap<String, Vec<u8>>;

/// One step, atomic in what is stored. The names are of files, but for those of `MoveDir` and `SwapDirs`.
#[derive(Clone, Debug)]
enum Step {
    Put(String, Vec<u8>),
    PutByRename(String, Vec<u8>),
    Append(String, Vec<u8>),
    Edit(String, usize, Vec<u8>),
    Cut(String, usize),
    Copy(String, String),
    Remove(String),
    Move(String, String),
    Swap(String, String),
    MoveDir(String, String),
}

/// A number that differs from step to step, the same in each run.
fn mixed(n: u64, salt: u64) -> usize {
    let mut x = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ salt.wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 30)).wrapping_mul(0x94d0_49bb_1331_11eb);
    usize::try_from((x ^ (x >> 31)) >> 8).expect("56 bits")
}

/// The `n`th step on what is there. `unit` is what lengths are made of.
fn step(n: u64, names: &Names, unit: usize) -> Step {
    let dirs = ["d0", "d1", "d2"];
    let new = format!("{}/f{}", dirs[mixed(n, 1) % 3], mixed(n, 2) % 4);
    let data = pattern(n, (mixed(n, 3) % 5) * unit / 2 + mixed(n, 4) % 100 + 1);
    let has = |dir: &str| names.keys().any(|name| name.starts_with(&format!("{dir}/")));
    let old = names.keys().nth(mixed(n, 5) % names.len().max(1)).cloned();
    let Some(old) = old.filter(|_| !n.is_multiple_of(11)) else { return Step::Put(new, data) };
    let len = names[&old].len();
    match mixed(n, 6) % 12 {
        0 | 1 => Step::Put(new, data),
        2 | 3 => Step::PutByRename(new, data),
        4 => Step::Append(old, data),
        5 => Step::Edit(old, mixed(n, 7) % (len + 50), data),
        6 => Step::Cut(old, mixed(n, 7) % (len + 50)),
        7 if new != old => Step::Copy(old, new),
        8 => Step::Remove(old),
        9 if new != old => Step::Move(old, new),
        10 if names.contains_key(&new) && new != old => Step::Swap(old, new),
        11 => {
            let from = dirs.iter().find(|dir| has(dir));
            let to = dirs.iter().find(|dir| !has(dir));
            match (from, to) {
                (Some(from), Some(to)) => Step::MoveDir((*from).into(), (*to).into()),
                _ => Step::Remove(old),
            }
        }
        _ => Step::Append(old, data),
    }
}

impl Step {
    fn on(&self, names: &mut Names) {
        match self.clone() {
            Step::Put(name, data) | Step::PutByRename(name, data) => drop(names.insert(name, data)),
            Step::Append(name, data) => names.entry(name).or_default().extend(data),
            Step::Edit(name, at, data) => {
                let old = names.entry(name).or_default();
                old.resize(old.len().max(at + data.len()), 0);
                old[at..at + data.len()].copy_from_slice(&data);
            }
            Step::Cut(name, len) => names.entry(name).or_default().resize(len, 0),
            Step::Copy(from, to) => drop(names.insert(to, names[&from].clone())),
            Step::Remove(name) => drop(names.remove(&name)),
            Step::Move(from, to) => {
                let data = names.remove(&from).expect("the file");
                names.insert(to, data);
            }
            Step::Swap(a, b) => {
                let (x, y) = (names[&a].clone(), names[&b].clone());
                names.insert(a, y);
                names.insert(b, x);
            }
            Step::MoveDir(from, to) => {
                let below = |name: &String| name.strip_prefix(&format!("{from}/")).map(str::to_owned);
                let moved: Vec<(String, String)> =
                    names.keys().filter_map(|name| Some((name.clone(), below(name)?))).collect();
                for (name, rest) in moved {
                    let data = names.remove(&name).expect("the file");
                    names.insert(format!("{to}/{rest}"), data);
                }
            }
        }
    }

    fn through(&self, dir: &Path) -> Result<(), i32> {
        let code = |e: std::io::Error| e.raw_os_error().unwrap_or(0);
        let close = |file: File| nix::unistd::close(file.into_raw_fd()).map_err(|e| e as i32);
        let at = |name: &str| dir.join(name);
        match self {
            Step::Put(name, data) => put(&at(name), data),
            Step::PutByRename(name, data) => {
                put(&dir.join("tmp"), data)?;
                std::fs::rename(dir.join("tmp"), at(name)).map_err(code)
            }
            Step::Append(name, data) => {
                let mut file = File::options().append(true).open(at(name)).map_err(code)?;
                let written = file.write_all(data).map_err(code);
                written.and(close(file))
            }
            Step::Edit(name, pos, data) => {
                let file = File::options().write(true).open(at(name)).map_err(code)?;
                let written = file.write_all_at(data, *pos as u64).map_err(code);
                written.and(close(file))
            }
            Step::Cut(name, len) => {
                nix::unistd::truncate(&at(name), i64::try_from(*len).expect("small")).map_err(|e| e as i32)
            }
            Step::Copy(from, to) => {
                let mut from = File::open(at(from)).map_err(code)?;
                let mut to = File::create(at(to)).map_err(code)?;
                let copied = std::io::copy(&mut from, &mut to).map_err(code);
                copied.and(close(to))
            }
            Step::Remove(name) => std::fs::remove_file(at(name)).map_err(code),
            Step::Move(from, to) => std::fs::rename(at(from), at(to)).map_err(code),
            Step::Swap(a, b) => renameat2(&at(a), &at(b), libc::RENAME_EXCHANGE),
            Step::MoveDir(from, to) => {
                std::fs::rename(at(from), at(to)).map_err(code)?;
                std::fs::create_dir(at(from)).map_err(code)
            }
        }
    }

    /// Whether an empty file of a name may be stored while this is under way: one that was just made.
    fn makes(&self, name: &str) -> bool {
        matches!(self, Step::Put(new, _) | Step::Copy(_, new) if new == name)
    }
}

/// How far the writer is.
#[derive(Default)]
struct Progress {
    done: AtomicU64,
    enough: AtomicBool,
    failed: parking_lot::Mutex<Option<String>>,
}

/// Takes steps until told to stop or one fails.
fn write(dir: &Path, unit: usize, progress: &Progress) -> Names {
    let mut names = Names::new();
    for n in 0.. {
        if progress.enough.load(SeqCst) {
            break;
        }
        let step = step(n, &names, unit);
        if let Err(e) = step.through(dir) {
            *progress.failed.lock() =
                Some(format!("step {n}, {step:?}: errno {e}").chars().take(300).collect());
            break;
        }
        step.on(&mut names);
        progress.done.store(n + 1, SeqCst);
    }
    names
}

fn make_dirs(m: &Mount) {
    for dir in ["d0", "d1", "d2"] {
        std::fs::create_dir(m.path(dir)).expect("mkdir");
    }
}

/// What is stored, but for the name that another file takes on its way to its own.
fn stored(tables: &Tables) -> Names {
    let names = tables.names();
    let names = names.iter().map(|name| name.trim_start_matches('/')).filter(|name| *name != "tmp");
    names.map(|name| (name.to_owned(), tables.read(&format!("/{name}")).expect("the file"))).collect()
}

/// Where two states differ, without their contents.
fn differences(found: &Names, want: &Names) -> Vec<String> {
    let all = found.keys().chain(want.keys()).collect::<std::collections::BTreeSet<_>>();
    let len = |names: &Names, name: &String| names.get(name).map(Vec::len);
    all.into_iter()
        .filter(|name| found.get(*name) != want.get(*name))
        .map(|name| format!("{name}: {:?} bytes stored, not {:?}", len(found, name), len(want, name)))
        .collect()
}

/// kill -9 of the mount in the middle of anything: stored is what was done, or that and the step that was under way.
#[test]
fn a_mount_that_is_killed_in_the_middle_of_anything() {
    let Some(mut stage) = Stage::new() else { return };
    for (round, unit) in [(0, CHUNK), (1, CHUNK), (2, CHUNK), (3, 50_000), (4, CHUNK), (5, CHUNK)] {
        stage.database = stage.server.fresh_database();
        let mut m = match unit {
            CHUNK => stage.setup(&stage.url()).mount(),
            // Files of one chunk: another way to store them.
            _ => stage.setup(&stage.url()).chunk_len(CHUNK_LEN).mount(),
        };
        make_dirs(&m);
        let (dir, progress) = (m.dir().to_owned(), Progress::default());
        std::thread::scope(|s| {
            s.spawn(|| write(&dir, unit, &progress));
            while progress.done.load(SeqCst) < 20 + 13 * round {
                assert!(progress.failed.lock().is_none(), "{:?}\n{}", progress.failed.lock(), m.log_text());
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(700 * round));
            m.kill();
        });
        let done = progress.done.load(SeqCst);
        let mut before = Names::new();
        (0..done).for_each(|n| step(n, &before.clone(), unit).on(&mut before));
        let next = step(done, &before, unit);
        let mut after = before.clone();
        next.on(&mut after);
        let mut found = stored(&stage.tables());
        if let Some(made) = found.iter().find(|(name, data)| data.is_empty() && next.makes(name)) {
            let made = made.0.clone();
            if !before.contains_key(&made) {
                found.remove(&made);
            }
        }
        let whole = found == before || found == after;
        let text = differences(&found, &before);
        assert!(whole, "round {round}: after {done} steps, before {next:?}: {text:#?}");
        drop(m);
        let m = stage.setup(&stage.url()).mount();
        eventually("leftovers go away", Duration::from_secs(20), || stage.tables().hidden().is_empty());
        stage.tables().assert_contract(if unit == CHUNK { CHUNK } else { CHUNK_LEN });
        drop(m);
    }
}

/// Has the writer at work while `harm` is done `times` times; all steps succeed, and what is stored is what they did.
fn harmed(options: &str, unit: usize, times: u64, harm: impl Fn(&Stage, &Wire, u64)) {
    let Some(stage) = Stage::new() else { return };
    let wire = Wire::new(stage.server.port());
    let chunk_len = if unit == CHUNK { CHUNK } else { CHUNK_LEN };
    let url = wire.url(&stage.url());
    let mut m = stage.setup(&url).chunk_len(chunk_len).options("timeo=120").options(options).mount();
    make_dirs(&m);
    let (dir, progress) = (m.dir().to_owned(), Progress::default());
    let want = std::thread::scope(|s| {
        let writer = s.spawn(|| write(&dir, unit, &progress));
        let end = Instant::now() + Duration::from_secs(120);
        for n in 0..times {
            let from = progress.done.load(SeqCst);
            while progress.done.load(SeqCst) < from + 4 + n % 7 && progress.failed.lock().is_none() {
                assert!(Instant::now() < end, "the writer does not get on:\n{}", m.log_text());
                std::thread::sleep(Duration::from_millis(1));
            }
            std::thread::sleep(Duration::from_micros(mixed(n, 8) as u64 % 5000));
            harm(&stage, &wire, n);
        }
        progress.enough.store(true, SeqCst);
        writer.join().expect("the writer")
    });
    assert!(progress.failed.lock().is_none(), "{:?}\n{}", progress.failed.lock(), m.log_text());
    let status = m.unmount();
    assert!(status.is_some_and(|s| s.success()), "{status:?}\n{}", m.log_text());
    let found = stored(&stage.tables());
    assert!(found == want, "{:#?}\n{}", differences(&found, &want), m.log_text());
    stage.tables().assert_contract(chunk_len);
}

/// Kills one of the server's processes, which makes it start over: what had been committed without waiting for the
/// disk may be lost.
fn crash(stage: &Stage) {
    let db = stage.server.db("postgres");
    let pid = db.first_text("SELECT pg_backend_pid()").parse().expect("a number");
    let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
    // The postmaster takes connections again when it has recovered.
    drop(db);
    let end = Instant::now() + Duration::from_secs(60);
    std::thread::sleep(Duration::from_millis(50));
    while crate::support::postgres::Db::connect(&stage.url()).is_err() {
        assert!(Instant::now() < end, "the server does not come back");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn connections_cut_at_any_time() {
    harmed("", CHUNK, 40, |_, wire, _| wire.cut_all());
}

#[test]
fn connections_cut_at_any_time_with_async() {
    harmed("async", CHUNK, 40, |_, wire, _| wire.cut_all());
}

#[test]
fn connections_cut_at_any_time_under_files_of_one_chunk() {
    harmed("noattrs", 50_000, 40, |_, wire, _| wire.cut_all());
}

#[test]
fn sessions_ended_by_an_administrator() {
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    harmed("", CHUNK, 30, |stage, _, _| stage.server.db("postgres").exec(end));
}

#[test]
fn statements_cancelled_by_an_administrator() {
    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
    harmed("", CHUNK, 60, |stage, _, _| stage.server.db("postgres").exec(cancel));
}

#[test]
fn a_server_that_crashes() {
    harmed("", CHUNK, 8, |stage, _, _| crash(stage));
}

#[test]
fn a_server_that_crashes_with_async() {
    harmed("async", CHUNK, 8, |stage, _, _| crash(stage));
}
