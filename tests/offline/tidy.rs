//! Rules about the sources that a machine can check. The map is in `src/lib.rs`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The most lines in a file.
const FILE_LINES_MAX: usize = 800;
/// The most lines in a function, its body included.
const FUNCTION_LINES_MAX: usize = 100;

/// A folder of `src`, and the folders that it may use.
const LAYERS: [(&str, &[&str]); 11] = [
    ("util", &[]),
    ("format", &[]),
    ("sql", &["util"]),
    ("embedded", &["sql", "util"]),
    ("chunk", &["sql", "util"]),
    ("userfile", &["chunk", "sql", "util"]),
    ("destination", &["chunk", "format", "sql", "util"]),
    ("engine", &["format", "destination", "sql", "util"]),
    ("fs", &["chunk", "sql", "util"]),
    ("mount", &["fs", "chunk", "sql", "util"]),
    (
        "cli",
        &["engine", "destination", "mount", "userfile", "fs", "chunk", "embedded", "sql", "format", "util"],
    ),
];

/// A crate, and the only folders that may use it.
const CRATES: [(&str, &[&str]); 7] = [
    ("fuser", &["mount"]),
    ("clap", &["cli"]),
    ("clap_mangen", &["cli"]),
    ("indicatif", &["cli"]),
    ("anyhow", &["cli"]),
    ("tokio_postgres", &["sql", "chunk"]),
    ("rustls", &["sql"]),
];

/// What pure code does without.
const IMPURE: [&str; 14] = [
    "tokio",
    "std::fs",
    "TcpStream",
    "UdpSocket",
    "std::env",
    "SystemTime",
    "Instant::now",
    "info!",
    "warn!",
    "error!",
    "debug!",
    "trace!",
    "rand",
    "std::process",
];

struct Source {
    /// Path below the repository, with `/`.
    path: String,
    /// The folder (or file) directly below `src`; empty for tests.
    part: String,
    text: String,
}

impl Source {
    /// Lines with their numbers, without comments and without the unit tests at the end of the file.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = self.text.find("\n#[cfg(test)]\nmod ").unwrap_or(self.text.len());
        let lines = self.text[..end].lines().enumerate().map(|(i, line)| (i + 1, line));
        lines.filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

fn sources(root: &str) -> Vec<Source> {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = walkdir::WalkDir::new(base.join(root))
        .into_iter()
        .map(|entry| entry.expect("readable sources").into_path())
        .filter(|path| path.extension().is_some_and(|e| e == "rs"))
        .collect();
    files.sort();
    let source = |file: PathBuf| {
        let path = file.strip_prefix(base).expect("below the repository").to_string_lossy().into_owned();
        let part = path.strip_prefix("src/").map(|p| p.split(['/', '.']).next().unwrap_or(p).to_owned());
        let text = std::fs::read_to_string(&file).expect("UTF-8 sources");
        Source { path, part: part.unwrap_or_default(), text }
    };
    files.into_iter().map(source).collect()
}

fn all() -> Vec<Source> {
    let mut found = sources("src");
    found.extend(sources("tests"));
    found
}

fn report(rule: &str, found: &[String]) {
    assert!(found.is_empty(), "{rule}:\n  {}", found.join("\n  "));
}

/// Names that follow `prefix` in a line: `crate::sql::x` gives `sql` for `crate::`.
fn names_after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).map(move |(at, _)| {
        let rest = &line[at + prefix.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

/// A word of its own, not part of a longer name.
fn has_word(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
        !part(before) && !part(after)
    })
}

/// Imports point down and to the right only.
#[test]
fn layers() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|s| s.part != "lib" && s.part != "main") {
        let Some((_, below)) = LAYERS.iter().find(|(name, _)| *name == source.part) else {
            found.push(format!("{}: its folder is in no layer", source.path));
            continue;
        };
        for (number, line) in source.code() {
            if line.contains("crate::{") && source.part != "cli" {
                found.push(format!("{}:{number}: imports across folders are one line each", source.path));
            }
            for name in names_after(line, "crate::").filter(|n| !n.is_empty()) {
                let known = LAYERS.iter().any(|(layer, _)| *layer == name);
                if known && name != source.part && !below.contains(&name) {
                    found.push(format!("{}:{number}: {} may not use {name}", source.path, source.part));
                }
            }
        }
    }
    report("a folder uses one above it or beside it", &found);
}

/// Some crates have one place.
#[test]
fn crates_have_their_place() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|s| s.part != "lib" && s.part != "main") {
        for (number, line) in source.code() {
            for (name, folders) in CRATES {
                let used = line.contains(&format!("{name}::")) && has_word(line, name);
                if used && !folders.contains(&source.part.as_str()) && !line.contains("crate::") {
                    found.push(format!("{}:{number}: {name} belongs to {}", source.path, folders.join(", ")));
                }
            }
        }
    }
    report("a crate is used outside its folder", &found);
}

/// Pure code does no I/O, asks no clock and writes no log.
#[test]
fn pure_code_is_pure() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|s| s.part == "format") {
        for (number, line) in source.code() {
            if let Some(word) = IMPURE.iter().find(|word| has_word(line, word)) {
                found.push(format!("{}:{number}: {word}", source.path));
            }
        }
    }
    report("src/format is bytes in, bytes out", &found);
}

