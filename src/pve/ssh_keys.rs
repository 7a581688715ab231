//! OpenSSH public keys as callers give them, and as Proxmox wants them: one a line, the whole URL-encoded once more
//! inside the form, with `%20` for a space.

use base64::{Engine, prelude::BASE64_STANDARD};
use percent_encoding::percent_decode_str;

use super::encode;
use crate::error::{Error, Result};

/// Public keys, each checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SshKeys(Vec<String>);

impl SshKeys {
    /// Reads one text or several, each of one line or of several; empty lines and `#` comments are passed over. What is
    /// URL-encoded already, as Proxmox keeps it, is taken too.
    ///
    /// # Errors
    /// `BadArgument` that names the argument `field` and the line that is no public key.
    pub fn parse<'a>(field: &str, texts: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut keys: Vec<String> = Vec::new();
        for text in texts {
            for line in decoded(text).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
                check(line).map_err(|problem| {
                    let line = keys.len() + 1;
                    Error::bad_argument(format!("{field}: key {line}: {problem}"))
                        .hint("one whole OpenSSH public key a line, as in ~/.ssh/id_ed25519.pub")
                })?;
                if !keys.iter().any(|known| known == line) {
                    keys.push(line.to_owned());
                }
            }
        }
        Ok(Self(keys))
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    /// The value of `sshkeys`; the form encodes it a second time.
    pub fn encoded(&self) -> String {
        encode(&self.0.join("\n")).into_owned()
    }
}

/// The keys in a value of `sshkeys`, to be read by people.
pub fn decoded(text: &str) -> String {
    let encoded = text.contains("%20") && !text.contains(char::is_whitespace);
    if encoded { percent_decode_str(text).decode_utf8_lossy().into_owned() } else { text.to_owned() }
}

/// A line of `authorized_keys`: perhaps options, then the type, then a blob that begins with the same type and is whole.
fn check(line: &str) -> Result<(), String> {
    if line.contains("PRIVATE KEY") {
        return Err("that is a private key; expected the public one".to_owned());
    }
    // The line itself is not repeated: it may be something else that is secret.
    let wrong = |what: &str| Err(what.to_owned());
    let is_type = |word: &&str| {
        ["ssh-", "ecdsa-sha2-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start))
            && !word.contains(['=', '"'])
    };
    let mut words = line.split_whitespace().skip_while(|word| !is_type(word));
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else {
        return wrong("expected a type such as ssh-ed25519, then the key");
    };
    let Ok(blob) = BASE64_STANDARD.decode(blob) else { return wrong("the key is no base64: cut off?") };
    let mut rest = blob.as_slice();
    let mut parts = Vec::new();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        let Some((part, after)) = after.split_at_checked(length) else { return wrong("the key is cut off") };
        parts.push(part);
        rest = after;
    }
    if parts.first() != Some(&kind.as_bytes()) {
        return wrong("the key is not of the type that stands before it");
    }
    if !rest.is_empty() || parts.len() < 2 {
        return wrong("the key is cut off");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice at home";

    fn refused(text: &str) -> String {
        SshKeys::parse("sshkeys", [text]).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn keys_are_encoded_as_proxmox_wants_them() -> Result<()> {
        let text = format!("# mine\n{KEY}\n\n{KEY}\n");
        let keys = SshKeys::parse("sshkeys", [text.as_str()])?;
        assert_eq!(keys.iter().count(), 1, "the same key twice is one");
        assert_eq!(
            keys.encoded(),
            "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ%2B%20alice%20at%20home"
        );
        assert_eq!(SshKeys::parse("sshkeys", [keys.encoded().as_str()])?, keys, "what Proxmox keeps is taken again");
        let optional = format!("restrict,command=\"ssh-add -l\" {KEY}");
        assert!(SshKeys::parse("sshkeys", [optional.as_str()]).is_ok());
        Ok(())
    }

    #[test]
    fn what_is_no_public_key_is_refused_by_line() {
        assert!(refused(&format!("{KEY}\nssh-rsa AAAAgarbage x")).starts_with("sshkeys: key 2: "), "the second");
        assert!(refused("alice@home").contains("expected a type"), "no type");
        assert!(refused(&KEY.replace("ssh-ed25519", "ssh-rsa")).contains("not of the type"), "another type");
        assert!(refused(&KEY.replace("vh3qDQ+", "")).contains("cut off"), "cut off");
        let private = refused("-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaC1rZXk");
        assert!(private.contains("private key") && !private.contains("b3Blbn"), "{private}");
    }
}
