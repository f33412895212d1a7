//! Manifests and descriptors that a real server wrote.

use std::collections::BTreeMap;
use std::path::Path;

use prost::Message;
use userfilefs::format::descriptor::create::Qualify;
use userfilefs::format::descriptor::types::{TypeResolver, internal_type};
use userfilefs::format::descriptor::{Catalog, Descriptor, proto::DescriptorProto};
use userfilefs::format::manifest::{self, Manifest, envelope, names, wire};

use crate::support::fixtures::{LAYERS, fixtures};

fn stored(folder: &Path) -> Vec<u8> {
    std::fs::read(folder.join("BACKUP_MANIFEST"))
        .or_else(|_| std::fs::read(folder.join("BACKUP")))
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Fields of a message in order, those of number `map` (whose order is not defined) sorted.
fn canonical(message: &[u8], map: u32) -> Vec<Vec<u8>> {
    let mut fields: Vec<(u32, Vec<u8>)> =
        wire::fields(message).map(|field| field.map(|f| (f.number, f.raw.to_vec())).unwrap()).collect();
    fields.sort_by(|a, b| {
        a.0.cmp(&b.0).then_with(|| if a.0 == map { a.1.cmp(&b.1) } else { a.1.len().cmp(&a.1.len()) })
    });
    fields.into_iter().map(|(_, raw)| raw).collect()
}

#[test]
fn manifests_come_back_byte_for_byte() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let bytes = envelope::unpack(&stored(&root.join(layer)), envelope::UNPACKED_LEN_MAX).unwrap();
        let manifest = Manifest::decode(&bytes).unwrap();
        assert!(manifest.unknown.is_empty(), "{layer}: {:x?}", manifest.unknown);
        let again = manifest.encode();
        for (again, first) in canonical(&again, 23).iter().zip(canonical(&bytes, 23)) {
            assert_eq!(hex(again), hex(&first), "{layer}");
        }
        assert_eq!(again.len(), bytes.len(), "{layer}");
        manifest.require_readable().unwrap();
        let packed = manifest.to_stored();
        assert_eq!(Manifest::from_stored(&packed).unwrap(), manifest);
    }
}

#[test]
fn descriptors_come_back_byte_for_byte() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let manifest = Manifest::from_stored(&stored(&root.join(layer))).unwrap();
        for raw in &manifest.descriptors {
            // Without the upgrade of old forms, which Descriptor::decode does.
            let proto = DescriptorProto::decode(raw.as_slice()).unwrap();
            let name = Descriptor::decode(raw).unwrap().name().to_owned();
            assert_eq!(hex(&proto.encode_to_vec()), hex(raw), "{layer} {name}");
        }
    }
}

#[test]
fn checksums_and_statistics_match() {
    let Some(root) = fixtures() else { return };
    let mut sums = 0;
    for layer in LAYERS {
        let folder = root.join(layer);
        if let Ok(sum) = std::fs::read(folder.join("BACKUP_MANIFEST-CHECKSUM")) {
            envelope::verify(&stored(&folder), &sum).unwrap();
            sums += 1;
        }
        if let Ok(bytes) = std::fs::read(folder.join(names::STATISTICS)) {
            let table = manifest::statistics_from_stored(&bytes).unwrap();
            assert_eq!(table.encode_to_vec(), bytes, "{layer}");
        }
    }
    assert!(sums >= 8, "only {sums} checksum files");
}

#[test]
fn latest_points_at_the_newest_backup() {
    let Some(root) = fixtures() else { return };
    let content = std::fs::read(root.join("backups/bank-into/backup/LATEST")).unwrap();
    let folder = names::latest_folder(&content).unwrap();
    let manifest =
        Manifest::from_stored(&stored(&root.join("backups/bank-into/backup").join(&folder))).unwrap();
    assert_eq!(names::full_folder(manifest.end().wall_time), folder);
    assert_eq!(names::latest_content(&folder).as_bytes(), content);
}

/// The statements of a `show_create.txt`, by the name on their comment line, without COMMENT ON.
fn recorded_creates(text: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for block in text.split("\n\n") {
        let Some((head, body)) = block.trim().split_once('\n') else { continue };
        let Some(name) =
            head.strip_prefix("-- ").and_then(|head| head.rsplit_once("view ").or(head.split_once(' ')))
        else {
            continue;
        };
        let body = body.split("\nCOMMENT ON ").next().unwrap();
        found.insert(name.1.to_owned(), body.trim_end_matches(';').to_owned());
    }
    found
}

#[test]
fn create_statements_equal_the_servers() {
    let Some(root) = fixtures() else { return };
    let mut compared = 0;
    for layer in LAYERS {
        let folder = root.join(layer);
        let top = folder.ancestors().find(|dir| dir.join("dump/show_create.txt").is_file());
        let Some(top) = top else { continue };
        let recorded = recorded_creates(&std::fs::read_to_string(top.join("dump/show_create.txt")).unwrap());
        let catalog = Catalog::of_manifest(&Manifest::from_stored(&stored(&folder)).unwrap()).unwrap();
        for table in catalog.tables() {
            let name = format!("{}.{}", catalog.table_schema(table), table.name());
            let Some(want) = recorded.get(&name) else { continue };
            assert_eq!(&catalog.create_statement(table, Qualify::Schema).unwrap(), want, "{layer} {name}");
            compared += 1;
        }
        assert!(!recorded.is_empty());
    }
    assert!(compared >= 73, "{compared}");
}

