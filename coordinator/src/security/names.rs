//! Client certificates of the user's own authority: whoever has one may join, and those named with `--operator` may steer.

use std::path::Path;

use m2t_common::access::Role;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::open::Refused;

/// The names (DNS names of the certificate's subjectAltName) that may steer.
#[derive(Clone, Debug)]
pub(super) struct Operators(Vec<String>);

impl Operators {
    /// These.
    pub(super) fn new(names: Vec<String>) -> Self {
        Self(names)
    }

    /// What the holder of a certificate is.
    pub(super) fn role_of(&self, certificate: &CertificateDer<'_>) -> Role {
        let parsed = webpki::EndEntityCert::try_from(certificate);
        let is_operator = parsed.is_ok_and(|parsed| {
            parsed
                .valid_dns_names()
                .any(|name| self.0.iter().any(|operator| operator.eq_ignore_ascii_case(name)))
        });
        if is_operator { Role::Operator } else { Role::Worker }
    }
}

/// The authority in a PEM file.
///
/// # Errors
/// [`Refused`] where it cannot be read or holds none.
pub(super) fn authority(path: &Path) -> Result<RootCertStore, Refused> {
    let refuse = |why: String| Refused::new(format!("--tls-client-ca {}: {why}", path.display()));
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(path).map_err(|e| refuse(e.to_string()))?;
    for certificate in certificates {
        let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("there is no certificate in it (PEM)".to_owned()));
    }
    Ok(roots)
}
