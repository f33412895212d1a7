//! Calendar arithmetic and the texts of dates, times, timestamps and intervals.

use super::datum::{Instant, Interval, TimeTz};
use super::error::{Error, Result};

/// Largest absolute number of days since 1970 of a stored date; CockroachDB's own range is far narrower.
pub const DAYS_MAX: i64 = 1 << 36;
/// Largest absolute number of seconds since 1970 of a stored timestamp.
pub const SECONDS_MAX: i64 = DAYS_MAX * 86_400;
/// Microseconds of a day; 24:00:00 is a valid time.
pub const DAY_MICROS: i64 = 86_400_000_000;

/// How years before 1 AD are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Era {
    /// `0044-03-15 … BC`
    Bc,
    /// `-0043-03-15`: what CockroachDB's casts of timestamps print before 23.1.
    Negative,
}

/// Year (0 is 1 BC), month and day of a day number since 1970-01-01, proleptic Gregorian.
pub fn civil(days: i64) -> (i64, i64, i64) {
    // Years that begin in March, so that a leap day comes last; 400 of them are 146,097 days.
    let shifted = days + 719_468;
    let cycle = shifted.div_euclid(146_097);
    let day = shifted.rem_euclid(146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    (cycle * 400 + year + carry, month, day_of_month)
}

/// The day number of a date; the inverse of [`civil`].
pub fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let cycle = y.div_euclid(400);
    let year_of_cycle = y.rem_euclid(400);
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    cycle * 146_097 + year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year - 719_468
}

/// Appends a number with at least `width` digits.
pub(crate) fn put_padded(out: &mut Vec<u8>, value: i64, width: usize) {
    if value < 0 {
        out.push(b'-');
    }
    let mut v = value.unsigned_abs();
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for slot in digits.iter_mut().rev() {
        let [digit, ..] = (v % 10).to_le_bytes();
        *slot = b'0' + digit;
        v /= 10;
        used += 1;
        if v == 0 {
            break;
        }
    }
    let from = 20usize.saturating_sub(used.max(width));
    out.extend_from_slice(digits.get(from..).unwrap_or_default());
}

fn put_civil(out: &mut Vec<u8>, days: i64, era: Era) -> bool {
    let (year, month, day) = civil(days);
    let bc = year <= 0 && era == Era::Bc;
    put_padded(out, if bc { 1 - year } else { year }, 4);
    out.push(b'-');
    put_padded(out, month, 2);
    out.push(b'-');
    put_padded(out, day, 2);
    bc
}

/// Appends a date: `2020-02-29`, `0044-03-15 BC`, `infinity`.
pub fn write_date(out: &mut Vec<u8>, days: i64) {
    match days {
        i64::MIN => out.extend_from_slice(b"-infinity"),
        i64::MAX => out.extend_from_slice(b"infinity"),
        _ => {
            if put_civil(out, days, Era::Bc) {
                out.extend_from_slice(b" BC");
            }
        }
    }
}

fn put_fraction(out: &mut Vec<u8>, nanos: u32) {
    let micros = nanos / 1000;
    if micros == 0 {
        return;
    }
    out.push(b'.');
    put_padded(out, i64::from(micros), 6);
    while out.last() == Some(&b'0') {
        out.pop();
    }
}

fn put_clock(out: &mut Vec<u8>, micros: i64) {
    put_padded(out, micros / 3_600_000_000, 2);
    out.push(b':');
    put_padded(out, micros / 60_000_000 % 60, 2);
    out.push(b':');
    put_padded(out, micros / 1_000_000 % 60, 2);
    put_fraction(out, u32::try_from(micros % 1_000_000 * 1000).unwrap_or(0));
}

/// Appends a time of day: `12:34:56.789`, `24:00:00`.
pub fn write_time(out: &mut Vec<u8>, micros: i64) {
    put_clock(out, micros);
}

/// Appends a time with its offset. `seconds` writes `+05:30:00` always (CockroachDB), else `+05:30` or `+05`
/// (PostgreSQL).
pub fn write_timetz(out: &mut Vec<u8>, t: TimeTz, seconds: bool) {
    put_clock(out, t.micros);
    let east = -i64::from(t.west);
    out.push(if east < 0 { b'-' } else { b'+' });
    let east = east.abs();
    put_padded(out, east / 3600, 2);
    if seconds || east % 3600 != 0 {
        out.push(b':');
        put_padded(out, east / 60 % 60, 2);
    }
    if seconds || east % 60 != 0 {
        out.push(b':');
        put_padded(out, east % 60, 2);
    }
}

/// Appends a timestamp; `zone` is appended after the clock (`+00:00`, `+00` or nothing).
pub fn write_timestamp(out: &mut Vec<u8>, at: Instant, zone: &str, era: Era) {
    let bc = put_civil(out, at.secs.div_euclid(86_400), era);
    out.push(b' ');
    put_clock(out, at.secs.rem_euclid(86_400) * 1_000_000);
    put_fraction(out, at.nanos);
    out.extend_from_slice(zone.as_bytes());
    if bc {
        out.extend_from_slice(b" BC");
    }
}

