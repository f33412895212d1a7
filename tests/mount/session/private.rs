//! Mounts of the private server: it is started, started again, and its disk may be full.

use super::rig;

/// Without anything it is the private server, which the helper starts, and the table calls it embedded.
#[test]
fn the_private_server() {
    let rig = rig!();
    let out = rig.ok(r#"
        export USERFILEFS_SERVER_DIR=$BASE/private
        "$U" mount "$D" -o "log=$LOG" &
        first=$!
        mkdir "$BASE/second"
        "$U" mount "$BASE/second" -o "log=$LOG.second" &
        wait $!
        wait $first
        echo text >"$D/file"
        cat "$BASE/second/file"
        "$U" umount "$D" "$BASE/second"
        mount -t userfilefs -o "log=$LOG" embedded "$D"
        grep " $D " /proc/self/mountinfo
        cat "$D/file"
        fails 1 'in use' "$U" server stop
        umount "$D"
        for _ in $(seq 100); do "$U" server stop 2>/dev/null && break; sleep 0.1; done
        "#);
    assert!(out.contains(" - fuse.userfilefs embedded "), "{out}");
    assert_eq!(out.matches("text\n").count(), 2, "{out}");
}

/// A private server that dies is started again by its mount; one that was stopped stays so.
#[test]
fn the_private_server_comes_back() {
    let rig = rig!();
    let out = rig.ok(r#"
        export USERFILEFS_SERVER_DIR=$BASE/private
        "$U" mount "$D" -o "log=$LOG"
        echo before >"$D/file"
        kill -9 "$(head -n 1 "$BASE/private/postgresql/postmaster.pid")"
        not "$U" server status
        for _ in $(seq 200); do "$U" server status >/dev/null && break; sleep 0.1; done
        echo after >>"$D/file"
        cat "$D/file"
        "$U" server status
        "$U" server stop --force
        sleep 4
        not "$U" server status
        cat "$LOG"
        "#);
    assert!(out.contains("before\nafter\nstate:       running"), "{out}");
    assert_eq!(out.matches("was started again").count(), 1, "{out}");
}

/// Where it cannot be started, the log says why, and it is tried again until that is put right.
#[test]
fn the_private_server_comes_back_later() {
    let rig = rig!();
    let out = rig.ok(r#"
        export USERFILEFS_SERVER_DIR=$BASE/private
        "$U" mount "$D" -o "log=$LOG"
        echo before >"$D/file"
        p=$(pid "$D")
        kill -STOP "$p"
        kill -9 "$(head -n 1 "$BASE/private/postgresql/postmaster.pid")"
        chmod 755 "$BASE/private/postgresql"
        kill -CONT "$p"
        for _ in $(seq 200); do grep -q 'cannot be started again' "$LOG" && break; sleep 0.1; done
        echo after >>"$D/file" &
        chmod 700 "$BASE/private/postgresql"
        wait $!
        cat "$D/file" "$LOG"
        "#);
    assert!(out.starts_with("before\nafter\n"), "{out}");
    assert!(out.contains("cannot be started again") && out.contains("has invalid permissions"), "{out}");
    assert!(out.contains("hint: chmod 700 "), "{out}");
}

/// On a full disk contents are refused, by write and not by close, while the server works on; what is removed makes room,
/// again and again.
#[test]
fn a_full_disk_of_the_private_server() {
    let rig = rig!();
    let out = rig.ok(r#"
        export USERFILEFS_SERVER_DIR=$BASE/private
        mkdir "$BASE/private"
        mount -t tmpfs -o size=300m,mode=755 none "$BASE/private"
        "$U" mount "$D" -o "log=$LOG"
        head -c 20000000 /dev/urandom >"$BASE/piece"
        free() { df -m --output=avail "$D" | tail -n 1; }
        [ "$(free)" -gt 60 ] && [ "$(free)" -lt 200 ]
        for round in 1 2; do
            i=0
            while cp "$BASE/piece" "$D/f$i" 2>"$BASE/said"; do
                i=$((i + 1))
                [ $i -lt 20 ]
            done
            grep 'error writing .*: No space left on device' "$BASE/said"
            [ $i -ge 4 ] && [ "$(free)" -lt 20 ]
            fails 1 'no space left on the disk of the server' "$U" upload "$BASE/piece" uploaded
            fails 1 'No space left on device' cp "$D/f1" "$D/inside"
            fails 1 'No space left on device' truncate -s 20M "$D/grown"
            cmp "$BASE/piece" "$D/f1"
            rm "$D/inside" "$D/grown" "$D/f$i" "$D/f0" "$D/f1"
            cp "$BASE/piece" "$D/again"
            cmp "$BASE/piece" "$D/again"
            cmp "$BASE/piece" "$D/f2"
            rm "$D"/*
            for _ in $(seq 200); do [ "$(free)" -gt 60 ] && break; sleep 0.1; done
            [ "$(free)" -gt 60 ]
            echo "round $round"
        done
        not grep -h PANIC "$BASE/private/log/"*
        "$U" umount "$D"
        "$U" server stop --force
        "#);
    assert!(out.contains("round 2\n"), "{out}");
}
