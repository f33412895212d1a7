//! One or more of something, as messages count.

use std::fmt::Display;

/// `1 row`, `2 rows`, `0 entries`: the number and `noun`, in the singular for 1. Nouns that end in a consonant and `y`
/// get `ies`.
///
/// ```
/// use userfilefs::util::plural::counted;
/// assert_eq!(counted(1, "entry"), "1 entry");
/// assert_eq!(counted(2, "entry"), "2 entries");
/// assert_eq!(counted(0, "key"), "0 keys");
/// ```
pub fn counted(n: impl Display + PartialEq + From<u8>, noun: &str) -> String {
    if n == 1.into() {
        return format!("{n} {noun}");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'o', 'u']) => format!("{n} {stem}ies"),
        _ => format!("{n} {noun}s"),
    }
}
