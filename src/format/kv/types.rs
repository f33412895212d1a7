//! SQL column types, as far as encoding, text forms and CREATE statements need them.

use std::fmt;
use std::sync::Arc;

/// A SQL column type. Independent of the protobuf messages that describe it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ColumnType {
    /// BOOL
    Bool,
    /// INT2, INT4, INT8: width in bits (16, 32, 64). All are stored alike.
    Int {
        /// Bits: 16, 32 or 64.
        width: u8,
    },
    /// FLOAT4, FLOAT8: width in bits (32, 64). Both are stored as 64 bits.
    Float {
        /// Bits: 32 or 64.
        width: u8,
    },
    /// DECIMAL(precision, scale); 0, 0 without limits.
    Decimal {
        /// Most digits in all; 0: unlimited.
        precision: u32,
        /// Digits after the point.
        scale: u32,
    },
    /// STRING, VARCHAR, CHAR, "char", NAME; width in characters, 0 without limit.
    String {
        /// Which of the spellings.
        kind: StringKind,
        /// Most characters; 0: unlimited.
        width: u32,
    },
    /// STRING COLLATE locale. Keys hold a sort key, values the text.
    Collated {
        /// For example `de` or `en_u_ks_level2`.
        locale: String,
        /// Which of the spellings.
        kind: StringKind,
        /// Most characters; 0: unlimited.
        width: u32,
    },
    /// BYTES
    Bytes,
    /// DATE: days since 1970-01-01.
    Date,
    /// TIME(precision)
    Time {
        /// Digits of the fraction of a second, where given.
        precision: Option<u8>,
    },
    /// TIMETZ(precision)
    TimeTz {
        /// Digits of the fraction of a second, where given.
        precision: Option<u8>,
    },
    /// TIMESTAMP(precision)
    Timestamp {
        /// Digits of the fraction of a second, where given.
        precision: Option<u8>,
    },
    /// TIMESTAMPTZ(precision)
    TimestampTz {
        /// Digits of the fraction of a second, where given.
        precision: Option<u8>,
    },
    /// INTERVAL with an optional field restriction and precision.
    Interval {
        /// Digits of the fraction of a second, where given.
        precision: Option<u8>,
        /// Last field kept, as in YEAR TO MONTH.
        to: Option<IntervalField>,
        /// First field kept.
        from: Option<IntervalField>,
    },
    /// UUID
    Uuid,
    /// INET
    Inet,
    /// JSONB
    Json,
    /// BIT(width) or, when `varying`, VARBIT(width); 0 without limit.
    Bit {
        /// VARBIT.
        varying: bool,
        /// Bits; 0: unlimited.
        width: u32,
    },
    /// An array of another type.
    Array(Box<ColumnType>),
    /// A user-defined enum.
    Enum(Arc<EnumType>),
    /// A tuple; labels may be empty.
    Tuple(Vec<TupleField>),
    /// GEOMETRY with an optional shape and SRID.
    Geometry(GeoShape),
    /// GEOGRAPHY with an optional shape and SRID.
    Geography(GeoShape),
    /// BOX2D
    Box2d,
    /// OID and the REG… types.
    Oid(OidKind),
    /// OIDVECTOR: an array of OID with its own text form.
    OidVector,
    /// INT2VECTOR: an array of INT2 with its own text form.
    Int2Vector,
    /// PG_LSN (23.1+), stored as an integer.
    PgLsn,
    /// TSVECTOR (23.1+): carried, not interpreted.
    TsVector,
    /// TSQUERY (23.1+): carried, not interpreted.
    TsQuery,
    /// VOID or a family that this program does not know: carried, not interpreted.
    Unknown {
        /// The number of the type family in the descriptor.
        family: u32,
    },
}

/// The spellings of a string type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StringKind {
    /// STRING
    Text,
    /// VARCHAR
    Varchar,
    /// CHAR
    Char,
    /// "char"
    QuotedChar,
    /// NAME
    Name,
}

/// OID or one of the types that name an object by its OID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OidKind {
    /// OID
    Oid,
    /// REGCLASS
    Class,
    /// REGTYPE
    Type,
    /// REGPROC
    Proc,
    /// REGPROCEDURE
    Procedure,
    /// REGNAMESPACE
    Namespace,
    /// REGROLE
    Role,
}

