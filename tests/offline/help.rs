//! `--help`, manual pages and completions.

use clap::Command;
use userfilefs::cli::args::tree;

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
