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
