//! Judges the server's certificate: by the system's authorities, a CA file, or pinned SHA-256 fingerprints. Whatever the
//! verdict, it knows the fingerprint that was presented, so that a refusal can say what to trust.

use std::{
    collections::BTreeSet,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, OtherError, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject},
};
use sha2::{Digest, Sha256};

use crate::{
    config::{
        ClusterConfig, ONLY_CLUSTER, Tls, own_name,
        table::{FINGERPRINT, VERIFY},
    },
    error::{Error, Result},
};

/// SHA-256 of a certificate as Proxmox shows it: `AB:CD:…`.
pub fn fingerprint(certificate: &[u8]) -> String {
    hex(&Sha256::digest(certificate))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

/// The line for `.env` that makes these certificates of a cluster trusted.
pub fn fingerprint_line(cluster: &str, presented: &str) -> String {
    format!("{}={presented}", own_name(cluster, FINGERPRINT.name))
}

/// A certificate that was refused: in words, with its fingerprint.
#[derive(Debug)]
pub struct Refusal {
    pub message: String,
    pub presented: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}

/// What was presented in the last handshake with each host, refused or not: `host` → fingerprint.
#[derive(Debug, Clone, Default)]
pub struct Presented(Arc<Mutex<Vec<(String, String)>>>);

impl Presented {
    fn note(&self, host: String, fingerprint: String) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match seen.iter_mut().find(|(known, _)| *known == host) {
            Some(entry) => entry.1 = fingerprint,
            None => seen.push((host, fingerprint)),
        }
    }

    /// The SHA-256 that this host presented, or `None` before the first handshake.
    pub fn by(&self, host: &str) -> Option<String> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().find(|(known, _)| known.eq_ignore_ascii_case(host)).map(|(_, print)| print.clone())
    }
}

/// Whom one cluster's client trusts.
#[derive(Debug, Clone)]
pub struct Trust {
    tls: Tls,
    cluster: String,
    /// How many members may be asked, each of which may have a certificate of its own.
    members: usize,
}

impl Trust {
    pub fn of(cluster: &ClusterConfig) -> Self {
        Self { tls: cluster.tls.clone(), cluster: cluster.name.clone(), members: cluster.endpoints.len() }
    }

    /// Once for each cluster, however many clients it has in this process.
    fn warn_once(&self, presented: &str) {
        static WARNED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
        let first = WARNED.lock().unwrap_or_else(PoisonError::into_inner).insert(self.cluster.clone());
        if first {
            tracing::warn!("{}", self.warning(presented));
        }
    }

    /// What is said where nothing is verified: the line that would do in its place.
    fn warning(&self, presented: &str) -> String {
        let whose = match self.cluster.as_str() {
            ONLY_CLUSTER => String::new(),
            name => format!(" of cluster {name}"),
        };
        let more = match self.members {
            0 | 1 => "",
            _ => " (with those of the other members: `proxmox-mcp doctor` prints the whole line)",
        };
        format!(
            "the certificate{whose} is not verified: anybody on the way can read the credentials. In place of {}=false set {}{more}",
            own_name(&self.cluster, VERIFY.name),
            fingerprint_line(&self.cluster, presented)
        )
    }
}

/// The TLS settings of one cluster. Reads files, and for [`Tls::System`] the whole trust store: call it off the async
/// threads.
///
/// # Errors
/// `BadSetting` where the CA file cannot be read or holds no certificate.
pub fn client_config(how: &Trust, presented: Presented) -> Result<ClientConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let judge = match &how.tls {
        Tls::System => {
            Judge::Authorities { verifier: authorities(&provider, system_roots()?)?, known_as: "this system" }
        }
        Tls::CaFile(path) => {
            let roots = roots_from_file(path)?;
            Judge::Authorities { verifier: authorities(&provider, roots)?, known_as: "the CA file" }
        }
        Tls::Fingerprints(pins) => Judge::Pins(pins.clone()),
        Tls::Insecure => Judge::Nobody(how.clone()),
    };
    let verifier = Verifier { judge, presented, provider: provider.clone() };
    Ok(ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth())
}

