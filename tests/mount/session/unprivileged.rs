//! Mounts of ordinary users, through fusermount3.

use super::rig;

/// An ordinary user mounts, alone may look in, and root can unmount it with all its stores.
#[test]
fn an_ordinary_user_mounts() {
    let rig = rig!();
    if crate::support::cli::find("fusermount3").is_none() {
        crate::support::require::skip("tools", "fusermount3 is not installed");
        return;
    }
    rig.ok(r#"
        # Some machines keep /dev/fuse from users; this is how distributions have it.
        mknod "$BASE/fuse" c 10 229
        chmod 666 "$BASE/fuse"
        mount --bind "$BASE/fuse" /dev/fuse
        # The program where everybody can reach it.
        mount -t tmpfs -o mode=755 none /mnt
        cp "$U" /mnt/userfilefs
        mkdir /mnt/home /mnt/m
        chown nobody /mnt/home /mnt/m
        U=/mnt/userfilefs
        D=/mnt/m
        user() { setpriv --reuid nobody --regid nogroup --clear-groups env HOME=/mnt/home "$@"; }

        user "$U" mount "$URL" "$D"
        grep " $D .* - fuse.userfilefs postgresql://postgres:xxxxx@.* rw,user_id=65534," /proc/self/mountinfo
        user sh -c "echo mine >$D/file"
        fails 1 'Permission denied' cat "$D/file"
        "$U" umount "$D"
        not mounted "$D"
        grep -q 'everything is stored' /mnt/home/.local/state/userfilefs/mnt-m.log

        user "$U" mount "$URL" "$D" -o async
        fails 32 'only root may remount' user "$U" mount "$D" -o remount,ro
        p=$(pid "$D")
        for i in $(seq 50); do user sh -c "echo $i >$D/$i"; done
        user "$U" umount "$D"
        not mounted "$D"
        not alive "$p"

        echo user_allow_other >"$BASE/fuse.conf"
        touch /etc/fuse.conf
        mount --bind "$BASE/fuse.conf" /etc/fuse.conf
        user "$U" mount "$URL" "$D" -o allow_root
        test "$(cat "$D/file")" = mine
        fails 1 'Permission denied' setpriv --reuid daemon --regid daemon --clear-groups cat "$D/file"
        "$U" umount "$D"
        : >"$BASE/fuse.conf"

        fails 32 'user_allow_other' user "$U" mount "$URL" "$D" -o allow_other
        user "$U" mount "$URL" "$D"
        p=$(pid "$D")
        user fusermount3 -u "$D"
        gone "$p"
        mount --bind /dev/null "$(command -v fusermount3)"
        fails 32 'fusermount3' user "$U" mount "$URL" "$D"
        umount /mnt
        "#);
    assert_eq!(rig.files(), 51);
}
