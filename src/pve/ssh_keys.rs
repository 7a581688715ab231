//! Public SSH keys as Proxmox takes them: looked at line by line, so that a private key or half a key is told before
//! anything is sent, and URL-encoded for `sshkeys`.

use base64::{Engine, prelude::BASE64_STANDARD};

use super::encode as percent;
use crate::error::{Error, Result};

/// The lines of one or more texts of authorized keys, without empty lines and comments.
///
/// # Errors
/// `BadArgument` for a line that is no public key. The line itself is not repeated: it may be a private key.
pub fn lines<T: AsRef<str>>(keys: &[T]) -> Result<Vec<&str>> {
    let lines = keys.iter().flat_map(|text| text.as_ref().lines()).map(str::trim);
    let lines: Vec<&str> = lines.filter(|line| !line.is_empty() && !line.starts_with('#')).collect();
    if let Some(wrong) = lines.iter().position(|line| !is_key(line)) {
        return Err(Error::bad_argument(format!(
            "SSH keys: expected public keys in OpenSSH's form, one to a line; line {} is none",
            wrong + 1
        ))
        .hint("a whole line of a .pub file: 'ssh-ed25519 AAAA… comment'"));
    }
    Ok(lines)
}

/// The value of `sshkeys`, which Proxmox wants URL-encoded within the form's own encoding, with `%20` for spaces.
///
/// # Errors
/// As [`lines`].
pub fn encode<T: AsRef<str>>(keys: &[T]) -> Result<String> {
    Ok(percent(&lines(keys)?.join("\n")).into_owned())
}

/// Options, a type, and a blob that names the same type and is whole.
fn is_key(line: &str) -> bool {
    let is_type = |word: &&str| {
        ["ssh-", "ecdsa-", "sk-ssh-", "sk-ecdsa-"].iter().any(|start| word.starts_with(start)) && !word.contains('"')
    };
    let mut words = line.split_whitespace().skip_while(|word| !is_type(word));
    let (Some(kind), Some(blob)) = (words.next(), words.next()) else { return false };
    let Ok(blob) = BASE64_STANDARD.decode(blob) else { return false };
    let (mut rest, mut fields) = (blob.as_slice(), 0);
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((field, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { return false };
        if fields == 0 && field != kind.as_bytes() {
            return false;
        }
        (rest, fields) = (after, fields + 1);
    }
    rest.is_empty() && fields > 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ+ alice@example.test";

    #[test]
    fn keys_are_encoded_with_everything_reserved() -> Result<()> {
        let encoded = encode(&[format!("# mine\n{KEY}\n\n")])?;
        assert_eq!(
            encoded,
            "ssh-ed25519%20AAAAC3NzaC1lZDI1NTE5AAAAICWBFD79BkRJbzud0NCHkaPMJ8MZpOmPbR6v8vh3qDQ%2B%20alice%40example.test"
        );
        assert_eq!(lines(&[KEY, &format!("no-pty,command=\"a b\" {KEY}")])?.len(), 2);
        Ok(())
    }

    #[test]
    fn what_is_no_public_key_is_refused_and_not_repeated() {
        let cut = &KEY[..60];
        for wrong in [cut, "-----BEGIN OPENSSH PRIVATE KEY-----", "ssh-rsa", &KEY.replace("ssh-ed25519", "ssh-rsa")] {
            let words = lines(&[KEY, wrong]).map(drop).map_err(|e| e.to_string());
            let expected = "SSH keys: expected public keys in OpenSSH's form, one to a line; line 2 is none";
            assert_eq!(words, Err(expected.to_owned()), "{wrong}");
        }
    }
}
