//! Asking the coordinator for its status a few times.
//!
//! The throughput of the link is not measured: no call of the coordinator carries much, and gradients go between trainers.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use m2t_common::access::Right;
use m2t_common::status::Status;
use m2t_proto::wire;
use wire::status_client::StatusClient;

use super::super::super::status::channel;
use super::super::facts::Link;
use crate::contact::Contact;

const CALLS: usize = 5;
/// Of all of it.
const WITHIN: Duration = Duration::from_secs(10);

pub(super) fn link(coordinator: &Contact) -> Result<Link, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start the event loop: {error}"))?;
    runtime.block_on(async {
        let asked = tokio::time::timeout(WITHIN, ask(coordinator)).await;
        asked.unwrap_or_else(|_| {
            let seconds = WITHIN.as_secs();
            Err(format!(
                "{coordinator} takes connections and does not answer within {seconds} s; look whether it is m2t-coordinator that listens there"
            ))
        })
    })
}

async fn ask(coordinator: &Contact) -> Result<Link, String> {
    let channel = channel(coordinator, Right::Watch)
        .await
        .map_err(|error| format!("{error:#}"))?;
    let mut client = StatusClient::new(channel);
    let mut best: Option<Link> = None;
    for _ in 0..CALLS {
        let (sent, begin) = (SystemTime::now(), Instant::now());
        let answer = client.get(wire::GetRequest {}).await;
        let round_trip = begin.elapsed();
        let answer = answer.map_err(|status| {
            format!(
                "{coordinator} answers, but is no coordinator of this version ({:?}: {}); start one there",
                status.code(),
                status.message()
            )
        })?;
        let theirs = answer.get_ref().at_unix_ms;
        let status = Status::try_from(answer.into_inner()).map_err(|error| {
            format!("{coordinator} is of another version ({error}); use programs of one build")
        })?;
        if best.as_ref().is_none_or(|best| round_trip < best.round_trip) {
            best = Some(Link {
                experiment: status.experiment,
                phase: status.phase,
                world: status.world,
                round_trip,
                ahead_ms: ahead(theirs, sent, round_trip),
            });
        }
    }
    best.ok_or_else(|| "it was not asked".to_owned())
}

/// Their time minus ours in the middle of the call, in milliseconds.
pub(super) fn ahead(theirs: u64, sent: SystemTime, round_trip: Duration) -> i64 {
    let middle = sent.duration_since(UNIX_EPOCH).unwrap_or_default() + round_trip / 2;
    let ours = i64::try_from(middle.as_millis()).unwrap_or(i64::MAX);
    i64::try_from(theirs).unwrap_or(i64::MAX).saturating_sub(ours)
}
