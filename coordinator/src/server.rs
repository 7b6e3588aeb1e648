//! The servers around a run, gRPC and page: they serve until the driver says that the run is over, then let the last messages out.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use m2t_common::machine_link::Outcome;
use m2t_coordinator_core::Input;
use m2t_proto::wire::control_server::ControlServer;
use m2t_proto::wire::coordinator_server::CoordinatorServer;
use m2t_proto::wire::status_server::StatusServer;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use crate::driver::{Command, Driver};
use crate::listeners::Listeners;
use crate::open::Opened;
use crate::page::Page;
use crate::service::Service;

/// Commands that may wait for the driver; more, and the senders wait.
const QUEUE: usize = 1024;
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
    // Before the driver adds to what was.
    chronicle.recall();
    let (driver, disk, published) = Driver::new(opened, queue.downgrade());
    let page = match listeners.page {
        Some(listener) => Some(Page::serve(
            listener,
            queue.downgrade(),
            published.clone(),
            chronicle,
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
    serve_grpc(service, listeners.grpc, ended).await?;
    let joined = tokio::task::spawn_blocking(move || driver.join())
        .await
        .context("could not wait for the driver")?;
    if let Some(page) = page {
        page.end().await;
    }
    joined.unwrap_or_else(|_| anyhow::bail!("the driver panicked; its message is above"))
}

async fn serve_grpc(
    service: Arc<Service>,
    listener: TcpListener,
    ended: oneshot::Receiver<()>,
) -> anyhow::Result<()> {
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
    let server = Server::builder()
        .add_service(CoordinatorServer::from_arc(Arc::clone(&service)))
        .add_service(StatusServer::from_arc(Arc::clone(&service)))
        .add_service(ControlServer::from_arc(service))
        .add_service(health_service)
        .add_service(
            reflection()
                .build_v1()
                .context("the descriptors of m2t.v1 are not valid")?,
        )
        .add_service(
            reflection()
                .build_v1alpha()
                .context("the descriptors of m2t.v1 are not valid")?,
        )
        .serve_with_incoming_shutdown(TcpIncoming::from(listener).with_nodelay(Some(true)), over);
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