/// Appends an interval: `1 year 2 mons 3 days 04:05:06.789`; zero is `00:00:00`. A clock that is not negative
/// behind negative months or days has its sign; with `plus` every positive part behind a negative one has, as
/// PostgreSQL prints it.
pub fn write_interval(out: &mut Vec<u8>, v: Interval, plus: bool) {
    let from = out.len();
    let mut after_negative = false;
    let parts = [(v.months / 12, "year"), (v.months % 12, "mon"), (v.days, "day")];
    for (n, unit) in parts {
        if n != 0 {
            if out.len() > from {
                out.push(b' ');
            }
            if plus && after_negative && n > 0 {
                out.push(b'+');
            }
            after_negative = n < 0;
            put_padded(out, n, 1);
            out.push(b' ');
            out.extend_from_slice(unit.as_bytes());
            if n != 1 {
                out.push(b's');
            }
        }
    }
    if v.nanos != 0 || out.len() == from {
        if out.len() > from {
            out.push(b' ');
        }
        let micros = v.nanos / 1000;
        let signed = if plus { after_negative } else { v.months < 0 || v.days < 0 };
        if micros < 0 {
            out.push(b'-');
        } else if signed {
            out.push(b'+');
        }
        put_clock(out, i64::try_from(micros.unsigned_abs()).unwrap_or(i64::MAX));
    }
}

/// A cursor for the parsers below.
struct Text<'a> {
    rest: &'a [u8],
}

