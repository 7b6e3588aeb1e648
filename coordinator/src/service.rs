//! The gRPC services: wire messages in and out, nothing decided.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use m2t_common::machine_link::{FromMachine, ToMachine};
use m2t_common::order::{Answer, Order};
use m2t_common::status::Status as RunStatus;
use m2t_coordinator_core::{Input, StreamId};
use m2t_proto::{WireError, wire};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_stream::{Stream, StreamExt, wrappers::ReceiverStream};
use tonic::{Request, Response, Status, Streaming};

use crate::driver::Command;

/// Messages to one daemon that may wait; more, and it is cut off.
const OUTBOX: usize = 256;
/// The status goes out to a watcher at most this often.
const WATCH_EVERY: Duration = Duration::from_millis(200);

/// The services of daemons and operators.
pub(crate) struct Service {
    queue: mpsc::Sender<Command>,
    published: watch::Receiver<RunStatus>,
    next_stream: AtomicU64,
}

impl Service {
    /// Services that talk to the driver through `queue`.
    pub(crate) fn new(queue: mpsc::Sender<Command>, published: watch::Receiver<RunStatus>) -> Self {
        Self {
            queue,
            published,
            next_stream: AtomicU64::new(0),
        }
    }
}

#[tonic::async_trait]
impl wire::coordinator_server::Coordinator for Service {
    type AttachStream = Outgoing;

    async fn attach(
        &self,
        request: Request<Streaming<wire::FromMachine>>,
    ) -> Result<Response<Outgoing>, Status> {
        let stream = StreamId(self.next_stream.fetch_add(1, Ordering::Relaxed));
        let (outbox, messages) = mpsc::channel(OUTBOX);
        let (alive, gone) = oneshot::channel();
        let queue = self.queue.clone();
        queue
            .send(Command::Attached { stream, outbox })
            .await
            .map_err(|_| over())?;
        tokio::spawn(hear(stream, request.into_inner(), queue, gone));
        Ok(Response::new(Outgoing {
            messages: ReceiverStream::new(messages),
            _alive: alive,
        }))
    }
}

#[tonic::async_trait]
impl wire::status_server::Status for Service {
    type WatchStream = ReceiverStream<Result<wire::RunStatus, Status>>;

    async fn get(&self, _: Request<wire::GetRequest>) -> Result<Response<wire::RunStatus>, Status> {
        let (answer, status) = oneshot::channel();
        self.queue
            .send(Command::Status(answer))
            .await
            .map_err(|_| over())?;
        let status = status.await.map_err(|_| over())?;
        Ok(Response::new(status.into()))
    }

    async fn watch(&self, _: Request<wire::WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let (to_watcher, stream) = mpsc::channel(1);
        tokio::spawn(show(self.published.clone(), to_watcher));
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}

#[tonic::async_trait]
impl wire::control_server::Control for Service {
    async fn pause(&self, _: Request<wire::PauseRequest>) -> Result<Response<wire::Accepted>, Status> {
        self.ask(Order::Pause).await
    }

    async fn resume(&self, _: Request<wire::ResumeRequest>) -> Result<Response<wire::Accepted>, Status> {
        self.ask(Order::Resume).await
    }

    async fn stop(&self, _: Request<wire::StopRequest>) -> Result<Response<wire::Accepted>, Status> {
        self.ask(Order::Stop).await
    }

    async fn drain(&self, request: Request<wire::DrainRequest>) -> Result<Response<wire::Accepted>, Status> {
        let machine = request.into_inner().machine;
        let machine = machine
            .parse()
            .map_err(|error| Status::invalid_argument(format!("DrainRequest.machine: {error}")))?;
        self.ask(Order::Drain(machine)).await
    }

    async fn readmit(
        &self,
        request: Request<wire::ReadmitRequest>,
    ) -> Result<Response<wire::Accepted>, Status> {
        let machine = request.into_inner().machine;
        let machine = machine
            .parse()
            .map_err(|error| Status::invalid_argument(format!("ReadmitRequest.machine: {error}")))?;
        self.ask(Order::Readmit(machine)).await
    }
}

impl Service {
    async fn ask(&self, order: Order) -> Result<Response<wire::Accepted>, Status> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Order { order, answer };
        self.queue.send(command).await.map_err(|_| over())?;
        match answered.await.map_err(|_| over())? {
            Answer::Accepted(accepted) => {
                let sentence = accepted.to_string();
                Ok(Response::new(wire::Accepted { sentence }))
            }
            Answer::Refused(refused) => Err(Status::failed_precondition(refused.to_string())),
        }
    }
}

/// Hands a daemon's messages to the driver until it or the coordinator ends the stream.
async fn hear(
    stream: StreamId,
    mut incoming: Streaming<wire::FromMachine>,
    queue: mpsc::Sender<Command>,
    mut gone: oneshot::Receiver<()>,
) {
    loop {
        let message = tokio::select! {
            message = incoming.next() => message,
            _ = &mut gone => None,
        };
        let Some(Ok(message)) = message else {
            break;
        };
        let command = match FromMachine::try_from(message) {
            Ok(message) => Command::Input(Input::Message { stream, message }),
            Err(error) => Command::Broken { stream, error },
        };
        if queue.send(command).await.is_err() {
            return;
        }
    }
    // The driver may be gone; then nobody needs to know.
    let _ = queue.send(Command::Input(Input::StreamEnded { stream })).await;
}

/// Sends the status now, on each change, and once more at the end of the run.
async fn show(
    mut published: watch::Receiver<RunStatus>,
    watcher: mpsc::Sender<Result<wire::RunStatus, Status>>,
) {
    loop {
        let status = published.borrow_and_update().clone();
        if watcher.send(Ok(status.into())).await.is_err() {
            return;
        }
        tokio::select! {
            changed = published.changed() => if changed.is_err() {
                return;
            },
            () = watcher.closed() => return,
        }
        tokio::time::sleep(WATCH_EVERY).await;
    }
}

/// Messages to one daemon. When it is dropped, the daemon or its connection is gone.
pub(crate) struct Outgoing {
    messages: ReceiverStream<Result<ToMachine, WireError>>,
    _alive: oneshot::Sender<()>,
}

impl Stream for Outgoing {
    type Item = Result<wire::ToMachine, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = Pin::new(&mut self.messages).poll_next(context);
        next.map(|message| message.map(|message| message.map(Into::into).map_err(|error| refused(&error))))
    }
}

/// The gRPC status of a message that means nothing.
fn refused(error: &WireError) -> Status {
    Status::invalid_argument(error.to_string())
}

/// The gRPC status of a coordinator that ends.
fn over() -> Status {
    Status::unavailable("the coordinator ends; the same command starts it again")
}
