//! Privilege bits and how SHOW BACKUP … WITH privileges prints them.

use super::proto::PrivilegeDescriptor;

/// Name of each bit, as `1 << k`.
const NAMES: &[(u32, &str)] = &[
    (1, "ALL"),
    (2, "CREATE"),
    (3, "DROP"),
    (4, "GRANT"),
    (5, "SELECT"),
    (6, "INSERT"),
    (7, "DELETE"),
    (8, "UPDATE"),
    (9, "USAGE"),
    (10, "ZONECONFIG"),
    (11, "CONNECT"),
    (12, "RULE"),
    (29, "EXECUTE"),
];

/// The names of the bits, in alphabetical order; unknown bits as `PRIVILEGE_<k>`.
pub fn bit_names(bits: u64) -> Vec<String> {
    let mut names: Vec<String> = (0..64)
        .filter(|k| bits & (1 << k) != 0)
        .map(|k| match NAMES.iter().find(|(bit, _)| *bit == k) {
            Some((_, name)) => (*name).to_owned(),
            None => format!("PRIVILEGE_{k}"),
        })
        .collect();
    names.sort();
    names
}

/// Kinds of objects, as far as privileges are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Holder {
    Database,
    Schema,
    Type,
    /// Also views and sequences.
    Table,
}

const ALL: u64 = 1 << 1;
const CREATE: u64 = 1 << 2;
const GRANT: u64 = 1 << 4;
const USAGE: u64 = 1 << 9;
const ZONE_CONFIG: u64 = 1 << 10;
const CONNECT: u64 = 1 << 11;
/// Bits that have a meaning for some kinds of objects and not for others.
const KNOWN: u64 = (1 << 12) - 1;

/// The privileges that count: old versions kept some that mean nothing for the object.
fn valid(bits: u64, holder: Holder, version: u32) -> u64 {
    let wrong = match holder {
        Holder::Database => USAGE,
        Holder::Table => USAGE | CONNECT,
        Holder::Schema => KNOWN & !(ALL | CREATE | GRANT | USAGE),
        Holder::Type => KNOWN & !(ALL | GRANT | USAGE),
    };
    // What is USAGE since 20.2 was ZONECONFIG before.
    let tables = matches!(holder, Holder::Database | Holder::Table);
    let moved = if tables && version == 0 && bits & USAGE != 0 { ZONE_CONFIG } else { 0 };
    (bits | moved) & !wrong
}

/// `GRANT … ON name TO user; ` for each user; what a user may grant further stands first.
pub fn grants(privileges: &PrivilegeDescriptor, holder: Holder, name: &str) -> String {
    let mut out = String::new();
    for user in &privileges.users {
        let bits = valid(user.privileges(), holder, privileges.version());
        let further = bits & user.with_grant_option();
        for (bits, option) in [(further, " WITH GRANT OPTION"), (bits & !further, "")] {
            if bits != 0 {
                let names = bit_names(bits).join(", ");
                out.push_str(&format!("GRANT {names} ON {name} TO {}{option}; ", user.user()));
            }
        }
    }
    out
}
