//! Exact decimals: sign, coefficient, exponent. Scale and -0 are kept.

use super::error::{Error, Result};
use std::borrow::Cow;
use std::fmt;

/// Most bytes of a coefficient that are accepted (about 39,000 digits). Conversion time grows with the
/// square of the length; this keeps it under some milliseconds.
pub const DECIMAL_LEN_MAX: usize = 16 << 10;

/// Largest absolute exponent that is accepted; CockroachDB's own limit is far below.
pub const EXPONENT_MAX: i32 = 100_000_000;

/// A decimal number: `(-1)^negative * coefficient * 10^exponent`, or NaN or an infinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decimal<'a> {
    form: Form,
    negative: bool,
    exponent: i32,
    /// Big-endian, no leading zero byte; empty: 0.
    coefficient: Cow<'a, [u8]>,
}

/// The kinds of decimals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A number.
    Finite,
    /// +Infinity or -Infinity.
    Infinite,
    /// Not a number.
    NaN,
}

impl<'a> Decimal<'a> {
    /// NaN.
    pub const NAN: Decimal<'static> =
        Decimal { form: Form::NaN, negative: false, exponent: 0, coefficient: Cow::Borrowed(&[]) };

    /// An infinity.
    pub fn infinity(negative: bool) -> Decimal<'static> {
        Decimal { form: Form::Infinite, negative, exponent: 0, coefficient: Cow::Borrowed(&[]) }
    }

    /// A finite decimal from the coefficient's big-endian bytes.
    pub fn from_magnitude(negative: bool, magnitude: &'a [u8], exponent: i32) -> Decimal<'a> {
        Decimal { form: Form::Finite, negative, exponent, coefficient: Cow::Borrowed(trim(magnitude)) }
    }

    /// `coefficient * 10^exponent`.
    pub fn from_i128(value: i128, exponent: i32) -> Decimal<'static> {
        let bytes = value.unsigned_abs().to_be_bytes();
        Decimal {
            form: Form::Finite,
            negative: value < 0,
            exponent,
            coefficient: Cow::Owned(trim(&bytes).to_vec()),
        }
    }

    /// A finite decimal from decimal digits (values 0..=9, most significant first).
    pub fn from_digits(negative: bool, digits: &[u8], exponent: i32) -> Result<Decimal<'static>> {
        Ok(Decimal { form: Form::Finite, negative, exponent, coefficient: Cow::Owned(magnitude_of(digits)?) })
    }

    /// Whether it is a number, an infinity or NaN.
    pub fn form(&self) -> Form {
        self.form
    }

    /// The sign bit: true also for -0.
    pub fn is_negative(&self) -> bool {
        self.negative
    }

    /// The exponent of a finite decimal.
    pub fn exponent(&self) -> i32 {
        self.exponent
    }

    /// The coefficient, big-endian, without leading zero bytes; empty for 0.
    pub fn magnitude(&self) -> &[u8] {
        &self.coefficient
    }

    /// Whether it is a finite zero of any scale and sign.
    pub fn is_zero(&self) -> bool {
        self.form == Form::Finite && self.coefficient.is_empty()
    }

    /// The digits of the coefficient, at least one.
    pub fn digits(&self) -> Result<Digits> {
        digits_of(&self.coefficient)
    }

    /// How many digits the coefficient has; 0 has one.
    pub fn digit_count(&self) -> Result<usize> {
        if self.coefficient.len() <= 8 {
            let v = self.coefficient.iter().fold(0u64, |v, &b| v << 8 | u64::from(b));
            return Ok(v.checked_ilog10().unwrap_or(0) as usize + 1);
        }
        match small(&self.coefficient) {
            Some(v) => Ok(v.checked_ilog10().unwrap_or(0) as usize + 1),
            None => Ok(self.digits()?.as_slice().len()),
        }
    }

    /// Whether a key of this decimal loses something: -0, and every coefficient divisible by 10 (0, NaN and
    /// the infinities count).
    pub fn is_composite(&self) -> bool {
        if self.form != Form::Finite {
            return true;
        }
        let rest = self.coefficient.iter().fold(0u32, |rest, &b| (rest * 256 + u32::from(b)) % 10);
        rest == 0
    }

    /// The same number without borrowing.
    pub fn into_owned(self) -> Decimal<'static> {
        Decimal {
            form: self.form,
            negative: self.negative,
            exponent: self.exponent,
            coefficient: Cow::Owned(self.coefficient.into_owned()),
        }
    }

    /// Appends the text: plain digits where the exponent is at most 0 and the number is not smaller than
    /// 1e-6, else `1.5E+400`.
    pub fn write_text(&self, out: &mut Vec<u8>) -> Result<()> {
        if self.negative && self.form != Form::NaN {
            out.push(b'-');
        }
        match self.form {
            Form::NaN => out.extend_from_slice(b"NaN"),
            Form::Infinite => out.extend_from_slice(b"Infinity"),
            Form::Finite => {
                let digits = self.digits()?;
                write_finite(digits.as_slice(), self.exponent, out);
            }
        }
        Ok(())
    }

    /// Parses what [`Decimal::write_text`] writes, and plain SQL decimal literals.
    pub fn from_text(text: &str) -> Result<Decimal<'static>> {
        let bad = || Error::text("DECIMAL", text);
        let (negative, rest) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let lower = rest.to_ascii_lowercase();
        match lower.as_slice() {
            b"nan" => return Ok(Decimal::NAN),
            b"inf" | b"infinity" => return Ok(Decimal::infinity(negative)),
            _ => {}
        }
        let (mantissa, exponent) = match lower.iter().position(|&b| b == b'e') {
            None => (lower.as_slice(), 0i64),
            Some(at) => {
                let (m, e) = lower.split_at_checked(at).ok_or_else(bad)?;
                let e = std::str::from_utf8(e.get(1..).ok_or_else(bad)?).map_err(|_| bad())?;
                (m, e.parse().map_err(|_| bad())?)
            }
        };
        let mut digits = Vec::with_capacity(mantissa.len());
        let mut scale = None;
        for &b in mantissa {
            match b {
                b'0'..=b'9' => {
                    digits.push(b - b'0');
                    scale = scale.map(|s: i64| s + 1);
                }
                b'.' if scale.is_none() => scale = Some(0),
                _ => return Err(bad()),
            }
        }
        if digits.is_empty() {
            return Err(bad());
        }
        let exponent = i32::try_from(exponent - scale.unwrap_or(0)).map_err(|_| bad())?;
        check_exponent(exponent)?;
        Decimal::from_digits(negative, &digits, exponent)
    }
}

