//! Times as AS OF SYSTEM TIME takes them.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

use crate::format::manifest::{Manifest, Timestamp};

/// A time from text: `2026-11-20 18:08:48.07+00:00` (UTC without a zone), nanoseconds since the epoch, or
/// nanoseconds with a logical counter behind a point. `None` for anything else.
pub fn parse(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(nanos) = timestamp(text) {
        return Some(Timestamp::from_nanos(nanos));
    }
    let (wall, logical) = text.split_once('.').unwrap_or((text, ""));
    let wall_time = wall.parse().ok().filter(|&n: &i64| n > 0)?;
    // The counter has ten digits, as the server prints it.
    let logical = if logical.is_empty() { 0 } else { format!("{logical:0<10}").parse().ok()? };
    Some(Timestamp { wall_time, logical, synthetic: false })
}

fn timestamp(text: &str) -> Option<i64> {
    let text = text.strip_suffix(" UTC").unwrap_or(text);
    let text = text.replacen('T', " ", 1);
    let text = text.strip_suffix('Z').map(|t| format!("{t}+00:00")).unwrap_or(text);
    let text = text.replace(" +", "+");
    // SHOW BACKUP prints offsets with seconds.
    let text = text.strip_suffix("+00:00:00").map(|t| format!("{t}+00:00")).unwrap_or(text);
    for format in ["%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z"] {
        if let Ok(time) = DateTime::parse_from_str(&text, format) {
            return time.timestamp_nanos_opt();
        }
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M"] {
        if let Ok(time) = NaiveDateTime::parse_from_str(&text, format) {
            return time.and_utc().timestamp_nanos_opt();
        }
    }
    let day = NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok()?;
    day.and_hms_opt(0, 0, 0)?.and_utc().timestamp_nanos_opt()
}

/// A time of whole microseconds that is the shown form of a layer's end means that end.
pub fn snap(at: Timestamp, layers: &[&Manifest]) -> Timestamp {
    let shown = |layer: &&&Manifest| layer.end().wall_time.div_euclid(1000) == at.wall_time.div_euclid(1000);
    if at.wall_time % 1000 != 0 || at.logical != 0 {
        return at;
    }
    layers.iter().find(shown).map_or(at, |layer| layer.end())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        let nanos = 1_795_198_128_071_932_000;
        for text in [
            "2026-11-20 18:08:48.071932",
            "2026-11-20 18:08:48.071932+00:00",
            "2026-11-20T18:08:48.071932Z",
            "2026-11-20 18:08:48.071932+00:00:00",
            "2026-11-20 18:08:48.071932 +0000 UTC",
            "2026-11-20 20:08:48.071932+02",
            "1795198128071932000",
        ] {
            assert_eq!(parse(text), Some(Timestamp::from_nanos(nanos)), "{text}");
        }
        let logical = Timestamp { wall_time: 5, logical: 3, synthetic: false };
        assert_eq!(parse("5.0000000003"), Some(logical));
        assert_eq!(parse("1970-01-02"), Some(Timestamp::from_nanos(86_400_000_000_000)));
        for bad in ["", "-10s", "yesterday", "2026-13-01", "0"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
