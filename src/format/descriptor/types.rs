//! The protobuf form of a column's type, translated.

use std::sync::Arc;

use crate::format::kv::types::{
    ColumnType, EnumMember, EnumType, GeoShape, IntervalField, OidKind, StringKind, TupleField,
};

use super::Error;
use super::proto::{InternalType, TypeDescriptor};

/// Object ids of user-defined types are their descriptor ids plus this.
pub const USER_TYPE_OID_BASE: u32 = 100_000;
const NESTING_MAX: usize = 16;

/// Finds user-defined types by descriptor id.
pub trait TypeResolver {
    /// The descriptor, if the backup has it.
    fn type_by_id(&self, id: u32) -> Option<&TypeDescriptor>;
    /// `schema.name`, quoted where needed.
    fn type_name(&self, ty: &TypeDescriptor) -> String;
}

/// Descriptor id of a user-defined type's object id.
pub fn user_type_id(oid: u32) -> Option<u32> {
    oid.checked_sub(USER_TYPE_OID_BASE).filter(|&id| id > 0)
}

/// Translates the type of a column.
pub fn column_type(ty: &InternalType, types: &dyn TypeResolver) -> Result<ColumnType, Error> {
    translate(ty, types, 0)
}

fn precision(ty: &InternalType) -> Option<u8> {
    (ty.time_precision_is_set() || ty.precision() > 0)
        .then(|| u8::try_from(ty.precision()).ok().filter(|&p| p <= 6))
        .flatten()
}

fn size(value: i32) -> u32 {
    u32::try_from(value).unwrap_or(0)
}

fn string_kind(ty: &InternalType) -> StringKind {
    match (ty.family(), ty.oid(), ty.visible_type()) {
        (11, _, _) | (_, 19, _) => StringKind::Name,
        (_, 1043, _) | (_, 0, 7) => StringKind::Varchar,
        (_, 1042, _) | (_, 0, 8) => StringKind::Char,
        (_, 18, _) | (_, 0, 9) => StringKind::QuotedChar,
        (10, _, 7) => StringKind::Varchar,
        (10, _, 8) => StringKind::Char,
        _ => StringKind::Text,
    }
}

fn interval(ty: &InternalType) -> ColumnType {
    let field = ty.interval_duration_field.unwrap_or_default();
    ColumnType::Interval {
        precision: precision(ty),
        to: IntervalField::from_number(size(field.duration_type())),
        from: IntervalField::from_number(size(field.from_duration_type())),
    }
}

fn oid_kind(oid: u32) -> OidKind {
    match oid {
        2205 => OidKind::Class,
        2206 => OidKind::Type,
        24 => OidKind::Proc,
        2202 => OidKind::Procedure,
        4089 => OidKind::Namespace,
        4096 => OidKind::Role,
        _ => OidKind::Oid,
    }
}

fn geo_shape(ty: &InternalType) -> GeoShape {
    let meta = ty.geo_metadata.unwrap_or_default();
    let number = meta.shape_type();
    let base = match number % 1000 {
        1 => "POINT",
        2 => "LINESTRING",
        3 => "POLYGON",
        4 => "MULTIPOINT",
        5 => "MULTILINESTRING",
        6 => "MULTIPOLYGON",
        7 => "GEOMETRYCOLLECTION",
        8 => "GEOMETRY",
        _ => "",
    };
    let dimensions = match number / 1000 {
        1 => "Z",
        2 => "M",
        3 => "ZM",
        _ => "",
    };
    let shape = if base.is_empty() { String::new() } else { format!("{base}{dimensions}") };
    GeoShape { srid: meta.srid(), shape }
}

/// The members of an enum; `None` when it is not one.
pub fn enum_type(ty: &TypeDescriptor, name: String) -> EnumType {
    EnumType {
        name,
        members: ty
            .enum_members
            .iter()
            .map(|m| EnumMember { physical: m.physical().to_vec(), logical: m.logical().to_owned() })
            .collect(),
    }
}

