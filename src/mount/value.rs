//! Values of mount options: times, sizes, modes, owners. Pure.

use std::time::Duration;

/// A user or group as typed: a number, or a name that the caller looks up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A numeric id.
    Id(u32),
    /// A name of the system's user or group database.
    Name(String),
}

/// Longest time an option may name: ten years. Longer ones are typing errors, and overflow timers.
const SECONDS_MAX: f64 = 10.0 * 365.0 * 86_400.0;

/// A time in seconds: `1`, `0.5`, `500ms`, `2m`, `1h`.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let scale = match unit {
        "" | "s" => 1.0,
        "ms" => 0.001,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("\"{text}\" is not a time (seconds, or a number with ms, s, m or h)")),
    };
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n >= 0.0 && n * scale <= SECONDS_MAX => {
            Ok(Duration::from_secs_f64(n * scale))
        }
        _ => Err(format!("\"{text}\" is not a time (seconds, or a number with ms, s, m or h)")),
    }
}

/// A size in bytes: `4096`, `64k`, `256M`, `1GiB`; units are powers of 1024.
pub fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("\"{text}\" is not a size (bytes, or a number with k, M, G or T)");
    let (number, unit) = split_unit(text);
    let mut unit = unit.to_ascii_lowercase();
    for tail in ["ib", "b"] {
        if let Some(short) = unit.strip_suffix(tail) {
            unit = short.to_string();
            break;
        }
    }
    let shift = match unit.as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err(wrong()),
    };
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(1 << shift).ok_or_else(wrong);
    }
    match number.parse::<f64>() {
        Ok(n) if n.is_finite() && n >= 0.0 && n * ((1u64 << shift) as f64) < 9.0e18 => {
            Ok((n * ((1u64 << shift) as f64)) as u64)
        }
        _ => Err(wrong()),
    }
}

/// Permission bits in octal, 0 to 0777.
pub fn mode(text: &str) -> Result<u16, String> {
    match u16::from_str_radix(text, 8) {
        Ok(bits) if bits <= 0o777 && !text.starts_with('+') => Ok(bits),
        _ => Err(format!("\"{text}\" is not an octal mask of permissions such as 022")),
    }
}

/// A user or group: digits are an id, anything else a name.
pub fn owner(text: &str) -> Result<Owner, String> {
    if text.is_empty() {
        return Err("a user or group is missing".to_string());
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return match text.parse::<u32>() {
            // -1 means "leave alone" to chown(2): it is nobody's id.
            Ok(id) if id != u32::MAX => Ok(Owner::Id(id)),
            _ => Err(format!("\"{text}\" is not a user or group id")),
        };
    }
    Ok(Owner::Name(text.to_string()))
}

fn split_unit(text: &str) -> (&str, &str) {
    let digits = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    text.split_at(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(seconds("1"), Ok(Duration::from_secs(1)));
        assert_eq!(seconds("0"), Ok(Duration::ZERO));
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert_eq!(seconds("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(seconds("2m"), Ok(Duration::from_secs(120)));
        assert_eq!(seconds("1h"), Ok(Duration::from_secs(3600)));
        for bad in ["", "-1", "x", "1d", "1e9", "nan", "inf", "99999999999999", "1.2.3", "s"] {
            assert!(seconds(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("0"), Ok(0));
        assert_eq!(bytes("4096"), Ok(4096));
        assert_eq!(bytes("64k"), Ok(65536));
        assert_eq!(bytes("64KiB"), Ok(65536));
        assert_eq!(bytes("1.5G"), Ok(3 << 29));
        assert_eq!(bytes("2T"), Ok(2 << 40));
        assert_eq!(bytes("10B"), Ok(10));
        for bad in ["", "k", "-1", "1x", "99999999999999999999", "99999999T", "."] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn modes_and_owners() {
        assert_eq!(mode("022"), Ok(0o22));
        assert_eq!(mode("0777"), Ok(0o777));
        for bad in ["", "8", "1777", "-1", "+7", "rwx"] {
            assert!(mode(bad).is_err(), "{bad}");
        }
        assert_eq!(owner("1000"), Ok(Owner::Id(1000)));
        assert_eq!(owner("bob"), Ok(Owner::Name("bob".into())));
        assert!(owner("").is_err());
        assert!(owner("4294967295").is_err());
    }
}
