//! A trainer's membership in one generation, shared by the link's thread, which hears, and the main thread, which trains.
//!
//! ```text
//!  a member ── leave ──────────────────────────► out
//!     └── hold: every wait ends with `Held` ── leave ──┘
//! ```
//! Each start makes a membership of its own: what is said of an older generation finds an object that nobody looks at. It knows
//! neither groups nor loaders: what must end at once on a hold is left here as a closure, and what blocks and cannot be ended
//! runs on a thread of its own ([`Membership::apart`]) that is left behind.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use m2t_common::Generation;
use m2t_common::machine_link::Boundary;
use m2t_common::report::Rendezvous;

/// The generation was ended from outside, and the device is to leave its group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the generation was ended")]
pub struct Held;

/// One generation, as this device takes part in it.
pub struct Membership {
    /// Which.
    pub generation: Generation,
    heard: Mutex<Heard>,
    changed: Condvar,
}

struct Heard {
    standing: Standing,
    boundary: Boundary,
    rendezvous: Option<Rendezvous>,
    at_hold: Vec<Box<dyn FnOnce() + Send>>,
}

/// How a device stands to its generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes part.
    Member,
    /// It was told to leave and has not yet.
    Held,
    /// It left.
    Out,
}

impl Membership {
    /// A device begins to take part.
    pub fn new(generation: Generation) -> Self {
        Self {
            generation,
            heard: Mutex::new(Heard {
                standing: Standing::Member,
                boundary: Boundary::GoOn,
                rendezvous: None,
                at_hold: Vec::new(),
            }),
            changed: Condvar::new(),
        }
    }

    /// The generation is over: whatever the device waits for ends at once. Tells how it stood before.
    pub fn hold(&self) -> Standing {
        let mut heard = self.heard();
        let before = heard.standing;
        if before == Standing::Member {
            heard.standing = Standing::Held;
        }
        let at_hold = std::mem::take(&mut heard.at_hold);
        drop(heard);
        self.changed.notify_all();
        for end in at_hold {
            end();
        }
        before
    }

    /// The group's meeting point is known.
    pub fn meet_at(&self, rendezvous: Rendezvous) {
        self.heard().rendezvous = Some(rendezvous);
        self.changed.notify_all();
    }

    /// What to do at the next step boundary; a weaker wish than an earlier one is none.
    pub fn wish(&self, boundary: Boundary) {
        let mut heard = self.heard();
        heard.boundary = heard.boundary.max(boundary);
    }

    /// The strongest wish so far.
    pub fn boundary(&self) -> Boundary {
        self.heard().boundary
    }

    /// Whether the device may go on.
    pub fn check(&self) -> Result<(), Held> {
        match self.heard().standing {
            Standing::Member => Ok(()),
            Standing::Held | Standing::Out => Err(Held),
        }
    }

    /// Calls `end` on a hold, from the link's thread; at once if that was already.
    pub fn at_hold(&self, end: impl FnOnce() + Send + 'static) -> Result<(), Held> {
        let mut heard = self.heard();
        if heard.standing == Standing::Member {
            heard.at_hold.push(Box::new(end));
            return Ok(());
        }
        drop(heard);
        end();
        Err(Held)
    }

    /// Waits for the group's meeting point.
    pub fn rendezvous(&self) -> Result<Rendezvous, Held> {
        let mut heard = self.heard();
        loop {
            if heard.standing != Standing::Member {
                return Err(Held);
            }
            if let Some(rendezvous) = &heard.rendezvous {
                return Ok(rendezvous.clone());
            }
            heard = self.changed.wait(heard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Does `work`, which may block, on a thread of its own, and waits for it. After a hold the thread is left behind, and what
    /// it brings forth is dropped there.
    pub fn apart<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Held> {
        let place = Arc::new(Mutex::new(None));
        let (membership, done) = (Arc::clone(self), Arc::clone(&place));
        std::thread::spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(work));
            let heard = membership.heard();
            if heard.standing == Standing::Member {
                *done.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
            }
            drop(heard);
            membership.changed.notify_all();
        });
        let mut heard = self.heard();
        loop {
            if heard.standing != Standing::Member {
                return Err(Held);
            }
            match place.lock().unwrap_or_else(PoisonError::into_inner).take() {
                Some(Ok(result)) => return Ok(result),
                Some(Err(panic)) => resume_unwind(panic),
                None => {}
            }
            heard = self.changed.wait(heard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// The device is out of its group, by whatever way. Tells whether it was told to leave.
    pub fn leave(&self) -> Result<(), Held> {
        let mut heard = self.heard();
        let before = std::mem::replace(&mut heard.standing, Standing::Out);
        let at_hold = std::mem::take(&mut heard.at_hold);
        drop(heard);
        // What they hold may take a while to drop: not while the link's thread waits.
        drop(at_hold);
        match before {
            Standing::Member => Ok(()),
            Standing::Held | Standing::Out => Err(Held),
        }
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_hold_ends_every_wait_and_is_told_apart_from_a_second_one() {
        let membership = Arc::new(Membership::new(Generation(3)));
        let (entered, inside) = channel();
        let (stuck, never) = channel::<()>();
        let of_waiter = Arc::clone(&membership);
        let waiter = std::thread::spawn(move || {
            of_waiter.apart(move || {
                entered.send(()).unwrap();
                // Ends with the test, long after the wait for it.
                let _ = never.recv();
            })
        });
        inside.recv().unwrap();
        let (called, calls) = channel();
        let late = called.clone();
        membership
            .at_hold(move || called.send("at the hold").unwrap())
            .unwrap();
        assert_eq!(membership.hold(), Standing::Member);
        assert_eq!(waiter.join().unwrap(), Err(Held));
        assert_eq!(membership.rendezvous(), Err(Held));
        assert_eq!(membership.at_hold(move || late.send("late").unwrap()), Err(Held));
        assert_eq!(calls.iter().collect::<Vec<_>>(), ["at the hold", "late"]);
        assert_eq!(membership.hold(), Standing::Held);
        assert_eq!(membership.leave(), Err(Held));
        assert_eq!(membership.hold(), Standing::Out);
        drop(stuck);
    }

    #[test]
    fn what_is_done_apart_comes_back() {
        let membership = Arc::new(Membership::new(Generation(3)));
        assert_eq!(membership.apart(|| 7), Ok(7));
        membership.meet_at(Rendezvous(b"here".to_vec()));
        assert_eq!(membership.rendezvous().unwrap().0, b"here");
        assert_eq!(membership.leave(), Ok(()));
    }

    #[test]
    fn wishes_only_grow() {
        let membership = Membership::new(Generation(3));
        for (said, strongest) in [
            (Boundary::Hold, Boundary::Hold),
            (Boundary::Stop, Boundary::Stop),
            (Boundary::Hold, Boundary::Stop),
            (Boundary::GoOn, Boundary::Stop),
        ] {
            membership.wish(said);
            assert_eq!(membership.boundary(), strongest);
        }
    }
}
