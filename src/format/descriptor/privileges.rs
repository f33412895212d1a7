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

/// `GRANT … ON name TO user; ` for each user.
pub fn grants(privileges: &PrivilegeDescriptor, name: &str) -> String {
    privileges
        .users
        .iter()
        .map(|user| {
            format!("GRANT {} ON {name} TO {}; ", bit_names(user.privileges()).join(", "), user.user())
        })
        .collect()
}