/// A field of an INTERVAL restriction, in descriptor order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum IntervalField {
    Year,
    Month,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl IntervalField {
    /// From the descriptor's number: 1 year … 7 millisecond; 0 and others are no restriction.
    pub fn from_number(n: u32) -> Option<IntervalField> {
        use IntervalField::*;
        [Year, Month, Day, Hour, Minute, Second, Millisecond].get(n.checked_sub(1)? as usize).copied()
    }

    /// The SQL keyword.
    pub fn keyword(self) -> &'static str {
        match self {
            IntervalField::Year => "YEAR",
            IntervalField::Month => "MONTH",
            IntervalField::Day => "DAY",
            IntervalField::Hour => "HOUR",
            IntervalField::Minute => "MINUTE",
            IntervalField::Second => "SECOND",
            IntervalField::Millisecond => "MILLISECOND",
        }
    }
}

/// Restrictions of a GEOMETRY or GEOGRAPHY column.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct GeoShape {
    /// Spatial reference system; 0: none given.
    pub srid: i32,
    /// For example `POINT`; empty: any shape.
    pub shape: String,
}

/// A field of a tuple type.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TupleField {
    /// Empty when the tuple has no labels.
    pub label: String,
    /// The field's type.
    pub ty: ColumnType,
}

/// A user-defined enum type. Values are stored as the member's physical bytes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnumType {
    /// Name for messages and casts: `database.schema.name`.
    pub name: String,
    /// Members in their order.
    pub members: Vec<EnumMember>,
}

/// A member of an enum.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct EnumMember {
    /// Stored bytes; their order is the order of the members.
    pub physical: Vec<u8>,
    /// The label that SQL shows.
    pub logical: String,
}

impl EnumType {
    /// The label of stored bytes.
    pub fn logical(&self, physical: &[u8]) -> Option<&str> {
        self.members.iter().find(|m| m.physical == physical).map(|m| m.logical.as_str())
    }

    /// The stored bytes of a label.
    pub fn physical(&self, logical: &str) -> Option<&[u8]> {
        self.members.iter().find(|m| m.logical == logical).map(|m| m.physical.as_slice())
    }
}

impl ColumnType {
    /// STRING without limits.
    pub const TEXT: ColumnType = ColumnType::String { kind: StringKind::Text, width: 0 };
    /// INT8.
    pub const INT8: ColumnType = ColumnType::Int { width: 64 };
    /// FLOAT8.
    pub const FLOAT8: ColumnType = ColumnType::Float { width: 64 };
    /// DECIMAL without limits.
    pub const DECIMAL: ColumnType = ColumnType::Decimal { precision: 0, scale: 0 };
    /// INTERVAL without limits.
    pub const INTERVAL: ColumnType = ColumnType::Interval { precision: None, to: None, from: None };

    /// Whether a key of this type can lose information, so that the datum may be repeated in a value.
    pub fn can_be_composite(&self) -> bool {
        match self {
            ColumnType::Float { .. } | ColumnType::Decimal { .. } | ColumnType::Collated { .. } => true,
            ColumnType::Array(element) => element.can_be_composite(),
            _ => false,
        }
    }
}

