//! Several cells at once.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use anyhow::anyhow;

/// `work` of each item on `threads` threads, the results in the order of the items. One that fails or panics is an error in
/// its place, and keeps no other from being done.
pub(super) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> Vec<anyhow::Result<R>> {
    let next = AtomicUsize::new(0);
    let take_turns = || {
        let mut done = Vec::new();
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break done };
            // What a panic leaves behind is of this item alone.
            let result = catch_unwind(AssertUnwindSafe(|| work(item))).unwrap_or_else(|_| Err(anyhow!("it panicked")));
            done.push((index, result));
        }
    };
    let mut done: Vec<(usize, anyhow::Result<R>)> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, items.len().max(1))).map(|_| scope.spawn(take_turns)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)));
        joined.flatten().collect()
    });
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use anyhow::ensure;

    use super::side_by_side;

    fn all<T: std::fmt::Debug>(results: Vec<anyhow::Result<T>>) -> Vec<T> {
        results.into_iter().map(Result::unwrap).collect()
    }

    #[test]
    fn as_many_at_once_as_were_asked_for_and_results_in_order() {
        let both_are_there = Barrier::new(2);
        let doubled = side_by_side(&[1, 2, 3, 4], 2, |item| {
            both_are_there.wait();
            Ok(2 * item)
        });
        assert_eq!(all(doubled), [2, 4, 6, 8]);
        assert_eq!(all(side_by_side(&[1], 0, |item| Ok(*item))), [1]);
        assert!(side_by_side(&[0; 0], 3, |item| Ok(*item)).is_empty());
    }

    #[test]
    fn a_failure_and_a_panic_keep_nothing_else_from_being_done() {
        for threads in [1, 2] {
            let done = side_by_side(&[1, 2, 3, 4], threads, |item| {
                ensure!(*item != 2, "no {item}");
                assert_ne!(*item, 3, "on purpose");
                Ok(*item)
            });
            let told: Vec<String> =
                done.into_iter().map(|result| result.map_or_else(|why| why.to_string(), |i| i.to_string())).collect();
            assert_eq!(told, ["1", "no 2", "it panicked", "4"]);
        }
    }
}
