//! Fuzzing of encrypted files and of ENCRYPTION-INFO, as `fuzz_sst`.

use super::fuzz_sst::{mutate, rounds};
use super::sst_data::Rng;
use crate::support::alloc::peak;
use userfilefs::format::crypt::{DecryptAt, Decryptor, EncryptionInfo, Key, decrypt, encrypt_v1};
use userfilefs::format::sst::ReadAt;

#[test]
fn fuzz_files() {
    let (key, mut rng) = (Key::from_bytes(&[3; 32]).unwrap(), Rng(1));
    let plain = b"what was encrypted".repeat(4000);
    let corpus =
        [encrypt_v1(&key, &[1; 12], &plain), key.encrypt_v2(&[1; 12], &plain), key.encrypt_v2(&[2; 12], b"")];
    for stored in &corpus {
        for _ in 0..rounds(100) {
            let mut bytes = stored.clone();
            mutate(&mut rng, &mut bytes);
            if let Ok(opened) = decrypt(&key, bytes.clone()) {
                assert!(opened == plain || opened.is_empty());
                // Versions 1 and 2 of a file of one short chunk differ in the version only.
                let mut same = bytes.clone();
                same[7] = stored[7];
                assert!(same == *stored && (bytes == *stored || opened.is_empty()));
            }
            let mut decryptor = Decryptor::new(key.clone());
            if decryptor.push(&bytes, &mut Vec::new()).is_ok() {
                let _ = decryptor.finish(&mut Vec::new());
            }
            if let Ok(at) = DecryptAt::new(bytes.as_slice(), bytes.len() as u64, key.clone()) {
                let _ =
                    at.read_at(rng.next() % 100_000, rng.below(100_000), &mut Vec::new()).map(<[u8]>::len);
            }
        }
    }
}

#[test]
fn fuzz_encryption_info() {
    let mut rng = Rng(2);
    let mut kms = EncryptionInfo::for_kms();
    kms.add_wrapped_key("arn:a", vec![1; 40]);
    kms.add_wrapped_key("arn:b", vec![2; 300]);
    for golden in [EncryptionInfo::with_salt([7; 16]).encode(), kms.encode()] {
        for _ in 0..rounds(20_000) {
            let mut bytes = golden.clone();
            mutate(&mut rng, &mut bytes);
            let (decoded, held) = peak(|| EncryptionInfo::decode(&bytes));
            assert!(held <= 8 * bytes.len() + 2000, "{held} bytes for {}", bytes.len());
            if let Ok(info) = decoded {
                assert_eq!(EncryptionInfo::decode(&info.encode()).as_ref(), Ok(&info));
            }
        }
    }
}
