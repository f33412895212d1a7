//! Encrypted files: the page's vectors, every length around a chunk, cut and damaged files.

use userfilefs::format::crypt::{
    CHUNK_LEN, DecryptAt, Decryptor, EncryptionInfo, Encryptor, Error, Header, Iv, Key, SEALED_LEN, Version,
    decrypt, encrypt_v1, is_encrypted,
};
use userfilefs::format::sst::{ReadAt, Reader, Writer, WriterOptions, key};

fn key_of_page() -> Key {
    let mut file = vec![0x12, 0x10];
    file.extend(0..16);
    EncryptionInfo::decode(&file).unwrap().passphrase_key(b"pass word").unwrap()
}

fn fast_key() -> Key {
    Key::from_bytes(&[0x5a; 32]).unwrap()
}

const IV: Iv = *b"defghijklmno";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(|b| *b != b' ').collect();
    digits.chunks(2).map(|d| u8::from_str_radix(std::str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}

/// Encryption page, section 5.
#[test]
fn vectors_of_the_page() {
    let key = key_of_page();
    let v1 = bytes("656e6372797074 01 6465666768696a6b6c6d6e6f e3e5eec3a0 655252ea4204681a886b1b457a0ef3ab");
    let v2 = bytes("656e6372797074 02 6465666768696a6b6c6d6e6f e3e5eec3a0 655252ea4204681a886b1b457a0ef3ab");
    assert_eq!(encrypt_v1(&key, &IV, b"hello"), v1);
    assert_eq!(key.encrypt_v2(&IV, b"hello"), v2);
    for stored in [v1, v2] {
        assert!(is_encrypted(&stored));
        assert_eq!(decrypt(&key, stored.clone()).unwrap(), b"hello");
        assert_eq!(decrypt(&fast_key(), stored), Err(Error::Authentication { offset: 20 }));
    }
    assert_eq!(decrypt(&key, b"plain".to_vec()), Err(Error::NotEncrypted));
    let unknown = bytes("656e6372797074 03 6465666768696a6b6c6d6e6f");
    assert_eq!(decrypt(&key, unknown), Err(Error::UnknownVersion(3)));
}

fn plaintext(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 % 251) as u8).collect()
}

/// Lengths around one and two chunks, as a whole, as a stream in odd pieces, and by random access.
#[test]
fn every_way_agrees_at_every_length_around_a_chunk() {
    let key = fast_key();
    for len in [0, 1, 15, 16, 17, CHUNK_LEN - 1, CHUNK_LEN, CHUNK_LEN + 1, 2 * CHUNK_LEN, 2 * CHUNK_LEN + 5] {
        let plain = plaintext(len);
        let stored = key.encrypt_v2(&IV, &plain);
        assert_eq!(stored.len(), 20 + len / CHUNK_LEN * SEALED_LEN + len % CHUNK_LEN + 16);
        assert_eq!(decrypt(&key, stored.clone()).unwrap(), plain, "{len}");

        let (mut streamed, mut encryptor) = (Vec::new(), Encryptor::new(key.clone(), IV));
        plain.chunks(10_007).for_each(|piece| encryptor.push(piece, &mut streamed));
        encryptor.finish(&mut streamed);
        assert!(streamed == stored, "{len}");

        let (mut opened, mut decryptor) = (Vec::new(), Decryptor::new(key.clone()));
        stored.chunks(9_001).for_each(|piece| decryptor.push(piece, &mut opened).unwrap());
        decryptor.finish(&mut opened).unwrap();
        assert!(opened == plain, "{len}");

        let at = DecryptAt::new(stored.as_slice(), stored.len() as u64, key.clone()).unwrap();
        assert_eq!(at.len(), len as u64);
        let mut scratch = Vec::new();
        for (offset, n) in
            [(0, len), (len / 2, len), (len, 1), (CHUNK_LEN - 1, 2), (len.saturating_sub(3), 3)]
        {
            let want = &plain[offset.min(len)..(offset + n).min(len)];
            assert_eq!(at.read_at(offset as u64, n, &mut scratch).unwrap(), want, "{len} {offset}");
        }
    }
}

