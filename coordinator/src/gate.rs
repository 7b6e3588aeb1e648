//! Before each gRPC service: whether a caller may do what is done there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use m2t_common::access::{Bearer, Credential, Denied, Right, Role};
use tonic::service::Interceptor;
use tonic::{Request, Status};

use crate::introduction::Introduction;
use crate::security::Security;

/// Refusals are told of at most this often: strangers must not fill a disk.
const TOLD_EVERY: Duration = Duration::from_secs(10);
/// The header with a credential.
const AUTHORIZATION: &str = "authorization";

/// Lets those through who have a right.
#[derive(Clone)]
pub(crate) struct Gate {
    security: Option<Arc<Security>>,
    right: Right,
    refusals: Arc<Refusals>,
}

/// How many were refused, and when that was told last.
#[derive(Debug)]
pub(crate) struct Refusals {
    start: Instant,
    /// Milliseconds after the start before which nothing more is told.
    quiet_until: AtomicU64,
    untold: AtomicU64,
}

impl Refusals {
    /// None so far.
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            start: Instant::now(),
            quiet_until: AtomicU64::new(0),
            untold: AtomicU64::new(0),
        })
    }

    /// Tells of one, or counts it for the next that is told.
    pub(crate) fn tell(&self, from: impl std::fmt::Display, denied: &Denied) {
        let now = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        let until = self.quiet_until.load(Ordering::Relaxed);
        let next = now.saturating_add(u64::try_from(TOLD_EVERY.as_millis()).unwrap_or(u64::MAX));
        let is_mine = now >= until
            && self
                .quiet_until
                .compare_exchange(until, next, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !is_mine {
            self.untold.fetch_add(1, Ordering::Relaxed);
            return;
        }
        match self.untold.swap(0, Ordering::Relaxed) {
            0 => tracing::warn!("refused {from}: {denied}"),
            untold => tracing::warn!("refused {from}: {denied} (and {untold} more since the last)"),
        }
    }
}

impl Gate {
    /// Before a service that asks for `right`; without security everybody has it.
    pub(crate) fn new(security: Option<Arc<Security>>, right: Right, refusals: Arc<Refusals>) -> Self {
        Self {
            security,
            right,
            refusals,
        }
    }

    fn judge(&self, introduction: &Introduction, authorization: Option<&str>) -> Result<(), Denied> {
        let Some(security) = &self.security else {
            return Ok(());
        };
        let known = introduction.known();
        let role = match (authorization, known.binding, known.role) {
            (Some(said), Some(binding), _) => match said.parse::<Credential>() {
                Ok(credential) => security.check_proof(&credential, &binding)?,
                Err(_) => whole(security, said)?,
            },
            (Some(_), None, _) => return Err(Denied::Unreadable),
            (None, _, Some(role)) => role,
            (None, _, None) => return Err(Denied::Nothing(self.right)),
        };
        if role.may(self.right) {
            Ok(())
        } else {
            let right = self.right;
            Err(Denied::NotAllowed { role, right })
        }
    }
}

/// The role of a token that was sent whole: a viewer's alone, for it may be in a dashboard's configuration.
pub(crate) fn whole(security: &Security, said: &str) -> Result<Role, Denied> {
    match security.check_bearer(&said.parse::<Bearer>()?)? {
        Role::Viewer => Ok(Role::Viewer),
        other => Err(Denied::SentWhole(other)),
    }
}

impl Interceptor for Gate {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        let introduction = request.extensions().get::<Introduction>().cloned();
        let introduction = introduction.ok_or_else(|| Status::internal("a connection came in by no door"))?;
        if introduction.is_hasty() {
            return Err(Status::resource_exhausted(
                "too many calls in a second; ask less often",
            ));
        }
        let said = request.metadata().get(AUTHORIZATION);
        let said = said.map(|said| said.to_str()).transpose();
        let judged = said.map_err(|_| Denied::Unreadable);
        match judged.and_then(|said| self.judge(&introduction, said)) {
            Ok(()) => {
                introduction.make();
                Ok(request)
            }
            Err(denied) => {
                self.refusals.tell(introduction.from(), &denied);
                Err(match denied {
                    Denied::NotAllowed { .. } => Status::permission_denied(denied.to_string()),
                    _ => Status::unauthenticated(denied.to_string()),
                })
            }
        }
    }
}
