//! Times as AS OF SYSTEM TIME takes them.

use chrono::{DateTime, Days, Months, NaiveDate, NaiveDateTime, TimeDelta};

use crate::format::kv::datum::Interval;
use crate::format::kv::time::parse_interval;
use crate::format::manifest::{Manifest, Timestamp};

/// A time from text: `2026-11-20 18:08:48.07+00:00` (UTC without a zone), nanoseconds since the epoch, or
/// nanoseconds with a logical counter behind a point, or an interval before `now` (in nanoseconds since the epoch):
/// `-10s`, `-1h30m`, `-1 day`. `None` for anything else.
pub fn parse(text: &str, now: i64) -> Option<Timestamp> {
    let text = text.trim();
    if let Some(nanos) = timestamp(text) {
        return Some(Timestamp::from_nanos(nanos));
    }
    let (wall, logical) = text.split_once('.').unwrap_or((text, ""));
    let Ok(wall_time) = wall.parse() else {
        let before = before(now, parse_interval(text).ok()?).filter(|at| (1..now).contains(at));
        return before.map(Timestamp::from_nanos);
    };
    if wall_time <= 0 {
        return None;
    }
    // The counter has ten digits, as the server prints it.
    let logical = if logical.is_empty() { 0 } else { format!("{logical:0<10}").parse().ok()? };
    Some(Timestamp { wall_time, logical, synthetic: false })
}

/// A time and an interval added up, months by the calendar.
fn before(now: i64, interval: Interval) -> Option<i64> {
    let now = DateTime::from_timestamp_nanos(now);
    let months = Months::new(u32::try_from(interval.months.unsigned_abs()).ok()?);
    let days = Days::new(interval.days.unsigned_abs());
    let by_months =
        if interval.months < 0 { now.checked_sub_months(months) } else { now.checked_add_months(months) };
    let by_days = by_months
        .and_then(|at| if interval.days < 0 { at.checked_sub_days(days) } else { at.checked_add_days(days) });
    by_days?.checked_add_signed(TimeDelta::nanoseconds(interval.nanos))?.timestamp_nanos_opt()
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
            assert_eq!(parse(text, i64::MAX), Some(Timestamp::from_nanos(nanos)), "{text}");
        }
        let logical = Timestamp { wall_time: 5, logical: 3, synthetic: false };
        assert_eq!(parse("5.0000000003", 0), Some(logical));
        assert_eq!(parse("1970-01-02", 0), Some(Timestamp::from_nanos(86_400_000_000_000)));
        for bad in ["", "yesterday", "2026-13-01", "0"] {
            assert_eq!(parse(bad, nanos), None, "{bad}");
        }
    }

    #[test]
    fn times_before_now() {
        let at = |text: &str| parse(text, i64::MAX).unwrap().wall_time;
        let now = at("2024-03-31 12:00:00");
        for (text, then) in [
            ("-10s", "2024-03-31 11:59:50"),
            ("-1h30m", "2024-03-31 10:30"),
            ("-250ms", "2024-03-31 11:59:59.75"),
            ("-1 hour -30 minutes", "2024-03-31 10:30"),
            ("-00:00:10", "2024-03-31 11:59:50"),
            ("-2 weeks", "2024-03-17 12:00"),
            ("-1d", "2024-03-30 12:00"),
            ("-1 mon", "2024-02-29 12:00"),
            ("-1 day 2 hours", "2024-03-30 14:00"),
        ] {
            assert_eq!(parse(text, now), Some(Timestamp::from_nanos(at(then))), "{text}");
        }
        // Now or later, before 1970, not an interval.
        for bad in ["10s", "0s", "-60 years", "-9223372036854775808 y", "-10", "-10 parsecs", "-1h30", "-"] {
            assert_eq!(parse(bad, now), None, "{bad}");
        }
    }
}