/// Chunk counters wrap around in the last eight bytes only.
#[test]
fn counters_wrap() {
    let (key, iv) = (fast_key(), [0xff; 12]);
    let plain = plaintext(3 * CHUNK_LEN);
    let stored = key.encrypt_v2(&iv, &plain);
    assert!(decrypt(&key, stored.clone()).unwrap() == plain);
    // The second chunk alone is what a file whose IV is the wrapped one starts with.
    let wrapped: Iv = [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 0];
    let other = key.encrypt_v2(&wrapped, &plain[CHUNK_LEN..]);
    assert!(stored[20 + SEALED_LEN..] == other[20..]);
}

#[test]
fn cut_files_are_refused_at_every_length() {
    let key = fast_key();
    let short = plaintext(40);
    for stored in [encrypt_v1(&key, &IV, &short), key.encrypt_v2(&IV, &short)] {
        for cut in 0..stored.len() {
            assert!(decrypt(&key, stored[..cut].to_vec()).is_err(), "{cut}");
        }
    }
    let long = key.encrypt_v2(&IV, &plaintext(2 * CHUNK_LEN + 9));
    for cut in (0..3).flat_map(|n| [20 + n * SEALED_LEN, 21 + n * SEALED_LEN, 36 + n * SEALED_LEN]) {
        let cut_file = &long[..cut.min(long.len() - 1)];
        assert!(decrypt(&key, cut_file.to_vec()).is_err(), "{cut}");
        assert!(
            DecryptAt::new(cut_file, cut_file.len() as u64, key.clone()).is_err() || cut % SEALED_LEN > 20
        );
        let mut decryptor = Decryptor::new(key.clone());
        let pushed = decryptor.push(cut_file, &mut Vec::new());
        assert!(pushed.and_then(|()| decryptor.finish(&mut Vec::new())).is_err(), "{cut}");
    }
}

#[test]
fn a_flip_of_any_bit_is_an_error() {
    let key = fast_key();
    for stored in [encrypt_v1(&key, &IV, b"some text"), key.encrypt_v2(&IV, b"some text")] {
        for at in 0..stored.len() {
            for bit in 0..8 {
                let mut damaged = stored.clone();
                damaged[at] ^= 1 << bit;
                // v1 and v2 of one short chunk are the same but for the version.
                if at == 7 && damaged[at] ^ stored[at] == 3 {
                    continue;
                }
                assert!(decrypt(&key, damaged).is_err(), "byte {at} bit {bit}");
            }
        }
    }
}

/// Swapped chunks authenticate nowhere.
#[test]
fn chunks_cannot_change_places() {
    let key = fast_key();
    let mut stored = key.encrypt_v2(&IV, &plaintext(3 * CHUNK_LEN));
    let (first, second) = stored[20..].split_at_mut(SEALED_LEN);
    first.swap_with_slice(&mut second[..SEALED_LEN]);
    assert_eq!(decrypt(&key, stored), Err(Error::Authentication { offset: 20 }));
}

/// A table inside an encrypted file is read block by block.
#[test]
fn a_table_is_read_through_the_encryption() {
    let options = WriterOptions { block_len: 4096, ..WriterOptions::default() };
    let (mut table, mut writer) = (Vec::new(), Writer::new(options).unwrap());
    for i in 0..20_000u32 {
        let mut user_key = Vec::new();
        key::put_user_key(&mut user_key, &i.to_be_bytes(), &9u64.to_be_bytes());
        writer.add(&user_key, &i.wrapping_mul(2_654_435_761).to_be_bytes(), &mut table).unwrap();
    }
    writer.finish(&mut table);
    let stored = fast_key().encrypt_v2(&IV, &table);
    assert_eq!(Header::decode(&stored).unwrap().version, Version::V2);
    let plain = DecryptAt::new(stored.as_slice(), stored.len() as u64, fast_key()).unwrap();
    let len = plain.len();
    let reader = Reader::open(plain, len).unwrap();
    let mut damage = Vec::new();
    assert_eq!(reader.verify(&mut |e| damage.push(e)).unwrap().entries, 20_000);
    assert!(damage.is_empty(), "{damage:?}");
}
