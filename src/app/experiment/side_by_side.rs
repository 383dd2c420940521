//! Several cells at once.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use anyhow::anyhow;

/// `work` of each item on `threads` threads, the results in the order of the items. Once one has failed none is begun.
///
/// # Errors
/// That of the first item, in their order, that failed; and when a thread panicked.
pub(super) fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
    let take_turns = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let index = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(index) else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((index, result));
        }
        done
    };
    let by_thread: Vec<Vec<(usize, anyhow::Result<R>)>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads.clamp(1, items.len().max(1))).map(|_| scope.spawn(take_turns)).collect();
        let joined = threads.into_iter().map(|thread| thread.join().map_err(|_| anyhow!("a thread panicked")));
        joined.collect::<anyhow::Result<_>>()
    })?;
    let mut done: Vec<_> = by_thread.into_iter().flatten().collect();
    done.sort_unstable_by_key(|(index, _)| *index);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::{Barrier, Mutex};

    use anyhow::ensure;

    use super::side_by_side;

    #[test]
    fn as_many_at_once_as_were_asked_for_and_results_in_order() {
        let both_are_there = Barrier::new(2);
        let doubled = side_by_side(&[1, 2, 3, 4], 2, |item| {
            both_are_there.wait();
            Ok(2 * item)
        });
        assert_eq!(doubled.unwrap(), [2, 4, 6, 8]);
        assert_eq!(side_by_side(&[1], 0, |item| Ok(*item)).unwrap(), [1]);
        assert!(side_by_side(&[0; 0], 3, |item| Ok(*item)).unwrap().is_empty());
    }

    #[test]
    fn after_a_failure_nothing_is_begun() {
        let begun = Mutex::new(Vec::new());
        let failed = side_by_side(&[1, 2, 3], 1, |item| {
            begun.lock().unwrap().push(*item);
            ensure!(*item != 2, "no {item}");
            Ok(())
        });
        assert_eq!(failed.unwrap_err().to_string(), "no 2");
        assert_eq!(begun.into_inner().unwrap(), [1, 2]);
    }

    #[test]
    fn a_panic_is_an_error() {
        assert!(side_by_side(&[1, 2], 2, |item| if *item == 1 { panic!("here") } else { Ok(()) }).is_err());
    }
}
