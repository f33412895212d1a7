//! Generated sequences of operations on a mount with tiny chunks agree with a filesystem in memory.
//!
//! Remounts, a second mount and another client's changes are among the operations. A failure that was once
//! found stays below as a test of its own.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::support::model::{Data, Mode, Model, Op, Out, SLOTS, Target};
use crate::support::mounted::{self, Mount, eventually, pattern};
use crate::support::sys::renameat2;

/// The attribute timeout of these mounts, and a little more than it.
const TIMEOUT: &str = "attr_timeout=0.05,entry_timeout=0.05";
const AFTER_TIMEOUT: Duration = Duration::from_millis(80);

fn path() -> impl Strategy<Value = String> {
    let name = prop_oneof![3 => Just("a"), 2 => Just("b"), 1 => Just("c.")];
    prop::collection::vec(name, 1..=3).prop_map(|parts| parts.join("/"))
}

/// Lengths and offsets around multiples of a chunk.
fn length(chunk: usize) -> impl Strategy<Value = usize> {
    (0..4_usize, prop_oneof![Just(-1_isize), Just(0), Just(1), Just(3)])
        .prop_map(move |(n, d)| (n * chunk).saturating_add_signed(d))
}

fn data(chunk: usize) -> impl Strategy<Value = Data> {
    (length(chunk), any::<u8>()).prop_map(|(len, seed)| Data(pattern(u64::from(seed), len)))
}

fn op(chunk: usize) -> impl Strategy<Value = Op> {
    let mode = prop_oneof![Just(Mode::Read), Just(Mode::Create), Just(Mode::Truncate), Just(Mode::Append)];
    let target =
        prop_oneof![3 => Just(Target::Replace), 1 => Just(Target::Refuse), 1 => Just(Target::Exchange)];
    let by_path = prop_oneof![
        4 => (path(), length(chunk), data(chunk)).prop_map(|(path, at, data)| Op::Write { path, at, data }),
        4 => (path(), data(chunk)).prop_map(|(path, data)| Op::Overwrite { path, data }),
        3 => (path(), data(chunk)).prop_map(|(path, data)| Op::Append { path, data }),
        2 => (path(), length(chunk)).prop_map(|(path, len)| Op::SetLen { path, len }),
        2 => path().prop_map(|path| Op::Read { path }),
        2 => path().prop_map(|path| Op::Unlink { path }),
        6 => path().prop_map(|path| Op::Mkdir { path }),
        2 => path().prop_map(|path| Op::Rmdir { path }),
        6 => (path(), path(), target).prop_map(|(from, to, target)| Op::Rename { from, to, target }),
        1 => path().prop_map(|path| Op::Symlink { path, target: "/nowhere-at-all/x".into() }),
        1 => path().prop_map(|path| Op::Readlink { path }),
        2 => path().prop_map(|path| Op::List { path }),
        1 => (path(), prop_oneof![Just(0o600_u32), Just(0o755), Just(0o711)]).prop_map(|(path, mode)| Op::Chmod { path, mode }),
        2 => (path(), path()).prop_map(|(from, to)| Op::Copy { from, to }),
    ];
    let slot = 0..SLOTS;
    let by_handle = prop_oneof![
        4 => (slot.clone(), path(), mode).prop_map(|(slot, path, mode)| Op::Open { slot, path, mode }),
        4 => (slot.clone(), length(chunk), data(chunk)).prop_map(|(slot, at, data)| Op::HandleWrite { slot, at, data }),
        2 => (slot.clone(), length(chunk), length(chunk)).prop_map(|(slot, at, len)| Op::HandleRead { slot, at, len }),
        1 => (slot.clone(), length(chunk)).prop_map(|(slot, len)| Op::HandleSetLen { slot, len }),
        1 => slot.clone().prop_map(|slot| Op::HandleSync { slot }),
        2 => slot.prop_map(|slot| Op::Close { slot }),
    ];
    let outside = prop_oneof![
        1 => Just(Op::Remount),
        2 => Just(Op::Switch),
        3 => (path(), data(chunk)).prop_map(|(path, data)| Op::Store { path, data }),
        2 => path().prop_map(|path| Op::Unstore { path }),
    ];
    prop_oneof![12 => by_path, 6 => by_handle, 2 => outside]
}

