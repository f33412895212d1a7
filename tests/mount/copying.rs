//! Trees in and out of a mount with the tools that people use: cp, rsync, tar, git.

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::support::cli::{ok, run, shell};
use crate::support::mounted::pattern;
use crate::{mount, tool};

/// Sizes around everything that has a boundary: nothing, a page, a request, a chunk.
const SIZES: [usize; 11] =
    [0, 1, 4095, 4096, 131_073, 1 << 20, (4 << 20) - 1, 4 << 20, (4 << 20) + 1, 8 << 20, (9 << 20) + 5];

/// Names that have gone wrong somewhere before.
pub(crate) const ODD_NAMES: [&str; 16] = [
    "with space",
    " leading and trailing ",
    "new\nline",
    "tab\tstop",
    "per%cent %41 %zz",
    "under_score",
    "back\\slash",
    "star*",
    "question?",
    "br[ack]et",
    "quote'single",
    "quote\"double",
    "ünïcödé-日本語-🦀",
    "-dash",
    "#hash;semi:colon",
    ".hidden",
];

/// A tree with files of every size, odd names, empty directories, modes, times and symbolic links.
fn make_tree(root: &Path) {
    std::fs::create_dir_all(root.join("deep/er/and/deeper")).expect("directories");
    std::fs::create_dir_all(root.join("empty/also empty")).expect("directories");
    for (i, size) in SIZES.into_iter().enumerate() {
        let name = root.join(format!("size-{size}"));
        std::fs::write(&name, pattern(i as u64, size)).expect("file");
    }
    for (i, name) in ODD_NAMES.into_iter().enumerate() {
        std::fs::write(root.join("deep").join(name), pattern(i as u64, 100 + i))
            .expect("file with an odd name");
    }
    std::fs::create_dir(root.join("odd dir\n%_\\")).expect("odd directory");
    std::fs::write(root.join("odd dir\n%_\\/inside"), "inside").expect("file");
    std::fs::write(root.join("deep/er/and/deeper/leaf"), "leaf").expect("file");
    std::fs::write(root.join("script"), "#!/bin/sh\necho ran\n").expect("file");
    std::fs::set_permissions(root.join("script"), PermissionsExt::from_mode(0o755)).expect("chmod");
    std::fs::write(root.join("private"), "private").expect("file");
    std::fs::set_permissions(root.join("private"), PermissionsExt::from_mode(0o600)).expect("chmod");
    symlink("script", root.join("link")).expect("symlink");
    symlink("../nowhere/at all", root.join("deep/dangling")).expect("symlink");
    let old = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_000);
    let file = std::fs::File::options().write(true).open(root.join("size-4096")).expect("open");
    file.set_modified(old).expect("time");
}

fn diff(a: &Path, b: &Path) {
    ok(std::process::Command::new("diff").args(["-r", "--no-dereference"]).arg(a).arg(b));
}

/// mode, size, time and kind of everything below `root`, one line each.
fn details(root: &Path) -> String {
    let line = "find . ! -name . ! -type d -printf '%y %m %s %T@ %l %p\\0' -o ! -name . -printf '%y %m %p\\0' | sort -z | tr '\\0' '\\n'";
    ok(&mut shell(root, line))
}

/// `cp -r` in, `diff -r`, remount, `cp -r` out, `diff -r`: every byte is the same.
#[test]
fn cp_r_in_and_out() {
    let mut m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("source");
    make_tree(&source);
    ok(tool!("cp", "-r", &source, m.dir()).current_dir("/"));
    diff(&source, &m.path("source"));
    m.assert_contract();
    assert_eq!(m.stored("/source/size-8388608").expect("stored"), pattern(9, 8 << 20));
    m.remount();
    diff(&source, &m.path("source"));
    assert!(m.path("source/empty/also empty").is_dir(), "an empty directory survives a remount");
    ok(&mut tool!("cp", "-r", m.path("source"), outside.path().join("back")));
    diff(&source, &outside.path().join("back"));
}

