//! The coordinator's own certificate: a root that stays, and what it signs for each day.
//!
//! Why two: tokens carry the root's fingerprint and live for weeks; the certificate that is shown can change every day, with the host's names.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use m2t_common::access::Fingerprint;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::folder::{self, SecurityFolder};
use crate::open::Refused;

const CERTIFICATE: &str = "root.pem";
const KEY: &str = "root.key";
/// The name of the root.
const ROOT_NAME: &str = "m2t coordinator";
/// The name that every coordinator's certificate has, whatever its host is called: for clients that know it by its fingerprint.
const USUAL_NAME: &str = "coordinator.m2t";
/// A certificate is shown for so long.
const SHOWN: Duration = Duration::from_secs(24 * 3600);
/// And is valid for so long, from before it was made: clocks differ.
const VALID: (Duration, Duration) = (
    Duration::from_secs(24 * 3600),
    Duration::from_secs(30 * 24 * 3600),
);

/// The root, and the certificate of today.
pub(super) struct Identity {
    root: CertificateDer<'static>,
    issuer: Issuer<'static, KeyPair>,
    names: Vec<String>,
    today: Mutex<Option<(SystemTime, Arc<CertifiedKey>)>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads the root, or makes it. `names` are those that this host can be reached by.
    ///
    /// # Errors
    /// When files cannot be read or written, or are no certificate and key.
    pub(super) fn open(folder: &SecurityFolder, names: Vec<String>) -> anyhow::Result<Self> {
        let (certificate, key) = (folder.file(CERTIFICATE), folder.file(KEY));
        let (root, key) = match (folder::read(&certificate)?, folder::read(&key)?) {
            (Some(pem), Some(key_pem)) => {
                let root = CertificateDer::from_pem_slice(pem.as_bytes());
                let root = root
                    .map_err(|e| Refused::new(format!("{} is no certificate: {e}", certificate.display())))?;
                let key_pair = KeyPair::from_pem(&key_pem);
                let key_pair =
                    key_pair.map_err(|e| Refused::new(format!("{} is no key: {e}", key.display())))?;
                (root, key_pair)
            }
            (None, None) => {
                let key_pair = KeyPair::generate().context("could not make a key")?;
                let root = root_params()?
                    .self_signed(&key_pair)
                    .context("could not make a certificate")?;
                let write = |path, text: &str| {
                    folder::write(path, text).with_context(|| format!("could not write {}", path.display()))
                };
                // The key first: a certificate without one is of no use.
                write(&key, &key_pair.serialize_pem())?;
                write(&certificate, &root.pem())?;
                (root.der().clone(), key_pair)
            }
            (found, _) => {
                let (there, missing) = if found.is_some() {
                    (certificate, key)
                } else {
                    (key, certificate)
                };
                let problem = format!(
                    "{} is there and {} is not; put it back, or take the other away, too, for a new certificate (then all tokens are to be made again)",
                    there.display(),
                    missing.display()
                );
                return Err(Refused::new(problem).into());
            }
        };
        let issuer = Issuer::new(root_params()?, key);
        let identity = Self {
            root,
            issuer,
            names,
            today: Mutex::new(None),
        };
        identity.certified(SystemTime::now())?;
        Ok(identity)
    }

    /// That of the root.
    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.root)
    }

    /// The certificate of today.
    pub(super) fn certified(&self, now: SystemTime) -> anyhow::Result<Arc<CertifiedKey>> {
        let mut today = self.today.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((made, certified)) = &*today
            && now.duration_since(*made).is_ok_and(|age| age < SHOWN)
        {
            return Ok(Arc::clone(certified));
        }
        let certified = Arc::new(self.issue(now)?);
        *today = Some((now, Arc::clone(&certified)));
        Ok(certified)
    }

    fn issue(&self, now: SystemTime) -> anyhow::Result<CertifiedKey> {
        let names: Vec<String> = self
            .names
            .iter()
            .cloned()
            .chain([USUAL_NAME.to_owned()])
            .collect();
        let mut params =
            CertificateParams::new(names).context("this host's names do not go into a certificate")?;
        params.distinguished_name.push(DnType::CommonName, USUAL_NAME);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        let epoch = date_time_ymd(1970, 1, 1);
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        params.not_before = epoch + since.saturating_sub(VALID.0);
        params.not_after = epoch + since + VALID.1;
        let key = KeyPair::generate().context("could not make a key")?;
        let leaf = params
            .signed_by(&key, &self.issuer)
            .context("could not make a certificate")?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = any_ecdsa_type(&key).context("could not use the key that was made")?;
        Ok(CertifiedKey::new(
            vec![leaf.der().clone(), self.root.clone()],
            key,
        ))
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let certified = self.certified(SystemTime::now());
        certified
            .inspect_err(|error| tracing::warn!("No certificate can be shown: {error:#}."))
            .ok()
    }
}

/// The same at every start: what the root signs names it as its issuer.
fn root_params() -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(Vec::new()).context("could not describe a certificate")?;
    params.distinguished_name.push(DnType::CommonName, ROOT_NAME);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    params.not_before = date_time_ymd(2000, 1, 1);
    params.not_after = date_time_ymd(2200, 1, 1);
    Ok(params)
}