/// One or two mounts of the same store, the handles that are open, and the model beside them.
struct Run {
    mounts: [Option<Mount>; 2],
    at: usize,
    handles: [Option<File>; SLOTS],
    model: Model,
    attrs_changed: bool,
}

fn code<T>(result: std::io::Result<T>) -> Result<T, i32> {
    result.map_err(|e| e.raw_os_error().unwrap_or(0))
}

impl Run {
    fn new(mount: Mount) -> Run {
        let model = Model::default();
        Run { mounts: [Some(mount), None], at: 0, handles: Default::default(), model, attrs_changed: false }
    }

    fn mount(&self) -> &Mount {
        self.mounts[self.at].as_ref().expect("a mount")
    }

    /// Waits until what is closed is stored: an empty file, and attributes set after close, may take a moment.
    fn settle(&mut self) {
        if self.mount().is_plain() {
            return;
        }
        let tables = self.mount().tables();
        // What is open may be stored, and is not yet; whoever inherits a handle and closes it decides.
        let all: Vec<String> = self.model.files().into_keys().collect();
        let closed: Vec<&String> = all.iter().filter(|path| !self.model.is_held(path)).collect();
        eventually("what is closed is stored", Duration::from_secs(30), || {
            let stored = tables.names();
            let is_stored = |path: &String| stored.contains(&format!("/{path}"));
            closed.iter().all(|path| is_stored(path))
                && stored.iter().all(|name| all.iter().any(|p| name[1..] == *p))
        });
        if std::mem::take(&mut self.attrs_changed) {
            std::thread::sleep(Duration::from_millis(400));
        }
    }

    fn real(&mut self, op: &Op) -> Result<Out, i32> {
        // Emptied or cut to what it was: only a time changes, and that is stored a moment later.
        self.attrs_changed |= match op {
            Op::Overwrite { data, .. } => data.is_empty(),
            Op::Open { mode, .. } => *mode == Mode::Truncate,
            Op::SetLen { .. } | Op::HandleSetLen { .. } => true,
            _ => false,
        };
        let p = |path: &str| self.mount().path(path);
        match op {
            Op::Write { path, at, data } => {
                let file = OpenOptions::new().write(true).create(true).truncate(false).open(p(path));
                code(code(file)?.write_all_at(data, *at as u64))?;
            }
            Op::Overwrite { path, data } => code(std::fs::write(p(path), &data[..]))?,
            Op::Append { path, data } => {
                let mut file = code(OpenOptions::new().append(true).create(true).open(p(path)))?;
                code(std::io::Write::write_all(&mut file, data))?;
            }
            Op::SetLen { path, len } => {
                nix::unistd::truncate(&p(path), *len as i64).map_err(|e| e as i32)?;
            }
            Op::Read { path } => return code(std::fs::read(p(path))).map(|data| Out::Bytes(Data(data))),
            Op::Unlink { path } => code(std::fs::remove_file(p(path)))?,
            Op::Mkdir { path } => code(std::fs::create_dir(p(path)))?,
            Op::Rmdir { path } => code(std::fs::remove_dir(p(path)))?,
            Op::Rename { from, to, target } => {
                let flags = match target {
                    Target::Replace => 0,
                    Target::Refuse => libc::RENAME_NOREPLACE,
                    Target::Exchange => libc::RENAME_EXCHANGE,
                };
                renameat2(&p(from), &p(to), flags)?;
            }
            Op::Symlink { path, target } => code(symlink(target, p(path)))?,
            Op::Readlink { path } => {
                let target = code(std::fs::read_link(p(path)))?;
                return Ok(Out::Bytes(Data(target.into_os_string().into_encoded_bytes())));
            }
            Op::List { path } => return self.list(path).map(Out::Entries),
            Op::Chmod { path, mode } => {
                code(std::fs::set_permissions(p(path), PermissionsExt::from_mode(*mode)))?;
                self.attrs_changed = true;
            }
            Op::Copy { from, to } => {
                code(std::fs::copy(p(from), p(to)))?;
                self.attrs_changed = true;
            }
            Op::Open { slot, path, mode } => {
                self.handles[*slot] = None;
                let mut options = OpenOptions::new();
                options.read(true);
                match mode {
                    Mode::Read => &mut options,
                    Mode::Create => options.write(true).create(true),
                    Mode::Truncate => options.write(true).create(true).truncate(true),
                    Mode::Append => options.append(true).create(true),
                };
                let file = code(options.open(self.mount().path(path)))?;
                if code(file.metadata())?.is_dir() {
                    // The model has no handles on directories.
                    return Err(libc::EISDIR);
                }
                self.handles[*slot] = Some(file);
            }
            Op::HandleWrite { slot, at, data } => code(self.handle(*slot).write_all_at(data, *at as u64))?,
            Op::HandleRead { slot, at, len } => {
                let mut data = vec![0; *len];
                let n = code(self.handle(*slot).read_at(&mut data, *at as u64))?;
                data.truncate(n);
                return Ok(Out::Bytes(Data(data)));
            }
            Op::HandleSetLen { slot, len } => code(self.handle(*slot).set_len(*len as u64))?,
            Op::HandleSync { slot } => code(self.handle(*slot).sync_all())?,
            Op::Close { slot } => self.handles[*slot] = None,
            Op::Remount | Op::Switch | Op::Store { .. } | Op::Unstore { .. } => self.outside(op),
        }
        Ok(Out::Done)
    }