/// SQL text for the userfile tables is written in `sql`, `chunk` and `embedded` only (the engine prints dumps).
#[test]
fn sql_has_its_place() {
    let statements =
        ["\"SELECT ", "\"INSERT INTO", "\"UPDATE ", "\"DELETE FROM", "\"CREATE TABLE", "\"ALTER ", "\"DROP "];
    let mut found = Vec::new();
    for source in sources("src")
        .iter()
        .filter(|s| !["sql", "chunk", "embedded", "format", "engine"].contains(&s.part.as_str()))
    {
        for (number, line) in source.code() {
            if statements.iter().any(|s| line.contains(s)) {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    report("SQL outside sql, chunk and embedded", &found);
}

/// Standard output and standard error belong to `cli`.
#[test]
fn printing_has_its_place() {
    let mut found = Vec::new();
    for source in sources("src").iter().filter(|s| !["cli", "main"].contains(&s.part.as_str())) {
        for (number, line) in source.code() {
            if ["println!", "print!", "eprintln!", "eprint!"]
                .iter()
                .any(|p| has_word(line, p.trim_end_matches('!')) && line.contains(p))
            {
                found.push(format!("{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    report("printing outside cli", &found);
}

/// Files and functions stay short.
#[test]
fn sizes() {
    let mut found = Vec::new();
    for source in all() {
        let lines: Vec<&str> = source.text.lines().collect();
        if lines.len() > FILE_LINES_MAX {
            found.push(format!("{}: {} lines", source.path, lines.len()));
        }
        for (i, line) in lines.iter().enumerate() {
            let indent = line.len() - line.trim_start().len();
            let start = line.trim_start().split('(').next().unwrap_or("");
            let words = [
                "fn ",
                "pub fn ",
                "async fn ",
                "pub async fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "pub(super) async fn ",
                "pub(crate) async fn ",
            ];
            if !words.iter().any(|w| start.starts_with(w)) || line.trim_end().ends_with(['}', ';']) {
                continue;
            }
            let end = format!("{}}}", " ".repeat(indent));
            let length = lines[i..].iter().position(|l| *l == end).map_or(0, |n| n + 1);
            if length > FUNCTION_LINES_MAX {
                found.push(format!("{}:{}: a function of {length} lines", source.path, i + 1));
            }
        }
    }
    report("too long", &found);
}

/// Nothing unfinished, nothing ignored, no assertion that asserts nothing, no blanks at the ends of lines.
#[test]
fn nothing_is_left_lying_about() {
    // Put together here so that this file does not find itself.
    let words = [
        concat!("to", "do!("),
        concat!("db", "g!("),
        concat!("FIX", "ME"),
        concat!("unimpl", "emented!("),
        concat!("#[ig", "nore"),
    ];
    let mut found = Vec::new();
    for source in all() {
        for (i, line) in source.text.lines().enumerate() {
            let at = format!("{}:{}", source.path, i + 1);
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                found.push(format!("{at}: {word}"));
            }
            if line.ends_with(' ') || line.contains('\t') {
                found.push(format!("{at}: blanks at the end, or a tab"));
            }
            if line.trim_start().starts_with("matches!(") && line.trim_end().ends_with(");") {
                found.push(format!("{at}: a matches! that nobody looks at"));
            }
        }
    }
    report("left lying about", &found);
}

/// The map in `src/lib.rs` names every folder, and every folder it names is there.
#[test]
fn the_map_is_complete() {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let map = std::fs::read_to_string(src.join("lib.rs")).expect("src/lib.rs");
    let folders: BTreeSet<String> = std::fs::read_dir(&src)
        .expect("src")
        .map(|e| e.expect("entry"))
        .filter(|e| e.file_type().expect("type").is_dir())
        .map(|e| e.file_name().to_string_lossy().into_owned())
        .collect();
    for folder in &folders {
        assert!(map.contains(&format!("{folder}`] |")), "src/lib.rs does not say what {folder} is for");
        assert!(map.contains(&format!("pub mod {folder};")), "{folder} is no module");
    }
    let layers: BTreeSet<String> = LAYERS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(layers, folders, "the layers above are the folders of src");
}

/// No path of a developer's machine, and no secret, is in the repository.
#[test]
fn nothing_private() {
    let base = Path::new(env!("CARGO_MANIFEST_DIR"));
    let private = [concat!("/wo", "rk/"), concat!("/tmp/", "wt"), concat!("BEGIN ", "PRIVATE KEY")];
    let mut found = Vec::new();
    let skipped = ["target", ".git"];
    let walk = walkdir::WalkDir::new(base).into_iter();
    let walk = walk.filter_entry(|e| !skipped.contains(&e.file_name().to_string_lossy().as_ref()));
    for entry in walk.map(|e| e.expect("entry")).filter(|e| e.file_type().is_file()) {
        let Ok(text) = std::fs::read_to_string(entry.path()) else { continue };
        for (i, line) in text.lines().enumerate() {
            if let Some(word) = private.iter().find(|word| line.contains(**word)) {
                let path = entry.path().strip_prefix(base).expect("below");
                found.push(format!("{}:{}: {word}", path.display(), i + 1));
            }
        }
    }
    report("private", &found);
}

/// The rules above find what they are for.
#[test]
fn the_rules_work() {
    assert!(has_word("use clap::Parser;", "clap") && !has_word("use clap_x::Parser;", "clap"));
    assert_eq!(names_after("crate::sql::Pool, crate::fs::X", "crate::").collect::<Vec<_>>(), ["sql", "fs"]);
    let text = "use x;\n// crate::cli\nfn f() {}\n#[cfg(test)]\nmod tests {\n    use crate::cli;\n}\n";
    let source = Source { path: "src/sql/x.rs".into(), part: "sql".into(), text: text.into() };
    assert_eq!(source.code().map(|(n, _)| n).collect::<Vec<_>>(), [1, 3]);
}
