//! Which of the two servers it is, found by asking once.

/// What the server is and can do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Dialect {
    cockroach: bool,
    major: u32,
    minor: u32,
    version_text: String,
    read_only: bool,
    durable_commit: String,
}

impl Dialect {
    /// From what `version()`, `transaction_read_only` and `synchronous_commit` say.
    pub fn from_answers(version: &str, read_only: bool, synchronous_commit: &str) -> Dialect {
        let cockroach = version.starts_with("CockroachDB");
        let (major, minor) = version_number(version);
        let durable_commit = match synchronous_commit {
            "" | "off" => "on",
            level => level,
        };
        Dialect {
            cockroach,
            major,
            minor,
            version_text: version.to_owned(),
            read_only,
            durable_commit: durable_commit.to_owned(),
        }
    }

    /// True on CockroachDB, false on PostgreSQL.
    pub fn is_cockroach(&self) -> bool {
        self.cockroach
    }

    /// Major and minor version: (21, 1) for CockroachDB v21.1.2, (15, 4) for PostgreSQL 15.4.
    pub fn version(&self) -> (u32, u32) {
        (self.major, self.minor)
    }

    /// What the server says about itself.
    pub fn version_text(&self) -> &str {
        &self.version_text
    }

    /// True if the session cannot write: a standby, or `default_transaction_read_only`.
    pub fn read_only(&self) -> bool {
        self.read_only
    }

    /// True if a column type takes `COLLATE "C"` (CockroachDB's strings sort by bytes anyway).
    pub fn has_c_collation(&self) -> bool {
        !self.cockroach
    }

    /// The value of `synchronous_commit` for commits that must last: the server's own, unless that is off.
    pub fn durable_commit(&self) -> &str {
        &self.durable_commit
    }
}

/// The first two numbers of the first word that starts with a digit (or `v` and a digit).
fn version_number(text: &str) -> (u32, u32) {
    for word in text.split_whitespace() {
        let word = word.strip_prefix('v').unwrap_or(word);
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let mut numbers =
                word.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or_default());
            return (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
        }
    }
    (0, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions() {
        for (text, cockroach, version) in [
            ("PostgreSQL 15.14 (Debian 15.14-0+deb12u1) on x86_64", false, (15, 14)),
            ("PostgreSQL 17beta1 on x", false, (17, 0)),
            ("CockroachDB CCL v21.1.0-alpha.3-1-gabc (x86_64-linux)", true, (21, 1)),
            ("CockroachDB OSS v20.2.19 (x)", true, (20, 2)),
            ("odd", false, (0, 0)),
        ] {
            let d = Dialect::from_answers(text, false, "off");
            assert_eq!((d.is_cockroach(), d.version()), (cockroach, version), "{text}");
            assert_eq!(d.durable_commit(), "on");
        }
        assert_eq!(Dialect::from_answers("", false, "remote_apply").durable_commit(), "remote_apply");
    }
}