fn user_type(ty: &InternalType, types: &dyn TypeResolver) -> Result<ColumnType, Error> {
    let found = user_type_id(ty.oid()).and_then(|id| types.type_by_id(id));
    let Some(descriptor) = found else {
        return Err(Error::Type(format!("type with OID {} is not in the backup", ty.oid())));
    };
    Ok(ColumnType::Enum(Arc::new(enum_type(descriptor, types.type_name(descriptor)))))
}

fn translate(ty: &InternalType, types: &dyn TypeResolver, depth: usize) -> Result<ColumnType, Error> {
    if depth > NESTING_MAX {
        return Err(Error::Type("nested too deeply".into()));
    }
    Ok(match ty.family() {
        0 => ColumnType::Bool,
        1 => ColumnType::Int {
            width: match (ty.oid(), ty.width()) {
                (21, _) | (0, 16) => 16,
                (23, _) | (0, 32) => 32,
                (20, _) => 64,
                (_, 16) => 16,
                (_, 32) => 32,
                _ => 64,
            },
        },
        2 => ColumnType::Float { width: if ty.width() == 32 || ty.oid() == 700 { 32 } else { 64 } },
        3 => ColumnType::Decimal { precision: size(ty.precision()), scale: size(ty.width()) },
        4 => ColumnType::Date,
        5 => ColumnType::Timestamp { precision: precision(ty) },
        6 => interval(ty),
        7 | 11 => ColumnType::String { kind: string_kind(ty), width: size(ty.width()) },
        8 => ColumnType::Bytes,
        9 => ColumnType::TimestampTz { precision: precision(ty) },
        10 => ColumnType::Collated {
            locale: ty.locale().to_owned(),
            kind: string_kind(ty),
            width: size(ty.width()),
        },
        12 => ColumnType::Oid(oid_kind(ty.oid())),
        14 => ColumnType::Uuid,
        15 => match (ty.oid(), &ty.array_contents) {
            (22, _) => ColumnType::Int2Vector,
            (30, _) => ColumnType::OidVector,
            (_, Some(contents)) => ColumnType::Array(Box::new(translate(contents, types, depth + 1)?)),
            (_, None) => return Err(Error::Type("array without element type".into())),
        },
        16 => ColumnType::Inet,
        17 => ColumnType::Time { precision: precision(ty) },
        18 => ColumnType::Json,
        19 => ColumnType::TimeTz { precision: precision(ty) },
        20 => {
            let labels = ty.tuple_labels.iter().map(String::as_str).chain(std::iter::repeat(""));
            let fields = ty.tuple_contents.iter().zip(labels).map(|(contents, label)| {
                Ok(TupleField { label: label.to_owned(), ty: translate(contents, types, depth + 1)? })
            });
            ColumnType::Tuple(fields.collect::<Result<_, Error>>()?)
        }
        21 => ColumnType::Bit {
            varying: ty.oid() == 1562 || (ty.oid() == 0 && ty.visible_type() == 10),
            width: size(ty.width()),
        },
        22 => ColumnType::Geometry(geo_shape(ty)),
        23 => ColumnType::Geography(geo_shape(ty)),
        24 => user_type(ty, types)?,
        25 => ColumnType::Box2d,
        28 => ColumnType::TsQuery,
        29 => ColumnType::TsVector,
        30 => ColumnType::PgLsn,
        200 => ColumnType::Int2Vector,
        201 => ColumnType::OidVector,
        family => ColumnType::Unknown { family: size(family) },
    })
}

