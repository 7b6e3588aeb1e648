//! The servers around a run, gRPC and page: they serve until the driver says that the run is over, then let the last messages out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use m2t_common::access::Right;
use m2t_common::machine_link::Outcome;
use m2t_coordinator_core::Input;
use m2t_proto::wire::control_server::ControlServer;
use m2t_proto::wire::coordinator_server::CoordinatorServer;
use m2t_proto::wire::status_server::StatusServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Server;

use crate::doorway::{self, Lock};
use crate::driver::{Command, Driver};
use crate::gate::{Gate, Refusals};
use crate::listeners::Listeners;
use crate::open::Opened;
use crate::page::Page;
use crate::security::Security;
use crate::service::Service;

/// Commands that may wait for the driver; more, and the senders wait.
const QUEUE: usize = 1024;
/// Bytes of a daemon's message: the samples of a step, at most.
const MOST_MESSAGE: usize = 4 << 20;
/// Bytes of what is asked: at most a machine's name.
const MOST_QUESTION: usize = 16 << 10;
/// Bytes of a call's headers.
const MOST_HEADERS: u32 = 16 << 10;
/// Calls under way on one connection.
const MOST_STREAMS: u32 = 16;
/// How often an idle connection is asked whether its other end lives, and how long the answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(20));
/// How long the last messages may take to go out.
const FAREWELL: Duration = Duration::from_secs(3);

/// Serves a run on `listeners` until it ends. A message on `stop` asks it to stop.
///
/// # Errors
/// When journal or output folder cannot be written: the run is lost, and continues from its newest checkpoint when
/// the cause is mended.
pub async fn serve(
    opened: Opened,
    listeners: Listeners,
    mut stop: mpsc::Receiver<()>,
) -> anyhow::Result<Outcome> {
    let (queue, commands) = mpsc::channel(QUEUE);
    let chronicle = opened.chronicle.clone();
    let security = opened.security.clone();
    let refusals = Refusals::new();
    if let Some(security) = &security {
        tokio::spawn(Arc::clone(security).keep());
    }
    // Before the driver adds to what was.
    chronicle.recall();
    let (driver, disk, published) = Driver::new(opened, queue.downgrade());
    let page = match listeners.page {
        Some(listener) => Some(Page::serve(
            listener,
            queue.downgrade(),
            published.clone(),
            (chronicle, security.clone(), Arc::clone(&refusals)),
        )?),
        None => None,
    };
    let service = Arc::new(Service::new(queue.clone(), published));
    let (over, ended) = oneshot::channel();
    let driver = std::thread::Builder::new()
        .name("driver".to_owned())
        .spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?;
            let outcome = runtime.block_on(driver.run(disk, commands));
            // The server may have failed already.
            let _ = over.send(());
            outcome
        })
        .context("could not start a thread")?;
    let stopper = queue.downgrade();
    drop(queue);
    tokio::spawn(async move {
        if stop.recv().await.is_some()
            && let Some(queue) = stopper.upgrade()
        {
            // A driver that is gone has stopped.
            let _ = queue.send(Command::Input(Input::Stop)).await;
        }
    });
    serve_grpc(service, listeners.grpc, ended, Entrance { security, refusals }).await?;
    let joined = tokio::task::spawn_blocking(move || driver.join())
        .await
        .context("could not wait for the driver")?;
    if let Some(page) = page {
        page.end().await;
    }
    joined.unwrap_or_else(|_| anyhow::bail!("the driver panicked; its message is above"))
}

/// Who comes in to gRPC.
struct Entrance {
    security: Option<Arc<Security>>,
    refusals: Arc<Refusals>,
}

async fn serve_grpc(
    service: Arc<Service>,
    listener: TcpListener,
    ended: oneshot::Receiver<()>,
    entrance: Entrance,
) -> anyhow::Result<()> {
    let lock = entrance
        .security
        .clone()
        .map(|security| Lock::new(security, "h2"))
        .transpose()?;
    let gate = |right| Gate::new(entrance.security.clone(), right, Arc::clone(&entrance.refusals));
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<CoordinatorServer<Service>>().await;
    health.set_serving::<StatusServer<Service>>().await;
    health.set_serving::<ControlServer<Service>>().await;
    // Each version of reflection lists all there is, the other one too.
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(m2t_proto::FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (said, mut farewell) = tokio::sync::watch::channel(());
    let over = async move {
        // Ended or dropped: over either way.
        let _ = ended.await;
        drop(said);
    };
    let not_valid = "the descriptors of m2t.v1 are not valid";
    let coordinator =
        CoordinatorServer::from_arc(Arc::clone(&service)).max_decoding_message_size(MOST_MESSAGE);
    let status = StatusServer::from_arc(Arc::clone(&service)).max_decoding_message_size(MOST_QUESTION);
    let control = ControlServer::from_arc(service).max_decoding_message_size(MOST_QUESTION);
    let server = Server::builder()
        .http2_keepalive_interval(Some(KEEP_ALIVE.0))
        .http2_keepalive_timeout(Some(KEEP_ALIVE.1))
        .http2_max_header_list_size(MOST_HEADERS)
        .max_concurrent_streams(MOST_STREAMS)
        .add_service(InterceptedService::new(coordinator, gate(Right::Join)))
        .add_service(InterceptedService::new(status, gate(Right::Watch)))
        .add_service(InterceptedService::new(control, gate(Right::Order)))
        .add_service(InterceptedService::new(health_service, gate(Right::Watch)))
        .add_service(InterceptedService::new(
            reflection().build_v1().context(not_valid)?,
            gate(Right::Watch),
        ))
        .add_service(InterceptedService::new(
            reflection().build_v1alpha().context(not_valid)?,
            gate(Right::Watch),
        ))
        .serve_with_incoming_shutdown(doorway::incoming(listener, lock), over);
    let hurry = async move {
        // An error says that the sender is dropped: the run is over.
        while farewell.changed().await.is_ok() {}
        tokio::time::sleep(FAREWELL).await;
    };
    tokio::select! {
        served = server => served.context("could not serve gRPC"),
        () = hurry => Ok(()),
    }
}
