//! The lines that the commands print, and sizes and times as text.

use super::address::lossy;
use std::io;

/// A size as `get` prints it: binary units, one decimal below ten of a unit, whole numbers otherwise.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 10 {
        return format!("{bytes} B");
    }
    let mut unit = 0;
    while unit + 1 < UNITS.len() && bytes >> (10 * (unit + 1)) > 0 {
        unit += 1;
    }
    let value = (bytes as f64 / (1u64 << (10 * unit)) as f64 * 10.0 + 0.5).floor() / 10.0;
    // A whole number of bytes has no decimals to show.
    if value < 10.0 && unit > 0 {
        format!("{value:.1} {}", UNITS[unit])
    } else {
        format!("{value:.0} {}", UNITS[unit])
    }
}

/// A stored name as the commands show it: without its leading slash.
pub fn shown(name: &[u8]) -> &[u8] {
    name.strip_prefix(b"/").unwrap_or(name)
}

/// The same as text; bytes that are not UTF-8 are replaced.
pub fn shown_text(name: &[u8]) -> String {
    lossy(shown(name))
}

/// The message of an operating system error in the words of the original: no number, lower case.
pub fn os_error(e: &io::Error) -> String {
    let text = e.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !chars.as_str().starts_with(|c: char| c.is_ascii_uppercase()) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_owned(),
    }
}

/// `YYYY-MM-DD HH:MM:SS` (UTC) of microseconds since the Unix epoch.
pub fn time(micros: i64) -> String {
    match chrono::DateTime::from_timestamp_micros(micros) {
        Some(t) => t.format("%Y-%m-%d %H:%M:%S").to_string(),
        None => "?".to_owned(),
    }
}

/// RFC 3339 with microseconds (UTC).
pub fn time_rfc3339(micros: i64) -> Option<String> {
    chrono::DateTime::from_timestamp_micros(micros)
        .map(|t| t.to_rfc3339_opts(chrono::SecondsFormat::Micros, true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_as_documented() {
        for (bytes, want) in [
            (0, "0 B"),
            (4, "4 B"),
            (10, "10 B"),
            (1000, "1000 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1229, "1.2 KiB"),
            (4198, "4.1 KiB"),
            (10 * 1024, "10 KiB"),
            (10 * 1024 - 1, "10 KiB"),
            (147_456, "144 KiB"),
            (13 << 20, "13 MiB"),
            (10_485_760, "10 MiB"),
            (1 << 30, "1.0 GiB"),
            (u64::MAX, "16 EiB"),
        ] {
            assert_eq!(size(bytes), want);
        }
    }

    #[test]
    fn os_errors_read_like_gos() {
        let text = |n| os_error(&io::Error::from_raw_os_error(n));
        assert_eq!(text(libc::ENOENT), "no such file or directory");
        assert_eq!(text(libc::EEXIST), "file exists");
        assert_eq!(text(libc::EACCES), "permission denied");
    }

    #[test]
    fn times() {
        assert_eq!(time(1_605_895_711_764_452), "2020-11-20 18:08:31");
        assert_eq!(time_rfc3339(1_605_895_711_764_452).unwrap(), "2020-11-20T18:08:31.764452Z");
        assert_eq!(time(-1), "1969-12-31 23:59:59");
    }
}