/// The protobuf form of a type, with the fields that 21.1 writes. `user_type` gives the descriptor ids of an
/// enum and of its array type by the enum's name.
pub fn internal_type(
    ty: &ColumnType,
    user_type: &dyn Fn(&str) -> Option<(u32, u32)>,
) -> Result<InternalType, Error> {
    let (family, width, precision, visible, oid) = numbers(ty)?;
    let mut out = InternalType {
        family: Some(family),
        width: Some(width),
        precision: Some(precision),
        visible_type: Some(visible),
        oid: Some(oid),
        time_precision_is_set: Some(false),
        ..InternalType::default()
    };
    match ty {
        ColumnType::Time { precision: Some(_) }
        | ColumnType::TimeTz { precision: Some(_) }
        | ColumnType::Timestamp { precision: Some(_) }
        | ColumnType::TimestampTz { precision: Some(_) } => out.time_precision_is_set = Some(true),
        ColumnType::Interval { precision, to, from } => {
            out.time_precision_is_set = Some(precision.is_some());
            let number = |field: &Option<IntervalField>| field.map_or(0, |field| field as i32 + 1);
            out.interval_duration_field = Some(super::proto::IntervalField {
                duration_type: Some(number(to)),
                from_duration_type: Some(number(from)),
            });
        }
        ColumnType::Collated { locale, .. } => out.locale = Some(locale.clone()),
        ColumnType::Geometry(shape) | ColumnType::Geography(shape) => {
            out.geo_metadata = Some(super::proto::GeoMetadata {
                srid: Some(shape.srid),
                shape_type: Some(shape_number(&shape.shape)),
            });
        }
        ColumnType::Enum(e) => {
            let (id, array) = user_type(&e.name)
                .ok_or_else(|| Error::Type(format!("type {} has no descriptor", e.name)))?;
            out.oid = Some(USER_TYPE_OID_BASE.saturating_add(id));
            out.udt_metadata = Some(super::proto::UdtMetadata {
                array_type_oid: Some(USER_TYPE_OID_BASE.saturating_add(array)),
            });
        }
        ColumnType::Array(element) => {
            let contents = internal_type(element, user_type)?;
            out.array_elem_type = contents.family;
            (out.width, out.precision, out.visible_type) =
                (contents.width, contents.precision, contents.visible_type);
            out.locale = contents.locale.clone();
            out.oid = Some(match contents.udt_metadata {
                Some(user) => user.array_type_oid(),
                None => array_oid(contents.oid()),
            });
            out.array_contents = Some(Box::new(contents));
        }
        _ => {}
    }
    Ok(out)
}

fn shape_number(shape: &str) -> i32 {
    let (base, dimensions) = match shape {
        s if s.ends_with("ZM") => (s.trim_end_matches("ZM"), 3000),
        s if s.ends_with('Z') => (s.trim_end_matches('Z'), 1000),
        s if s.ends_with('M') => (s.trim_end_matches('M'), 2000),
        s => (s, 0),
    };
    let number = match base {
        "POINT" => 1,
        "LINESTRING" => 2,
        "POLYGON" => 3,
        "MULTIPOINT" => 4,
        "MULTILINESTRING" => 5,
        "MULTIPOLYGON" => 6,
        "GEOMETRYCOLLECTION" => 7,
        "GEOMETRY" => 8,
        _ => return 0,
    };
    number + dimensions
}

