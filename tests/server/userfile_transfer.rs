//! Large files, many files, and commands that are stopped in the middle.

use crate::support::cli::{on_a_terminal, run};
use crate::userfile::{Desk, same_trees};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const MB: usize = 1 << 20;

/// A file that looks random, so that nothing can cheat by compressing or repeating.
fn large(path: &std::path::Path, megabytes: usize) {
    let mut file = File::create(path).expect("a file");
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut block = vec![0u8; MB];
    for _ in 0..megabytes {
        for word in block.as_chunks_mut::<8>().0 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            word.copy_from_slice(&state.to_le_bytes());
        }
        file.write_all(&block).expect("writes");
    }
}

/// Peak resident memory of a running process in MiB.
fn peak(child: &Child) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib / 1024)
}

/// Runs to the end; returns the highest memory seen.
fn watched(mut child: Child) -> u64 {
    let mut most = 0;
    loop {
        most = most.max(peak(&child).unwrap_or(0));
        if let Some(status) = child.try_wait().expect("state") {
            assert!(status.success(), "{status}");
            return most;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_large_file_takes_little_memory() {
    let Some(desk) = Desk::new() else { return };
    large(&desk.path("big"), 300);
    let start = |args: &[&str]| desk.command(args).stdout(Stdio::null()).spawn().expect("runs");
    let up = watched(start(&["upload", "big"]));
    let down = watched(start(&["get", "big", "back"]));
    let same = run(std::process::Command::new("cmp").arg(desk.path("big")).arg(desk.path("back")));
    assert!(same.success(), "{}", same.stdout());
    println!("peak memory: upload {up} MiB, get {down} MiB");
    assert!(up < 160, "upload took {up} MiB");
    assert!(down < 160, "get took {down} MiB");
    let tables = desk.tables();
    tables.assert_contract(4 * MB);
    // Replaced and deleted contents are gone when the command ends.
    desk.write("big2", vec![1u8; 9 * MB]);
    desk.uploads(&["big2", "big", "--overwrite"], "/big");
    assert_eq!(tables.read("/big").map(|d| d.len()), Some(9 * MB));
    assert!(tables.hidden().is_empty());
    desk.uploads(&["big", "again"], "/again");
    desk.ok(&["delete", "big", "again"], "successfully deleted big\nsuccessfully deleted again\n");
    assert!(tables.hidden().is_empty(), "{:?}", tables.hidden());
    assert!(tables.db.query(&format!("SELECT 1 FROM {}", tables.payload), &[]).is_empty());
}

#[test]
fn two_thousand_small_files() {
    let Some(desk) = Desk::new() else { return };
    for i in 0..2000 {
        desk.write(&format!("many/{}/{i}", i % 20), format!("file {i}\n").repeat(i % 50));
    }
    let begun = Instant::now();
    let done = desk.run(&["upload", "-r", "many", "--jobs", "8"]);
    assert!(done.success(), "{}", done.stderr());
    println!("upload of 2000 files: {:?}", begun.elapsed());
    assert_eq!(done.stdout().lines().count(), 4001);
    let begun = Instant::now();
    let done = desk.run(&["get", "many", "back", "--jobs", "8"]);
    assert!(done.success(), "{}", done.stderr());
    println!("get of 2000 files: {:?}", begun.elapsed());
    same_trees(&desk.path("many"), &desk.path("back/many"));
    // In order, although eight run at a time.
    let names: Vec<String> = done.stdout().lines().map(str::to_owned).collect();
    let listed = desk.run(&["list"]).stdout();
    let order: Vec<String> = listed.lines().map(|n| format!("downloaded {n} to back/{n} ")).collect();
    assert!(names.iter().zip(&order).all(|(line, start)| line.starts_with(start.as_str())));
    desk.tables().assert_contract(4 * MB);
    let done = desk.run(&["delete", "many", "--jobs", "8"]);
    assert_eq!(done.stdout().lines().count(), 2000);
    desk.ok(&["list"], "");
}

/// Waits until something is on its way to the server.
fn until_uploading(desk: &Desk, child: &mut Child) {
    let end = Instant::now() + Duration::from_secs(30);
    while desk.tables().hidden().is_empty() {
        assert!(child.try_wait().expect("state").is_none(), "it ended before it could be stopped");
        assert!(Instant::now() < end, "nothing is being uploaded");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn killed_in_the_middle_then_carried_on() {
    let Some(desk) = Desk::new() else { return };
    for name in ["1-first", "3-last"] {
        desk.write(&format!("copy/{name}"), name);
    }
    large(&desk.path("copy/2-big"), 200);
    let args = ["upload", "-r", "copy", "--skip-existing", "--jobs", "2"];
    let mut child = desk.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("runs");
    until_uploading(&desk, &mut child);
    child.kill().expect("kill -9");
    child.wait().expect("ends");
    // Whole files or nothing.
    let listed = desk.run(&["list"]).stdout();
    assert!(!listed.contains("2-big"), "{listed}");
    let done = desk.run(&args);
    assert!(done.success(), "{}", done.stderr());
    let done = desk.run(&["get", "copy", "back"]);
    assert!(done.success(), "{}", done.stderr());
    same_trees(&desk.path("copy"), &desk.path("back/copy"));
    desk.ok(&["list"], "copy/1-first\ncopy/2-big\ncopy/3-last\n");
}

#[test]
fn interrupted_uploads_leave_nothing() {
    let Some(desk) = Desk::new() else { return };
    large(&desk.path("big"), 200);
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let mut child = desk.command(&["upload", "big"]).stderr(Stdio::piped()).spawn().expect("runs");
        until_uploading(&desk, &mut child);
        kill(Pid::from_raw(child.id().cast_signed()), signal).expect("kill");
        let done = child.wait_with_output().expect("ends");
        let stderr = String::from_utf8_lossy(&done.stderr).into_owned();
        assert_eq!(done.status.code(), Some(3), "{stderr}");
        assert!(stderr.contains("ERROR: interrupted\n"), "{stderr}");
        let tables = desk.tables();
        assert_eq!((tables.names(), tables.hidden()), (vec![], vec![]));
        assert!(tables.db.query(&format!("SELECT 1 FROM {}", tables.payload), &[]).is_empty());
    }
}

#[test]
fn interrupted_downloads_leave_nothing() {
    let Some(desk) = Desk::new() else { return };
    large(&desk.path("big"), 300);
    assert!(desk.run(&["upload", "big"]).success());
    std::fs::create_dir(desk.path("out")).expect("mkdir");
    let mut child = desk
        .command(&["get", "big", "out"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("runs");
    let end = Instant::now() + Duration::from_secs(30);
    // The file has no name yet, but it is open.
    let out = std::fs::canonicalize(desk.path("out")).expect("canonical");
    let is_open = |child: &Child| {
        let open = std::fs::read_dir(format!("/proc/{}/fd", child.id())).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|file| file.starts_with(&out))
    };
    while !is_open(&child) {
        assert!(Instant::now() < end && child.try_wait().expect("state").is_none());
        std::thread::sleep(Duration::from_millis(2));
    }
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("kill");
    assert_eq!(child.wait().expect("ends").code(), Some(3));
    assert_eq!(std::fs::read_dir(desk.path("out")).expect("ls").count(), 0);
}

/// One signal is enough where nothing is under way: a server that does not answer, a question.
#[test]
fn a_command_that_waits_ends_at_the_first_signal() {
    let Some(desk) = Desk::new() else { return };
    let silent = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let url = format!("postgresql://root@{}/x", silent.local_addr().expect("its port"));
    for args in [&["list"][..], &["get", "/"], &["upload", "small.txt"], &["delete", "x"]] {
        let mut command = desk.command(args);
        let mut child = command.env("COCKROACH_URL", &url).stderr(Stdio::piped()).spawn().expect("runs");
        let _connected = silent.accept().expect("a connection");
        let start = Instant::now();
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGINT).expect("kill");
        assert_eq!(child.wait().expect("ends").code(), Some(3), "{args:?}");
        assert!(start.elapsed() < Duration::from_secs(3), "{args:?}: {:?}", start.elapsed());
    }
    desk.uploads(&["small.txt"], "/small.txt");
    let (shown, out, code) = on_a_terminal(desk.command(&["delete", "/"]), "\x03");
    assert_eq!((out.as_str(), code), ("", Some(3)), "{shown}");
    assert!(shown.contains("delete all 1 files") && shown.contains("ERROR: interrupted"), "{shown}");
    desk.ok(&["list"], "small.txt\n");
}

/// A source that grows or shrinks while it is read is stored with the size of what was read.
#[test]
fn a_source_that_changes_while_it_is_read() {
    let Some(desk) = Desk::new() else { return };
    large(&desk.path("log"), 120);
    let mut child = desk.command(&["upload", "log"]).stderr(Stdio::piped()).spawn().expect("runs");
    until_uploading(&desk, &mut child);
    let mut file = File::options().append(true).open(desk.path("log")).expect("open");
    file.write_all(&vec![b'x'; 6 * MB + 1]).expect("grow");
    let done = child.wait_with_output().expect("ends");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let tables = desk.tables();
    tables.assert_contract(4 * MB);
    let stored = tables.read("/log").expect("stored").len();
    let grown = stored != 120 * MB;
    assert!(!grown || stored == 126 * MB + 1, "{stored}");
    assert_eq!(grown, String::from_utf8_lossy(&done.stderr).contains("changed while it was read"));
}
