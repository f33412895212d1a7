//! Every way to unmount.

use std::time::{Duration, Instant};

use super::rig;

/// `userfilefs umount` returns when everything that close has deferred is stored and the daemon has ended.
#[test]
fn umount_waits_for_the_stores() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "async,log=$LOG"
        p=$(pid "$D")
        for i in $(seq 300); do echo "$i" >"$D/$i"; done
        "$U" umount "$D"
        not mounted "$D"
        not alive "$p"
        "#);
    assert_eq!(rig.files(), 300);
}

/// umount(8) without our helper ends the daemon too, which stores what is left by itself.
#[test]
fn umount8_ends_the_daemon() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "async,log=$LOG"
        p=$(pid "$D")
        for i in $(seq 100); do echo "$i" >"$D/$i"; done
        umount -i "$D"
        gone "$p"
        "#);
    assert_eq!(rig.files(), 100);
    assert!(rig.log().contains("everything is stored"), "{}", rig.log());
}

/// The end of a session leaves alone what is mounted below or instead of it.
#[test]
fn nothing_is_unmounted_twice() {
    let rig = rig!();
    rig.ok(r#"
        mount -t tmpfs below "$D"
        touch "$D/below"
        "$U" mount "$URL" "$D" -o "nonempty,log=$LOG"
        p=$(pid "$D")
        umount -i "$D"
        gone "$p"
        test -e "$D/below"
        "$U" mount "$URL" "$D" -o "nonempty,log=$LOG"
        p=$(pid "$D")
        umount -l "$D"
        "$U" mount "$URL" "$D" -o "nonempty,log=$LOG"
        gone "$p"
        mounted "$D"
        "$U" umount "$D"
        test -e "$D/below"
        umount "$D"
        "#);
}

/// A busy mount stays, and whoever uses it is named; --lazy takes it away all the same.
#[test]
fn a_busy_mount_names_its_users() {
    let rig = rig!();
    rig.ok(r#"
        "$U" mount "$URL" "$D" -o "log=$LOG"
        echo text >"$D/file"
        mkdir "$D/dir"
        p=$(pid "$D")
        sleep 60 <"$D/file" &
        reader=$!
        (cd "$D/dir" && exec sleep 61) &
        sleep 0.2
        fails 32 "sleep (pid $reader): open file $D/file" "$U" umount "$D"
        fails 32 "working directory $D/dir" "$U" umount "$D"
        fails 32 "busy" umount "$D"
        # Trying was harmless: it goes on.
        echo more >"$D/more"
        mount -t tmpfs below "$D/dir"
        fails 32 "mounted below: $D/dir" "$U" umount "$D"
        umount "$D/dir"
        "$U" umount --lazy "$D"
        not mounted "$D"
        alive "$p"
        kill %1 %2
        gone "$p"
        "#);
    assert_eq!(rig.files(), 2);
}

/// What is not ours, or not there, is left alone.
#[test]
fn only_our_mounts() {
    let rig = rig!();
    rig.ok(r#"
        fails 32 'is not mounted' "$U" umount "$D"
        mount -t tmpfs other "$D"
        fails 32 'is not a userfilefs mount but tmpfs' "$U" umount "$D"
        umount "$D"
        fails 32 'cannot unmount' "$U" umount /nonexistent/dir
        "#);
}

/// While the server hangs, umount gives up after its timeout and the files stay reachable; --force ends it.
#[test]
fn umount_never_hangs() {
    let rig = rig!();
    let Some(server) = crate::support::postgres::Server::start(&[]) else { return };
    let started = Instant::now();
    let url = server.url("postgres");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !rig.base().join("stop").exists() {
                if started.elapsed() > Duration::from_secs(60) {
                    return;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
            server.stop(nix::sys::signal::Signal::SIGQUIT);
            std::fs::write(rig.base().join("stopped"), "").expect("word");
        });
        rig.ok_with(
            &url,
            r#"
            "$U" mount "$URL" "$D" -o "async,log=$LOG"
            p=$(pid "$D")
            exec 5>"$D/file"
            echo text >&5
            touch "$BASE/stop"
            while ! test -e "$BASE/stopped"; do sleep 0.02; done
            exec 5>&-
            fails 32 'stored' "$U" umount --timeout 3 "$D"
            mounted "$D"
            "$U" umount --force --timeout 2 "$D"
            not mounted "$D"
            kill "$p" "$p" 2>/dev/null || true
            sleep 0.3
            kill "$p" 2>/dev/null || true
            gone "$p"
            "#,
        );
    });
    assert!(started.elapsed() < Duration::from_secs(60), "{:?}", started.elapsed());
}

/// A copy of the mount in another mount namespace keeps the daemon, not umount, which says so.
#[test]
fn another_namespace_keeps_the_daemon_only() {
    let rig = rig!();
    let said = rig.ok(r#"
        "$U" mount "$URL" "$D" -o "async,log=$LOG"
        p=$(pid "$D")
        unshare --mount --propagation private sh -c 'echo ready; exec sleep 100' >"$LOG.ready" &
        other=$!
        until grep -q ready "$LOG.ready"; do sleep 0.05; done
        echo kept >"$D/f"
        timeout 30 "$U" umount "$D" 2>&1
        not mounted "$D"
        kill "$other"
        gone "$p"
        "#);
    assert!(said.contains("in its own mount namespace"), "{said}");
    assert_eq!(rig.files(), 1);
}
