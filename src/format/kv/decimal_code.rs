//! The two encodings of decimals: ordered (keys) and compact (values).
//!
//! Keys: |d| = 0.D1D2… × 100^E with base-100 digits; marker and E, then 2·Di+1 per digit and 2·Dn for the
//! last, then `00`; negative numbers complement all but the terminator. 10000.50 is `2c 03 01 01 64 00`.
//! Values: |d| = 0.C × 10^x; marker, x, then C as big-endian bytes. 10000.50 is `34 8d 0f4272`.

use super::decimal::{Decimal, Form, check_exponent};
use super::error::{Error, Result};
use super::layout::Direction;
use super::ordered::{get_ku, get_kud, put_ku, put_kud};
use super::varint::Reader;

const NAN_ASC: u8 = 0x18;
const NEG_INFINITY: u8 = 0x19;
const NEG_LARGE: u8 = 0x1a;
const NEG_MEDIUM: u8 = 0x25; // minus E
const NEG_SMALL: u8 = 0x26;
const ZERO: u8 = 0x27;
const POS_SMALL: u8 = 0x28;
const POS_MEDIUM: u8 = 0x29; // plus E
const POS_LARGE: u8 = 0x34;
const POS_INFINITY: u8 = 0x35;
const NAN_DESC: u8 = 0x36;

const WHAT: &str = "decimal";

/// Appends the ordered encoding.
pub fn put_key(out: &mut Vec<u8>, d: &Decimal<'_>, direction: Direction) -> Result<()> {
    let descending = direction == Direction::Desc;
    // Descending is the encoding of -d.
    let negative = d.is_negative() != descending;
    match d.form() {
        Form::NaN => out.push(if descending { NAN_DESC } else { NAN_ASC }),
        Form::Infinite => out.push(if negative { NEG_INFINITY } else { POS_INFINITY }),
        Form::Finite if d.is_zero() => out.push(ZERO),
        Form::Finite => put_finite_key(out, d, negative)?,
    }
    Ok(())
}

fn put_finite_key(out: &mut Vec<u8>, d: &Decimal<'_>, negative: bool) -> Result<()> {
    let digits = d.digits()?;
    let all = digits.as_slice();
    let e10 =
        i64::from(d.exponent()) + i64::try_from(all.len()).map_err(|_| Error::Invalid { what: WHAT })?;
    let zeros = all.iter().rev().take_while(|&&x| x == 0).count();
    let significant = all.get(..all.len() - zeros).unwrap_or_default();
    let e = e10.div_euclid(2) + e10.rem_euclid(2);
    let size = e.unsigned_abs();
    match (negative, e) {
        (false, ..0) => {
            out.push(POS_SMALL);
            put_kud(out, size);
        }
        (false, 0..=10) => out.push(POS_MEDIUM + u8::try_from(size).unwrap_or_default()),
        (false, _) => {
            out.push(POS_LARGE);
            put_ku(out, size);
        }
        (true, ..0) => {
            out.push(NEG_SMALL);
            put_ku(out, size);
        }
        (true, 0..=10) => out.push(NEG_MEDIUM - u8::try_from(size).unwrap_or_default()),
        (true, _) => {
            out.push(NEG_LARGE);
            put_kud(out, size);
        }
    }
    let from = out.len();
    // An odd exponent moves the first digit to the low place of its pair.
    let (mut high, mut half) = (0u8, e10.rem_euclid(2) == 1);
    for &digit in significant {
        if half {
            out.push((high * 10 + digit) * 2 + 1);
        } else {
            high = digit;
        }
        half = !half;
        if !half {
            high = 0;
        }
    }
    if half {
        out.push(high * 20 + 1);
    }
    if let Some(last) = out.last_mut() {
        *last &= !1;
    }
    if negative {
        super::ordered::complement_from(out, from);
    }
    out.push(0x00);
    Ok(())
}

