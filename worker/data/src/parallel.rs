//! Work on several threads, with results that show nothing of their number or timing.

use std::sync::atomic::{AtomicU64, Ordering};

/// Threads for work that asks a disk or a network: whoever does it waits rather than computes.
pub(crate) const WAITING: usize = 16;

/// Lets `n_threads` threads do `work`, and gathers what each made.
pub(crate) fn gather<T: Send>(n_threads: usize, work: impl Fn() -> Vec<T> + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..n_threads).map(|_| scope.spawn(&work)).collect();
        let made = threads
            .into_iter()
            .flat_map(|thread| thread.join().expect("what is done in parallel does not panic"));
        made.collect()
    })
}

/// What `work` makes of each number below `n`, in their order, on at most `n_threads` threads. Each thread keeps a `memory` of
/// its own from one number to the next.
pub(crate) fn map<M, T: Send>(
    n_threads: usize,
    n: u64,
    memory: impl Fn() -> M + Sync,
    work: impl Fn(&mut M, u64) -> T + Sync,
) -> Vec<T> {
    let next = AtomicU64::new(0);
    let most = usize::try_from(n).unwrap_or(usize::MAX);
    let mut made = gather(n_threads.min(most), || {
        let (mut memory, mut made) = (memory(), Vec::new());
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= n {
                return made;
            }
            made.push((number, work(&mut memory, number)));
        }
    });
    made.sort_unstable_by_key(|(number, _)| *number);
    made.into_iter().map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_stand_in_the_order_of_their_numbers() {
        for n_threads in [1, 3, 40] {
            let squares = map(n_threads, 20, || 0u64, |_, number| number * number);
            assert!(squares.into_iter().eq((0..20).map(|number| number * number)));
        }
        assert!(map(4, 0, || (), |(), _| ()).is_empty());
    }
}