pub(crate) fn check_exponent(exponent: i32) -> Result<i32> {
    if exponent.unsigned_abs() > EXPONENT_MAX.unsigned_abs() {
        return Err(Error::TooLarge {
            what: "decimal exponent",
            limit: EXPONENT_MAX.unsigned_abs() as usize,
        });
    }
    Ok(exponent)
}

fn write_finite(digits: &[u8], exponent: i32, out: &mut Vec<u8>) {
    let count = i64::try_from(digits.len()).unwrap_or(i64::MAX);
    let adjusted = i64::from(exponent) + count - 1;
    let ascii = digits.iter().map(|d| d + b'0');
    if exponent <= 0 && adjusted >= -6 {
        let point = usize::try_from(i64::from(exponent) + count).unwrap_or(0);
        if point == 0 {
            out.extend_from_slice(b"0.");
            let zeros = usize::try_from(-(i64::from(exponent) + count)).unwrap_or(0);
            out.resize(out.len() + zeros, b'0');
            out.extend(ascii);
        } else {
            out.extend(ascii.clone().take(point));
            if exponent < 0 {
                out.push(b'.');
                out.extend(ascii.skip(point));
            }
        }
        return;
    }
    out.extend(ascii.clone().take(1));
    if count > 1 {
        out.push(b'.');
        out.extend(ascii.skip(1));
    }
    out.push(b'E');
    out.push(if adjusted < 0 { b'-' } else { b'+' });
    out.extend_from_slice(adjusted.unsigned_abs().to_string().as_bytes());
}

impl fmt::Display for Decimal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::new();
        self.write_text(&mut text).map_err(|_| fmt::Error)?;
        f.write_str(&String::from_utf8_lossy(&text))
    }
}

