//! The link to the coordinator: one stream at a time, attached again for as long as the daemon lives.
//!
//! It hands on what it hears and what it is given; it knows nothing of either.

use std::time::{Duration, Instant};

use m2t_common::access::Role;
use m2t_common::machine_link::ToMachine;
use m2t_common::random::Stream;
use m2t_proto::{WireError, wire};
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use wire::coordinator_client::CoordinatorClient;

use super::{Event, Events};
use crate::contact::{Contact, ContactError, Contacted};
use crate::ending::sentence;

/// The first wait before connecting again, and the longest. Each is drawn between half of it and all of it, so that
/// a whole cluster does not come back in one instant. Short beside the heartbeat timeout (3 s): a coordinator that is started
/// again awaits its machines for that long.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));
/// How often an unchanged reason for waiting is said again.
const SAY_AGAIN: Duration = Duration::from_secs(10);

/// Why there is no link.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error(transparent)]
    Contact(#[from] ContactError),
    #[error("{0}")]
    NotLetIn(String),
    #[error("the stream broke ({:?}): {}", .0.code(), .0.message())]
    Broken(Box<tonic::Status>),
    #[error("the coordinator closed the stream")]
    Closed,
    #[error("it is no coordinator of this version")]
    Nonsense(#[source] WireError),
}

impl LinkError {
    fn broken(status: tonic::Status) -> Self {
        match status.code() {
            Code::Unauthenticated | Code::PermissionDenied => Self::NotLetIn(status.message().to_owned()),
            _ => Self::Broken(Box::new(status)),
        }
    }

    /// Whether trying again is of no use before somebody does something.
    fn is_refusal(&self) -> bool {
        match self {
            Self::Contact(error) => error.is_refusal(),
            Self::NotLetIn(_) => true,
            Self::Broken(_) | Self::Closed | Self::Nonsense(_) => false,
        }
    }
}

/// What was heard on a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    Nothing,
    Something,
    /// That the machine is dismissed or refused: the daemon ends, and nobody is waited for.
    Farewell,
}

/// Keeps a stream to the coordinator until it says farewell. `seed` draws the jitter.
///
/// A daemon that is kept out before it was ever let in ends with the reason: its token is wrong. Later it waits, for its machine trains,
/// and the token's file may be renewed.
pub(super) async fn keep(coordinator: Contact, seed: u64, events: Events) {
    let mut jitter = Stream::new("reconnection jitter", &[seed]);
    let mut wait = BACKOFF.0;
    let mut said: Option<(String, Instant)> = None;
    let mut was_let_in = false;
    loop {
        let (heard, error) = attach(&coordinator, &events).await;
        if events.send(Event::Down).is_err() {
            return;
        }
        match heard {
            Heard::Farewell => return,
            Heard::Something => {
                was_let_in = true;
                (wait, said) = (BACKOFF.0, None);
            }
            Heard::Nothing => {}
        }
        let reason = sentence(&error);
        if error.is_refusal() && !was_let_in {
            let reason = format!("the coordinator at {coordinator}: {reason}");
            let _ = events.send(Event::Said(ToMachine::Refuse { reason }));
            return;
        }
        let is_news = said
            .as_ref()
            .is_none_or(|(last, at)| *last != reason || at.elapsed() >= SAY_AGAIN);
        if is_news {
            tracing::warn!("waiting for the coordinator at {coordinator}: {reason}");
            said = Some((reason, Instant::now()));
        }
        tokio::time::sleep(wait.mul_f64(jitter.uniform(0.5, 1.0))).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// One stream from beginning to end; what was heard on it, and why it ended.
async fn attach(coordinator: &Contact, events: &Events) -> (Heard, LinkError) {
    let mut heard = Heard::Nothing;
    let end = async {
        let Contacted {
            channel,
            local: address,
        } = coordinator.connect(&[Role::Worker]).await?;
        let (outbox, messages) = mpsc::unbounded_channel();
        // Before the call: the coordinator may wait for the first message before it answers.
        let _ = events.send(Event::Up { address, outbox });
        let messages = UnboundedReceiverStream::new(messages).map(wire::FromMachine::from);
        let mut said = CoordinatorClient::new(channel)
            .attach(messages)
            .await
            .map_err(LinkError::broken)?
            .into_inner();
        while let Some(message) = said.message().await.map_err(LinkError::broken)? {
            let message = ToMachine::try_from(message).map_err(LinkError::Nonsense)?;
            heard = match message {
                ToMachine::Refuse { .. } | ToMachine::Dismiss(_) => Heard::Farewell,
                ToMachine::Welcome(_) | ToMachine::Assign(_) => Heard::Something,
            };
            let _ = events.send(Event::Said(message));
        }
        Err::<(), _>(LinkError::Closed)
    };
    let error = end.await.err().unwrap_or(LinkError::Closed);
    (heard, error)
}