    fn outside(&mut self, op: &Op) {
        match op {
            Op::Remount => {
                self.handles = Default::default();
                self.mounts[self.at].as_mut().expect("a mount").remount();
            }
            Op::Switch => {
                self.handles = Default::default();
                self.settle();
                let other = 1 - self.at;
                if !self.mount().is_plain() {
                    if self.mounts[other].is_none() {
                        self.mounts[other] = Some(self.mount().second(TIMEOUT));
                    }
                    self.at = other;
                    std::thread::sleep(AFTER_TIMEOUT);
                }
            }
            Op::Store { path, data } => {
                self.settle();
                self.mount().store(&format!("/{path}"), data);
                std::thread::sleep(AFTER_TIMEOUT);
            }
            Op::Unstore { path } => {
                self.settle();
                self.mount().unstore(&format!("/{path}"));
                std::thread::sleep(AFTER_TIMEOUT);
            }
            _ => {}
        }
    }

    fn handle(&self, slot: usize) -> &File {
        self.handles[slot].as_ref().expect("an open handle")
    }

    fn list(&self, path: &str) -> Result<std::collections::BTreeMap<String, String>, i32> {
        let mut out = std::collections::BTreeMap::new();
        for entry in code(std::fs::read_dir(self.mount().path(path)))? {
            let entry = code(entry)?;
            let meta = code(entry.metadata())?;
            let mode = meta.permissions().mode() & 0o7777;
            let text = if meta.is_symlink() {
                format!("link {}", code(std::fs::read_link(entry.path()))?.display())
            } else if meta.is_dir() {
                format!("dir {mode:o}")
            } else {
                format!("file {} {mode:o}", meta.len())
            };
            out.insert(entry.file_name().to_string_lossy().into_owned(), text);
        }
        Ok(out)
    }

    /// One step on both sides; an error says where they differ.
    fn step(&mut self, op: &Op) -> Result<(), String> {
        let slot = match op {
            Op::HandleWrite { slot, .. } | Op::HandleRead { slot, .. } | Op::HandleSetLen { slot, .. } => {
                Some(slot)
            }
            Op::HandleSync { slot } | Op::Close { slot } => Some(slot),
            _ => None,
        };
        if slot.is_some_and(|s| !self.model.is_open(*s)) || !self.model.allows(op) {
            return Ok(());
        }
        // The store is settled with what was before another client's change, so reality goes first.
        let real = self.real(op);
        let want = self.model.apply(op);
        if real == want { Ok(()) } else { Err(format!("{op:?}\n  gave    {real:?}\n  not     {want:?}")) }
    }

