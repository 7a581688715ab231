//! The key of this server: what it signs (plan ids, states of conversations, the audit log) is known by it again, by any
//! replica that has the same key. Each use has a label of its own.

use ring::{
    hmac,
    rand::{SecureRandom, SystemRandom},
};
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use crate::error::{Error, Result};

/// Fewer characters than this can be guessed.
pub const SHORTEST: usize = 32;

/// A secret key.
#[derive(Debug, Clone)]
pub struct Key(SecretSlice<u8>);

impl Key {
    pub fn new(secret: &SecretString) -> Self {
        Self(secret.expose_secret().as_bytes().to_vec().into())
    }

    /// Known to this process only.
    ///
    /// # Errors
    /// A system without random numbers.
    pub fn random() -> Result<Self> {
        Ok(Self(random::<32>()?.to_vec().into()))
    }

    /// Signs these parts; where one ends and the next begins counts.
    pub fn sign<'a>(&self, label: &'a str, parts: impl IntoIterator<Item = &'a [u8]>) -> [u8; 32] {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.0.expose_secret());
        let mut context = hmac::Context::with_key(&key);
        for part in std::iter::once(label.as_bytes()).chain(parts) {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.sign().as_ref());
        out
    }
}

/// Random bytes that nobody can guess.
///
/// # Errors
/// A system without random numbers.
pub fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| Error::internal("the system gives no random numbers"))?;
    Ok(bytes)
}

/// As lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn key_label_and_the_parts_borders_count() {
        let key = Key::new(&"k".repeat(SHORTEST).into());
        let sign = |key: &Key, label: &str, parts: &[&str]| key.sign(label, parts.iter().map(|part| part.as_bytes()));
        let one = sign(&key, "a", &["bc", "d"]);
        assert_eq!(one, sign(&key, "a", &["bc", "d"]));
        assert_ne!(one, sign(&key, "a", &["b", "cd"]));
        assert_ne!(one, sign(&key, "ab", &["c", "d"]));
        assert_ne!(one, sign(&Key::new(&"x".repeat(SHORTEST).into()), "a", &["bc", "d"]));
    }
}
