//! What scripts/quickstart and scripts/test do on machines that lack something.

use std::process::{Command, Output};

/// Runs a script after scripts/lib/setup.sh, whose functions it may replace.
fn after_setup(script: &str) -> Output {
    let library = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/lib/setup.sh");
    let mut bash = Command::new("bash");
    bash.args(["-eu", "-o", "pipefail", "-c"]).arg(format!(". '{library}'\n{script}"));
    bash.env("CARGO_HOME", "/nonexistent").output().expect("bash")
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn versions_are_compared() {
    let done = after_setup(
        "for good in 1.88 1.88.0 1.99.1 2.0; do version_at_least $good 1.88 || exit 1; done
         for bad in 1.63.0 1.87.9 '(none)' ''; do ! version_at_least \"$bad\" 1.88 || exit 2; done",
    );
    assert!(done.status.success(), "{done:?}");
}

#[test]
fn without_sudo_all_that_is_missing_is_named_at_once() {
    let done = after_setup(
        "id() { echo 1000; }
         have() { [ \"$1\" = apt-get ]; }
         setup_packages $(rust_packages) cc:build-essential fusermount3:fuse3",
    );
    assert_eq!(done.status.code(), Some(1));
    let line =
        "As root, run: apt-get update && apt-get install --no-install-recommends curl build-essential fuse3";
    assert!(stderr(&done).contains(line), "{}", stderr(&done));
}

#[test]
fn an_old_rust_is_not_taken() {
    let done = after_setup(
        "have() { true; }
         rustc() { echo 'rustc 1.63.0'; }
         ! rust_is_recent || exit 1
         rustc() { echo 'rustc 1.90.0 (1159e78c4 2025-09-14)'; }
         rust_is_recent",
    );
    assert!(done.status.success(), "{done:?}");
}

/// Debian 12 has an old one under the plain name, and a new one for its browsers.
#[test]
fn a_recent_rust_among_the_packages_is_found() {
    let done = after_setup(
        "have() { true; }
         apt-cache() {
             case $2 in
                 rustc) echo '  Candidate: 1.63.0+dfsg1-2' ;;
                 rustc-web) echo '  Candidate: 1.96.0+dfsg1-1~deb12u2' ;;
                 *) echo '  Candidate: (none)' ;;
             esac
         }
         as_root() { echo \"$*\" >&2; }
         rust_from_packages 'no rustup'",
    );
    assert!(done.status.success(), "{done:?}");
    assert!(stderr(&done).ends_with("--no-remove rustc-web cargo-web\n"), "{}", stderr(&done));
}

/// What comes from the network is taken only if it is what was asked for; without it the tests say what they skip.
#[test]
fn a_go_that_is_another_is_not_taken() {
    let dir = tempfile::tempdir().unwrap();
    let done = after_setup(&format!(
        "have() {{ false; }}
         uname() {{ echo x86_64; }}
         apt-cache() {{ echo '  Candidate: 2:1.19~1'; }}
         setup_packages() {{ :; }}
         curl() {{ echo wrong >go.zip; }}
         unzip() {{ mkdir -p golang.org/toolchain@v1/bin golang.org/toolchain@v1/pkg/tool/linux
                    touch golang.org/toolchain@v1/bin/go golang.org/toolchain@v1/pkg/tool/linux/asm; }}
         cd '{0}'
         setup_go '{0}'",
        dir.path().display()
    ));
    assert!(done.status.success(), "{done:?}");
    let out = String::from_utf8_lossy(&done.stdout);
    assert!(out.contains("SKIP the verifier in Go"), "{out}");
    assert!(!dir.path().join("go.zip").exists());
    assert!(!dir.path().join("go/bin/go").exists());
}