    /// The whole tree, through the mount and in the tables.
    fn compare(&mut self) -> Result<(), String> {
        for dir in self.model.dirs() {
            self.step(&Op::List { path: dir })?;
        }
        for path in self.model.files().into_keys() {
            self.step(&Op::Read { path })?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), String> {
        self.compare()?;
        self.handles = Default::default();
        for slot in 0..SLOTS {
            self.step(&Op::Close { slot })?;
        }
        self.settle();
        self.compare()?;
        if self.mount().is_plain() {
            return Ok(());
        }
        let tables = self.mount().tables();
        for (path, data) in self.model.files() {
            if tables.read(&format!("/{path}")).as_ref() != Some(&data) {
                return Err(format!("{path} is stored otherwise"));
            }
        }
        let breaches = tables.contract_breaches(self.mount().chunk_len());
        if !breaches.is_empty() {
            return Err(breaches.join("\n"));
        }
        self.step(&Op::Remount)?;
        self.compare().map_err(|e| format!("after the last remount: {e}"))
    }
}

/// Prints a sequence that panics, at once: finding a shorter one takes minutes.
struct Shown<'a>(&'a [Op]);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("after {:#?}", self.0);
        }
    }
}

fn check(chunk: usize, ops: &[Op]) -> Result<(), String> {
    let _shown = Shown(ops);
    let Some(mount) = mounted::fresh_with(TIMEOUT, |s| s.chunk_len(chunk)) else { return Ok(()) };
    let mut run = Run::new(mount);
    let mut done = Ok(());
    for (i, op) in ops.iter().enumerate() {
        done = done.and_then(|()| run.step(op).map_err(|e| format!("step {i}: {e}")));
    }
    let done = done.and_then(|()| run.finish());
    if let Err(e) = &done {
        // At once, too: finding a shorter sequence takes minutes.
        eprintln!("{e}\nafter {ops:#?}\n{}", run.mount().log_text());
    }
    done
}

fn generated(chunk: usize, cases: u32) {
    let long = std::env::var_os("USERFILEFS_TEST_LONG").is_some();
    let cases = std::env::var("USERFILEFS_TEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(cases);
    let config = Config {
        cases: if long { cases * 20 } else { cases },
        max_shrink_iters: 120,
        failure_persistence: None,
        ..Config::default()
    };
    let strategy = prop::collection::vec(op(chunk), 1..60);
    let result =
        TestRunner::new(config).run(&strategy, |ops| check(chunk, &ops).map_err(TestCaseError::fail));
    if let Err(e) = result {
        panic!("{e}");
    }
}

/// Chunks far smaller than a page: each request crosses several.
#[test]
fn generated_with_chunks_of_8_bytes() {
    generated(8, 40);
}

/// Chunks larger than a page, and no multiple of one.
#[test]
fn generated_with_chunks_of_5000_bytes() {
    generated(5000, 30);
}

/// Growing in place stores bytes and size; a mode set meanwhile is stored as well.
#[test]
fn a_mode_set_while_a_file_grows() {
    let path = || "a".to_owned();
    let ops = [
        Op::Overwrite { path: path(), data: Data(pattern(1, 25)) },
        Op::Open { slot: 0, path: path(), mode: Mode::Create },
        Op::HandleWrite { slot: 0, at: 25, data: Data(pattern(2, 7)) },
        Op::Chmod { path: path(), mode: 0o600 },
    ];
    assert_eq!(check(8, &ops), Ok(()));
}

/// A name that is removed and made again at once, with what follows, is stored as the second one.
#[test]
fn a_name_made_again_at_once() {
    let path = || "a".to_owned();
    let file = [
        Op::Write { path: path(), at: 0, data: Data(Vec::new()) },
        Op::Unlink { path: path() },
        Op::Overwrite { path: path(), data: Data(Vec::new()) },
        Op::Chmod { path: path(), mode: 0o755 },
    ];
    for chunk in [8, 5000, 8] {
        assert_eq!(check(chunk, &file), Ok(()));
    }
    let dir = [
        Op::Mkdir { path: path() },
        Op::Chmod { path: path(), mode: 0o700 },
        Op::Rmdir { path: path() },
        Op::Mkdir { path: path() },
        Op::Chmod { path: path(), mode: 0o711 },
    ];
    assert_eq!(check(8, &dir), Ok(()));
}
