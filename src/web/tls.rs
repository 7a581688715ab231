//! The server's own certificate: read from files, and again when they change, as they do when it is renewed.

use std::{
    fmt,
    path::Path,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use secrecy::{ExposeSecret, SecretSlice};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{
    config::TlsFiles,
    error::{Error, Result},
};

/// The certificate as it is now.
pub struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    now: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.files.cert.display())
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl Certificate {
    /// # Errors
    /// `BadSetting` for files that cannot be read, or do not belong together.
    pub fn load(files: &TlsFiles) -> Result<Arc<Self>> {
        let provider = Arc::new(ring::default_provider());
        let now = RwLock::new(Arc::new(read(files, &provider)?));
        Ok(Arc::new(Self { files: files.clone(), provider, now }))
    }

    /// What speaks TLS with it, HTTP/1.1 inside.
    ///
    /// # Errors
    /// None that is known.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::internal(format!("TLS cannot be set up: {e}")))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes a new one where there is one. One that is not good leaves the old one in place: it may be half written.
    fn refresh(&self, before: Option<String>) -> Option<String> {
        match read(&self.files, &self.provider) {
            Ok(new) => {
                if new.cert != self.current().cert {
                    tracing::info!("the certificate was renewed: {}", self.files.cert.display());
                    *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(new);
                }
                None
            }
            Err(e) => {
                let why = e.to_string();
                if before.as_ref() != Some(&why) {
                    tracing::error!("the certificate from before is used further: {why}");
                }
                Some(why)
            }
        }
    }

    /// Looks for a new one until the end.
    pub async fn follow(self: Arc<Self>, every: Duration, end: CancellationToken) {
        let mut wrong = None;
        while end.run_until_cancelled(tokio::time::sleep(every)).await.is_some() {
            let this = Arc::clone(&self);
            wrong = tokio::task::spawn_blocking(move || this.refresh(wrong)).await.unwrap_or_default();
        }
    }
}

fn read(files: &TlsFiles, provider: &Arc<CryptoProvider>) -> Result<CertifiedKey> {
    let wrong = |setting: &str, file: &Path, what: &dyn fmt::Display| {
        Error::bad_setting(format!("{setting}: {}: {what}", file.display()))
    };
    let cert = |what: &dyn fmt::Display| wrong("PROXMOX_MCP_TLS_CERT", &files.cert, what);
    let key = |what: &dyn fmt::Display| wrong("PROXMOX_MCP_TLS_KEY", &files.key, what);
    let pem = std::fs::read(&files.cert).map_err(|e| cert(&e))?;
    let chain: Vec<_> =
        CertificateDer::pem_slice_iter(&pem).collect::<std::result::Result<_, _>>().map_err(|e| cert(&e))?;
    if chain.is_empty() {
        return Err(cert(&"expected at least one certificate as PEM"));
    }
    let pem: SecretSlice<u8> = std::fs::read(&files.key).map_err(|e| key(&e))?.into();
    let private = PrivateKeyDer::from_pem_slice(pem.expose_secret())
        .map_err(|_| key(&"expected a private key as PEM, without a password"))?;
    CertifiedKey::from_der(chain, private, provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => key(&"this is not the key of that certificate"),
        e => cert(&e),
    })
}
