//! One SQL value of any type, borrowed from the bytes it was read from where that is possible.

use super::decimal::Decimal;
use super::error::{Error, Result};
use std::borrow::Cow;

/// A SQL value. The column's type tells apart what is stored alike (TIMESTAMP and TIMESTAMPTZ, GEOMETRY and
/// GEOGRAPHY, the string types).
#[derive(Clone, Debug, PartialEq)]
pub enum Datum<'a> {
    /// NULL
    Null,
    /// BOOL
    Bool(bool),
    /// INT2, INT4, INT8, PG_LSN
    Int(i64),
    /// FLOAT4, FLOAT8
    Float(f64),
    /// DECIMAL
    Decimal(Decimal<'a>),
    /// Every string type; nominally UTF-8, but old data may hold anything.
    String(Cow<'a, [u8]>),
    /// A collated string whose sort key is known, because it was read from a key.
    Collated(Box<Collated<'a>>),
    /// BYTES
    Bytes(Cow<'a, [u8]>),
    /// DATE: days since 1970-01-01; `i64::MIN` and `i64::MAX` are the infinities.
    Date(i64),
    /// TIME: microseconds of the day, 0..=86,400,000,000.
    Time(i64),
    /// TIMETZ
    TimeTz(TimeTz),
    /// TIMESTAMP, TIMESTAMPTZ (UTC)
    Timestamp(Instant),
    /// INTERVAL
    Interval(Interval),
    /// UUID
    Uuid([u8; 16]),
    /// INET
    Inet(Inet),
    /// BIT, VARBIT
    Bits(Bits<'a>),
    /// JSONB in its stored form; see [`super::json`].
    Json(Cow<'a, [u8]>),
    /// Arrays, OIDVECTOR, INT2VECTOR
    Array(Vec<Datum<'a>>),
    /// ENUM: the member's physical bytes.
    Enum(Cow<'a, [u8]>),
    /// TUPLE
    Tuple(Vec<Datum<'a>>),
    /// GEOMETRY, GEOGRAPHY: the stored SpatialObject message.
    Geo(Cow<'a, [u8]>),
    /// BOX2D: low x, high x, low y, high y.
    Box2d(Box<[f64; 4]>),
    /// OID and REG…
    Oid(i64),
    /// A type that is carried, not interpreted.
    Opaque(Cow<'a, [u8]>),
}

impl<'a> Datum<'a> {
    /// Whether nothing is freed when it is dropped; false where that takes more than a look to tell.
    #[inline]
    fn is_plain(&self) -> bool {
        match self {
            Datum::Null
            | Datum::Bool(_)
            | Datum::Int(_)
            | Datum::Float(_)
            | Datum::Date(_)
            | Datum::Time(_)
            | Datum::TimeTz(_)
            | Datum::Timestamp(_)
            | Datum::Interval(_)
            | Datum::Uuid(_)
            | Datum::Inet(_)
            | Datum::Oid(_) => true,
            Datum::String(v)
            | Datum::Bytes(v)
            | Datum::Json(v)
            | Datum::Enum(v)
            | Datum::Geo(v)
            | Datum::Opaque(v) => matches!(v, Cow::Borrowed(_)),
            _ => false,
        }
    }

    /// Makes it NULL. Quicker than an assignment where there is nothing to free, as in most rows.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if self.is_plain() {
            std::mem::forget(std::mem::replace(self, Datum::Null));
        } else {
            *self = Datum::Null;
        }
    }

    /// NULL in its place.
    #[inline]
    pub(crate) fn into_null<'b>(mut self) -> Datum<'b> {
        if self.is_plain() {
            std::mem::forget(self);
        } else {
            self.clear();
        }
        Datum::Null
    }
}

/// Makes a row of so many NULLs out of another.
#[inline]
pub(crate) fn reset(row: &mut Vec<Datum<'_>>, columns: usize) {
    row.iter_mut().for_each(Datum::clear);
    row.resize_with(columns, || Datum::Null);
}

/// A collated string as read from a key, a value or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collated<'a> {
    /// The text; absent when only the key was seen.
    pub text: Option<Cow<'a, [u8]>>,
    /// The sort key.
    pub sort_key: Cow<'a, [u8]>,
}

/// A time of day with an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeTz {
    /// Microseconds of the local day, 0..=86,400,000,000.
    pub micros: i64,
    /// Seconds **west** of UTC: +05:30 is -19,800.
    pub west: i32,
}

/// A point in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Instant {
    /// Seconds since 1970-01-01 UTC, rounded down.
    pub secs: i64,
    /// Nanoseconds of the second, 0..=999,999,999.
    pub nanos: u32,
}

/// An interval of months, days and nanoseconds that do not carry into each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Months.
    pub months: i64,
    /// Days.
    pub days: i64,
    /// Nanoseconds.
    pub nanos: i64,
}

/// An IP address with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inet {
    /// The address.
    pub addr: std::net::IpAddr,
    /// 0..=32 or 0..=128.
    pub prefix: u8,
}

/// A bit string: big-endian 64-bit words, left-aligned; unused low bits of the last word are 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bits<'a> {
    /// Length in bits.
    pub len: usize,
    /// `len.div_ceil(64)` words of 8 bytes.
    pub words: Cow<'a, [u8]>,
}

impl Bits<'_> {
    /// Bit `i`, counted from the left.
    pub fn get(&self, i: usize) -> Option<bool> {
        if i >= self.len {
            return None;
        }
        self.words.get(i / 8).map(|b| b >> (7 - i % 8) & 1 == 1)
    }

    /// From a text of zeros and ones.
    pub fn from_text(text: &str) -> Result<Bits<'static>> {
        let len = text.len();
        let mut words = vec![0u8; len.div_ceil(64) * 8];
        for (i, c) in text.bytes().enumerate() {
            match (c, words.get_mut(i / 8)) {
                (b'0', _) => {}
                (b'1', Some(byte)) => *byte |= 0x80 >> (i % 8),
                _ => return Err(Error::text("VARBIT", text)),
            }
        }
        Ok(Bits { len, words: Cow::Owned(words) })
    }
}

