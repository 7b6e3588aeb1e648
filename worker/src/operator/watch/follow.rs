//! The statuses of a run for as long as it lasts: a coordinator that goes away is told of, and found again.

use std::time::Duration;

use super::{Event, Events};
use crate::contact::Contact;
use crate::operator::status::{self, Statuses};

/// How long after a failure the coordinator is looked for again.
const AGAIN: Duration = Duration::from_secs(1);

/// Hands on every status, until the run ends or nobody takes them.
pub(super) async fn follow(coordinator: Contact, mut statuses: Statuses, events: Events) {
    let mut is_over = false;
    loop {
        let event = match statuses.next().await {
            Ok(Some(status)) => {
                is_over = status.phase.is_over();
                Event::Status(Box::new(status))
            }
            _ if is_over => Event::Ended,
            Ok(None) => Event::Lost(format!("the coordinator at {coordinator} closed the stream")),
            Err(error) => Event::Lost(format!("{error:#}")),
        };
        let (is_lost, is_ended) = (matches!(event, Event::Lost(_)), matches!(event, Event::Ended));
        if events.send(event).is_err() || is_ended {
            return;
        }
        if is_lost {
            let Some(found) = find(&coordinator, &events).await else {
                return;
            };
            statuses = found;
        }
    }
}

/// Looks for the coordinator until it answers; none once nobody listens.
async fn find(coordinator: &Contact, events: &Events) -> Option<Statuses> {
    loop {
        tokio::time::sleep(AGAIN).await;
        match status::stream(coordinator).await {
            Ok(statuses) => return Some(statuses),
            Err(error) => events.send(Event::Lost(format!("{error:#}"))).ok()?,
        }
    }
}
