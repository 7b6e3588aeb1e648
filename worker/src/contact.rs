//! A coordinator, and how to be let in: where it listens, how it is known for the right one, and what is shown to it.
//!
//! ```text
//!  token, keyring or --tls-ca ──► TCP ──► TLS 1.3: its certificate is one that a token names ──► HTTP/2, each call with the proof
//!                                                                    │ of none: nothing is said to it
//! ```
//! One contact is one connection: a proof is worth something on its own connection alone, so that none is made again behind a call's back.

mod access;
mod address;
mod tls;
mod tokens;

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use m2t_common::access::{Credential, Fingerprint, Role};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;
use tonic::metadata::AsciiMetadataValue;
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Endpoint, Uri};
use tonic::{Request, Status};
use tower::service_fn;

pub use access::AccessArgs;
pub use address::{BadCoordinator, CoordinatorAddress};
pub use tokens::TokenError;

use access::Access;
use tls::Sealed;

const CONNECT_WITHIN: Duration = Duration::from_secs(1);
/// Of both ends' arithmetic, on machines that may be busy.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);
/// How often the transport asks whether the coordinator's host still lives, and how long it waits for the answer.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3));

/// Calls go through it, each with what lets the caller in.
pub type Channel = InterceptedService<tonic::transport::Channel, Authorize>;

/// A coordinator, and how to be let in.
#[derive(Clone, Debug)]
pub struct Contact {
    address: CoordinatorAddress,
    access: Access,
}

impl fmt::Display for Contact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(f)
    }
}

/// A connection to a coordinator.
#[derive(Debug)]
pub struct Contacted {
    /// For calls.
    pub channel: Channel,
    /// The local address that it goes out from.
    pub local: IpAddr,
}

/// Why there is no contact.
#[derive(Debug, thiserror::Error)]
pub enum ContactError {
    /// By name.
    #[error("its name cannot be resolved")]
    Resolve(#[source] std::io::Error),
    /// The name leads nowhere.
    #[error("its name stands for no address")]
    NoAddress,
    /// The kernel knows no way.
    #[error("no route to it")]
    Route(#[source] std::io::Error),
    /// Nobody there.
    #[error("cannot connect")]
    Tcp(#[source] std::io::Error),
    /// Somebody there who does not answer.
    #[error("it takes connections and does not answer within {} s", .0.as_secs())]
    Silent(Duration),
    /// What is spoken is not TLS.
    #[error("it does not speak TLS; if it was started with --insecure, add --insecure here, too")]
    NotTls,
    /// TLS fails otherwise.
    #[error("TLS failed")]
    Tls(#[source] std::io::Error),
    /// HTTP/2 fails.
    #[error("no HTTP/2 with it; if it was started without --insecure, leave --insecure out here, too")]
    Http(#[source] tonic::transport::Error),
    /// Somebody else's certificate.
    #[error(
        "its certificate {met} is not the one that the token names ({wanted}): it is another coordinator, or somebody in between; nothing was said to it. If it was set up anew, take a new token"
    )]
    OtherCertificate {
        /// What it showed.
        met: String,
        /// What was to be shown.
        wanted: String,
    },
    /// No token for it.
    #[error(
        "there is no token for it here (its certificate is {met}); name {}'s token with --token-file FILE or M2T_TOKEN_FILE: the coordinator keeps one in STATE/security/{role}.token", .role.one()
    )]
    NoToken {
        /// What it showed.
        met: String,
        /// Whose token is asked for.
        role: Role,
    },
    /// A token that cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl ContactError {
    /// A token's file that is not there yet: a coordinator that starts now will write it.
    fn may_come(&self) -> bool {
        matches!(self, Self::Token(TokenError::Read { why, .. }) if why.kind() == std::io::ErrorKind::NotFound)
    }

    /// Whether trying again is of no use before somebody does something.
    pub fn is_refusal(&self) -> bool {
        matches!(
            self,
            Self::NotTls | Self::OtherCertificate { .. } | Self::NoToken { .. } | Self::Token(_)
        ) && !self.may_come()
    }
}

impl Contact {
    /// With what was typed and what the environment says.
    ///
    /// # Errors
    /// Where certificates that were named cannot be used.
    pub fn new(address: CoordinatorAddress, typed: &AccessArgs) -> Result<Self, TokenError> {
        let access = Access::of(typed, |name| std::env::var_os(name))?;
        Ok(Self { address, access })
    }

