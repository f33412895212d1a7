//! Table layouts from the manifests that the real server decoded to JSON.

use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use userfilefs::format::kv::layout::{
    Ancestor, Column, Direction, Family, IndexKind, IndexLayout, KeyColumn, TableLayout,
};
use userfilefs::format::kv::types::{
    ColumnType, EnumMember, EnumType, GeoShape, OidKind, StringKind, TupleField,
};

/// Every table of a decoded manifest that has rows of its own, and the ids of its sequences.
pub struct Schema {
    pub tables: Vec<Arc<TableLayout>>,
    pub sequences: BTreeMap<u32, String>,
}

fn number(v: &Value) -> u32 {
    v.as_u64().unwrap_or(0) as u32
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().map(|a| a.iter().map(number).collect()).unwrap_or_default()
}

fn name(v: &Value) -> String {
    v.as_str().unwrap_or_default().to_string()
}

pub fn base64(text: &str) -> Vec<u8> {
    let value = |c: u8| {
        b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".iter().position(|b| *b == c)
    };
    let bits: Vec<usize> = text.bytes().filter_map(value).collect();
    let mut out = Vec::new();
    for four in bits.chunks(4) {
        let word = four.iter().fold(0, |w, b| w << 6 | b) << (6 * (4 - four.len()));
        out.extend((0..four.len() - 1).map(|i| (word >> (16 - 8 * i)) as u8));
    }
    out
}

pub fn schema(manifest: &Value) -> Schema {
    let mut enums = BTreeMap::new();
    let descriptors = manifest["descriptors"].as_array().expect("descriptors");
    for d in descriptors {
        let t = &d["type"];
        if t.is_object() && t["enumMembers"].as_array().is_some_and(|m| !m.is_empty()) {
            let members = t["enumMembers"].as_array().expect("members");
            let members = members.iter().map(|m| EnumMember {
                physical: base64(m["physicalRepresentation"].as_str().expect("bytes")),
                logical: name(&m["logicalRepresentation"]),
            });
            let ty = EnumType { name: name(&t["name"]), members: members.collect() };
            enums.insert(number(&t["id"]), Arc::new(ty));
        }
    }
    let mut found = Schema { tables: Vec::new(), sequences: BTreeMap::new() };
    for d in descriptors {
        let t = &d["table"];
        if !t.is_object() || (!name(&t["viewQuery"]).is_empty() && t["isMaterializedView"] != true) {
            continue;
        }
        if t["sequenceOpts"].is_object() {
            found.sequences.insert(number(&t["id"]), name(&t["name"]));
        } else {
            found.tables.push(Arc::new(table(t, &enums)));
        }
    }
    found
}

fn table(t: &Value, enums: &BTreeMap<u32, Arc<EnumType>>) -> TableLayout {
    let list = |v: &Value| v.as_array().cloned().unwrap_or_default();
    TableLayout {
        key_prefix: Vec::new(),
        table_id: number(&t["id"]),
        name: name(&t["name"]),
        columns: list(&t["columns"])
            .iter()
            .map(|c| Column {
                id: number(&c["id"]),
                name: name(&c["name"]),
                ty: column_type(&c["type"], enums),
                nullable: c["nullable"] == true,
                is_virtual: c["virtual"] == true,
            })
            .collect(),
        primary: index(&t["primaryIndex"]),
        families: list(&t["families"])
            .iter()
            .map(|f| Family {
                id: number(&f["id"]),
                column_ids: ids(&f["columnIds"]),
                default_column_id: number(&f["defaultColumnId"]),
            })
            .collect(),
        indexes: list(&t["indexes"]).iter().map(index).collect(),
    }
}

fn index(i: &Value) -> IndexLayout {
    let directions = i["columnDirections"].as_array().cloned().unwrap_or_default();
    IndexLayout {
        id: number(&i["id"]),
        name: name(&i["name"]),
        unique: i["unique"] == true,
        kind: if i["type"] == "INVERTED" { IndexKind::Inverted } else { IndexKind::Forward },
        version: number(&i["version"]),
        columns: ids(&i["columnIds"])
            .iter()
            .zip(directions)
            .map(|(id, d)| KeyColumn {
                id: *id,
                direction: if d == "DESC" { Direction::Desc } else { Direction::Asc },
            })
            .collect(),
        suffix_ids: ids(&i["extraColumnIds"]),
        stored_ids: ids(&i["storeColumnIds"]),
        composite_ids: ids(&i["compositeColumnIds"]),
        primary_encoding: i["encodingType"] == 1,
        partial: !name(&i["predicate"]).is_empty(),
        sharded: i["sharded"]["isSharded"] == true,
        ancestors: i["interleave"]["ancestors"]
            .as_array()
            .map(|a| {
                a.iter()
                    .map(|a| Ancestor {
                        table_id: number(&a["tableId"]),
                        index_id: number(&a["indexId"]),
                        shared_prefix_len: number(&a["sharedPrefixLen"]),
                    })
                    .collect()
            })
            .unwrap_or_default(),
    }
}

fn column_type(t: &Value, enums: &BTreeMap<u32, Arc<EnumType>>) -> ColumnType {
    let width = number(&t["width"]);
    let precision = (t["timePrecisionIsSet"] == true).then(|| number(&t["precision"]) as u8);
    let kind = match number(&t["visibleType"]) {
        7 => StringKind::Varchar,
        8 => StringKind::Char,
        9 => StringKind::QuotedChar,
        _ => StringKind::Text,
    };
    if number(&t["oid"]) == 19 {
        return ColumnType::String { kind: StringKind::Name, width };
    }
    match t["family"].as_str().expect("family") {
        "BoolFamily" => ColumnType::Bool,
        "IntFamily" => ColumnType::Int { width: width as u8 },
        "FloatFamily" => ColumnType::Float { width: width as u8 },
        "DecimalFamily" => ColumnType::Decimal { precision: number(&t["precision"]), scale: width },
        "StringFamily" => ColumnType::String { kind, width },
        "CollatedStringFamily" => ColumnType::Collated { locale: name(&t["locale"]), kind, width },
        "BytesFamily" => ColumnType::Bytes,
        "DateFamily" => ColumnType::Date,
        "TimeFamily" => ColumnType::Time { precision },
        "TimeTZFamily" => ColumnType::TimeTz { precision },
        "TimestampFamily" => ColumnType::Timestamp { precision },
        "TimestampTZFamily" => ColumnType::TimestampTz { precision },
        "IntervalFamily" => ColumnType::Interval { precision, to: None, from: None },
        "UuidFamily" => ColumnType::Uuid,
        "INetFamily" => ColumnType::Inet,
        "JsonFamily" => ColumnType::Json,
        "BitFamily" => ColumnType::Bit { varying: number(&t["visibleType"]) == 10, width },
        "OidFamily" => ColumnType::Oid(OidKind::Oid),
        "ArrayFamily" => ColumnType::Array(Box::new(column_type(&t["arrayContents"], enums))),
        "EnumFamily" => ColumnType::Enum(enums[&(number(&t["oid"]) - 100_000)].clone()),
        "GeometryFamily" => ColumnType::Geometry(GeoShape::default()),
        "GeographyFamily" => ColumnType::Geography(GeoShape::default()),
        "Box2DFamily" => ColumnType::Box2d,
        "TupleFamily" => ColumnType::Tuple(
            t["tupleContents"]
                .as_array()
                .expect("contents")
                .iter()
                .map(|t| TupleField { label: String::new(), ty: column_type(t, enums) })
                .collect(),
        ),
        other => panic!("family {other}"),
    }
}
