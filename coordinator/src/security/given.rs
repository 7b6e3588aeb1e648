//! A certificate of the user's own, read again every minute: what renews it needs not know of the coordinator.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use m2t_common::access::Fingerprint;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::folder::refuse_others;
use crate::open::Refused;

/// How old what was read may be.
const FRESH: Duration = Duration::from_secs(60);

/// Files of a certificate chain and its key.
#[derive(Debug)]
pub(super) struct Given {
    certificate: PathBuf,
    key: PathBuf,
    read: Mutex<(Instant, Arc<CertifiedKey>)>,
}

impl Given {
    /// Reads both.
    ///
    /// # Errors
    /// [`Refused`] where one cannot be read, others can read the key, or they do not belong together.
    pub(super) fn read(certificate: &Path, key: &Path) -> Result<Self, Refused> {
        let certified = certified(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            read: Mutex::new((Instant::now(), Arc::new(certified))),
        })
    }

    /// That of the last certificate of the chain.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        let read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        let last = read
            .1
            .cert
            .last()
            .expect("a chain without a certificate is refused");
        Fingerprint::of(last)
    }
}

impl ResolvesServerCert for Given {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if read.0.elapsed() > FRESH {
            read.0 = Instant::now();
            match certified(&self.certificate, &self.key) {
                Ok(certified) => read.1 = Arc::new(certified),
                Err(error) => tracing::warn!("{error}; the certificate that was is shown on"),
            }
        }
        Some(Arc::clone(&read.1))
    }
}

fn certified(certificate: &Path, key: &Path) -> Result<CertifiedKey, Refused> {
    let refuse = |flag: &str, path: &Path, why: &dyn std::fmt::Display| {
        Refused::new(format!("{flag} {}: {why}", path.display()))
    };
    refuse_others(key, "600")?;
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain: Vec<CertificateDer<'static>> = chain.map_err(|e| refuse("--tls-cert", certificate, &e))?;
    if chain.is_empty() {
        return Err(refuse(
            "--tls-cert",
            certificate,
            &"there is no certificate in it (PEM)",
        ));
    }
    let private = PrivateKeyDer::from_pem_file(key).map_err(|e| refuse("--tls-key", key, &e))?;
    CertifiedKey::from_der(chain, private, &ring::default_provider())
        .map_err(|e| refuse("--tls-key", key, &e))
}