/// `cp -a` keeps modes, times and links, also after a remount.
#[test]
fn cp_a_keeps_attributes() {
    let mut m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("source");
    make_tree(&source);
    let done = run(&mut tool!("cp", "-a", &source, m.dir()));
    assert!(done.success() && done.stderr().is_empty(), "cp -a: {}", done.stderr());
    // Stored times are microseconds; tmpfs and ext4 hold nanoseconds.
    let micros = |text: String| -> String {
        let cut = |word: &str| match word.split_once('.') {
            Some((s, f)) if s.len() == 10 && f.len() == 10 && s.bytes().all(|b| b.is_ascii_digit()) => {
                format!("{s}.{}", &f[..6])
            }
            _ => word.to_owned(),
        };
        text.lines().map(|l| l.split(' ').map(cut).collect::<Vec<_>>().join(" ") + "\n").collect()
    };
    let want = micros(details(&source));
    assert_eq!(micros(details(&m.path("source"))), want);
    m.remount();
    assert_eq!(micros(details(&m.path("source"))), want, "after a remount");
    let out = run(&mut tool!("cp", "-a", m.path("source"), outside.path().join("back")));
    assert!(out.success() && out.stderr().is_empty(), "cp -a out: {}", out.stderr());
    assert_eq!(micros(details(&outside.path().join("back"))), want, "copied out");
}

/// What rsync says it did: the changed files, one line each.
fn itemized(output: &str) -> Vec<String> {
    let changed = |l: &&str| l.len() > 12 && matches!(l.as_bytes()[0], b'<' | b'>' | b'c' | b'*' | b'h');
    output.lines().filter(changed).map(str::to_owned).collect()
}

/// `rsync -a` copies; its second run, and its first after a remount, find nothing to do; `--delete` deletes;
/// an edit transfers one file.
#[test]
fn rsync_a_and_again() {
    let mut m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("source");
    make_tree(&source);
    let from = format!("{}/", source.display());
    let to = format!("{}/copy/", m.dir().display());
    ok(&mut tool!("rsync", "-a", &from, &to));
    diff(&source, &m.path("copy"));
    let again = ok(&mut tool!("rsync", "-a", "--itemize-changes", "--stats", &from, &to));
    assert_eq!(itemized(&again), Vec::<String>::new(), "the second run has nothing to do:\n{again}");
    assert!(again.contains("Number of regular files transferred: 0"), "{again}");
    m.remount();
    let again = ok(&mut tool!("rsync", "-a", "--itemize-changes", &from, &to));
    assert_eq!(itemized(&again), Vec::<String>::new(), "nor after a remount:\n{again}");

    std::fs::remove_file(source.join("private")).expect("remove");
    std::fs::remove_dir_all(source.join("deep/er")).expect("remove");
    std::fs::write(source.join("size-1"), "now three").expect("edit");
    let third = ok(&mut tool!("rsync", "-a", "--delete", "--itemize-changes", &from, &to));
    let files: Vec<String> = itemized(&third).into_iter().filter(|l| l.starts_with(">f")).collect();
    assert_eq!(files.len(), 1, "one file has changed:\n{third}");
    diff(&source, &m.path("copy"));
    assert!(!m.path("copy/private").exists() && !m.path("copy/deep/er").exists());
    m.assert_contract();
    if !m.is_plain() {
        let stray: Vec<String> = m.tables().names().into_iter().filter(|n| n.contains("private")).collect();
        assert!(stray.is_empty(), "{stray:?}");
    }
}

/// `rsync --inplace` and `--checksum` rewrite a large file where it differs.
#[test]
fn rsync_inplace() {
    let m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("big");
    let mut data = pattern(1, 18 << 20);
    std::fs::write(&source, &data).expect("file");
    ok(&mut tool!("rsync", "-a", "--inplace", "--no-whole-file", &source, m.dir()));
    data[9 << 20..(9 << 20) + 1000].copy_from_slice(&pattern(2, 1000));
    data.extend_from_slice(&pattern(3, 12345));
    std::fs::write(&source, &data).expect("edit");
    ok(&mut tool!("rsync", "-a", "--inplace", "--no-whole-file", "--checksum", &source, m.dir()));
    assert!(std::fs::read(m.path("big")).expect("read") == data, "in the mount");
    assert!(m.stored("/big").expect("stored") == data, "in the tables");
    m.assert_contract();
}

/// An rsync that is killed half way leaves the old file; the next one finishes.
#[test]
fn rsync_interrupted_and_resumed() {
    let m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("source");
    std::fs::create_dir(&source).expect("directory");
    for i in 0..6 {
        std::fs::write(source.join(format!("f{i}")), pattern(i, 5 << 20)).expect("file");
    }
    std::fs::create_dir(m.path("copy")).expect("directory");
    std::fs::write(m.path("copy/f5"), "old contents").expect("old file");
    let from = format!("{}/", source.display());
    let to = format!("{}/copy/", m.dir().display());
    let mut slow = tool!("rsync", "-a", "--bwlimit=20000", &from, &to);
    let mut child = slow.process_group_of_its_own().spawn().expect("rsync");
    std::thread::sleep(Duration::from_millis(600));
    let group = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL).expect("kill");
    let _ = child.wait();
    for i in 0..6 {
        if let Some(found) = m.stored(&format!("/copy/f{i}")) {
            let whole = found == pattern(i, 5 << 20) || (i == 5 && found == b"old contents");
            assert!(whole, "f{i} is neither old nor new");
        }
    }
    ok(&mut tool!("rsync", "-a", "--partial", "--delete", &from, &to));
    diff(&source, &m.path("copy"));
    m.assert_contract();
}