const DAY_NANOS: i128 = 86_400_000_000_000;

impl Interval {
    /// Nanoseconds with months of 30 days and days of 24 hours: the sort order. `None` beyond 64 bits.
    pub fn sort_nanos(&self) -> Option<i64> {
        let days = i128::from(self.months) * 30 + i128::from(self.days);
        i64::try_from(days * DAY_NANOS + i128::from(self.nanos)).ok()
    }

    /// The interval of sort nanoseconds, months and days.
    pub fn from_sort_nanos(sort: i64, months: i64, days: i64) -> Option<Interval> {
        let whole = (i128::from(months) * 30 + i128::from(days)) * DAY_NANOS;
        let nanos = i64::try_from(i128::from(sort) - whole).ok()?;
        Some(Interval { months, days, nanos })
    }
}

impl<'a> Datum<'a> {
    /// A string.
    pub fn text(s: &'a str) -> Datum<'a> {
        Datum::String(Cow::Borrowed(s.as_bytes()))
    }

    /// Whether it is NULL.
    pub fn is_null(&self) -> bool {
        matches!(self, Datum::Null)
    }

    /// Whether a key of this datum loses something, so that it is repeated in a value.
    pub fn is_composite(&self) -> bool {
        match self {
            Datum::Decimal(d) => d.is_composite(),
            Datum::Float(f) => *f == 0.0 && f.is_sign_negative(),
            Datum::Collated(_) => true,
            Datum::Array(items) => items.iter().any(Datum::is_composite),
            _ => false,
        }
    }

    /// The kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Datum::Null => "NULL",
            Datum::Bool(_) => "a boolean",
            Datum::Int(_) => "an integer",
            Datum::Float(_) => "a float",
            Datum::Decimal(_) => "a decimal",
            Datum::String(_) => "a string",
            Datum::Collated(_) => "a collated string",
            Datum::Bytes(_) => "bytes",
            Datum::Date(_) => "a date",
            Datum::Time(_) => "a time",
            Datum::TimeTz(_) => "a time with offset",
            Datum::Timestamp(_) => "a timestamp",
            Datum::Interval(_) => "an interval",
            Datum::Uuid(_) => "a UUID",
            Datum::Inet(_) => "an IP address",
            Datum::Bits(_) => "a bit string",
            Datum::Json(_) => "JSON",
            Datum::Array(_) => "an array",
            Datum::Enum(_) => "an enum member",
            Datum::Tuple(_) => "a tuple",
            Datum::Geo(_) => "a spatial object",
            Datum::Box2d(_) => "a box",
            Datum::Oid(_) => "an OID",
            Datum::Opaque(_) => "opaque bytes",
        }
    }

    /// The same value without borrowing.
    pub fn into_owned(self) -> Datum<'static> {
        fn own(c: Cow<'_, [u8]>) -> Cow<'static, [u8]> {
            Cow::Owned(c.into_owned())
        }
        match self {
            Datum::Null => Datum::Null,
            Datum::Bool(v) => Datum::Bool(v),
            Datum::Int(v) => Datum::Int(v),
            Datum::Float(v) => Datum::Float(v),
            Datum::Decimal(v) => Datum::Decimal(v.into_owned()),
            Datum::String(v) => Datum::String(own(v)),
            Datum::Collated(v) => {
                Datum::Collated(Box::new(Collated { text: v.text.map(own), sort_key: own(v.sort_key) }))
            }
            Datum::Bytes(v) => Datum::Bytes(own(v)),
            Datum::Date(v) => Datum::Date(v),
            Datum::Time(v) => Datum::Time(v),
            Datum::TimeTz(v) => Datum::TimeTz(v),
            Datum::Timestamp(v) => Datum::Timestamp(v),
            Datum::Interval(v) => Datum::Interval(v),
            Datum::Uuid(v) => Datum::Uuid(v),
            Datum::Inet(v) => Datum::Inet(v),
            Datum::Bits(v) => Datum::Bits(Bits { len: v.len, words: own(v.words) }),
            Datum::Json(v) => Datum::Json(own(v)),
            Datum::Array(v) => Datum::Array(v.into_iter().map(Datum::into_owned).collect()),
            Datum::Enum(v) => Datum::Enum(own(v)),
            Datum::Tuple(v) => Datum::Tuple(v.into_iter().map(Datum::into_owned).collect()),
            Datum::Geo(v) => Datum::Geo(own(v)),
            Datum::Box2d(v) => Datum::Box2d(v),
            Datum::Oid(v) => Datum::Oid(v),
            Datum::Opaque(v) => Datum::Opaque(own(v)),
        }
    }
}
