//! Sealed text: to be read by whoever has the key, and changed by nobody without its being seen.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    error::{Error, Kind, Result},
    key::{self, Key},
};

/// What the key is used for here.
const LABEL: &str = "records of calls";
const NONCE: usize = 12;

fn cipher(key: &Key) -> Result<LessSafeKey> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, &key.sign(LABEL, []));
    key.map(LessSafeKey::new).map_err(|_| Error::internal("no key can be made for records"))
}

/// # Errors
/// `Internal`.
pub fn seal(key: &Key, what: &impl Serialize) -> Result<String> {
    let failed = |_| Error::internal("a record cannot be sealed");
    let mut text = serde_json::to_vec(what).map_err(|e| Error::internal(format!("a record cannot be written: {e}")))?;
    let nonce = key::random::<NONCE>()?;
    let cipher = cipher(key)?;
    cipher.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text).map_err(failed)?;
    let mut all = nonce.to_vec();
    all.extend(text);
    Ok(STANDARD.encode(all))
}

/// # Errors
/// `Unauthorized` with another key, or where it was changed.
pub fn open<T: DeserializeOwned>(key: &Key, sealed: &str) -> Result<T> {
    let other = || {
        Error::new(Kind::Unauthorized, "the record was made with other credentials, or changed since")
            .hint("it can be read by whoever has the token or password that it was made with")
    };
    let mut all = STANDARD.decode(sealed).map_err(|_| other())?;
    let (nonce, text) = all.split_at_mut_checked(NONCE).ok_or_else(other)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| other())?;
    let text = cipher(key)?.open_in_place(nonce, Aad::empty(), text).map_err(|_| other())?;
    serde_json::from_slice(text).map_err(|e| Error::internal(format!("the record is of another version: {e}")))
}