trait OwnGroup {
    fn process_group_of_its_own(&mut self) -> &mut Self;
}

impl OwnGroup for std::process::Command {
    fn process_group_of_its_own(&mut self) -> &mut Self {
        std::os::unix::process::CommandExt::process_group(self, 0)
    }
}

/// tar unpacks into the mount without a complaint, compares equal, and packs again.
#[test]
fn tar_in_compare_and_out() {
    let mut m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let source = outside.path().join("source");
    make_tree(&source);
    let archive = outside.path().join("a.tar");
    ok(&mut tool!("tar", "-C", outside.path(), "-cf", &archive, "source"));
    let unpack = run(&mut tool!("tar", "-C", m.dir(), "-xpf", &archive));
    assert!(unpack.success() && unpack.stderr().is_empty(), "{}", unpack.stderr());
    ok(&mut tool!("tar", "-C", m.dir(), "--compare", "-f", &archive));
    m.remount();
    let compare = run(&mut tool!("tar", "-C", m.dir(), "--compare", "-f", &archive));
    assert!(compare.success(), "after a remount: {}{}", compare.stdout(), compare.stderr());
    let pack = run(&mut tool!("tar", "-C", m.dir(), "-cf", outside.path().join("b.tar"), "source"));
    assert!(pack.success() && pack.stderr().is_empty(), "{}", pack.stderr());
    let back = outside.path().join("back");
    std::fs::create_dir(&back).expect("directory");
    ok(&mut tool!("tar", "-C", &back, "-xpf", outside.path().join("b.tar")));
    diff(&source, &back.join("source"));
    // An archive that is itself in the mount.
    ok(&mut tool!("tar", "-C", &source, "-czf", m.path("inside.tgz"), "."));
    ok(&mut tool!("tar", "-tzf", m.path("inside.tgz")));
    m.assert_contract();
}

/// A git repository lives in the mount: clone, commit, gc, fsck, clone out.
#[test]
fn git_clone_commit_and_fsck() {
    let m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let origin = outside.path().join("origin");
    std::fs::create_dir(&origin).expect("directory");
    std::fs::create_dir(origin.join("dir")).expect("directory");
    for i in 0..60_u64 {
        std::fs::write(origin.join(format!("dir/f{i}")), pattern(i, 2000 + 100 * i as usize)).expect("file");
    }
    std::fs::write(origin.join("big"), pattern(77, 5 << 20)).expect("file");
    let identity = "export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null;";
    let git = |dir: &Path, script: &str| ok(&mut shell(dir, &format!("{identity} {script}")));
    let _installed = tool!("git", "--version");
    git(&origin, "git init -q -b main . && git add -A && git commit -q -m one");
    git(m.dir(), &format!("git clone -q --no-local '{}' clone", origin.display()));
    let clone = m.path("clone");
    git(&clone, "git fsck --full --strict && git status --porcelain");
    assert_eq!(git(&clone, "git status --porcelain"), "", "a fresh clone is clean");
    git(&clone, "echo more >> dir/f1; git rm -q dir/f2; git mv dir/f3 moved; git commit -q -a -m two");
    git(
        &clone,
        "git checkout -q -b side HEAD~1; echo s > s; git add s; git commit -q -m side; git merge -q main",
    );
    git(&clone, "git repack -q -a -d && git gc -q --prune=now && git fsck --full --strict");
    assert_eq!(git(&clone, "git status --porcelain"), "");
    git(outside.path(), &format!("git clone -q '{}' back && cd back && git fsck --full", clone.display()));
    m.assert_contract();
}

/// A copy inside the mount has the same bytes and is a file of its own.
#[test]
fn cp_inside_the_mount() {
    let m = mount!();
    let data = pattern(5, (9 << 20) + 77);
    std::fs::write(m.path("a"), &data).expect("file");
    ok(&mut tool!("cp", m.path("a"), m.path("b")));
    ok(&mut tool!("cp", "--reflink=auto", "--sparse=never", m.path("b"), m.path("c")));
    std::fs::write(m.path("a"), "gone").expect("overwrite");
    for name in ["b", "c"] {
        assert!(std::fs::read(m.path(name)).expect("read") == data, "{name}");
        assert!(m.stored(&format!("/{name}")).expect("stored") == data, "{name} in the tables");
    }
    m.assert_contract();
}

