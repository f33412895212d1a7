use super::*;

fn prefix(database: &str, schema: &str, table: &str) -> TablePrefix {
    TablePrefix { database: database.into(), schema: schema.into(), table: table.into() }
}

#[test]
fn prefixes_parse_and_show() {
    for (text, want) in [
        ("defaultdb.public.userfiles_root", prefix("defaultdb", "public", "userfiles_root")),
        ("DefaultDB.Public.Foo", prefix("defaultdb", "public", "foo")),
        (r#""My DB".public."userfiles_foo.foo""#, prefix("My DB", "public", "userfiles_foo.foo")),
        (r#"a.b."q""q""#, prefix("a", "b", "q\"q")),
    ] {
        let p = TablePrefix::parse(text).unwrap();
        assert_eq!(p, want);
        assert_eq!(TablePrefix::parse(&p.to_string()).unwrap(), p);
    }
    for bad in ["", "a", "a.b", "a.b.c.d", "a..c", r#"a.b."c"#, r#"a.b."c"d"#, "a.b.c d", "a.b.", "a.b.\0"] {
        assert!(TablePrefix::parse(bad).is_err(), "{bad}");
    }
    assert_eq!(prefix("d", "s", "t").files_table(), "t_upload_files");
}

#[test]
fn default_prefixes_by_the_rule_of_the_commands() {
    for (user, want) in [
        ("root", "userfiles_root"),
        ("MaxRoach", "userfiles_maxroach"),
        ("123foo", "userfilesx_313233666f6f"),
        ("foo.foo", "userfilesx_666f6f2e666f6f"),
        ("max-roach", "userfilesx_6d61782d726f616368"),
        ("al.ice-1", "userfilesx_616c2e6963652d31"),
        ("a$1", "userfiles_a$1"),
        ("é", "userfiles_é"),
        ("", "userfilesx_"),
    ] {
        assert_eq!(TablePrefix::default_for(user).table, want);
        let host = "defaultdb.public.userfiles_$user";
        assert_eq!(TablePrefix::for_user(host, user).unwrap(), TablePrefix::default_for(user), "{user}");
    }
}

#[test]
fn user_placeholder_and_its_literal_form() {
    assert_eq!(TablePrefix::for_user("d.p.x%24user", "bob").unwrap().table, "x$user");
    assert_eq!(TablePrefix::for_user("d.p.x$user", "bob").unwrap().table, "xbob");
    assert_eq!(expand_user("a_$user/$user", "bob"), "a_bob/bob");
    assert!(TablePrefix::for_user("d.p.x%2", "bob").is_err());
}

#[test]
fn identifiers_too_long_for_postgres() {
    assert!(prefix("d", "public", &"a".repeat(46)).check_postgres().is_ok());
    assert!(prefix("d", "public", &"a".repeat(47)).check_postgres().is_err());
}

#[test]
fn arguments() {
    let at = |a: &str| Location::parse(a, "bob").unwrap();
    assert_eq!(at("a/b%41"), Location { prefix: None, path: "/a/b%41".into(), uri: false });
    assert_eq!(at("/x"), Location { prefix: None, path: "/x".into(), uri: false });
    assert_eq!(at(""), Location { prefix: None, path: "".into(), uri: false });
    assert_eq!(at("s3://b/x").path, "/s3://b/x");
    assert_eq!(at("userfile:///a%20b?x#y"), Location { prefix: None, path: "/a b".into(), uri: true });
    assert_eq!(at("userfile:///x").prefix_or_default("bob").table, "userfiles_bob");
    let l = at("userfile://defaultdb.public.userfiles_$user/a");
    assert_eq!((l.prefix.clone().unwrap().table.as_str(), l.path.as_str()), ("userfiles_bob", "/a"));
    assert_eq!(l.prefix.unwrap().uri_of("/a"), "userfile://defaultdb.public.userfiles_bob/a");
    assert_eq!(at("userfile://d.s.p").path, "");
    assert_eq!(
        Location::parse("userfile:///%zz", "bob").unwrap_err().to_string(),
        "invalid URL escape \"%zz\""
    );
    assert!(matches!(Location::parse("userfile:///%ff", "bob"), Err(NameError::NotUtf8(_))));
    assert_eq!(
        Location::parse_uri("s3://x", "bob").unwrap_err().to_string(),
        "unsupported storage scheme: \"s3\" - refer to docs to find supported storage schemes"
    );
}

#[test]
fn clean_paths() {
    for (path, clean) in [
        ("", "."),
        ("/", "/"),
        ("//", "/"),
        ("/a/../../b", "/b"),
        ("a/../..", ".."),
        ("../../a", "../../a"),
        ("/a/./b/", "/a/b"),
        ("a//b", "a/b"),
        ("/..", "/"),
        (".", "."),
    ] {
        assert_eq!(go_path_clean(path), clean, "{path}");
        assert_eq!(clean_path(path).is_ok(), path == clean, "{path}");
    }
    assert_eq!(
        clean_path("/test/../../file1.csv.tmp").unwrap_err().to_string(),
        "path /test/../../file1.csv changes after normalization to /file1.csv. userfile upload does not permit such path constructs"
    );
}

#[test]
fn new_names() {
    for ok in ["/a", "/a/b.tmp", "/ünï-日本", "/.userfilefs2", "/a/.userfilefs/x", "/"] {
        assert!(check_new_name(ok).is_ok(), "{ok}");
    }
    let long = format!("/{}", "a/".repeat(1_400));
    for bad in ["", "a", "/a/", "/a//b", "/a\0", "/.userfilefs", "/.userfilefs/x", long.trim_end_matches('/')]
    {
        assert!(check_new_name(bad).is_err(), "{bad}");
    }
}

#[test]
fn companion_keys() {
    for (path, key) in [("/a/b", ("/a", "b")), ("/a", ("/", "a")), ("", ("", "/")), ("/", ("", "/"))] {
        assert_eq!(split_path(path), key);
        assert_eq!(join_path(key.0.as_bytes(), key.1.as_bytes()), path.trim_end_matches('/').as_bytes());
    }
}

#[test]
fn ends_of_prefixes() {
    assert_eq!(prefix_end("/a").as_deref(), Some("/b"));
    assert_eq!(prefix_end("a\u{D7FF}").as_deref(), Some("a\u{E000}"));
    assert_eq!(prefix_end("a\u{10FFFF}").as_deref(), Some("b"));
    assert_eq!(prefix_end("\u{10FFFF}"), None);
    assert_eq!(prefix_end(""), None);
}

#[test]
fn scans_go_on_after_invalid_names() {
    assert_eq!(valid_not_below("/é".as_bytes()).as_deref(), Some("/é"));
    for bad in [
        &b"/a\xff"[..],
        b"/a\xc3",
        b"/a\x80b",
        b"/\xe4\x00",
        b"\xf4\x8f\xbf\xbf\xff",
        b"\xed\xa0\x80",
        b"/\xf0",
    ] {
        let v = valid_not_below(bad);
        match v {
            None => assert!(bad[0] >= 0xf4),
            Some(v) => {
                assert!(v.as_bytes() > bad, "{bad:?} {v:?}");
                // Nothing valid lies between: the next lower last character is below.
                let last = v.chars().last().unwrap();
                let lower = char::from_u32(u32::from(last).wrapping_sub(1)).unwrap_or('\u{D7FF}');
                let head = &v[..v.len() - last.len_utf8()];
                assert!(format!("{head}{lower}").as_bytes() < bad, "{bad:?} {v:?}");
            }
        }
    }
}

#[test]
fn components() {
    assert_eq!(showable_component(b"a b"), Some("a b"));
    for bad in [&b""[..], b".", b"..", b"\xff", &[b'a'; 256], b"a\0"] {
        assert_eq!(showable_component(bad), None);
    }
}
