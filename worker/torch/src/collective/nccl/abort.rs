//! The end of groups: a thread of its own waits until their runners are out of NCCL, aborts their communicators, and frees what was left.
//!
//! Why a thread of its own: `ncclCommAbort` may hang, and a call that a runner is in may, too. Whoever aborts goes on, and asks
//! with a deadline ([`super::Nccl::departed`]) whether the groups are gone. If not, only the process's end frees the device.

use std::sync::Arc;
use std::thread;

use super::NcclError;
use super::communicator::abort_together;
use super::runner::Remains;
use super::standing::Standing;

/// Lets the groups go. They are aborted already, and their runners were told.
pub(super) fn begin(groups: Vec<Arc<Standing>>) {
    let of_thread = groups.clone();
    let spawned = thread::Builder::new()
        .name("nccl-abort".to_owned())
        .spawn(move || let_go(&of_thread));
    if spawned.is_err() {
        for group in groups {
            group.not_aborted();
        }
    }
}

fn let_go(groups: &[Arc<Standing>]) {
    // Of a group that another abort has taken there is nothing.
    let (mine, mut remains): (Vec<&Arc<Standing>>, Vec<Remains>) = groups
        .iter()
        .filter_map(|group| Some((group, group.take_remains()?)))
        .unzip();
    let aborted = abort(&mut remains);
    if aborted.is_ok() {
        drop(remains);
    } else {
        // The GPU may still write to the tensors of what was in flight.
        std::mem::forget(remains);
    }
    for group in mine {
        match aborted {
            Ok(()) => group.gone(),
            Err(_) => group.not_aborted(),
        }
    }
}

fn abort(remains: &mut [Remains]) -> Result<(), NcclError> {
    let mut communicators = Vec::new();
    for left in remains {
        let context = left.context.clone();
        // Should the context not become the current one, the abort fails, too, and says so.
        let enter = move || drop(context.enter());
        communicators.extend(left.communicator.take().map(|communicator| (communicator, enter)));
    }
    match communicators.len() {
        0 => Ok(()),
        1 => {
            let (communicator, enter) = communicators.remove(0);
            enter();
            communicator.abort()
        }
        _ => abort_together(communicators),
    }
}
