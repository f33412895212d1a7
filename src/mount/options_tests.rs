use super::*;

fn parse(list: &str) -> Result<MountOptions, OptionError> {
    let mut options = MountOptions::default();
    options.parse(list, Unknown::Refuse)?;
    Ok(options)
}

fn good(list: &str) -> MountOptions {
    parse(list).unwrap_or_else(|e| panic!("{list}: {e}"))
}

#[test]
fn nothing_is_the_default() {
    for list in ["", ",", ",,", "defaults", "rw", "rw,,defaults"] {
        assert_eq!(good(list), MountOptions::default(), "{list}");
    }
}

#[test]
fn what_mount_passes_on_is_ignored() {
    let fstab = "_netdev,nofail,noauto,user,owner,suid,dev,relatime,x-systemd.automount,\
                 x-systemd.mount-timeout=30,comment=a b,uhelper=hal,helper=x,users,strictatime,nosuid,nodev,\
                 subtype=userfilefs,X-mount.mkdir=0755,user=bob,loud,group,diratime,user_id=0,\
                 group_id=0,max_read=1048576,rootmode=40000,fd=4";
    assert_eq!(good(fstab), MountOptions::default());
}

#[test]
fn flags() {
    assert!(good("ro").read_only);
    assert!(!good("ro,rw").read_only);
    assert_eq!(good("allow_other").allow_other, Some(true));
    assert_eq!(good("noallow_other").allow_other, Some(false));
    assert!(good("allow_root").allow_root);
    assert!(!good("nodefault_permissions").default_permissions);
    assert!(good("async").async_close);
    assert!(good("async_close").async_close);
    assert!(!good("async,sync").async_close);
    assert!(good("noexec").noexec);
    assert!(!good("noexec,exec").noexec);
    let all = good("noattrs,user_xattr,recover,remount,nonempty,foreground,debug,dirsync,nosymfollow");
    assert!(all.noattrs && all.user_xattr && all.recover && all.remount && all.nonempty && all.foreground);
    assert!(all.debug && all.dirsync && all.nosymfollow);
}

#[test]
fn owners_and_masks() {
    let o = good("uid=1000,gid=staff,umask=027,fmask=0133");
    assert_eq!(o.uid, Some(Owner::Id(1000)));
    assert_eq!(o.gid, Some(Owner::Name("staff".into())));
    assert_eq!(o.file_mask(), Some(0o133));
    assert_eq!(o.dir_mask(), Some(0o27));
    assert_eq!(good("dmask=077").dir_mask(), Some(0o77));
    assert_eq!(good("dmask=077").file_mask(), None);
}

#[test]
fn times_and_sizes() {
    let o = good("attr_timeout=0.5,entry_timeout=0,timeo=30,retry=2m,cache=64M,dirty=1g,max_hole=0");
    assert_eq!(o.attr_timeout, Duration::from_millis(500));
    assert_eq!(o.entry_timeout, Duration::ZERO);
    assert_eq!(o.timeo, Some(Duration::from_secs(30)));
    assert_eq!(o.retry, Duration::from_secs(120));
    assert_eq!(o.cache_bytes_max, Some(64 << 20));
    assert_eq!(o.dirty_bytes_max, Some(1 << 30));
    assert_eq!(o.hole_bytes_max, Some(0));
    assert_eq!(good("timeo=0").timeo, None);
    assert_eq!(good("hard").timeo, None);
    assert_eq!(good("hard,soft").timeo, Some(TIMEO_DEFAULT));
    assert_eq!(good("timeo=5,soft").timeo, Some(Duration::from_secs(5)));
}

#[test]
fn places() {
    let o =
        good("subdir=/a/b/,prefix=defaultdb.public.x,fstype=fuse,fsname=shown,log=/tmp/l,config=/etc/c.conf");
    assert_eq!(o.subdir, "a/b");
    assert_eq!(o.prefix.as_deref(), Some("defaultdb.public.x"));
    assert_eq!(o.fstype.as_deref(), Some("fuse"));
    assert_eq!(o.fsname.as_deref(), Some("shown"));
    assert_eq!(o.log, Some(PathBuf::from("/tmp/l")));
    assert_eq!(o.config, Some(PathBuf::from("/etc/c.conf")));
    assert_eq!(good("subdir=/").subdir, "");
    assert_eq!(good("subdir=").subdir, "");
}

#[test]
fn a_backslash_makes_a_comma_literal() {
    assert_eq!(good(r"prefix=a\,b,ro").prefix.as_deref(), Some("a,b"));
    assert!(good(r"prefix=a\,b,ro").read_only);
    assert_eq!(good(r"prefix=a\\b").prefix.as_deref(), Some(r"a\b"));
    assert_eq!(good(r"prefix=a\").prefix.as_deref(), Some(r"a\"));
    assert_eq!(good("prefix=a=b").prefix.as_deref(), Some("a=b"));
}

#[test]
fn a_config_file_holds_a_word_a_line() {
    let text = "# a comment\n\n  prefix = a,b\nro\nurl = postgresql://u@h/d?x=y,z\n\tcache=1M  \n";
    let mut options = MountOptions::default();
    options.parse_config(text, Unknown::Refuse).expect("parse");
    assert_eq!(options.prefix.as_deref(), Some("a,b"));
    assert!(options.read_only);
    assert_eq!(options.url.as_deref(), Some("postgresql://u@h/d?x=y,z"));
    assert_eq!(options.cache_bytes_max, Some(1 << 20));
    assert!(options.parse_config("nonsense_word = 3", Unknown::Refuse).is_err());
    assert!(options.parse_config("nonsense_word = 3", Unknown::Ignore).is_ok());
}

#[test]
fn errors_name_the_word_and_the_nearest_one() {
    for (list, message) in [
        ("foo", "unknown mount option \"foo\""),
        ("rw,alow_other", "unknown mount option \"alow_other\": did you mean \"allow_other\""),
        ("attr-timeout=1", "unknown mount option \"attr-timeout\": did you mean \"attr_timeout\""),
        ("ro=1", "mount option \"ro\" takes no value"),
        ("prefix", "mount option \"prefix\" needs a value: prefix=..."),
        ("umask=9", "mount option \"umask\": \"9\" is not an octal mask of permissions such as 022"),
        (
            "subdir=a/../b",
            "mount option \"subdir\": \"a/../b\" is not a clean path (no empty part, \".\" or \"..\")",
        ),
        ("fstype=ext4", "mount option \"fstype\": \"ext4\" is neither \"fuse\" nor \"fuse.NAME\""),
        ("log=", "mount option \"log\" needs a value: log=..."),
        ("=x", "unknown mount option \"\""),
    ] {
        match parse(list) {
            Ok(o) => panic!("{list} was taken: {o:?}"),
            Err(e) => assert_eq!(e.to_string(), message, "{list}"),
        }
    }
}

#[test]
fn every_known_word_has_an_arm() {
    for word in words::KNOWN {
        for value in ["", "=1", "=fuse"] {
            let list = format!("{word}{value}");
            if let Err(OptionError::Unknown { .. }) = parse(&list) {
                panic!("{word} is listed as known, and refused");
            }
        }
    }
}