/// Decimal digits, most significant first, values 0..=9.
#[derive(Clone, Debug)]
pub struct Digits {
    short: [u8; 39],
    from: usize,
    long: Vec<u8>,
}

impl Digits {
    /// The digits.
    pub fn as_slice(&self) -> &[u8] {
        if self.long.is_empty() { self.short.get(self.from..).unwrap_or_default() } else { &self.long }
    }
}

fn trim(magnitude: &[u8]) -> &[u8] {
    let zeros = magnitude.iter().take_while(|&&b| b == 0).count();
    magnitude.get(zeros..).unwrap_or_default()
}

fn small(magnitude: &[u8]) -> Option<u128> {
    if magnitude.len() > 16 {
        return None;
    }
    Some(magnitude.iter().fold(0u128, |v, &b| v << 8 | u128::from(b)))
}

const CHUNK: u64 = 1_000_000_000_000_000_000;
const CHUNK_DIGITS: usize = 18;

/// Digits of a big-endian magnitude.
// The casts keep the low limb, which is what is meant.
#[allow(clippy::cast_possible_truncation)]
fn digits_of(magnitude: &[u8]) -> Result<Digits> {
    let mut digits = Digits { short: [0; 39], from: 39, long: Vec::new() };
    if let Some(mut v) = small(magnitude) {
        for slot in digits.short.iter_mut().rev() {
            *slot = (v % 10) as u8;
            v /= 10;
            digits.from -= 1;
            if v == 0 {
                break;
            }
        }
        return Ok(digits);
    }
    if magnitude.len() > DECIMAL_LEN_MAX {
        return Err(Error::TooLarge { what: "decimal coefficient", limit: DECIMAL_LEN_MAX });
    }
    // Little-endian limbs; divide by 10^18 until nothing is left.
    let mut limbs: Vec<u64> =
        magnitude.rchunks(8).map(|chunk| chunk.iter().fold(0u64, |v, &b| v << 8 | u64::from(b))).collect();
    let mut reversed = Vec::with_capacity(magnitude.len() * 5 / 2);
    while !limbs.is_empty() {
        let mut rest = 0u128;
        for limb in limbs.iter_mut().rev() {
            let v = rest << 64 | u128::from(*limb);
            *limb = (v / u128::from(CHUNK)) as u64;
            rest = v % u128::from(CHUNK);
        }
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        let mut rest = rest as u64;
        for _ in 0..CHUNK_DIGITS {
            reversed.push((rest % 10) as u8);
            rest /= 10;
        }
    }
    while reversed.last() == Some(&0) {
        reversed.pop();
    }
    reversed.reverse();
    digits.long = reversed;
    Ok(digits)
}

/// The big-endian magnitude of decimal digits.
#[allow(clippy::cast_possible_truncation)]
fn magnitude_of(digits: &[u8]) -> Result<Vec<u8>> {
    let zeros = digits.iter().take_while(|&&d| d == 0).count();
    let digits = digits.get(zeros..).unwrap_or_default();
    if digits.len() <= 38 {
        let v = digits.iter().fold(0u128, |v, &d| v * 10 + u128::from(d));
        return Ok(trim(&v.to_be_bytes()).to_vec());
    }
    // A digit takes 0.415… bytes.
    if digits.len() / 12 * 5 > DECIMAL_LEN_MAX {
        return Err(Error::TooLarge { what: "decimal coefficient", limit: DECIMAL_LEN_MAX });
    }
    let mut limbs: Vec<u64> = Vec::new();
    for chunk in digits.chunks(CHUNK_DIGITS) {
        let mut carry = u128::from(chunk.iter().fold(0u64, |v, &d| v * 10 + u64::from(d)));
        let scale = 10u128.pow(u32::try_from(chunk.len()).unwrap_or(0));
        for limb in &mut limbs {
            let v = u128::from(*limb) * scale + carry;
            *limb = v as u64;
            carry = v >> 64;
        }
        if carry != 0 {
            limbs.push(carry as u64);
        }
    }
    let mut bytes: Vec<u8> = limbs.iter().rev().flat_map(|l| l.to_be_bytes()).collect();
    let zeros = bytes.iter().take_while(|&&b| b == 0).count();
    bytes.drain(..zeros);
    Ok(bytes)
}
