//! What is known of one connection's other end, and what it may still ask. Clones are the same connection's.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::connections::{Connection, Request};
use crate::doorway::Known;

/// Calls that a connection may make in a second. A daemon makes one in its life, an operator a few.
const MOST_CALLS: u32 = 100;
const SECOND: Duration = Duration::from_secs(1);

/// A connection's other end.
#[derive(Clone, Debug)]
pub(crate) struct Introduction(Arc<Made>);

#[derive(Debug)]
struct Made {
    connection: Connection,
    known: Known,
    from: SocketAddr,
    /// Held from the first credential on: the connection gives way to nobody any more.
    stays: OnceLock<Request>,
    calls: Mutex<Calls>,
}

/// Calls of the present second.
#[derive(Debug)]
struct Calls {
    since: Instant,
    n: u32,
}

impl Introduction {
    /// Of somebody who has shown nothing yet.
    pub(crate) fn new(connection: Connection, known: Known, from: SocketAddr) -> Self {
        let calls = Mutex::new(Calls {
            since: Instant::now(),
            n: 0,
        });
        Self(Arc::new(Made {
            connection,
            known,
            from,
            stays: OnceLock::new(),
            calls,
        }))
    }

    /// Where the other end is.
    pub(crate) fn from(&self) -> SocketAddr {
        self.0.from
    }

    /// What the connection alone tells.
    pub(crate) fn known(&self) -> Known {
        self.0.known
    }

    /// Its place among all.
    pub(crate) fn connection(&self) -> &Connection {
        &self.0.connection
    }

    /// It has shown what lets it in.
    pub(crate) fn make(&self) {
        self.0.stays.get_or_init(|| self.0.connection.request());
    }

    /// Whether it has.
    pub(crate) fn is_made(&self) -> bool {
        self.0.stays.get().is_some()
    }

    /// Counts a call; whether it is one too many.
    pub(crate) fn is_hasty(&self) -> bool {
        let mut calls = self.0.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.since.elapsed() >= SECOND {
            *calls = Calls {
                since: Instant::now(),
                n: 0,
            };
        }
        calls.n = calls.n.saturating_add(1);
        calls.n > MOST_CALLS
    }
}
