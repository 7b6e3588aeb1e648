//! Where connections come in, gRPC's and the page's: how many, TLS, who is on the other end, and how long somebody may stand at gRPC's
//! door without a word.
//!
//! ```text
//!  accept ──► a place among at most so many ──► handshake, within seconds ──► HTTP/2, a credential within seconds ──► stays
//!                │ full: the oldest that has shown none gives way
//! ```
//! What a stranger can hold is a place for a few seconds. Whoever has shown a credential gives way to nobody.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use m2t_common::access::{Binding, Role};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{Sleep, sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use crate::connections::{Connection, Connections};
use crate::introduction::Introduction;
use crate::security::Security;

/// How long a handshake may take, and then a first credential.
const PATIENCE: Duration = Duration::from_secs(10);
/// Connections whose handshake is done and that wait to be served.
const DONE: usize = 64;
/// Between two connections while all places are taken.
const FLOODED: Duration = Duration::from_millis(2);
/// After an error that more connections would only repeat, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

/// TLS of a coordinator that has it.
#[derive(Clone)]
pub(crate) struct Lock {
    acceptor: TlsAcceptor,
    security: Arc<Security>,
}

impl Lock {
    /// For a protocol.
    ///
    /// # Errors
    /// When the certificates cannot be used.
    pub(crate) fn new(security: Arc<Security>, protocol: &str) -> anyhow::Result<Self> {
        let config = security.server_config(protocol)?;
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            security,
        })
    }

    /// Takes a connection in: TLS, and what is known of the other end.
    async fn open(&self, stream: TcpStream) -> io::Result<(Wire, Known)> {
        let tls = timeout(PATIENCE, self.acceptor.accept(stream)).await??;
        let (_, session) = tls.get_ref();
        let binding = session
            .export_keying_material([0; 32], Binding::LABEL, None)
            .map_err(io::Error::other)?;
        let shown = session.peer_certificates().and_then(|chain| chain.first());
        let role = shown.and_then(|certificate| self.security.role_of(certificate));
        let known = Known {
            binding: Some(Binding(binding)),
            role,
        };
        Ok((Wire::Sealed(Box::new(tls)), known))
    }
}

/// What a connection alone tells of its other end.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Known {
    /// What both ends of it know and nobody else; none without TLS.
    pub(crate) binding: Option<Binding>,
    /// By its certificate.
    pub(crate) role: Option<Role>,
}

/// Bytes to and fro.
pub(crate) enum Wire {
    /// As they are.
    Plain(TcpStream),
    /// In TLS.
    Sealed(Box<TlsStream<TcpStream>>),
}

/// Takes connections in for ever; `attend` serves each in a task of its own. `who` takes them in, for the log.
pub(crate) async fn take_in<Attended>(
    listener: TcpListener,
    connections: Connections,
    who: &str,
    attend: impl Fn(TcpStream, SocketAddr, Connection) -> Attended,
) where
    Attended: Future<Output = ()> + Send + 'static,
{
    let mut was_told = false;
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                if connections.is_full() {
                    // Strangers flood the door: they are let in no faster, so that the run keeps its time. Others wait a moment, too.
                    tokio::time::sleep(FLOODED).await;
                }
                // One that finds no place is closed.
                if let Some(connection) = connections.admit() {
                    tokio::spawn(attend(stream, from, connection));
                }
            }
            Err(error) => {
                if !was_told {
                    tracing::warn!(
                        "{who} could not take in a connection: {error}; later ones are not told of."
                    );
                    was_told = true;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Opens a connection, in TLS where there is a lock. None for one that does not get through, which has seen why, or that gives way to
/// another meanwhile.
pub(crate) async fn open(
    stream: TcpStream,
    from: SocketAddr,
    lock: Option<&Lock>,
    connection: &Connection,
) -> Option<(Wire, Known)> {
    // Without it a small message waits for the answer to the one before.
    let _ = stream.set_nodelay(true);
    let Some(lock) = lock else {
        return Some((Wire::Plain(stream), Known::default()));
    };
    let opened = tokio::select! {
        opened = lock.open(stream) => opened,
        () = connection.gives_way() => return None,
    };
    opened
        .inspect_err(|error| tracing::debug!("{from} did not get through the handshake: {error}"))
        .ok()
}

/// gRPC's connections that may be served, for as long as they are taken.
pub(crate) fn incoming(listener: TcpListener, lock: Option<Lock>) -> ReceiverStream<io::Result<Guest>> {
    let (done, guests) = mpsc::channel(DONE);
    let over = done.clone();
    let receive =
        move |stream, from, connection| receive(stream, from, connection, (lock.clone(), done.clone()));
    tokio::spawn(async move {
        tokio::select! {
            () = take_in(listener, Connections::many(), "gRPC", receive) => {}
            () = over.closed() => {}
        }
    });
    ReceiverStream::new(guests)
}

/// Opens one connection and hands it on.
async fn receive(
    stream: TcpStream,
    from: SocketAddr,
    connection: Connection,
    (lock, done): (Option<Lock>, mpsc::Sender<io::Result<Guest>>),
) {
    if let Some((wire, known)) = open(stream, from, lock.as_ref(), &connection).await {
        let introduction = Introduction::new(connection, known, from);
        // The server may have ended.
        let _ = done.send(Ok(Guest::new(wire, introduction))).await;
    }
}

/// A connection that is served, with what is known of its other end.
pub(crate) struct Guest {
    wire: Wire,
    introduction: Introduction,
    /// Ends one that shows no credential.
    waiting: Option<Waiting>,
}

struct Waiting {
    patience: Pin<Box<Sleep>>,
    gives_way: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Guest {
    fn new(wire: Wire, introduction: Introduction) -> Self {
        let connection = introduction.connection().clone();
        let waiting = Waiting {
            patience: Box::pin(sleep(PATIENCE)),
            gives_way: Box::pin(async move { connection.gives_way().await }),
        };
        Self {
            wire,
            introduction,
            waiting: Some(waiting),
        }
    }

    /// An error when it has stood there for too long.
    fn poll_patience(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        if self.introduction.is_made() {
            self.waiting = None;
        }
        let Some(waiting) = &mut self.waiting else {
            return Ok(());
        };
        let is_late = waiting.patience.as_mut().poll(context).is_ready();
        if is_late || waiting.gives_way.as_mut().poll(context).is_ready() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Ok(())
    }
}

impl Connected for Guest {
    type ConnectInfo = Introduction;

    fn connect_info(&self) -> Introduction {
        self.introduction.clone()
    }
}

impl AsyncRead for Guest {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.poll_patience(context)?;
        Pin::new(&mut self.wire).poll_read(context, buffer)
    }
}

impl AsyncWrite for Guest {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.wire).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.wire).poll_shutdown(context)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_read(context, buffer),
            Self::Sealed(stream) => Pin::new(stream).poll_read(context, buffer),
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_write(context, bytes),
            Self::Sealed(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_flush(context),
            Self::Sealed(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(context),
            Self::Sealed(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}
