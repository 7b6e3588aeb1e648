//! The page: a run to watch in a browser, the same as JSON, and `/metrics` for Prometheus. Served over HTTP/1.1, on loopback by default.
//!
//! ```text
//!  GET  /                        the page; /assets/NAME what it is made of. Nothing of it comes from elsewhere
//!  GET  /api/status              as `m2t status --json`
//!  GET  /api/stream              the status as server-sent events: at once, and whenever it changes
//!  GET  /api/history?from=STEP   the series of the charts, at most 1024 buckets however long the run is
//!  GET  /api/chronicle           generations, checkpoints, events, evaluations
//!  POST /api/orders              pause, resume, stop, drain, readmit; see `guard` for who may
//!  GET  /api/me                  who one is here; POST /api/login with a token, /api/logout
//!  GET  /healthz                 200 while the run is led; for probes, without a token
//!  GET  /metrics                 for Prometheus, text format 0.0.4
//! ```
//! It decides nothing: what is asked goes to the driver as gRPC's questions do. What strangers may cost is bounded: connections
//! (`connections`), watchers, sizes and times of requests (`listener`).

mod answers;
mod assets;
mod guard;
mod listener;
mod login;
mod orders;
mod routes;
mod session;
mod stream;

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use m2t_common::status::Status;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinHandle;

use crate::chronicle::Chronicle;
use crate::doorway::Lock;
use crate::driver::Command;
use crate::gate::Refusals;
use crate::security::Security;
use guard::Guard;

/// Who may watch the stream at once; others are told to ask for the status again and again.
const MOST_WATCHERS: u32 = 64;
/// How long the last status may take to go out to whoever watches.
const FAREWELL: Duration = Duration::from_secs(1);

/// The page while it is served.
pub(crate) struct Page {
    desk: Arc<Desk>,
    serving: JoinHandle<()>,
}

/// What the answers are made from.
struct Desk {
    /// To the driver. Weak, so that the driver's queue ends with the gRPC service.
    queue: mpsc::WeakSender<Command>,
    published: watch::Receiver<Status>,
    chronicle: Chronicle,
    guard: Guard,
    refusals: Arc<Refusals>,
    /// A permit a watcher.
    watchers: Arc<Semaphore>,
}

impl Page {
    /// Serves it on `listener` until it is ended or dropped.
    ///
    /// # Errors
    /// When the address cannot be read, or there is no randomness.
    pub(crate) fn serve(
        listener: TcpListener,
        queue: mpsc::WeakSender<Command>,
        published: watch::Receiver<Status>,
        sees: (Chronicle, Option<Arc<Security>>, Arc<Refusals>),
    ) -> anyhow::Result<Self> {
        let (chronicle, security, refusals) = sees;
        let address = listener
            .local_addr()
            .context("could not read the page's address")?;
        let desk = Arc::new(Desk {
            queue,
            published,
            chronicle,
            guard: Guard::of(address, security.clone()).context("could not make the page's token")?,
            refusals,
            watchers: Arc::new(Semaphore::new(MOST_WATCHERS as usize)),
        });
        let lock = match security {
            Some(security) if desk.guard.scheme() == "https" => Some(Lock::new(security, "http/1.1")?),
            _ => None,
        };
        let router = routes::router(Arc::clone(&desk));
        Ok(Self {
            desk,
            serving: tokio::spawn(listener::serve(listener, lock, router)),
        })
    }

    /// Ends it. Whoever watches has been told the last status, or did not take it in time.
    pub(crate) async fn end(self) {
        let all = self.desk.watchers.acquire_many(MOST_WATCHERS);
        // One that does not take it is cut off.
        let _ = tokio::time::timeout(FAREWELL, all).await;
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
