//! TLS 1.3 to a coordinator: known by the fingerprint in a token, or by an authority of the user's.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use m2t_common::access::{Binding, Credential, Fingerprint, Role, Token};
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::tokens::{TokenError, Tokens, private};
use super::{ContactError, CoordinatorAddress, shown};

/// The name in every coordinator's own certificate, whatever its host is called.
const USUAL_NAME: &str = "coordinator.m2t";

/// What is asked of the other end, and shown to it.
#[derive(Clone, Debug)]
pub(super) struct Checks {
    pub(super) tokens: Tokens,
    pub(super) authority: Authority,
    /// Certificate and key of the user's own.
    pub(super) shown: Option<(PathBuf, PathBuf)>,
}

/// By what the coordinator is known.
#[derive(Clone, Debug)]
pub(super) enum Authority {
    /// The fingerprint in the token.
    OfToken,
    /// The user's own.
    OfUser(Arc<RootCertStore>),
}

/// A connection that is encrypted, and what proves who we are on it.
pub(super) struct Sealed {
    pub(super) stream: TlsStream<TcpStream>,
    pub(super) credential: Option<Credential>,
}

impl Checks {
    /// TLS, and the credential for it.
    pub(super) async fn handshake(
        &self,
        tcp: TcpStream,
        address: &CoordinatorAddress,
        roles: &[Role],
    ) -> Result<Sealed, ContactError> {
        let tokens = self.tokens.of(roles)?;
        let met = Arc::new(Mutex::new(None));
        let (config, name) = self.config(&tokens, address, &met)?;
        let connected = TlsConnector::from(Arc::new(config)).connect(name, tcp).await;
        let met = *met.lock().unwrap_or_else(PoisonError::into_inner);
        let stream = connected.map_err(|error| self.why(error, &tokens, met, roles))?;
        let (_, session) = stream.get_ref();
        let binding = session
            .export_keying_material([0; 32], Binding::LABEL, None)
            .map_err(|error| ContactError::Tls(io::Error::other(error)))?;
        let is_its = |token: &&Token| self.is_by_user() || Some(token.fingerprint) == met;
        let token = tokens.iter().find(is_its);
        if token.is_none() && self.shown.is_none() {
            return Err(self.no_token(&tokens, met, roles));
        }
        Ok(Sealed {
            credential: token.map(|token| Credential::of(token, &Binding(binding))),
            stream,
        })
    }

    fn is_by_user(&self) -> bool {
        matches!(self.authority, Authority::OfUser(_))
    }

    fn config(
        &self,
        tokens: &[Token],
        address: &CoordinatorAddress,
        met: &Arc<Mutex<Option<Fingerprint>>>,
    ) -> Result<(ClientConfig, ServerName<'static>), ContactError> {
        let failed = |error: Error| ContactError::Tls(io::Error::other(error));
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(failed)?;
        let (verifier, name): (Arc<dyn ServerCertVerifier>, String) = match &self.authority {
            Authority::OfUser(roots) => {
                let verifier =
                    WebPkiServerVerifier::builder_with_provider(Arc::clone(roots), provider).build();
                let verifier = verifier.map_err(|error| ContactError::Tls(io::Error::other(error)))?;
                (verifier, address.host().to_owned())
            }
            Authority::OfToken => {
                let known = tokens.iter().map(|token| token.fingerprint).collect();
                let met = Arc::clone(met);
                let verifier = Pinned { known, met, provider };
                (Arc::new(verifier), USUAL_NAME.to_owned())
            }
        };
        let builder = builder.dangerous().with_custom_certificate_verifier(verifier);
        let mut config = match &self.shown {
            None => builder.with_no_client_auth(),
            Some((certificate, key)) => {
                let (chain, private) = own(certificate, key)?;
                builder.with_client_auth_cert(chain, private).map_err(failed)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        let name = ServerName::try_from(name).map_err(|error| ContactError::Tls(io::Error::other(error)))?;
        Ok((config, name))
    }

    /// What a failed handshake means.
    fn why(
        &self,
        error: io::Error,
        tokens: &[Token],
        met: Option<Fingerprint>,
        roles: &[Role],
    ) -> ContactError {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        match inner {
            Some(Error::InvalidMessage(_)) => ContactError::NotTls,
            Some(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure)) => {
                self.no_token(tokens, met, roles)
            }
            _ => ContactError::Tls(error),
        }
    }

    fn no_token(&self, tokens: &[Token], met: Option<Fingerprint>, roles: &[Role]) -> ContactError {
        match tokens.first() {
            Some(token) if self.tokens.is_named() => {
                let (short, wanted) = (shown(met), token.fingerprint);
                let is_alike = short == wanted.short();
                let whole = met.filter(|_| is_alike).map(|met| met.to_string());
                ContactError::OtherCertificate {
                    met: whole.unwrap_or(short),
                    wanted: if is_alike {
                        wanted.to_string()
                    } else {
                        wanted.short()
                    },
                }
            }
            _ => ContactError::NoToken {
                met: shown(met),
                role: roles.first().copied().unwrap_or(Role::Viewer),
            },
        }
    }
}

/// Takes a certificate whose root has one of these fingerprints, whatever host it is for.
#[derive(Debug)]
struct Pinned {
    known: Vec<Fingerprint>,
    /// What was shown last.
    met: Arc<Mutex<Option<Fingerprint>>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        above: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let (root, between) = above
            .split_last()
            .map_or((shown, above), |(root, between)| (root, between));
        let fingerprint = Fingerprint::of(root);
        *self.met.lock().unwrap_or_else(PoisonError::into_inner) = Some(fingerprint);
        if !self.known.contains(&fingerprint) {
            return Err(CertificateError::ApplicationVerificationFailure.into());
        }
        // One that stands alone is known itself; else the one that is known must have signed it.
        if !above.is_empty() {
            let mut roots = RootCertStore::empty();
            roots.add(root.clone().into_owned())?;
            let algorithms = self.provider.signature_verification_algorithms.all;
            let parsed = ParsedCertificate::try_from(shown)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, &roots, between, now, algorithms)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 is not spoken".to_owned()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// The authority in a PEM file.
pub(super) fn roots(path: &Path) -> Result<Arc<RootCertStore>, TokenError> {
    let refuse = |why: String| TokenError::Certificate {
        flag: "--tls-ca",
        path: path.to_owned(),
        why,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|e| refuse(e.to_string()))? {
        let certificate = certificate.map_err(|e| refuse(e.to_string()))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("there is no certificate in it (PEM)".to_owned()));
    }
    Ok(Arc::new(roots))
}

type Own = (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>);

/// A certificate chain of the user's own, and its key.
fn own(certificate: &Path, key: &Path) -> Result<Own, TokenError> {
    let refuse = |flag, path: &Path, why: &dyn std::fmt::Display| TokenError::Certificate {
        flag,
        path: path.to_owned(),
        why: why.to_string(),
    };
    private(key)?;
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| refuse("--tls-cert", certificate, &error))?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|error| refuse("--tls-key", key, &error))?;
    Ok((chain, private))
}
