//! Signatures of tokens, checked with ring, which rustls has anyway: the back ends that come with the JWT crate would bring
//! another library for the same.

use jsonwebtoken::{
    Algorithm, DecodingKey, DecodingKeyKind, EncodingKey,
    crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils},
    errors::{ErrorKind, Result},
    signature::{Error, Verifier},
};
use ring::signature::{self, ECDSA_P256_SHA256_FIXED, ED25519, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};

static RING: CryptoProvider =
    CryptoProvider { signer_factory: never, verifier_factory: verifier, key_utils: KeyUtils::new_unimplemented() };

/// For the whole process; once is enough.
pub fn install() {
    let _ = RING.install_default();
}

/// Nothing is signed here.
fn never(_: &Algorithm, _: &EncodingKey) -> Result<Box<dyn JwtSigner>> {
    Err(ErrorKind::UnsupportedAlgorithm.into())
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>> {
    Ok(Box::new(Check { algorithm: *algorithm, key: key.clone() }))
}

struct Check {
    algorithm: Algorithm,
    key: DecodingKey,
}

impl JwtVerifier for Check {
    fn algorithm(&self) -> Algorithm {
        self.algorithm
    }
}

impl Verifier<Vec<u8>> for Check {
    fn verify(&self, message: &[u8], signed: &Vec<u8>) -> std::result::Result<(), Error> {
        let good = match (self.algorithm, self.key.kind()) {
            (Algorithm::RS256, DecodingKeyKind::RsaModulusExponent { n, e }) => {
                let key = signature::RsaPublicKeyComponents { n: number(n), e: number(e) };
                key.verify(&RSA_PKCS1_2048_8192_SHA256, message, signed)
            }
            (Algorithm::ES256, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key).verify(message, signed)
            }
            (Algorithm::EdDSA, DecodingKeyKind::SecretOrDer(key)) => {
                UnparsedPublicKey::new(&ED25519, key).verify(message, signed)
            }
            _ => return Err(Error::new()),
        };
        good.map_err(|_| Error::new())
    }
}

/// Without zeros before it, which ring does not take and some issuers write.
fn number(bytes: &[u8]) -> &[u8] {
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    &bytes[zeros..]
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    use jsonwebtoken::crypto::verify;

    use super::*;

    // Made with `openssl genrsa 2048` and `openssl dgst -sha256 -sign`; the private key is gone.
    const MODULUS: &str = "zSrynAtpWi6c6dYQtgkzJyUL0-Du3mIP_D_aXQIfT-M_CVGaT67OO3wCSVFnE79XJhkFqX3LdNmWSjKutFJY3oyEFCS9t-KY0Cso\
        SBje5M-XRsHW8L0iip8lKKg_8rLdHSobrsnqDqdvJrwNFGQk0wizaxIf6S9YqleZiFTADLI-Z9dlLBK6HlDG0GctydtqIRB3Bjsc\
        ESA_MEIQhF4jzG13_tdYvBc5ukz3yP3ooFpdU1n9f-B5MYkcmFI3RV3rA3oSpXETPtGi2eJAcou0-D766wfS2NAD1YDWxi3ZDKIc\
        FUZfGpESSPA8fOaoGITMdF_okiWhiVHGGsdIEXIJ3w";
    const SIGNED: &str = "tg6aCp75d7bPh3d49xQGbaoCr5n0XErOEwfouCM-QY5Esm31tja8mr6kv1fz3o43aA0MdAWH98Z2aKIfmQW_CCgPYdHZuHRKU7w1\
        4p2KvUOwfx4xBELaSftTeWpvFsnfDlQXI0toKA6fIfO2PAhPqFy_72R6klnatjyNuEplpibaVNXx8KWMaK4MEeQTMlfXqlLSeb4U\
        kL4yeWAALLVcQOpbmiMI5zTdWFe6VBdmpa5uDNAWgaA5KE3TzJQoIbsrWthrAdDqoFleFgP_oqvWFrmHQjVI5RhkAwycFA7acdEo\
        Y0gyki1tMmEShQqRjYvjVfmWu2-E4CCHo3NPyEzuUw";

    #[test]
    fn an_rsa_signature_is_good_for_its_message_and_key_only() -> Result<()> {
        install();
        let good = |message: &str, modulus: &str, algorithm| {
            verify(SIGNED, message.as_bytes(), &DecodingKey::from_rsa_components(modulus, "AQAB")?, algorithm)
        };
        assert!(good("header.claims", MODULUS, Algorithm::RS256)?);
        // Some issuers write a zero before it.
        let mut bytes = vec![0];
        bytes.extend(URL_SAFE_NO_PAD.decode(MODULUS).unwrap_or_default());
        assert!(good("header.claims", &URL_SAFE_NO_PAD.encode(bytes), Algorithm::RS256)?);
        assert!(!good("header.claimz", MODULUS, Algorithm::RS256)?);
        assert!(!good("header.claims", &MODULUS.replacen('A', "B", 1), Algorithm::RS256)?);
        for other in [Algorithm::HS256, Algorithm::ES256, Algorithm::EdDSA, Algorithm::PS256] {
            assert!(!good("header.claims", MODULUS, other)?, "{other:?}");
        }
        Ok(())
    }
}
