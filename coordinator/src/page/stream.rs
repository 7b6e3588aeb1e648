//! The status as server-sent events: `status` at once, on each change and every few seconds, `over` when the run has ended.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use m2t_common::status::Status;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;

use super::Desk;
use super::routes::refuse;
use crate::connections::{Connection, Request};

/// The status goes out to a watcher at most this often.
const EVERY: Duration = Duration::from_millis(250);
/// And at least this often: a page that hears nothing for longer says that the coordinator is gone.
const AT_LEAST: Duration = Duration::from_secs(5);

/// The stream, where there is room for one more watcher.
pub(super) async fn stream(
    State(desk): State<Arc<Desk>>,
    Extension(connection): Extension<Connection>,
) -> Response {
    let Ok(permit) = Arc::clone(&desk.watchers).try_acquire_owned() else {
        return refuse(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many watch already; ask for /api/status again and again",
        );
    };
    let (to_watcher, events) = mpsc::channel(1);
    tokio::spawn(show(desk.published.clone(), to_watcher));
    Sse::new(Watching {
        events: ReceiverStream::new(events),
        _request: connection.request(),
        _permit: permit,
    })
    .into_response()
}

/// Sends the status until the run is over or the watcher is gone.
async fn show(mut published: watch::Receiver<Status>, watcher: mpsc::Sender<Event>) {
    loop {
        let event = event(&published.borrow_and_update());
        if watcher.send(event).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
        tokio::select! {
            changed = published.changed() => if changed.is_err() {
                break;
            },
            () = tokio::time::sleep(AT_LEAST) => {}
            () = watcher.closed() => return,
        }
    }
    let last = event(&published.borrow());
    // Browsers pass over an event without data.
    for event in [last, Event::default().event("over").data("the run has ended")] {
        // Whoever is gone does not want to know.
        let _ = watcher.send(event).await;
    }
}

fn event(status: &Status) -> Event {
    let json = serde_json::to_string(status).expect("a status is plain data");
    Event::default().event("status").data(json)
}

/// What one watcher is sent. Dropped, its connection may give way and another may watch.
struct Watching {
    events: ReceiverStream<Event>,
    _request: Request,
    _permit: OwnedSemaphorePermit,
}

impl Stream for Watching {
    type Item = Result<Event, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.events)
            .poll_next(context)
            .map(|event| event.map(Ok))
    }
}
