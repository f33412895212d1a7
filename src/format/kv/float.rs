//! Texts of floats: 17 significant digits (CockroachDB's casts before 22.2) and the shortest form.

/// Appends what C's `%.17g` prints; infinities as `+Inf`, `-Inf`.
pub fn write_17(out: &mut Vec<u8>, v: f64) {
    if special(out, v) {
        return;
    }
    // d.dddddddddddddddd e±x
    let text = format!("{v:.16e}");
    write_general(out, &text, 17);
}

/// Appends the shortest text that reads back as the same float, with an exponent below 1e-4 and from
/// 10^`threshold` up.
pub fn write_shortest(out: &mut Vec<u8>, v: f64, threshold: i32) {
    if special(out, v) {
        return;
    }
    write_general(out, &format!("{v:e}"), threshold);
}

/// As elements of CockroachDB's arrays: whole numbers below a million get `.0`.
pub fn write_element(out: &mut Vec<u8>, v: f64) {
    if v.is_finite() && v.fract() == 0.0 && v.abs() < 1_000_000.0 {
        out.extend_from_slice(format!("{v:.1}").as_bytes());
    } else {
        write_shortest(out, v, 6);
    }
}

/// Plain digits without exponent, shortest: `1`, `0.5`.
pub fn write_plain(out: &mut Vec<u8>, v: f64) {
    if !special(out, v) {
        out.extend_from_slice(format!("{v}").as_bytes());
    }
}

/// PostgreSQL's spelling: shortest, `Infinity`, `-Infinity`.
pub fn write_postgres(out: &mut Vec<u8>, v: f64) {
    if v.is_infinite() {
        out.extend_from_slice(if v < 0.0 { b"-Infinity" } else { b"Infinity" });
    } else {
        write_shortest(out, v, 15);
    }
}

fn special(out: &mut Vec<u8>, v: f64) -> bool {
    let text: &[u8] = match v {
        _ if v.is_nan() => b"NaN",
        f64::INFINITY => b"+Inf",
        f64::NEG_INFINITY => b"-Inf",
        _ => return false,
    };
    out.extend_from_slice(text);
    true
}

/// Turns `-d.ddde-x` into the shorter of plain and exponent notation, by C's rule for `%g`.
fn write_general(out: &mut Vec<u8>, scientific: &str, threshold: i32) {
    let (mantissa, exponent) = scientific.split_once('e').unwrap_or((scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let (sign, mantissa) = match mantissa.strip_prefix('-') {
        Some(rest) => ("-", rest),
        None => ("", mantissa),
    };
    out.extend_from_slice(sign.as_bytes());
    let mut digits: Vec<u8> = mantissa.bytes().filter(u8::is_ascii_digit).collect();
    while digits.len() > 1 && digits.last() == Some(&b'0') {
        digits.pop();
    }
    if exponent < -4 || exponent >= threshold {
        let (first, rest) = digits.split_first().unwrap_or((&b'0', &[]));
        out.push(*first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        out.extend_from_slice(if exponent < 0 { b"e-" } else { b"e+" });
        out.extend_from_slice(format!("{:02}", exponent.unsigned_abs()).as_bytes());
    } else if exponent < 0 {
        out.extend_from_slice(b"0.");
        out.resize(out.len() + exponent.unsigned_abs() as usize - 1, b'0');
        out.extend_from_slice(&digits);
    } else {
        let point = exponent.unsigned_abs() as usize + 1;
        if digits.len() < point {
            digits.resize(point, b'0');
        }
        let (whole, fraction) = digits.split_at_checked(point).unwrap_or((&digits, &[]));
        out.extend_from_slice(whole);
        if !fraction.is_empty() {
            out.push(b'.');
            out.extend_from_slice(fraction);
        }
    }
}
