//! What keeps strangers out: the coordinator's certificate, its keys and the tokens that are made from them.
//!
//! All of it lies in `STATE/security/`, readable by its user alone:
//! ```text
//!  root.pem, root.key     the root certificate, whose fingerprint is in every token. It signs this start's own certificate
//!  keys.json              what the secrets of tokens are derived from, and the tokens that were revoked; read again when it changes
//!  worker.token, operator.token, viewer.token
//!                         one a role, renewed long before it expires; copies lie in the user's keyring
//! ```
//! Own certificates (`--tls-cert`, `--tls-key`) take the place of the first two; client certificates of the user's own authority
//! (`--tls-client-ca`, `--operator`) stand beside tokens.

mod folder;
mod given;
mod identity;
mod keyfile;
mod names;
mod tokens;
mod typed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use m2t_common::Timestamp;
use m2t_common::access::{Bearer, Binding, Credential, Denied, Fingerprint, Keys, Role, Token, TokenId};
use rustix::rand::{GetRandomFlags, getrandom};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::server::{ResolvesServerCert, WebPkiClientVerifier};

pub use typed::{TlsArgs, TokenCommand};

use crate::args::Args;
use crate::clock::Clock;
use folder::SecurityFolder;
use given::Given;
use identity::Identity;
use keyfile::KeyFile;
use names::{Operators, authority};

/// How often a coordinator looks whether its token files want to be renewed.
const LOOK: Duration = Duration::from_secs(3600);

/// Everything that is needed to know friends from strangers.
#[derive(Debug)]
pub(crate) struct Security {
    folder: SecurityFolder,
    fingerprint: Fingerprint,
    keys: KeyFile,
    /// Where copies of the tokens go.
    keyring: Option<PathBuf>,
    certificate: Arc<dyn ResolvesServerCert>,
    /// Who counts as what by a certificate of the user's own authority.
    clients: Option<Clients>,
}

#[derive(Debug)]
struct Clients {
    authority: Arc<rustls::RootCertStore>,
    operators: Operators,
}

impl Security {
    /// Opens what lies in `state`, or makes it.
    ///
    /// # Errors
    /// When a file cannot be read or written, is readable by others, or is no certificate or key.
    pub(crate) fn open(state: &Path, args: &Args, names: Vec<String>) -> anyhow::Result<Self> {
        let tls = &args.tls;
        let folder = SecurityFolder::open(state)?;
        let (certificate, fingerprint): (Arc<dyn ResolvesServerCert>, _) = match (&tls.cert, &tls.key) {
            (Some(cert), Some(key)) => {
                let given = Given::read(cert, key)?;
                let fingerprint = given.fingerprint();
                (Arc::new(given), fingerprint)
            }
            _ => {
                let identity = Identity::open(&folder, names)?;
                let fingerprint = identity.fingerprint();
                (Arc::new(identity), fingerprint)
            }
        };
        let clients = match &tls.client_ca {
            Some(path) => Some(Clients {
                authority: Arc::new(authority(path)?),
                operators: Operators::new(tls.operator.clone()),
            }),
            None => None,
        };
        let keys = KeyFile::open(&folder)?;
        let security = Self {
            folder,
            fingerprint,
            keys,
            keyring: args.keyring.clone().or_else(tokens::usual_keyring),
            certificate,
            clients,
        };
        security.renew()?;
        Ok(security)
    }

    /// The fingerprint that tokens carry.
    pub(crate) fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The file of a role's token.
    pub(crate) fn token_file(&self, role: Role) -> PathBuf {
        self.folder.token_file(role)
    }

    /// TLS 1.3 with this certificate, for the protocol that is spoken in it.
    ///
    /// # Errors
    /// When the user's authority cannot be used.
    pub(crate) fn server_config(&self, protocol: &str) -> anyhow::Result<ServerConfig> {
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .context("TLS 1.3 is not to be had")?;
        let builder = match &self.clients {
            None => builder.with_no_client_auth(),
            Some(clients) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::clone(&clients.authority), provider)
                        .allow_unauthenticated()
                        .build()
                        .context("--tls-client-ca holds no authority that can be used")?;
                builder.with_client_cert_verifier(verifier)
            }
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.certificate));
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        // A connection is as long as a run: nothing is worth resuming.
        config.send_tls13_tickets = 0;
        Ok(config)
    }

    /// A new token.
    ///
    /// # Errors
    /// When there is no randomness, or no key.
    pub(crate) fn token(&self, role: Role, lives: Duration) -> anyhow::Result<Token> {
        tokens::make(&self.keys.now(), role, self.fingerprint, now().after(lives))
    }

    /// The role of whoever showed this certificate, which the authority has signed.
    pub(crate) fn role_of(&self, certificate: &CertificateDer<'_>) -> Option<Role> {
        let clients = self.clients.as_ref()?;
        Some(clients.operators.role_of(certificate))
    }

    /// The role of whoever proves a token on a connection.
    pub(crate) fn check_proof(&self, said: &Credential, binding: &Binding) -> Result<Role, Denied> {
        self.keys.now().check_proof(said, binding, now())
    }

    /// The role of whoever sent a token whole.
    pub(crate) fn check_bearer(&self, sent: &Bearer) -> Result<Role, Denied> {
        self.keys.now().check_bearer(sent, now())
    }

    /// Renews token files that expire within days, and puts copies into the user's keyring.
    ///
    /// # Errors
    /// When a file in the folder cannot be written.
    fn renew(&self) -> anyhow::Result<()> {
        tokens::renew(
            &self.folder,
            &self.keys.now(),
            self.fingerprint,
            self.keyring.as_deref(),
        )
    }

    /// Renews token files for as long as the run is served.
    pub(crate) async fn keep(self: Arc<Self>) {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.renew() {
                tracing::warn!("The token files could not be renewed: {error:#}.");
            }
        }
    }
}

/// Unix time. A clock that was never set counts from 1970, and then no token has expired.
fn now() -> Timestamp {
    Clock::start().now()
}

/// From the kernel.
///
/// # Errors
/// When it has none.
pub(crate) fn random() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    let n_bytes = getrandom(&mut bytes, GetRandomFlags::empty())?;
    if n_bytes < bytes.len() {
        return Err(std::io::Error::other("too little randomness"));
    }
    Ok(bytes)
}

fn random_id() -> std::io::Result<TokenId> {
    let bytes = random()?;
    Ok(TokenId(u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))))
}

/// Keys with a first one, for a coordinator that has none.
fn first_keys() -> std::io::Result<Keys> {
    let mut keys = Keys::default();
    keys.rotate(random()?, now());
    Ok(keys)
}

#[cfg(test)]
mod tests;
