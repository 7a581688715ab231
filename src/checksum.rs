//! The checksums of files that Proxmox knows, by name; made piece by piece.

mod md5;

use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

use md5::Md5;

/// A checksum being made.
pub enum Checksum {
    Md5(Md5),
    Sha1(Sha1),
    Sha224(Sha224),
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

/// Proxmox's name of the algorithm whose checksum has this many hexadecimal digits.
pub fn algorithm_of(digits: usize) -> Option<&'static str> {
    Some(match digits {
        32 => "md5",
        40 => "sha1",
        56 => "sha224",
        64 => "sha256",
        96 => "sha384",
        128 => "sha512",
        _ => return None,
    })
}

impl Checksum {
    /// `None` for an algorithm that Proxmox does not know.
    pub fn new(algorithm: &str) -> Option<Self> {
        Some(match algorithm {
            "md5" => Self::Md5(Md5::default()),
            "sha1" => Self::Sha1(Sha1::new()),
            "sha224" => Self::Sha224(Sha224::new()),
            "sha256" => Self::Sha256(Sha256::new()),
            "sha384" => Self::Sha384(Sha384::new()),
            "sha512" => Self::Sha512(Sha512::new()),
            _ => return None,
        })
    }

    pub fn update(&mut self, data: &[u8]) {
        match self {
            Self::Md5(hash) => hash.update(data),
            Self::Sha1(hash) => hash.update(data),
            Self::Sha224(hash) => hash.update(data),
            Self::Sha256(hash) => hash.update(data),
            Self::Sha384(hash) => hash.update(data),
            Self::Sha512(hash) => hash.update(data),
        }
    }

    /// In lower-case hexadecimal digits.
    pub fn hex(self) -> String {
        let bytes = match self {
            Self::Md5(hash) => hash.finish().to_vec(),
            Self::Sha1(hash) => hash.finalize().to_vec(),
            Self::Sha224(hash) => hash.finalize().to_vec(),
            Self::Sha256(hash) => hash.finalize().to_vec(),
            Self::Sha384(hash) => hash.finalize().to_vec(),
            Self::Sha512(hash) => hash.finalize().to_vec(),
        };
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(algorithm: &str, pieces: &[&[u8]]) -> Option<String> {
        let mut sum = Checksum::new(algorithm)?;
        pieces.iter().for_each(|piece| sum.update(piece));
        Some(sum.hex())
    }

    #[test]
    fn checksums_are_those_of_other_programs() {
        let cases = [
            ("md5", "900150983cd24fb0d6963f7d28e17f72"),
            ("sha1", "a9993e364706816aba3e25717850c26c9cd0d89d"),
            ("sha256", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
        ];
        for (algorithm, expected) in cases {
            assert_eq!(hex(algorithm, &[b"a", b"", b"bc"]).as_deref(), Some(expected), "{algorithm}");
            assert_eq!(algorithm_of(expected.len()), Some(algorithm));
        }
        assert_eq!(hex("crc32", &[]), None);
    }

    #[test]
    fn md5_of_many_lengths_does_not_depend_on_the_pieces() {
        let data: Vec<u8> = (0..200_u8).collect();
        for length in [0, 1, 55, 56, 57, 63, 64, 65, 119, 128, 200] {
            let whole = hex("md5", &[&data[..length]]);
            let (a, b) = data[..length].split_at(length / 3);
            assert_eq!(hex("md5", &[a, b]), whole, "{length}");
        }
        assert_eq!(hex("md5", &[]).as_deref(), Some("d41d8cd98f00b204e9800998ecf8427e"));
    }
}
