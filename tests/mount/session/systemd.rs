//! What systemd is told, and that units, package scripts and scripts/install are well formed.

use std::os::unix::net::UnixDatagram;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::support::cli;
use crate::support::mounted::{eventually, is_mount_point};

use super::rig;

/// In the foreground: READY when the directory serves, STATUS, STOPPING with more time at SIGTERM, exit 0.
#[test]
fn notifications() {
    let rig = rig!();
    let path = rig.base().join("notify");
    let socket = UnixDatagram::bind(&path).expect("notify socket");
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    let mut child = cli::userfilefs()
        .args(["mount", "-f", "-q"])
        .arg(rig.url())
        .arg(rig.dir())
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000")
        .stdin(Stdio::null())
        .spawn()
        .expect("mount");
    let mut heard = String::new();
    let mut hear_until = |word: &str| {
        let mut buffer = [0; 4096];
        while !heard.contains(word) {
            let len = socket.recv(&mut buffer).unwrap_or_else(|e| panic!("no {word}: {e}; so far:\n{heard}"));
            heard.push_str(&String::from_utf8_lossy(&buffer[..len]));
        }
    };
    hear_until("READY=1");
    assert!(is_mount_point(&rig.dir()));
    std::fs::write(rig.dir().join("file"), "text").expect("write");
    hear_until("STATUS=");
    hear_until("WATCHDOG=1");
    let pid = nix::unistd::Pid::from_raw(child.id().cast_signed());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("signal");
    hear_until("STOPPING=1");
    hear_until("EXTEND_TIMEOUT_USEC=");
    let status = child.wait().expect("end");
    assert!(status.success(), "{status}");
    assert!(!is_mount_point(&rig.dir()));
    assert_eq!(rig.files(), 1);
}

/// umount(8) ends a foreground mount with exit code 0.
#[test]
fn foreground_ends_with_umount() {
    let rig = rig!();
    let mut child = cli::userfilefs()
        .args(["mount", "-f", "-q"])
        .arg(rig.url())
        .arg(rig.dir())
        .stdin(Stdio::null())
        .spawn()
        .expect("mount");
    eventually("the mount", Duration::from_secs(20), || is_mount_point(&rig.dir()));
    std::fs::write(rig.dir().join("file"), "text").expect("write");
    cli::ok(Command::new("umount").arg("-i").arg(rig.dir()));
    let status = child.wait().expect("end");
    assert!(status.success(), "{status}");
}

/// systemd finds nothing to complain about in the units that are installed.
#[test]
fn units_are_well_formed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let Some(mut verify) = cli::tool("systemd-analyze", ["verify", "--man=no"]) else { return };
    let base = std::env::temp_dir().join(format!("userfilefs-test-units-{}", std::process::id()));
    std::fs::create_dir_all(&base).expect("directory");
    let service = std::fs::read_to_string(root.join("packaging/systemd/userfilefs@.service")).expect("unit");
    let unit = base.join("userfilefs@srv-userfile.service");
    let program = cli::userfilefs().get_program().to_string_lossy().into_owned();
    std::fs::write(&unit, service.replace("/usr/bin/userfilefs", &program)).expect("unit");
    for name in ["srv-userfile.mount", "srv-userfile.automount"] {
        std::fs::copy(root.join("packaging/examples").join(name), base.join(name)).expect("unit");
    }
    let done = cli::run(
        verify.arg(&unit).arg(base.join("srv-userfile.mount")).arg(base.join("srv-userfile.automount")),
    );
    let said = done.stderr();
    let ours: Vec<&str> = said.lines().filter(|line| line.contains("userfile")).collect();
    assert!(ours.is_empty(), "{}", ours.join("\n"));
    let _ = std::fs::remove_dir_all(&base);
}

/// scripts/install puts everything in place below another root, and takes everything away again.
#[test]
fn install_and_uninstall() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let base = std::env::temp_dir().join(format!("userfilefs-test-install-{}", std::process::id()));
    let _ = std::fs::remove_dir_all(&base);
    std::fs::create_dir_all(base.join("etc/logrotate.d")).expect("directory");
    let install = |flag: &[&str]| {
        let mut command = Command::new(root.join("scripts/install"));
        command.args(flag).env("DESTDIR", &base).env("PREFIX", "/usr");
        cli::ok(command.env("BINARY", cli::userfilefs().get_program()));
    };
    install(&[]);
    for helper in ["mount.userfilefs", "mount.fuse.userfilefs", "umount.userfilefs", "umount.fuse.userfilefs"]
    {
        let target = std::fs::read_link(base.join("sbin").join(helper)).expect("helper");
        assert_eq!(target, std::path::Path::new("/usr/bin/userfilefs"));
    }
    let unit = std::fs::read_to_string(base.join("lib/systemd/system/userfilefs@.service")).expect("unit");
    assert!(unit.contains("ExecStart=/usr/bin/userfilefs mount --foreground"), "{unit}");
    for file in [
        "usr/bin/userfilefs",
        "usr/share/man/man1/userfilefs-mount.1",
        "usr/share/bash-completion/completions/userfilefs",
        "usr/share/zsh/site-functions/_userfilefs",
        "usr/share/fish/vendor_completions.d/userfilefs.fish",
        "etc/logrotate.d/userfilefs",
    ] {
        let len = std::fs::metadata(base.join(file)).unwrap_or_else(|e| panic!("{file}: {e}")).len();
        assert!(len > 0, "{file} is empty");
    }
    install(&["--uninstall"]);
    let left = cli::ok(Command::new("find").arg(&base).args(["!", "-type", "d"]));
    assert_eq!(left, "");
    let _ = std::fs::remove_dir_all(&base);
}

/// The scripts of the package are shell.
#[test]
fn package_scripts_are_shell() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for name in ["postinst", "prerm", "postrm"] {
        cli::ok(Command::new("sh").arg("-n").arg(root.join("packaging/debian").join(name)));
    }
}
