//! mount(8), its helper, fstab.

use super::rig;

/// The table of mounts, df and the process list show the type, the source and the flags, and no password.
#[test]
fn the_table_shows_everything_but_secrets() {
    let rig = rig!();
    let out = rig.ok(r#"
        mount -t userfilefs -o "_netdev,nofail,noauto,user,x-systemd.automount,relatime,log=$LOG" "$URL" "$D"
        grep " $D " /proc/self/mountinfo
        echo hello >"$D/file"
        cat "$D/file"
        df --output=source,fstype "$D" | tail -1
        tr '\0' ' ' <"/proc/$(pid "$D")/cmdline"
        echo
        umount "$D"
        not mounted "$D"
        "#);
    assert!(
        out.contains("rw,nosuid,nodev,noexec,noatime") || out.contains("rw,nosuid,nodev,noatime"),
        "{out}"
    );
    assert!(out.contains(" - fuse.userfilefs postgresql://postgres:xxxxx@"), "{out}");
    assert!(out.contains("default_permissions,allow_other"), "{out}");
    assert!(out.contains("\nhello\n"), "{out}");
    assert!(out.contains("userfilefs mount postgresql://postgres:xxxxx@"), "{out}");
    assert!(!out.contains("sekret") && !rig.log().contains("sekret"), "{out}\n{}", rig.log());
    assert_eq!(rig.files(), 1);
}

/// The exit codes of mount(8): 1 for a wrong word, 32 for a failed mount; each error is one line with its reason.
#[test]
fn errors_reach_the_terminal_with_the_right_code() {
    let rig = rig!();
    rig.ok(
        r#"
        fails 1 'unknown mount option "alow_other": did you mean "allow_other"' mount -t userfilefs -o alow_other "$URL" "$D"
        fails 1 'cannot mount "ftp://h/p"' mount -t userfilefs ftp://h/p "$D"
        fails 32 'connection refused' mount -t userfilefs postgresql://postgres:sekret@127.0.0.1:1/d "$D"
        fails 32 'there is no database' mount -t userfilefs "${URL/\/t[0-9]*/\/missing}" "$D"
        # mount(8) itself looks at the directory first.
        fails 32 'No such file or directory' /sbin/mount.userfilefs "$URL" "$BASE/missing"
        fails 32 'not a directory' /sbin/mount.userfilefs "$URL" /etc/passwd
        # The child finds this, after the fork: nothing may be made read-only.
        fails 32 'tables' mount -t userfilefs -o ro "$URL" "$D"
        not mounted "$D"
        not grep -q sekret "$BASE/stderr"
        mount -s -t userfilefs -o "alow_other,log=$LOG" "$URL" "$D"
        umount "$D"
        "#,
    );
}

/// The helper takes mount(8)'s flags in any place; -f changes nothing.
#[test]
fn the_helper_takes_flags_anywhere() {
    let rig = rig!();
    rig.ok(r#"
        /sbin/mount.userfilefs "$URL" "$D" -f -o ro
        not mounted "$D"
        /sbin/mount.userfilefs -n -v -o "log=$LOG" "$URL" -s -t fuse.userfilefs "$D" -w 2>"$BASE/said"
        grep -q "mounted postgresql://" "$BASE/said"
        touch "$D/x"
        umount "$D"
        env -i /sbin/mount.userfilefs "$URL" "$D" -r -o "log=$LOG"
        fails 1 'Read-only file system' touch "$D/y"
        umount "$D"
        mount -t fuse.userfilefs -o "sync,log=$LOG" "$URL" "$D"
        grep " $D rw,.* - fuse.userfilefs .* rw,sync," /proc/self/mountinfo
        exec 5>"$D/sync"
        echo text >&5
        size="SELECT file_size FROM userfiles_postgres_upload_files WHERE filename = '/sync'"
        test "$(psql -qAt "$URL" -c "$size")" = 5
        exec 5>&-
        test -e "$D/x"
        umount "$D"
        "#);
}

/// mount.fuse3 runs the program by PATH, without a command word.
#[test]
fn mount_fuse3_works() {
    let rig = rig!();
    if crate::support::cli::find("mount.fuse3").is_none()
        && !std::path::Path::new("/sbin/mount.fuse3").exists()
    {
        crate::support::require::skip("tools", "mount.fuse3 is not installed");
        return;
    }
    rig.ok(r#"
        export PATH="$(dirname "$U"):$PATH"
        /sbin/mount.fuse3 "userfilefs#$URL" "$D" -o "rw,_netdev,log=$LOG"
        mounted "$D"
        touch "$D/x"
        umount "$D"
        "#);
}

/// A line of fstab: escapes, subdir, mount -a twice, umount by its mount point.
#[test]
fn fstab() {
    let rig = rig!();
    rig.ok(r#"
        mount -t userfilefs -o "log=$LOG" "$URL" "$D"
        mkdir "$D/sub dir"
        echo inside >"$D/sub dir/file"
        umount "$D"
        mkdir "$BASE/a b"
        # The source as it may show, so that mount -a knows it again.
        PLAIN=${URL/:sekret/}
        echo "$PLAIN ${BASE}/a\\040b userfilefs _netdev,nofail,subdir=sub\\040dir,log=$LOG 0 0" >"$BASE/fstab"
        mount --bind "$BASE/fstab" /etc/fstab
        mount "$BASE/a b"
        test "$(cat "$BASE/a b/file")" = inside
        mount -a
        test "$(grep -c 'a\\040b' /proc/self/mountinfo)" = 1
        umount "$BASE/a b"
        not grep -q 'a\\040b' /proc/self/mountinfo
        # A source that only says "look elsewhere" is known again too.
        echo "url = $URL" >"$BASE/conf"
        echo "none $D userfilefs config=$BASE/conf,log=$LOG 0 0" >"$BASE/fstab"
        mount "$D"
        mount -a
        test "$(grep -c " $D " /proc/self/mountinfo)" = 1
        umount "$D"
        "#);
}

/// remount switches the kernel's flag; a mount whose daemon is read-only says why it cannot.
#[test]
fn remount() {
    let rig = rig!();
    rig.ok(r#"
        mount -t userfilefs -o "log=$LOG" "$URL" "$D"
        touch "$D/a"
        mount -o remount,ro "$D"
        fails 1 'Read-only file system' touch "$D/b"
        grep " $D ro,nosuid,nodev,noatime " /proc/self/mountinfo
        mount -o remount,rw "$D"
        touch "$D/b"
        umount "$D"
        fails 32 'is not mounted' /sbin/mount.userfilefs "$URL" "$D" -o remount,ro
        mount -t userfilefs -o "ro,log=$LOG" "$URL" "$D"
        fails 32 'was mounted read-only' mount -o remount,rw "$D"
        umount "$D"
        "#);
    assert_eq!(rig.files(), 2);
}

/// Words that hold commas, and everything that must not be typed, live in a file.
#[test]
fn a_config_file() {
    let rig = rig!();
    rig.ok(r#"
        printf '%s\n' '# settings' "url = $URL" 'fsname = a,b' "log = $LOG" 'ro' >"$BASE/conf"
        mount -t userfilefs -o "config=$BASE/conf,rw" none "$D"
        grep " $D rw,.* - fuse.userfilefs a,b " /proc/self/mountinfo
        touch "$D/x"
        umount "$D"
        fails 1 'cannot read' mount -t userfilefs -o "config=$BASE/missing" none "$D"
        fails 1 'cannot read' mount -t userfilefs -o "passfile=$BASE/missing" "$URL" "$D"
        echo 'umsk = 022' >>"$BASE/conf"
        fails 1 'did you mean "umask"' mount -t userfilefs -o "config=$BASE/conf" none "$D"
        "#);
}

/// uid, gid and masks are what files without stored attributes show.
#[test]
fn owners_and_masks() {
    let rig = rig!();
    let out = rig.ok(
        r#"
        mount -t userfilefs -o "log=$LOG" "$URL" "$D"
        umount "$D"
        psql -q "$URL" -c "INSERT INTO userfiles_postgres_upload_files (filename, file_size, username) VALUES ('/d/empty', 0, 'x')"
        mount -t userfilefs -o "uid=nobody,gid=1234,fmask=0137,dmask=027,log=$LOG" "$URL" "$D"
        stat -c '%U %g %a' "$D/d" "$D/d/empty"
        umount "$D"
        fails 1 'there is no "nosuchuser"' mount -t userfilefs -o uid=nosuchuser "$URL" "$D"
        "#,
    );
    assert_eq!(out, "nobody 1234 750\nnobody 1234 640\n");
}

/// Without a source flags and variables decide, and the table says which server it is.
#[test]
fn without_a_source() {
    let rig = rig!();
    let out = rig.ok(r#"
        COCKROACH_URL=$URL "$U" mount "$D" -o "log=$LOG"
        grep " $D " /proc/self/mountinfo
        echo text >"$D/file"
        "$U" mount | grep " $D "
        "$U" umount "$D"
        "#);
    assert!(out.contains(" - fuse.userfilefs postgresql://postgres@127.0.0.1:"), "{out}");
    assert!(!out.contains("sekret"), "{out}");
    assert_eq!(rig.files(), 1);
}
