//! What makes a server's certificate acceptable. Where settings contradict each other, the safest one counts.

use std::path::PathBuf;

use super::{
    sources::{Found, Lookup, Origin},
    table, value,
};
use crate::error::{Error, Result};

/// How the server's certificate is judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tls {
    /// By the certificate authorities of this machine.
    System,
    /// By the certificate authorities in this PEM file, and no others.
    CaFile(PathBuf),
    /// By its SHA-256 fingerprint, and nothing else: any of these.
    Fingerprints(Vec<[u8; 32]>),
    /// Not at all.
    Insecure,
}

const BOOLEAN: &str = "true or false (also 1, 0, yes, no, on, off)";
const SHA256: &str = "SHA-256 fingerprints, each 32 bytes in hexadecimal, with or without colons";

/// The three settings as one: where a cluster has any of them itself, the shared ones do not apply to it. Otherwise a shared
/// fingerprint would override the CA file of the one cluster that has another certificate.
struct Given {
    fingerprint: Option<Found>,
    ca_file: Option<Found>,
    verify: Option<Found>,
}

impl Given {
    fn find(lookup: &mut Lookup<'_>) -> Result<Self> {
        if lookup.has_prefix() {
            let own = Self {
                fingerprint: lookup.find_own(&table::FINGERPRINT)?,
                ca_file: lookup.find_own(&table::CA_FILE)?,
                verify: lookup.find_own(&table::VERIFY)?,
            };
            if let Some(given) = own.first() {
                // Even `true` puts a shared fingerprint out of use.
                if Self::shared(lookup)?.first().is_some() {
                    refuse_weaker_source(lookup, given)?;
                }
                return Ok(own);
            }
        }
        Self::shared(lookup)
    }

    fn shared(lookup: &mut Lookup<'_>) -> Result<Self> {
        Ok(Self {
            fingerprint: lookup.find_shared(&table::FINGERPRINT)?,
            ca_file: lookup.find_shared(&table::CA_FILE)?,
            verify: lookup.find_shared(&table::VERIFY)?,
        })
    }

    fn first(&self) -> Option<&Found> {
        self.fingerprint.as_ref().or(self.ca_file.as_ref()).or(self.verify.as_ref())
    }
}

/// Whom to trust for an endpoint that the operator named is not for a file to say that merely lay in the working directory:
/// who can put one there could otherwise pose as the server.
fn refuse_weaker_source(lookup: &Lookup<'_>, found: &Found) -> Result<()> {
    let endpoint = lookup.sources.iter().find(|source| source.setting == table::API_URL.name);
    let Some(endpoint) = endpoint.filter(|endpoint| !lookup.is_only_found(&endpoint.origin)) else { return Ok(()) };
    if !lookup.is_only_found(&found.origin) {
        return Ok(());
    }
    Err(Error::bad_setting(format!(
        "{}: expected beside {}, which comes from the {}: a file that is merely found in the working directory does not \
         decide whether its certificate is trusted (set it there too, or name the file with {})",
        found.place(),
        endpoint.name_used,
        if endpoint.origin == Origin::Flag { "command line" } else { "environment" },
        table::ENV_FILE.name,
    )))
}

/// `strict`: nothing may go unverified. To be called after the endpoints were read.
pub(super) fn tls(lookup: &mut Lookup<'_>, strict: bool) -> Result<Tls> {
    let given = Given::find(lookup)?;
    let verify = match &given.verify {
        None => true,
        Some(found) => value::boolean(found.text()).ok_or_else(|| found.bad(BOOLEAN))?,
    };
    let chosen = given.fingerprint.as_ref().or(given.ca_file.as_ref());
    if let Some(chosen) = chosen {
        let off = given.verify.as_ref().filter(|_| !verify);
        let ca_file = given.ca_file.as_ref().filter(|_| given.fingerprint.is_some());
        for unused in off.into_iter().chain(ca_file) {
            let text = format!("{} is not used: {} is set too, and goes first", unused.name(), chosen.name());
            lookup.warnings.push(text);
        }
    }
    if let Some(decides) = chosen.or(given.verify.as_ref().filter(|_| !verify)) {
        refuse_weaker_source(lookup, decides)?;
    }
    if let Some(found) = &given.fingerprint {
        let fingerprints = fingerprints(found.text()).ok_or_else(|| found.bad(SHA256))?;
        lookup.used(found);
        return Ok(Tls::Fingerprints(fingerprints));
    }
    if let Some(found) = &given.ca_file {
        let path = lookup.expand(found.text());
        let pem = lookup.read(&path).map_err(|error| found.bad(&format!("a readable PEM file ({error})")))?;
        if !pem.contains("-----BEGIN CERTIFICATE-----") {
            return Err(found.bad("a PEM file with at least one certificate"));
        }
        lookup.used(found);
        return Ok(Tls::CaFile(path));
    }
    match &given.verify {
        Some(found) if strict && !verify => {
            return Err(Error::bad_setting(format!(
                "{}: expected a verified certificate, as {} is set: remove it, and set {} or {}",
                found.place(),
                table::REQUIRE_VERIFIED_TLS.name,
                lookup.name_of(&table::FINGERPRINT),
                lookup.name_of(&table::CA_FILE),
            )));
        }
        Some(found) => lookup.used(found),
        None => lookup.defaulted(&table::VERIFY),
    }
    Ok(if verify { Tls::System } else { Tls::Insecure })
}

/// Any number of fingerprints, also as `openssl x509 -fingerprint -sha256` prints them (`sha256 Fingerprint=AA:BB:…`).
fn fingerprints(text: &str) -> Option<Vec<[u8; 32]>> {
    let mut found = Vec::new();
    for item in text.split([',', ';', ' ', '\t', '\n', '\r']).filter(|item| !item.is_empty()) {
        let item = item.to_ascii_lowercase();
        if item == "sha256" {
            continue;
        }
        let item = item.strip_prefix("fingerprint=").or_else(|| item.strip_prefix("sha256:")).unwrap_or(&item);
        let fingerprint = hex(item)?;
        if !found.contains(&fingerprint) {
            found.push(fingerprint);
        }
    }
    (!found.is_empty()).then_some(found)
}

fn hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().filter(|c| *c != ':').map(|c| u8::try_from(c.to_digit(16)?).ok()).collect::<Option<_>>()?;
    let bytes: Vec<u8> =
        digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect();
    if digits.len() != 64 {
        return None;
    }
    bytes.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprints_are_read_in_every_usual_form() {
        let plain = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let colons = plain.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair)).collect::<Vec<_>>().join(":");
        let other = "ff".repeat(32);
        let bytes: [u8; 32] = std::array::from_fn(|i| u8::try_from(i % 16 * 0x11).unwrap_or_default());
        for text in [
            plain.to_owned(),
            plain.to_ascii_uppercase(),
            colons.clone(),
            format!(" {colons} ,"),
            format!("sha256 Fingerprint={colons}"),
            format!("SHA256:{plain}"),
        ] {
            assert_eq!(fingerprints(&text), Some(vec![bytes]), "{text}");
        }
        assert_eq!(fingerprints(&format!("{colons},{other} {plain}")), Some(vec![bytes, [0xff; 32]]));
        for text in
            [&plain[..62], &format!("{plain}00"), &"aa:".repeat(20), &"zz".repeat(32), ",", &format!("{plain} x")]
        {
            assert_eq!(fingerprints(text), None, "{text}");
        }
    }
}