/// The SQL spelling that CockroachDB prints in SHOW CREATE, for example `DECIMAL(10,2)`.
impl fmt::Display for ColumnType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ColumnType::Bool => f.write_str("BOOL"),
            ColumnType::Int { width } => match width {
                16 => f.write_str("INT2"),
                32 => f.write_str("INT4"),
                _ => f.write_str("INT8"),
            },
            ColumnType::Float { width: 32 } => f.write_str("FLOAT4"),
            ColumnType::Float { .. } => f.write_str("FLOAT8"),
            ColumnType::Decimal { precision: 0, .. } => f.write_str("DECIMAL"),
            ColumnType::Decimal { precision, scale: 0 } => write!(f, "DECIMAL({precision})"),
            ColumnType::Decimal { precision, scale } => write!(f, "DECIMAL({precision},{scale})"),
            ColumnType::String { kind, width } => string_name(f, *kind, *width),
            ColumnType::Collated { locale, kind, width } => {
                string_name(f, *kind, *width)?;
                write!(f, " COLLATE {}", locale_name(locale))
            }
            ColumnType::Bytes => f.write_str("BYTES"),
            ColumnType::Date => f.write_str("DATE"),
            ColumnType::Time { precision } => with_precision(f, "TIME", *precision),
            ColumnType::TimeTz { precision } => with_precision(f, "TIMETZ", *precision),
            ColumnType::Timestamp { precision } => with_precision(f, "TIMESTAMP", *precision),
            ColumnType::TimestampTz { precision } => with_precision(f, "TIMESTAMPTZ", *precision),
            ColumnType::Interval { precision, to, from } => interval_name(f, *precision, *to, *from),
            ColumnType::Uuid => f.write_str("UUID"),
            ColumnType::Inet => f.write_str("INET"),
            ColumnType::Json => f.write_str("JSONB"),
            ColumnType::Bit { varying, width } => {
                f.write_str(if *varying { "VARBIT" } else { "BIT" })?;
                match (varying, width) {
                    (_, 0) | (false, 1) => Ok(()),
                    (_, n) => write!(f, "({n})"),
                }
            }
            ColumnType::Array(element) => match element.as_ref() {
                ColumnType::Collated { locale, kind, width } => {
                    string_name(f, *kind, *width)?;
                    write!(f, "[] COLLATE {}", locale_name(locale))
                }
                other => write!(f, "{other}[]"),
            },
            ColumnType::Enum(e) => f.write_str(&e.name),
            ColumnType::Tuple(_) => f.write_str("RECORD"),
            ColumnType::Geometry(shape) => geo_name(f, "GEOMETRY", shape),
            ColumnType::Geography(shape) => geo_name(f, "GEOGRAPHY", shape),
            ColumnType::Box2d => f.write_str("BOX2D"),
            ColumnType::Oid(kind) => f.write_str(match kind {
                OidKind::Oid => "OID",
                OidKind::Class => "REGCLASS",
                OidKind::Type => "REGTYPE",
                OidKind::Proc => "REGPROC",
                OidKind::Procedure => "REGPROCEDURE",
                OidKind::Namespace => "REGNAMESPACE",
                OidKind::Role => "REGROLE",
            }),
            ColumnType::OidVector => f.write_str("OIDVECTOR"),
            ColumnType::Int2Vector => f.write_str("INT2VECTOR"),
            ColumnType::PgLsn => f.write_str("PG_LSN"),
            ColumnType::TsVector => f.write_str("TSVECTOR"),
            ColumnType::TsQuery => f.write_str("TSQUERY"),
            ColumnType::Unknown { .. } => f.write_str("UNKNOWN"),
        }
    }
}

/// Dashes and underscores mean the same; the server shows the latter.
fn locale_name(locale: &str) -> String {
    locale.replace('-', "_")
}

fn string_name(f: &mut fmt::Formatter<'_>, kind: StringKind, width: u32) -> fmt::Result {
    match kind {
        StringKind::Text => f.write_str("STRING")?,
        StringKind::Varchar => f.write_str("VARCHAR")?,
        StringKind::Char if width <= 1 => return f.write_str("CHAR"),
        StringKind::Char => f.write_str("CHAR")?,
        StringKind::QuotedChar => return f.write_str("\"char\""),
        StringKind::Name => return f.write_str("NAME"),
    }
    if width > 0 { write!(f, "({width})") } else { Ok(()) }
}

fn with_precision(f: &mut fmt::Formatter<'_>, name: &str, precision: Option<u8>) -> fmt::Result {
    match precision {
        Some(p) => write!(f, "{name}({p})"),
        None => f.write_str(name),
    }
}

fn interval_name(
    f: &mut fmt::Formatter<'_>,
    precision: Option<u8>,
    to: Option<IntervalField>,
    from: Option<IntervalField>,
) -> fmt::Result {
    f.write_str("INTERVAL")?;
    if let Some(from) = from {
        write!(f, " {} TO", from.keyword())?;
    }
    if let Some(to) = to {
        write!(f, " {}", to.keyword())?;
    }
    match precision {
        Some(p) => write!(f, "({p})"),
        None => Ok(()),
    }
}

fn geo_name(f: &mut fmt::Formatter<'_>, name: &str, shape: &GeoShape) -> fmt::Result {
    match (shape.shape.as_str(), shape.srid) {
        ("", 0) => f.write_str(name),
        ("", srid) => write!(f, "{name}(GEOMETRY,{srid})"),
        (s, 0) => write!(f, "{name}({s})"),
        (s, srid) => write!(f, "{name}({s},{srid})"),
    }
}