/// Family, width, precision, visible type and object id.
fn numbers(ty: &ColumnType) -> Result<(i32, i32, i32, i32, u32), Error> {
    let int = |n: u32| i32::try_from(n).map_err(|_| Error::Type("width is too large".into()));
    let digits = |precision: &Option<u8>| precision.map_or(0, i32::from);
    Ok(match ty {
        ColumnType::Bool => (0, 0, 0, 0, 16),
        ColumnType::Int { width: 16 } => (1, 16, 0, 0, 21),
        ColumnType::Int { width: 32 } => (1, 32, 0, 0, 23),
        ColumnType::Int { .. } => (1, 64, 0, 0, 20),
        ColumnType::Float { width: 32 } => (2, 32, 0, 5, 700),
        ColumnType::Float { .. } => (2, 64, 0, 0, 701),
        ColumnType::Decimal { precision, scale } => (3, int(*scale)?, int(*precision)?, 0, 1700),
        ColumnType::Date => (4, 0, 0, 0, 1082),
        ColumnType::Timestamp { precision } => (5, 0, digits(precision), 0, 1114),
        ColumnType::TimestampTz { precision } => (9, 0, digits(precision), 0, 1184),
        ColumnType::Interval { precision, .. } => (6, 0, digits(precision), 0, 1186),
        ColumnType::String { kind, width } | ColumnType::Collated { kind, width, .. } => {
            let (visible, oid) = match kind {
                StringKind::Text => (0, 25),
                StringKind::Varchar => (7, 1043),
                StringKind::Char => (8, 1042),
                StringKind::QuotedChar => (9, 18),
                StringKind::Name => (0, 19),
            };
            let family = match (ty, kind) {
                (ColumnType::Collated { .. }, _) => 10,
                (_, StringKind::Name) => 11,
                _ => 7,
            };
            (family, int(*width)?, 0, visible, oid)
        }
        ColumnType::Bytes => (8, 0, 0, 0, 17),
        ColumnType::Oid(kind) => {
            let oid = match kind {
                OidKind::Oid => 26,
                OidKind::Class => 2205,
                OidKind::Type => 2206,
                OidKind::Proc => 24,
                OidKind::Procedure => 2202,
                OidKind::Namespace => 4089,
                OidKind::Role => 4096,
            };
            (12, 0, 0, 0, oid)
        }
        ColumnType::Uuid => (14, 0, 0, 0, 2950),
        ColumnType::Array(_) => (15, 0, 0, 0, 0),
        ColumnType::Inet => (16, 0, 0, 0, 869),
        ColumnType::Time { precision } => (17, 0, digits(precision), 0, 1083),
        ColumnType::Json => (18, 0, 0, 0, 3802),
        ColumnType::TimeTz { precision } => (19, 0, digits(precision), 0, 1266),
        ColumnType::Bit { varying: false, width } => (21, int(*width)?, 0, 0, 1560),
        ColumnType::Bit { width, .. } => (21, int(*width)?, 0, 10, 1562),
        ColumnType::Geometry(_) => (22, 0, 0, 0, 90_000),
        ColumnType::Geography(_) => (23, 0, 0, 0, 90_002),
        ColumnType::Enum(_) => (24, 0, 0, 0, 0),
        ColumnType::Box2d => (25, 0, 0, 0, 90_004),
        ColumnType::Tuple(_)
        | ColumnType::OidVector
        | ColumnType::Int2Vector
        | ColumnType::PgLsn
        | ColumnType::TsVector
        | ColumnType::TsQuery
        | ColumnType::Unknown { .. } => return Err(Error::Type(format!("{ty} cannot be written"))),
    })
}

/// Object id of the array type of a built-in type.
fn array_oid(element: u32) -> u32 {
    const ARRAYS: &[(u32, u32)] = &[
        (16, 1000),
        (20, 1016),
        (23, 1007),
        (21, 1005),
        (701, 1022),
        (700, 1021),
        (1700, 1231),
        (1082, 1182),
        (1114, 1115),
        (1184, 1185),
        (1186, 1187),
        (25, 1009),
        (1043, 1015),
        (1042, 1014),
        (18, 1002),
        (19, 1003),
        (17, 1001),
        (26, 1028),
        (2205, 2210),
        (2206, 2211),
        (24, 1008),
        (2202, 2207),
        (4089, 4090),
        (4096, 4097),
        (2950, 2951),
        (869, 1041),
        (3802, 3807),
        (1083, 1183),
        (1266, 1270),
        (1560, 1561),
        (1562, 1563),
        (90_000, 90_001),
        (90_002, 90_003),
        (90_004, 90_005),
    ];
    ARRAYS.iter().find(|(own, _)| *own == element).map_or(0, |(_, array)| *array)
}
