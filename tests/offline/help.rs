//! `--help`, manual pages and completions.

use clap::Command;
use std::path::Path;
use userfilefs::cli::args::tree;

/// The long help of every command, as one text.
fn all_help() -> String {
    fn one(command: &mut Command, name: &str, out: &mut String) {
        let text = command.clone().term_width(100).render_long_help().to_string();
        *out += &format!("======== {name} --help\n");
        for line in text.lines() {
            *out += line.trim_end();
            out.push('\n');
        }
        // The commands behind the word `userfile` are those without it.
        if name == "userfilefs userfile" {
            return;
        }
        for sub in command.get_subcommands_mut().filter(|c| c.get_name() != "help" && !c.is_hide_set()) {
            let name = format!("{name} {}", sub.get_name());
            one(sub, &name, out);
        }
    }
    let mut root = tree();
    root.build();
    let mut out = String::new();
    one(&mut root, "userfilefs", &mut out);
    out
}

/// What people read is reviewed when it changes: `REWRITE=1 cargo test --test offline help` writes the file anew.
#[test]
fn help_is_as_recorded() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/help.txt");
    let now = all_help();
    if std::env::var_os("REWRITE").is_some() {
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("tests/testdata");
        std::fs::write(&path, &now).expect("tests/testdata/help.txt");
    }
    let recorded = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = recorded.lines().zip(now.lines()).position(|(a, b)| a != b);
    assert!(
        recorded == now,
        "the help texts changed (first at line {}); if that is meant, run REWRITE=1 cargo test --test offline help \
         and look at the diff",
        differs.unwrap_or(recorded.lines().count().min(now.lines().count())) + 1
    );
}

/// Manual pages are read on every kind of terminal.
#[test]
fn help_is_plain_ascii() {
    for line in all_help().lines() {
        assert!(line.is_ascii(), "{line}");
    }
}

#[test]
fn every_command_and_option_is_explained() {
    fn look(command: &Command, name: &str, missing: &mut Vec<String>) {
        if command.get_about().is_none_or(|a| a.to_string().is_empty()) {
            missing.push(name.to_owned());
        }
        for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
            if arg.get_help().is_none_or(|h| h.to_string().is_empty()) {
                missing.push(format!("{name}: {}", arg.get_id()));
            }
        }
        for sub in command.get_subcommands().filter(|c| !c.is_hide_set()) {
            look(sub, &format!("{name} {}", sub.get_name()), missing);
        }
    }
    let mut missing = Vec::new();
    look(&tree(), "userfilefs", &mut missing);
    assert!(missing.is_empty(), "without explanation: {missing:?}");
}

/// The README's tables are complete.
#[test]
fn the_readme_names_every_command_and_option() {
    fn look(command: &Command, name: &str, readme: &str, missing: &mut Vec<String>) {
        for arg in command.get_arguments().filter(|a| !a.is_hide_set()) {
            let Some(long) = arg.get_long() else { continue };
            if !readme.contains(&format!("--{long}")) && !["help", "version"].contains(&long) {
                missing.push(format!("{name} --{long}"));
            }
        }
        for sub in command.get_subcommands().filter(|c| !c.is_hide_set() && c.get_name() != "help") {
            if !readme.contains(sub.get_name()) {
                missing.push(format!("{name} {}", sub.get_name()));
            }
            look(sub, &format!("{name} {}", sub.get_name()), readme, missing);
        }
    }
    let readme = include_str!("../../README.md");
    let mut missing = Vec::new();
    look(&tree(), "userfilefs", readme, &mut missing);
    // The words of -o are a list in the help of mount.
    let mut root = tree();
    let mount = root.find_subcommand_mut("mount").expect("mount").render_long_help().to_string();
    let words =
        mount.split("Mount options (").nth(1).and_then(|t| t.split("Words that").next()).expect("a list");
    for line in words.lines().skip(1).filter(|l| l.starts_with("  ") && !l.starts_with("   ")) {
        let list = line.trim_start().split("  ").next().unwrap_or_default();
        for word in list.split(", ") {
            let word = word.trim_end_matches(char::is_uppercase);
            if !readme.contains(&format!("`{word}")) {
                missing.push(format!("-o {word}"));
            }
        }
    }
    assert!(missing.is_empty(), "the README says nothing of: {missing:?}");
}

#[test]
fn manual_pages_and_completions() {
    let exe = env!("CARGO_BIN_EXE_userfilefs");
    let dir = tempfile::tempdir().expect("a directory");
    let man = dir.path().join("man1");
    let done = std::process::Command::new(exe).args(["generate", "man"]).arg(&man).output().expect("runs");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let page = |name: &str| std::fs::read_to_string(man.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(page("userfilefs.1").contains("userfilefs\\-upload(1)"));
    for command in ["upload", "list", "get", "delete", "generate", "server"] {
        let text = page(&format!("userfilefs-{command}.1"));
        assert!(text.contains(".TH ") && text.contains(".SH OPTIONS"), "{command}");
    }
    assert!(page("userfilefs-upload.1").contains(".SH EXAMPLES\n.nf\nuserfilefs upload report.csv"));
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let done =
            std::process::Command::new(exe).args(["generate", "completions", shell]).output().expect("runs");
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        assert!(done.status.success() && text.contains("upload"), "{shell}");
    }
}