    /// What a call that fails for no reason of its own may come from.
    pub fn hint(&self) -> &'static str {
        match self.access {
            Access::Open => "; if it was started without --insecure, leave --insecure out here, too",
            Access::Checked(_) => "",
        }
    }

    /// Connects to the first of its addresses that answers. Of the roles that could make the call, the first that there is a token
    /// for is shown.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn connect(&self, roles: &[Role]) -> Result<Contacted, ContactError> {
        let addresses = tokio::net::lookup_host(self.address.as_str())
            .await
            .map_err(ContactError::Resolve)?;
        let mut failure = ContactError::NoAddress;
        for address in addresses {
            match self.connect_to(address, roles).await {
                Ok(contacted) => return Ok(contacted),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    async fn connect_to(&self, address: SocketAddr, roles: &[Role]) -> Result<Contacted, ContactError> {
        let local = way_to(address).await.map_err(ContactError::Route)?;
        let tcp = match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(connected) => connected.map_err(ContactError::Tcp)?,
            Err(_) => return Err(ContactError::Tcp(std::io::ErrorKind::TimedOut.into())),
        };
        // Without it a small message waits for the answer to the one before.
        let _ = tcp.set_nodelay(true);
        let (channel, authorize) = match &self.access {
            Access::Open => (self.http(tcp).await?, Authorize(None)),
            Access::Checked(checks) => {
                let shaken = timeout(HANDSHAKE_WITHIN, checks.handshake(tcp, &self.address, roles)).await;
                let Sealed { stream, credential } =
                    shaken.unwrap_or(Err(ContactError::Silent(HANDSHAKE_WITHIN)))?;
                (self.http(stream).await?, Authorize::of(credential.as_ref()))
            }
        };
        Ok(Contacted {
            channel: InterceptedService::new(channel, authorize),
            local,
        })
    }

    /// HTTP/2 over a connection that stands. When that breaks, so do all calls.
    async fn http<S>(&self, stream: S) -> Result<tonic::transport::Channel, ContactError>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let once = Arc::new(Mutex::new(Some(TokioIo::new(stream))));
        let connector = service_fn(move |_: Uri| {
            let stream = once.lock().unwrap_or_else(PoisonError::into_inner).take();
            async move { stream.ok_or_else(|| std::io::Error::from(std::io::ErrorKind::NotConnected)) }
        });
        Endpoint::from_shared(format!("http://{}", self.address))
            .map_err(ContactError::Http)?
            .http2_keep_alive_interval(KEEP_ALIVE.0)
            .keep_alive_timeout(KEEP_ALIVE.1)
            .keep_alive_while_idle(true)
            .connect_with_connector(connector)
            .await
            .map_err(ContactError::Http)
    }
}

/// The local address from which an address is reached. A connected UDP socket sends nothing; the kernel picks the route.
async fn way_to(address: SocketAddr) -> std::io::Result<IpAddr> {
    let any: SocketAddr = if address.is_ipv4() {
        ([0, 0, 0, 0], 0).into()
    } else {
        ([0u16; 8], 0).into()
    };
    let probe = UdpSocket::bind(any).await?;
    probe.connect(address).await?;
    Ok(probe.local_addr()?.ip())
}

/// Adds to each call what lets the caller in.
#[derive(Clone, Debug)]
pub struct Authorize(Option<AsciiMetadataValue>);

impl Authorize {
    fn of(credential: Option<&Credential>) -> Self {
        let value = credential.and_then(|credential| credential.to_string().parse().ok());
        Self(value.map(|mut value: AsciiMetadataValue| {
            // No log of headers shows it.
            value.set_sensitive(true);
            value
        }))
    }
}

impl Interceptor for Authorize {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(value) = &self.0 {
            request.metadata_mut().insert("authorization", value.clone());
        }
        Ok(request)
    }
}

/// A certificate as people compare it.
fn shown(fingerprint: Option<Fingerprint>) -> String {
    fingerprint.map_or_else(
        || "(none was shown)".to_owned(),
        |fingerprint| fingerprint.short(),
    )
}