/// Reads the ordered encoding. The scale is lost; trailing zeros of the coefficient are gone.
pub fn get_key(r: &mut Reader<'_>, direction: Direction) -> Result<Decimal<'static>> {
    let descending = direction == Direction::Desc;
    let marker = r.u8(WHAT)?;
    let (negative, e) = match marker {
        NAN_ASC if !descending => return Ok(Decimal::NAN),
        NAN_DESC if descending => return Ok(Decimal::NAN),
        NEG_INFINITY => return Ok(Decimal::infinity(!descending)),
        POS_INFINITY => return Ok(Decimal::infinity(descending)),
        ZERO => return Ok(Decimal::from_i128(0, 0)),
        NEG_LARGE => (true, exponent(get_kud(r, WHAT)?)?),
        0x1b..=NEG_MEDIUM => (true, i64::from(NEG_MEDIUM - marker)),
        NEG_SMALL => (true, -exponent(get_ku(r, WHAT)?)?),
        POS_SMALL => (false, -exponent(get_kud(r, WHAT)?)?),
        POS_MEDIUM..=0x33 => (false, i64::from(marker - POS_MEDIUM)),
        POS_LARGE => (false, exponent(get_ku(r, WHAT)?)?),
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    let mask = if negative { 0xff } else { 0x00 };
    let mut digits = Vec::with_capacity(16);
    loop {
        let byte = r.u8(WHAT)?;
        if byte == 0x00 {
            // Only the last digit has an even byte, and it was handled below.
            return Err(Error::Invalid { what: WHAT });
        }
        let byte = byte ^ mask;
        let pair = byte >> 1;
        if pair > 99 {
            return Err(Error::Invalid { what: WHAT });
        }
        digits.push(pair / 10);
        digits.push(pair % 10);
        if byte & 1 == 0 {
            break;
        }
    }
    if r.u8(WHAT)? != 0x00 {
        return Err(Error::Invalid { what: WHAT });
    }
    let pairs = i64::try_from(digits.len()).map_err(|_| Error::Invalid { what: WHAT })?;
    let mut exp = 2 * e - pairs;
    while digits.last() == Some(&0) {
        digits.pop();
        exp += 1;
    }
    let exp = i32::try_from(exp).map_err(|_| Error::Invalid { what: WHAT })?;
    Decimal::from_digits(negative != descending, &digits, check_exponent(exp)?)
}

fn exponent(v: u64) -> Result<i64> {
    const LIMIT: i64 = 1 << 30;
    i64::try_from(v)
        .ok()
        .filter(|&e| e <= LIMIT)
        .ok_or(Error::TooLarge { what: "decimal exponent", limit: 1 << 30 })
}

/// Appends the compact encoding (no length).
pub fn put_value(out: &mut Vec<u8>, d: &Decimal<'_>) -> Result<()> {
    match d.form() {
        Form::NaN => out.push(NAN_ASC),
        Form::Infinite => out.push(if d.is_negative() { NEG_INFINITY } else { POS_INFINITY }),
        Form::Finite if d.is_zero() && !d.is_negative() && d.exponent() == 0 => out.push(ZERO),
        Form::Finite => {
            let count = i64::try_from(d.digit_count()?).map_err(|_| Error::Invalid { what: WHAT })?;
            let x = i64::from(d.exponent()) + count;
            let negative = d.is_negative();
            match x {
                1.. => {
                    out.push(if negative { NEG_LARGE } else { POS_LARGE });
                    put_ku(out, x.unsigned_abs());
                }
                0 => out.push(if negative { NEG_MEDIUM } else { POS_MEDIUM }),
                _ => {
                    out.push(if negative { NEG_SMALL } else { POS_SMALL });
                    put_ku(out, x.unsigned_abs());
                }
            }
            out.extend_from_slice(d.magnitude());
        }
    }
    Ok(())
}

/// Reads the compact encoding, which takes all of `bytes`.
pub fn get_value(bytes: &[u8]) -> Result<Decimal<'_>> {
    let mut r = Reader::new(bytes);
    let marker = r.u8(WHAT)?;
    let simple = match marker {
        NAN_ASC => Some(Decimal::NAN),
        NEG_INFINITY => Some(Decimal::infinity(true)),
        POS_INFINITY => Some(Decimal::infinity(false)),
        ZERO => Some(Decimal::from_magnitude(false, &[], 0)),
        _ => None,
    };
    if let Some(d) = simple {
        r.finish(WHAT)?;
        return Ok(d);
    }
    let (negative, x) = match marker {
        NEG_LARGE => (true, exponent(get_ku(&mut r, WHAT)?)?),
        POS_LARGE => (false, exponent(get_ku(&mut r, WHAT)?)?),
        NEG_MEDIUM => (true, 0),
        POS_MEDIUM => (false, 0),
        NEG_SMALL => (true, -exponent(get_ku(&mut r, WHAT)?)?),
        POS_SMALL => (false, -exponent(get_ku(&mut r, WHAT)?)?),
        _ => return Err(Error::Invalid { what: WHAT }),
    };
    let magnitude = r.take_rest();
    let count = Decimal::from_magnitude(negative, magnitude, 0).digit_count()?;
    let exp = x - i64::try_from(count).map_err(|_| Error::Invalid { what: WHAT })?;
    let exp = i32::try_from(exp).map_err(|_| Error::Invalid { what: WHAT })?;
    Ok(Decimal::from_magnitude(negative, magnitude, check_exponent(exp)?))
}