/// `cp` over an existing file keeps its name and gives it the new bytes; `cp -n`, `-u` and `-b` do as they say.
#[test]
fn cp_over_files() {
    let m = mount!();
    let script = "echo one > a; echo two > b; cp a b; test \"$(cat b)\" = one; echo 3 > c; cp -n a c; test \"$(cat c)\" = 3;
        cp -b a c; test \"$(cat c)\" = one; test \"$(cat c~)\" = 3; touch -d 2001-01-01 old; cp -u old c; test \"$(cat c)\" = one;
        cp --preserve=timestamps old older; test older -ot a; install -m 750 a inst; test \"$(stat -c %a inst)\" = 750;
        mkdir d; cp -r d e; cp -rT d e; rmdir d; ln -s a l; cp -P l l2; test \"$(readlink l2)\" = a";
    ok(&mut shell(m.dir(), script));
    m.assert_contract();
}

/// Files and directories move between directories and into and out of the mount.
#[test]
fn mv_across_directories() {
    let mut m = mount!();
    let outside = tempfile::tempdir().expect("directory");
    let script = "mkdir -p a/sub b; echo 1 > a/one; echo 2 > a/sub/two; mkdir a/sub/empty; ln -s one a/link
        mv a/one b/; test ! -e a/one; mv a/sub b/renamed; test \"$(cat b/renamed/two)\" = 2; test -d b/renamed/empty
        mv a/link b/; mv b c; test \"$(cat c/one)\" = 1; test \"$(readlink c/link)\" = one
        echo 3 > over; echo 4 > c/over; mv over c/; test \"$(cat c/over)\" = 3; mv -n c/one c/over; test \"$(cat c/over)\" = 3";
    ok(&mut shell(m.dir(), script));
    ok(&mut tool!("mv", m.path("c"), outside.path().join("c")));
    ok(&mut shell(outside.path(), "test \"$(cat c/renamed/two)\" = 2; test -d c/renamed/empty"));
    ok(&mut tool!("mv", outside.path().join("c"), m.path("again")));
    assert!(m.path("a").is_dir(), "emptied, it stays");
    m.remount();
    ok(&mut shell(
        m.dir(),
        "test -d a; test -d again/renamed/empty; test \"$(cat again/over)\" = 3; test ! -e c",
    ));
    m.assert_contract();
}

/// `du`, `df`, `find` and `stat` count what is there.
#[test]
fn du_df_find_stat() {
    let m = mount!();
    std::fs::create_dir_all(m.path("d/e")).expect("directories");
    std::fs::write(m.path("d/a"), pattern(1, 3 << 20)).expect("file");
    std::fs::write(m.path("d/e/b"), pattern(2, 100)).expect("file");
    let apparent = ok(&mut shell(m.dir(), "du -s --apparent-size -B1 d/a | cut -f1"));
    assert_eq!(apparent.trim(), (3 << 20).to_string());
    let blocks: u64 = ok(&mut shell(m.dir(), "du -s -B1 d | cut -f1")).trim().parse().expect("number");
    assert!((3 << 20..4 << 20).contains(&blocks), "du counts what is stored: {blocks}");
    let df = ok(&mut shell(m.dir(), "df -B1 --output=size,used,avail . | tail -1"));
    let numbers: Vec<u64> = df.split_whitespace().map(|w| w.parse().expect("number")).collect();
    assert!(numbers[0] >= numbers[1] && numbers[2] > 0, "df: {df}");
    assert_eq!(ok(&mut shell(m.dir(), "find . -type f | sort")), "./d/a\n./d/e/b\n");
    assert_eq!(ok(&mut shell(m.dir(), "find . -type d | sort")), ".\n./d\n./d/e\n");
    assert_eq!(ok(&mut shell(m.dir(), "find . -size +1M -name 'a*'")), "./d/a\n");
    let meta = std::fs::metadata(m.path("d/a")).expect("stat");
    assert_eq!((meta.len(), meta.nlink()), (3 << 20, 1));
    assert!(meta.blocks() * 512 >= 3 << 20, "blocks are counted");
    ok(&mut shell(m.dir(), "find d -delete; test -z \"$(ls -A)\""));
}