/// For other servers than Proxmox's: by the authorities of this system. Reads the whole trust store, as [`client_config`].
///
/// # Errors
/// A system without any.
pub fn system_client_config() -> Result<ClientConfig> {
    Ok(ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
        .with_root_certificates(system_roots()?)
        .with_no_client_auth())
}

fn authorities(provider: &Arc<CryptoProvider>, roots: RootCertStore) -> Result<Arc<WebPkiServerVerifier>> {
    WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
        .build()
        .map_err(|e| Error::bad_setting(format!("no certificate authority to verify the server by: {e}")))
}

fn system_roots() -> Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (good, _) = roots.add_parsable_certificates(found.certs);
    if good == 0 {
        let why = found.errors.first().map(|e| format!(": {e}")).unwrap_or_default();
        return Err(Error::bad_setting(format!("this system has no trusted certificate authorities{why}"))
            .hint("set PROXMOX_CA_FILE to the cluster's CA (/etc/pve/pve-root-ca.pem), or PROXMOX_FINGERPRINT"));
    }
    Ok(roots)
}

fn roots_from_file(path: &std::path::Path) -> Result<RootCertStore> {
    let bad = |what: String| {
        Error::bad_setting(format!("PROXMOX_CA_FILE {}: {what}", path.display()))
            .hint("expected a PEM file with the cluster's CA certificate (on a node: /etc/pve/pve-root-ca.pem)")
    };
    let pem = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| bad(format!("not PEM: {e}")))?;
        roots.add(certificate).map_err(|e| bad(format!("not a usable certificate: {e}")))?;
    }
    if roots.is_empty() {
        return Err(bad("no certificate in it".into()));
    }
    Ok(roots)
}

enum Judge {
    Authorities { verifier: Arc<WebPkiServerVerifier>, known_as: &'static str },
    Pins(Vec<[u8; 32]>),
    Nobody(Trust),
}

struct Verifier {
    judge: Judge,
    presented: Presented,
    provider: Arc<CryptoProvider>,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.judge {
            Judge::Authorities { known_as, .. } => known_as,
            Judge::Pins(_) => "pinned fingerprints",
            Judge::Nobody(_) => "no verification",
        })
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest: [u8; 32] = Sha256::digest(leaf).into();
        let presented = hex(&digest);
        self.presented.note(name.to_str().into_owned(), presented.clone());
        let refused = |message: String| {
            let refusal = Refusal { message, presented: presented.clone() };
            Err(rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(refusal)))))
        };
        match &self.judge {
            Judge::Authorities { verifier, known_as } => {
                match verifier.verify_server_cert(leaf, intermediates, name, ocsp, now) {
                    Ok(verified) => Ok(verified),
                    Err(rustls::Error::InvalidCertificate(why)) => refused(in_words(&why, name, known_as)),
                    Err(other) => refused(other.to_string()),
                }
            }
            Judge::Pins(pins) if pins.contains(&digest) => Ok(ServerCertVerified::assertion()),
            Judge::Pins(_) => refused("it has another fingerprint than the one that is trusted".into()),
            Judge::Nobody(trust) => {
                trust.warn_once(&presented);
                Ok(ServerCertVerified::assertion())
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

fn in_words(why: &CertificateError, name: &ServerName<'_>, known_as: &str) -> String {
    let name = name.to_str();
    match why {
        // A bad signature: an authority of the same name is known, with another key.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            format!("it was issued by an authority that {known_as} does not know")
        }
        CertificateError::NotValidForNameContext { presented, .. } if !presented.is_empty() => {
            format!("it is not for the name {name}, but for {}", presented.join(", "))
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            format!("it is not for the name {name}")
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => "it has expired".into(),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "it is not valid yet (is this machine's clock right?)".into()
        }
        CertificateError::Revoked => "it has been revoked".into(),
        other => other.to_string(),
    }
}
