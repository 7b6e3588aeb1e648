//! How many connections there may be, and which gives way when one more comes: the oldest that waits for nothing.
//!
//! Why one gives way and the new one is not turned away: whoever opens a thousand connections and says nothing would else keep
//! everybody out until they time out.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit};
use tokio::sync::Notify;

/// Connections of the page at once.
const FEW: usize = 256;
/// Connections of daemons and operators at once, where the process may have so many files open.
const MANY: usize = 4096;
/// Files for everything else.
const OTHER_FILES: usize = 128;

/// All connections. Clones are the same ones.
#[derive(Clone, Debug)]
pub(crate) struct Connections(Arc<Mutex<Open>>);

#[derive(Debug)]
struct Open {
    most: usize,
    /// By age.
    by_number: BTreeMap<u64, Arc<Load>>,
    next: u64,
}

/// What a connection is at.
#[derive(Debug, Default)]
struct Load {
    n_requests: AtomicUsize,
    gives_way: Notify,
}

/// One connection; it counts until all its clones are dropped.
#[derive(Clone, Debug)]
pub(crate) struct Connection(Arc<Place>);

#[derive(Debug)]
struct Place {
    number: u64,
    load: Arc<Load>,
    all: Connections,
}

/// A request under way. As long as it lives its connection gives way to none.
#[derive(Debug)]
pub(crate) struct Request(Arc<Load>);

impl Connections {
    /// Those of the page.
    pub(crate) fn few() -> Self {
        Self::at_most(FEW)
    }

    /// Those of daemons and operators: what is left of the files that this process may have open.
    pub(crate) fn many() -> Self {
        let limit = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Self::at_most(limit.saturating_sub(FEW + OTHER_FILES).clamp(64, MANY))
    }

    fn at_most(most: usize) -> Self {
        Self(Arc::new(Mutex::new(Open {
            most,
            by_number: BTreeMap::new(),
            next: 0,
        })))
    }

    /// Takes in one more; none where all are at work.
    pub(crate) fn admit(&self) -> Option<Connection> {
        let mut open = self.open();
        if open.by_number.len() >= open.most {
            let is_idle = |load: &Arc<Load>| load.n_requests.load(Ordering::Acquire) == 0;
            let oldest = open.by_number.iter().find(|(_, load)| is_idle(load));
            let number = oldest.map(|(number, _)| *number)?;
            if let Some(load) = open.by_number.remove(&number) {
                load.gives_way.notify_one();
            }
        }
        let (number, load) = (open.next, Arc::new(Load::default()));
        open.next += 1;
        open.by_number.insert(number, Arc::clone(&load));
        let all = self.clone();
        Some(Connection(Arc::new(Place { number, load, all })))
    }

    /// Whether one more makes another give way.
    pub(crate) fn is_full(&self) -> bool {
        let open = self.open();
        open.by_number.len() >= open.most
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    /// A request comes in.
    pub(crate) fn request(&self) -> Request {
        self.0.load.n_requests.fetch_add(1, Ordering::AcqRel);
        Request(Arc::clone(&self.0.load))
    }

    /// Waits until it is to give way to another.
    pub(crate) async fn gives_way(&self) {
        self.0.load.gives_way.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open().by_number.remove(&self.number);
    }
}

impl Drop for Request {
    fn drop(&mut self) {
        self.0.n_requests.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_oldest_that_waits_for_nothing_gives_way() {
        let all = Connections::at_most(8);
        let mut connections: Vec<Connection> = (0..8).map(|_| all.admit().unwrap()).collect();
        let at_work = connections[0].request();
        let newcomer = all.admit().unwrap();
        connections[1].gives_way().await;
        let requests: Vec<Request> = connections[2..].iter().map(Connection::request).collect();
        let other = newcomer.request();
        assert!(all.admit().is_none(), "all are at work");
        drop(requests);
        drop(connections.remove(1));
        assert!(all.admit().is_some());
        drop((connections, at_work, newcomer, other));
        assert!(all.open().by_number.is_empty());
    }
}