#[test]
fn every_table_has_a_layout() {
    let Some(root) = fixtures() else { return };
    for layer in LAYERS {
        let catalog =
            Catalog::of_manifest(&Manifest::from_stored(&stored(&root.join(layer))).unwrap()).unwrap();
        for table in catalog.tables().filter(|table| table.has_data()) {
            let layout =
                catalog.layout(table).unwrap_or_else(|error| panic!("{layer} {}: {error}", table.name()));
            assert_eq!(layout.columns.len(), table.columns.len());
        }
    }
}

#[test]
fn damaged_manifests_are_errors_or_other_manifests_never_panics() {
    let Some(root) = fixtures() else { return };
    let stored = stored(&root.join("backups/x-to"));
    let plain = envelope::unpack(&stored, envelope::UNPACKED_LEN_MAX).unwrap();
    let look = |bytes: &[u8]| {
        if let Ok(manifest) = Manifest::from_stored(bytes) {
            let _ = manifest.encode();
            if let Ok(catalog) = Catalog::of_manifest(&manifest) {
                for table in catalog.tables() {
                    let _ = catalog.create_statement(table, Qualify::No);
                    let _ = catalog.layout(table);
                }
                let _ = catalog.objects();
            }
        }
    };
    for len in 0..plain.len() {
        look(&plain[..len]);
    }
    for at in 0..plain.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = plain.clone();
            bytes[at] ^= flip;
            look(&bytes);
        }
    }
    for at in 0..stored.len() {
        let mut bytes = stored.clone();
        bytes[at] ^= 0x55;
        look(&bytes);
        look(&stored[..at]);
        assert!(envelope::verify(&bytes, &envelope::checksum(&stored)).is_err());
    }
}

#[test]
fn types_come_back_as_stored() {
    let Some(root) = fixtures() else { return };
    let mut compared = 0;
    for layer in LAYERS.iter().filter(|layer| layer.starts_with("backups/")) {
        let catalog =
            Catalog::of_manifest(&Manifest::from_stored(&stored(&root.join(layer))).unwrap()).unwrap();
        let user_type = |name: &str| {
            catalog.descriptors().iter().find_map(|descriptor| match descriptor {
                Descriptor::Type(ty) if catalog.type_name(ty) == name => Some((ty.id(), ty.array_type_id())),
                _ => None,
            })
        };
        for column in catalog.tables().flat_map(|table| &table.columns) {
            let want = column.r#type.as_ref().unwrap();
            let got = internal_type(&catalog.column_type(want).unwrap(), &user_type).unwrap();
            assert_eq!(&got, want, "{layer} {}", column.name());
            compared += 1;
        }
    }
    assert!(compared > 200, "{compared}");
}

#[test]
fn json_equals_the_servers() {
    fn compare(got: &serde_json::Value, want: &serde_json::Value, at: &str) {
        use serde_json::Value::{Array, Object};
        match (got, want) {
            (Object(got), Object(want)) => {
                let keys: std::collections::BTreeSet<&String> = got.keys().chain(want.keys()).collect();
                for key in keys {
                    let of = |object: &serde_json::Map<String, serde_json::Value>| object.get(key).cloned();
                    let (got, want) =
                        (of(got).expect(at), want.get(key).unwrap_or_else(|| panic!("{at}.{key}")));
                    compare(&got, want, &format!("{at}.{key}"));
                }
            }
            (Array(got), Array(want)) => {
                assert_eq!(got.len(), want.len(), "{at}");
                got.iter()
                    .zip(want)
                    .enumerate()
                    .for_each(|(i, (got, want))| compare(got, want, &format!("{at}[{i}]")));
            }
            _ => assert_eq!(got, want, "{at}"),
        }
    }
    let Some(root) = fixtures() else { return };
    for (layer, recorded) in [
        ("backups/bank-to/backup", "backups/bank-to/manifest"),
        ("backups/keyenc/backup", "backups/keyenc/manifest"),
        ("backups/extra/backup", "backups/extra/manifest"),
    ] {
        let plain = envelope::unpack(&stored(&root.join(layer)), envelope::UNPACKED_LEN_MAX).unwrap();
        let text = manifest::json::manifest(&plain).unwrap();
        let want = std::fs::read_to_string(root.join(recorded).join("BACKUP_MANIFEST.json")).unwrap();
        let parse = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        compare(&parse(&text), &parse(&want), layer);
        for len in (0..plain.len()).step_by(97) {
            let _ = manifest::json::manifest(&plain[..len]);
        }
    }
}

#[test]
fn crowds_of_empty_entries_are_refused() {
    for field in [0x1a, 0x22, 0x2a, 0x7a] {
        let few = [field, 0].repeat(1000);
        assert!(Manifest::decode(&few).is_ok());
        let many = [field, 0].repeat(1001);
        let error = Manifest::decode(&many).unwrap_err().to_string();
        assert!(error.contains("more than 1000 entries are empty"), "{error}");
    }
}

#[test]
fn descriptors_that_would_fill_the_memory_are_refused() {
    // A table of a million columns without anything.
    let columns = [0x42, 0].repeat(1_000_000);
    let mut raw = vec![0x0a];
    prost::encoding::encode_varint(columns.len() as u64, &mut raw);
    raw.extend(columns);
    let error = Descriptor::decode(&raw).unwrap_err().to_string();
    assert!(error.contains("hold next to nothing"), "{error}");
}
