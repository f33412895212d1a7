//! Becoming a daemon, doubled and dead mounts, signals.

use super::rig;

/// When the command returns the directory serves, nothing holds the caller's pipes, and the log is where it says.
#[test]
fn it_serves_when_the_command_returns() {
    let rig = rig!();
    let out = rig.ok(r#"
        exec 9>"$BASE/held"
        said=$("$U" mount "$URL" "$D" -o "log=$LOG" 2>&1)
        echo "$said"
        echo one >"$D/one"
        p=$(pid "$D")
        test "$(readlink "/proc/$p/cwd")" = /
        test "$(readlink "/proc/$p/fd/0")" = /dev/null
        test "$(readlink "/proc/$p/fd/1")" = /dev/null
        test "$(readlink "/proc/$p/fd/2")" = "$LOG"
        ls -l "/proc/$p/fd" >"$BASE/fds"
        not grep -q "$BASE/held" "$BASE/fds"
        test "$(cut -d ' ' -f 6 "/proc/$p/stat")" = "$p"
        "$U" umount "$D"
        gone "$p"
        "#);
    assert!(out.contains("mounted postgresql://postgres:xxxxx@"), "{out}");
    assert!(!out.contains("sekret"), "{out}");
    assert!(rig.log().contains("serving"), "{}", rig.log());
    assert!(rig.log().contains("everything is stored"), "{}", rig.log());
}

/// Standard streams that are closed do not become something else.
#[test]
fn closed_standard_streams() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG" <&- >&- 2>&-
        echo one >"$D/one"
        test "$(cat "$D/one")" = one
        "$U" umount "$D"
        "#);
}

/// A second mount on the same directory is refused, and the first lives on.
#[test]
fn a_doubled_mount_is_refused() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        fails 32 'is already mounted' "$U" mount "$URL" "$D"
        fails 32 'is already mounted' mount -t userfilefs "$URL" "$D"
        ln -s mnt "$BASE/link"
        fails 32 'is already mounted' "$U" mount "$URL" "$BASE/link"
        test "$(grep -c " $D " /proc/self/mountinfo)" = 1
        touch "$D/x"
        "$U" umount "$BASE/link"
        not mounted "$D"
        "#);
}

/// Of several mount commands at the same moment one wins.
#[test]
fn mounts_at_the_same_moment() {
    let rig = rig!();
    rig.ok(r#"
        for i in 1 2 3 4; do
            (rc=0; "$U" mount "$URL" "$D" -o "log=$LOG" 2>/dev/null || rc=$?; echo $rc >"$BASE/rc$i") &
        done
        wait
        test "$(cat "$BASE"/rc? | sort -n | tr '\n' ' ')" = "0 32 32 32 "
        test "$(grep -c " $D " /proc/self/mountinfo)" = 1
        "$U" umount "$D"
        not mounted "$D"
        "#);
}

/// What kill -9 leaves is taken away by the next mount, and by umount.
#[test]
fn a_dead_mount_is_cleaned() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        echo kept >"$D/x"
        p=$(pid "$D")
        kill -9 "$p"
        gone "$p"
        fails 1 'not connected' cat "$D/x"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        test "$(cat "$D/x")" = kept
        test "$(grep -c " $D " /proc/self/mountinfo)" = 1
        p=$(pid "$D")
        kill -9 "$p"
        gone "$p"
        "$U" umount "$D"
        not mounted "$D"
        "#);
}

/// A mount point with files works, and is worth a word.
#[test]
fn a_mount_point_with_files() {
    let rig = rig!();
    rig.ok(r#"
        touch "$D/below"
        fails 0 'is not empty' "$U" mount "$URL" "$D" -o "log=$LOG"
        not test -e "$D/below"
        "$U" umount "$D"
        test -e "$D/below"
        "$U" mount "$URL" "$D" -o "nonempty,log=$LOG" 2>"$BASE/said"
        not grep -q 'not empty' "$BASE/said"
        "$U" umount "$D"
        "#);
}

/// retry= waits for a server that comes late.
#[test]
fn retry_waits_for_the_server() {
    let rig = rig!();
    let Some(server) = crate::support::postgres::Server::start(&[]) else { return };
    let url = server.url("postgres");
    server.stop(nix::sys::signal::Signal::SIGINT);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(std::time::Duration::from_secs(2));
            server.run();
        });
        rig.ok_with(
            &url,
            r#"
            fails 32 'error' "$U" mount "$URL" "$D"
            "$U" mount "$URL" "$D" -o "retry=30,log=$LOG"
            touch "$D/x"
            "$U" umount "$D"
            "#,
        );
    });
}

/// SIGTERM stores what close has deferred before the directory goes.
#[test]
fn sigterm_drains() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "async,log=$LOG"
        for i in $(seq 200); do echo "$i" >"$D/$i"; done
        p=$(pid "$D")
        kill "$p"
        gone "$p"
        not mounted "$D"
        "#);
    assert_eq!(rig.files(), 200);
    assert!(rig.log().contains("SIGTERM"), "{}", rig.log());
}

/// A file that is still open does not keep SIGTERM from ending the daemon, and what was written so far is stored.
#[test]
fn sigterm_with_an_open_file() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        p=$(pid "$D")
        exec 5>"$D/open"
        echo begun >&5
        kill "$p"
        gone "$p"
        exec 5>&- || true
        not mounted "$D"
        "#);
    assert_eq!(rig.files(), 1);
}

/// SIGUSR1 writes the state to the log, SIGHUP opens the log anew.
#[test]
fn other_signals() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        p=$(pid "$D")
        kill -USR1 "$p"
        for _ in $(seq 100); do grep -q 'state of' "$LOG" && break; sleep 0.05; done
        grep -q 'state of' "$LOG"
        grep -q '^tables ' "$LOG"
        mv "$LOG" "$LOG.old"
        kill -HUP "$p"
        for _ in $(seq 100); do test -e "$LOG" && break; sleep 0.05; done
        "$U" umount "$D"
        grep -q 'everything is stored' "$LOG"
        "#);
}
