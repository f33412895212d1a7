//! Functions and operators on values that are not NULL, as far as they are understood.

use std::borrow::Cow;

use crate::format::kv::datum::Datum;
use crate::format::kv::decimal::{Decimal, Form};
use crate::format::kv::json::{self, Json};

use super::Op;

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Function {
    Abs,
    Coalesce,
    Concat,
    Greatest,
    If,
    Least,
    Length,
    Lower,
    Mod,
    NullIf,
    Replace,
    Substring,
    Upper,
}

impl Function {
    /// By its name, in the case that the server writes it in.
    pub fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "abs" => Self::Abs,
            "COALESCE" | "coalesce" | "IFNULL" | "ifnull" => Self::Coalesce,
            "concat" => Self::Concat,
            "greatest" => Self::Greatest,
            "IF" | "if" => Self::If,
            "least" => Self::Least,
            "length" | "char_length" | "character_length" => Self::Length,
            "lower" => Self::Lower,
            "mod" => Self::Mod,
            "NULLIF" | "nullif" => Self::NullIf,
            "replace" => Self::Replace,
            "substr" | "substring" => Self::Substring,
            "upper" => Self::Upper,
            _ => return None,
        })
    }
}

fn own(text: String) -> Datum<'static> {
    Datum::String(Cow::Owned(text.into_bytes()))
}

fn text<'d>(datum: &'d Datum<'_>) -> Option<&'d str> {
    match datum {
        Datum::String(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// One letter for one letter, as the server does it.
fn lower(c: char) -> char {
    let mut mapped = c.to_lowercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ if c == '\u{130}' => 'i',
        _ => c,
    }
}

fn upper(c: char) -> char {
    let mut mapped = c.to_uppercase();
    match (mapped.next(), mapped.next()) {
        (Some(one), None) => one,
        _ => c,
    }
}

fn substring(text: &str, start: i64, len: Option<i64>) -> Option<String> {
    let end = match len {
        Some(len) if len < 0 => return None,
        Some(len) => start.checked_add(len)?,
        None => i64::MAX,
    };
    let inside = (1i64..).zip(text.chars()).filter(|(at, _)| (start..end).contains(at));
    Some(inside.map(|(_, c)| c).collect())
}

/// A function that takes no NULL; `None` where it fails.
pub fn call<'a>(function: Function, args: &[Datum<'a>]) -> Option<Datum<'a>> {
    Some(match (function, args) {
        (Function::Abs, [Datum::Int(n)]) => Datum::Int(n.checked_abs()?),
        (Function::Length, [value]) => Datum::Int(i64::try_from(text(value)?.chars().count()).ok()?),
        (Function::Lower, [value]) => own(text(value)?.chars().map(lower).collect()),
        (Function::Upper, [value]) => own(text(value)?.chars().map(upper).collect()),
        (Function::Mod, [left, right]) => return arithmetic(Op::Modulo, left, right),
        (Function::Replace, [value, from, to]) if !text(from)?.is_empty() => {
            own(text(value)?.replace(text(from)?, text(to)?))
        }
        (Function::Substring, [value, Datum::Int(start)]) => own(substring(text(value)?, *start, None)?),
        (Function::Substring, [value, Datum::Int(start), Datum::Int(len)]) => {
            own(substring(text(value)?, *start, Some(*len))?)
        }
        _ => return None,
    })
}

/// `+`, `-`, `*`, `%`; `None` where the result is out of range or not defined.
pub fn arithmetic<'a>(op: Op, left: &Datum<'a>, right: &Datum<'a>) -> Option<Datum<'a>> {
    match (left, right) {
        (Datum::Int(a), Datum::Int(b)) => Some(Datum::Int(match op {
            Op::Add => a.checked_add(*b)?,
            Op::Subtract => a.checked_sub(*b)?,
            Op::Multiply => a.checked_mul(*b)?,
            Op::Modulo if *b != 0 => a.wrapping_rem(*b),
            _ => return None,
        })),
        _ => decimal_arithmetic(op, &decimal(left)?, &decimal(right)?).map(Datum::Decimal),
    }
}

fn decimal<'d>(datum: &'d Datum<'_>) -> Option<Decimal<'d>> {
    match datum {
        Datum::Decimal(d) => (d.form() == Form::Finite)
            .then(|| Decimal::from_magnitude(d.is_negative(), d.magnitude(), d.exponent())),
        Datum::Int(n) => Some(Decimal::from_i128(i128::from(*n), 0)),
        _ => None,
    }
}

/// The signed coefficient, where it is small enough.
fn coefficient(d: &Decimal<'_>) -> Option<i128> {
    // Of a negative zero the sign would be lost.
    if d.magnitude().len() > 15 || (d.is_negative() && d.is_zero()) {
        return None;
    }
    let magnitude = d.magnitude().iter().fold(0i128, |n, byte| n << 8 | i128::from(*byte));
    Some(if d.is_negative() { -magnitude } else { magnitude })
}

/// Exact: exponents add up, or the smaller one is that of the result.
fn decimal_arithmetic(op: Op, left: &Decimal<'_>, right: &Decimal<'_>) -> Option<Decimal<'static>> {
    let (a, b) = (coefficient(left)?, coefficient(right)?);
    if op == Op::Multiply {
        return Some(Decimal::from_i128(a.checked_mul(b)?, left.exponent().checked_add(right.exponent())?));
    }
    let exponent = left.exponent().min(right.exponent());
    let scaled = |n: i128, own: i32| {
        let power = u32::try_from(own.checked_sub(exponent)?).ok()?;
        n.checked_mul(10i128.checked_pow(power)?)
    };
    let (a, b) = (scaled(a, left.exponent())?, scaled(b, right.exponent())?);
    match op {
        Op::Add => Some(Decimal::from_i128(a.checked_add(b)?, exponent)),
        Op::Subtract => Some(Decimal::from_i128(a.checked_sub(b)?, exponent)),
        _ => None,
    }
}

/// `->` and `->>`: the value of a key or the element at a position; NULL where there is none.
pub fn fetch<'a>(stored: &Datum<'a>, at: &Datum<'a>, as_text: bool) -> Option<Datum<'a>> {
    let Datum::Json(bytes) = stored else { return None };
    let whole = json::decode(bytes).ok()?;
    let found = match (&whole, at) {
        (Json::Object(pairs), Datum::String(_)) => {
            let key = text(at)?;
            pairs.iter().find(|(own, _)| own == key).map(|(_, value)| value)
        }
        (Json::Array(items), Datum::Int(n)) => {
            let len = i64::try_from(items.len()).ok()?;
            let position = if *n < 0 { n.checked_add(len)? } else { *n };
            usize::try_from(position).ok().and_then(|at| items.get(at))
        }
        (_, Datum::String(_) | Datum::Int(_)) => None,
        _ => return None,
    };
    let mut out = Vec::new();
    Some(match found {
        None => Datum::Null,
        Some(Json::Null) if as_text => Datum::Null,
        Some(Json::String(value)) if as_text => own(value.to_string()),
        Some(value) if as_text => {
            value.write_text(&mut out).ok()?;
            Datum::String(Cow::Owned(out))
        }
        Some(value) => {
            value.encode(&mut out).ok()?;
            Datum::Json(Cow::Owned(out))
        }
    })
}
