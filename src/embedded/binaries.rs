//! Finds the system's PostgreSQL server.

use super::Error;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The oldest release that is used.
const MAJOR_MIN: u32 = 13;
/// Names the directory of the programs.
const VARIABLE: &str = "USERFILEFS_PG_BIN";

/// A directory with `initdb` and `postgres`, and their version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Binaries {
    pub(super) dir: PathBuf,
    pub(super) major: u32,
}

impl Binaries {
    /// The installation whose major version made the data; without data the newest.
    pub(super) fn find(data_version: Option<&str>) -> Result<Binaries, Error> {
        let found = installed();
        if let (true, Some(named)) = (found.is_empty(), std::env::var_os(VARIABLE)) {
            let named = Path::new(&named).display();
            return Err(Error::new(format!("{VARIABLE} is {named}, where initdb and postgres are not"))
                .with_hint("name their directory (pg_config --bindir), or unset the variable"));
        }
        choose(found, data_version)
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

fn choose(found: Vec<Binaries>, data_version: Option<&str>) -> Result<Binaries, Error> {
    if found.is_empty() {
        return Err(Error::new("the PostgreSQL server is not installed, and no other server was named")
            .with_hint(
                "apt-get install postgresql (or dnf install postgresql-server), or name a server with --url",
            ));
    }
    let newest = |list: Vec<Binaries>| list.into_iter().max_by_key(|b| b.major);
    let Some(version) = data_version else {
        let all = found.iter().map(|b| b.major.to_string()).collect::<Vec<_>>().join(", ");
        return newest(found.into_iter().filter(|b| b.major >= MAJOR_MIN).collect()).ok_or_else(|| {
            Error::new(format!("PostgreSQL {MAJOR_MIN} or later is needed; installed is {all}"))
                .with_hint("install a newer PostgreSQL server, or name a server with --url")
        });
    };
    let all = found.iter().map(|b| b.major.to_string()).collect::<Vec<_>>().join(", ");
    newest(found.into_iter().filter(|b| b.major.to_string() == version).collect()).ok_or_else(|| {
        Error::new(format!("the private server's data were made by PostgreSQL {version}; installed is {all}"))
            .with_hint(format!(
                "apt-get install postgresql-{version}, or convert the data with pg_upgrade, or move them away for a new start"
            ))
    })
}

/// All installations: `$USERFILEFS_PG_BIN` alone if set, else PATH, `pg_config --bindir`, the usual places.
fn installed() -> Vec<Binaries> {
    if let Some(named) = std::env::var_os(VARIABLE) {
        return probe(Path::new(&named)).into_iter().collect();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut dirs: Vec<PathBuf> = std::env::split_paths(&path).filter(|p| p.is_absolute()).collect();
    dirs.extend(pg_config_bindir());
    for parent in ["/usr/lib/postgresql", "/usr/lib64/postgresql", "/usr/local/pgsql", "/opt/postgresql"] {
        let below = std::fs::read_dir(parent).into_iter().flatten().flatten();
        dirs.extend(below.map(|e| e.path().join("bin")));
        dirs.push(Path::new(parent).join("bin"));
    }
    // Red Hat's packages from postgresql.org.
    let usr = std::fs::read_dir("/usr").into_iter().flatten().flatten();
    dirs.extend(
        usr.filter(|e| e.file_name().to_string_lossy().starts_with("pgsql-")).map(|e| e.path().join("bin")),
    );
    let mut seen = Vec::new();
    let mut out = Vec::new();
    for dir in dirs {
        let real = dir.canonicalize().unwrap_or(dir);
        if !seen.contains(&real) {
            out.extend(probe(&real));
            seen.push(real);
        }
    }
    out
}

fn pg_config_bindir() -> Option<PathBuf> {
    let out =
        Command::new("pg_config").arg("--bindir").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    Some(PathBuf::from(text.trim())).filter(|p| p.is_absolute())
}

fn probe(dir: &Path) -> Option<Binaries> {
    let postgres = dir.join("postgres");
    if !postgres.is_file() || !dir.join("initdb").is_file() {
        return None;
    }
    let out =
        Command::new(postgres).arg("--version").stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let major = major(&String::from_utf8_lossy(&out.stdout))?;
    Some(Binaries { dir: dir.to_owned(), major })
}

/// 15 from `postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)`.
fn major(said: &str) -> Option<u32> {
    let number = said.split_whitespace().find(|w| w.starts_with(|c: char| c.is_ascii_digit()))?;
    number.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(majors: &[u32]) -> Vec<Binaries> {
        majors.iter().map(|m| Binaries { dir: PathBuf::new(), major: *m }).collect()
    }

    #[test]
    fn the_version_fits_the_data() {
        assert_eq!(choose(list(&[13, 15, 14]), None).map(|b| b.major).ok(), Some(15));
        assert_eq!(choose(list(&[13, 15, 14]), Some("14")).map(|b| b.major).ok(), Some(14));
        let e = choose(list(&[15]), Some("14")).unwrap_err();
        assert_eq!(e.to_string(), "the private server's data were made by PostgreSQL 14; installed is 15");
        assert!(e.hint().unwrap().contains("postgresql-14"));
        let e = choose(list(&[]), None).unwrap_err();
        assert!(e.hint().unwrap().contains("apt-get install postgresql"));
        let e = choose(list(&[11]), None).unwrap_err();
        assert_eq!(e.to_string(), "PostgreSQL 13 or later is needed; installed is 11");
    }

    #[test]
    fn versions() {
        assert_eq!(major("postgres (PostgreSQL) 15.14 (Debian 15.14-0+deb12u1)\n"), Some(15));
        assert_eq!(major("postgres (PostgreSQL) 18beta2"), Some(18));
        assert_eq!(major("x"), None);
    }
}