impl<'a> Text<'a> {
    fn new(text: &'a str) -> Text<'a> {
        Text { rest: text.trim().as_bytes() }
    }

    fn eat(&mut self, c: u8) -> bool {
        match self.rest.split_first() {
            Some((&first, rest)) if first == c => {
                self.rest = rest;
                true
            }
            _ => false,
        }
    }

    fn number(&mut self) -> Option<(i64, usize)> {
        let len = self.rest.iter().take_while(|b| b.is_ascii_digit()).count();
        let (digits, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        let value = std::str::from_utf8(digits).ok()?.parse().ok()?;
        Some((value, len))
    }

    fn date(&mut self) -> Option<(i64, i64, i64)> {
        let negative = self.eat(b'-');
        let (year, _) = self.number()?;
        self.eat(b'-').then_some(())?;
        let (month, _) = self.number()?;
        self.eat(b'-').then_some(())?;
        let (day, _) = self.number()?;
        ((1..=12).contains(&month) && (1..=31).contains(&day) && year < 1 << 26).then_some(())?;
        Some((if negative { -year } else { year }, month, day))
    }

    /// hours:minutes[:seconds[.fraction]] in microseconds.
    fn clock(&mut self) -> Option<i64> {
        let (hours, _) = self.number()?;
        self.eat(b':').then_some(())?;
        let (minutes, _) = self.number()?;
        let mut micros = hours.checked_mul(60)?.checked_add(minutes)?.checked_mul(60_000_000)?;
        if self.eat(b':') {
            let (seconds, _) = self.number()?;
            (minutes < 60 && seconds < 60).then_some(())?;
            micros = micros.checked_add(seconds * 1_000_000)?;
            if self.eat(b'.') {
                let (fraction, digits) = self.number()?;
                let scale = 10i64.pow(u32::try_from(6usize.checked_sub(digits)?).ok()?);
                micros = micros.checked_add(fraction * scale)?;
            }
        }
        Some(micros)
    }

    /// `Z` or `±hh[:mm[:ss]]` as seconds east of UTC; `None` where there is none.
    fn zone(&mut self) -> Option<i64> {
        if self.eat(b'Z') || self.eat(b'z') {
            return Some(0);
        }
        let negative = match self.rest.first() {
            Some(b'+') => false,
            Some(b'-') => true,
            _ => return None,
        };
        self.rest = self.rest.get(1..)?;
        let mut seconds = self.number()?.0.checked_mul(3600)?;
        for unit in [60, 1] {
            if self.eat(b':') {
                seconds = seconds.checked_add(self.number()?.0.checked_mul(unit)?)?;
            }
        }
        Some(if negative { -seconds } else { seconds })
    }

    fn era(&mut self) -> bool {
        match self.rest {
            b" BC" => {
                self.rest = &[];
                true
            }
            _ => false,
        }
    }
}

fn checked_days(year: i64, month: i64, day: i64, bc: bool) -> Option<i64> {
    let year = if bc { 1 - year } else { year };
    let days = days_from_civil(year, month, day);
    (civil(days) == (year, month, day)).then_some(days)
}

/// Parses a date.
pub fn parse_date(text: &str) -> Result<i64> {
    match text {
        "infinity" => return Ok(i64::MAX),
        "-infinity" => return Ok(i64::MIN),
        _ => {}
    }
    let mut t = Text::new(text);
    let parsed = t.date().and_then(|(y, m, d)| {
        let bc = t.era();
        checked_days(y, m, d, bc)
    });
    parsed.filter(|_| t.rest.is_empty()).ok_or_else(|| Error::text("DATE", text))
}

/// Parses a time of day.
pub fn parse_time(text: &str) -> Result<i64> {
    let mut t = Text::new(text);
    t.clock().filter(|m| *m <= DAY_MICROS && t.rest.is_empty()).ok_or_else(|| Error::text("TIME", text))
}

/// Parses a time with an offset (UTC if there is none).
pub fn parse_timetz(text: &str) -> Result<TimeTz> {
    let mut t = Text::new(text);
    let parsed = t.clock().and_then(|micros| {
        let west = -t.zone().unwrap_or(0);
        Some(TimeTz { micros, west: i32::try_from(west).ok()? })
    });
    parsed
        .filter(|v| v.micros <= DAY_MICROS && v.west.abs() < 86_400 && t.rest.is_empty())
        .ok_or_else(|| Error::text("TIMETZ", text))
}

/// Parses a timestamp; an offset is applied, none means UTC.
pub fn parse_timestamp(text: &str) -> Result<Instant> {
    let mut t = Text::new(text);
    let parsed = (|| {
        let (year, month, day) = t.date()?;
        let mut micros = 0;
        if t.eat(b' ') || t.eat(b'T') {
            micros = t.clock()?;
        }
        let east = t.zone().unwrap_or(0);
        let bc = t.era();
        let days = checked_days(year, month, day, bc)?;
        let total =
            i128::from(days) * i128::from(DAY_MICROS) + i128::from(micros) - i128::from(east) * 1_000_000;
        let secs = i64::try_from(total.div_euclid(1_000_000)).ok()?;
        let nanos = u32::try_from(total.rem_euclid(1_000_000) * 1000).ok()?;
        Some(Instant { secs, nanos })
    })();
    parsed.filter(|_| t.rest.is_empty()).ok_or_else(|| Error::text("TIMESTAMP", text))
}

/// Parses what [`write_interval`] writes, with the units year, mon, week, day, hour, minute and second; and the short
/// form `-1h30m`, whose sign is that of all its parts.
pub fn parse_interval(text: &str) -> Result<Interval> {
    let bad = || Error::text("INTERVAL", text);
    let mut v = Interval::default();
    let mut words = text.split_ascii_whitespace();
    let mut seen = false;
    while let Some(word) = words.next() {
        seen = true;
        if word.contains(':') {
            let (negative, clock) = match word.as_bytes().first() {
                Some(b'-') => (true, word.get(1..)),
                Some(b'+') => (false, word.get(1..)),
                _ => (false, Some(word)),
            };
            let mut t = Text::new(clock.ok_or_else(bad)?);
            let micros = t.clock().filter(|_| t.rest.is_empty()).ok_or_else(bad)?;
            let nanos = micros.checked_mul(if negative { -1000 } else { 1000 }).ok_or_else(bad)?;
            v.nanos = v.nanos.checked_add(nanos).ok_or_else(bad)?;
            continue;
        }
        if let Ok(n) = word.parse() {
            add(&mut v, n, words.next().ok_or_else(bad)?).ok_or_else(bad)?;
            continue;
        }
        let (sign, mut rest) = word.strip_prefix('-').map_or((1, word), |rest| (-1, rest));
        if rest.is_empty() {
            return Err(bad());
        }
        while !rest.is_empty() {
            let (digits, tail) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?);
            let unit;
            (unit, rest) = tail.split_at(tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len()));
            let n: i64 = digits.parse().map_err(|_| bad())?;
            add(&mut v, sign * n, unit).ok_or_else(bad)?;
        }
    }
    if seen { Ok(v) } else { Err(bad()) }
}

/// Adds so many of a unit.
fn add(v: &mut Interval, n: i64, unit: &str) -> Option<()> {
    let (slot, scale) = match unit {
        "ms" => (&mut v.nanos, 1_000_000),
        "us" => (&mut v.nanos, 1000),
        unit => match unit.trim_end_matches('s') {
            "year" | "y" => (&mut v.months, 12),
            "mon" | "month" => (&mut v.months, 1),
            "week" | "w" => (&mut v.days, 7),
            "day" | "d" => (&mut v.days, 1),
            "hour" | "h" => (&mut v.nanos, 3_600_000_000_000),
            "minute" | "min" | "m" => (&mut v.nanos, 60_000_000_000),
            "second" | "sec" | "" => (&mut v.nanos, 1_000_000_000),
            _ => return None,
        },
    };
    *slot = n.checked_mul(scale).and_then(|n| slot.checked_add(n))?;
    Some(())
}
