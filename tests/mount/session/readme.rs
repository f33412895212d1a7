//! The session in README.md: what the program prints.

use super::rig;
use crate::support::fixtures::fixtures;

/// Between the outputs of two commands.
const MARK: &str = "@@@@";

/// A command of the session, with what README.md says that it prints.
struct Step<'a> {
    command: &'a str,
    prints: Vec<&'a str>,
}

fn steps(readme: &str) -> Vec<Step<'_>> {
    let (_, rest) = readme.split_once("```console\n").expect("a session in README.md");
    let (session, _) = rest.split_once("```").expect("its end");
    let mut steps: Vec<Step> = Vec::new();
    for line in session.lines() {
        match line.strip_prefix("$ ") {
            Some(command) => steps.push(Step { command, prints: Vec::new() }),
            None => steps.last_mut().expect("a command first").prints.push(line),
        }
    }
    steps
}

/// A line without its time: `2026-11-20 22:54:15` of a list, `Nov 20 22:54` of ls.
fn timeless(line: &str) -> String {
    let words = line.split(' ').filter(|word| !word.is_empty());
    let is_time = |word: &str| {
        let digits = word.bytes().filter(u8::is_ascii_digit).count();
        let signs = word.bytes().filter(|b| matches!(b, b':' | b'-')).count();
        digits >= 4 && signs >= 1 && digits + signs == word.len()
    };
    let mut kept: Vec<&str> = Vec::new();
    for word in words {
        if !is_time(word) {
            kept.push(word);
        } else if line.starts_with('-') {
            // The month and the day in front of it.
            kept.truncate(kept.len().saturating_sub(2));
        }
    }
    kept.join(" ")
}

/// Run as written, without a pause between its commands, the session prints what is written.
#[test]
fn the_session_is_what_the_program_prints() {
    let Some(backup) = fixtures().map(|folder| folder.join("backups/bank-into/backup")) else { return };
    let rig = rig!();
    let readme = include_str!("../../../README.md");
    let steps = steps(readme);
    assert!(steps.len() > 10, "{} commands", steps.len());
    let commands: String = steps.iter().map(|step| format!("{} 2>&1\necho {MARK}\n", step.command)).collect();
    std::fs::write(rig.base().join("session"), commands).expect("write");
    let out = rig.ok(&format!(
        r#"
        for dir in /mnt /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $dir; done
        umask 022
        mkdir /mnt/userfiles "$BASE/work"
        cd "$BASE/work"
        cp -r --no-preserve=mode '{}' bank-backup
        printf '1,ann\n2,bob\n' >report.csv
        unset USERFILEFS_SERVER_DIR XDG_DATA_HOME
        trap 'umount -l /mnt/userfiles 2>/dev/null || true; "$U" server stop --force >/dev/null 2>&1 || true' EXIT
        PATH=$(dirname "$U"):$PATH bash "$BASE/session"
        "#,
        backup.display()
    ));
    let printed: Vec<&str> = out.split(&format!("{MARK}\n")).collect();
    for (step, printed) in steps.iter().zip(printed) {
        let want: Vec<String> = step.prints.iter().map(|line| timeless(line)).collect();
        let got: Vec<String> = printed.lines().map(timeless).collect();
        assert_eq!(got, want, "{}", step.command);
    }
}
