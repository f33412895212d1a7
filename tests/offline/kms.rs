//! Backups that are encrypted with KMS keys, without any KMS.

use std::path::Path;
use std::sync::Arc;

use userfilefs::destination::{Local, Memory, Source};
use userfilefs::engine::{Backup, OpenOptions};
use userfilefs::format::manifest::envelope;

/// A sample as if its key came from a KMS.
fn kms_sample(key: &[u8; 32]) -> Memory {
    use userfilefs::format::crypt::{EncryptionInfo, Key, encrypt_v1};
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/testdata/backups/x-to/backup");
    let mut files = Memory::copy_of(&Local::new(folder)).unwrap().files;
    let data_key = Key::from_bytes(key).unwrap();
    for (name, content) in &mut files {
        if !name.ends_with("-CHECKSUM") && !content.is_empty() {
            *content = Arc::new(encrypt_v1(&data_key, &[7; 12], content));
        }
    }
    let manifest = files["BACKUP_MANIFEST"].clone();
    files.insert("BACKUP_MANIFEST-CHECKSUM".into(), Arc::new(envelope::checksum(&manifest).to_vec()));
    let mut info = EncryptionInfo::for_kms();
    info.add_wrapped_key("old-key", b"wrapped by the old".to_vec());
    files.insert("ENCRYPTION-INFO".into(), Arc::new(info.encode()));
    // As ALTER BACKUP adds them.
    for n in 1..=10 {
        info.add_wrapped_key(&format!("key-{n}"), format!("wrapped {n}").into_bytes());
        files.insert(format!("ENCRYPTION-INFO-{n}"), Arc::new(info.encode()));
    }
    Memory { files }
}

#[test]
fn kms_backups_are_read_with_the_unwrapped_key() {
    use userfilefs::engine::open::wrapped_key;
    let key = *b"0123456789abcdef0123456789abcdef";
    let source: Arc<dyn Source> = Arc::new(kms_sample(&key));
    let open = |options: OpenOptions| Backup::open(&source, "", &options);
    let with_key =
        |bytes: &[u8]| open(OpenOptions { data_key: Some(bytes.to_vec()), ..OpenOptions::default() });
    assert_eq!(with_key(&key).unwrap().state(None).unwrap().catalog.tables().count(), 1);
    assert!(with_key(&[1; 32]).err().unwrap().to_string().contains("wrong passphrase or key"));
    assert!(with_key(&[1; 31]).err().unwrap().to_string().contains("a key of 31 bytes"));
    // Without it the error names the thing, and what to do.
    for options in
        [OpenOptions::default(), OpenOptions { passphrase: Some(b"p".to_vec()), ..OpenOptions::default() }]
    {
        let error = open(options).err().unwrap();
        let want = "memory/ENCRYPTION-INFO-10: the backup is encrypted with KMS keys, not with a passphrase";
        assert_eq!(error.to_string(), want);
        assert!(error.hint().unwrap().contains("wrapped-key --kms MASTER-KEY-ID"));
    }
    assert_eq!(wrapped_key(&*source, "", "old-key").unwrap(), b"wrapped by the old");
    assert_eq!(wrapped_key(&*source, "", "key-10").unwrap(), b"wrapped 10");
    let error = wrapped_key(&*source, "", "another").unwrap_err();
    assert!(error.to_string().contains("not wrapped for this KMS master key"), "{error}");
    assert!(error.hint().unwrap().contains("kms option"));
}
