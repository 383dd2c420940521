//! Work in equal parts, for all threads that are there for it.
//!
//! Nothing here starts a thread or knows how many the machine has: called in a thread of a pool the parts go to that pool,
//! called anywhere else they are done one after another. What comes out is the same.

use rayon::prelude::*;

/// The threads that work can be spread over here.
fn threads() -> usize {
    if rayon::current_thread_index().is_some() { rayon::current_num_threads() } else { 1 }
}

/// `f` of each item, in their order.
pub fn map<T: Sync, R: Send>(items: &[T], f: impl Fn(&T) -> R + Sync + Send) -> Vec<R> {
    if threads() == 1 || items.len() < 2 {
        return items.iter().map(f).collect();
    }
    items.par_iter().with_max_len(1).map(f).collect()
}

/// `f` of consecutive parts, a part a thread and none smaller than `smallest` but the last; the results in order.
pub fn parts<T: Sync, R: Send>(items: &[T], smallest: usize, f: impl Fn(&[T]) -> Vec<R> + Sync + Send) -> Vec<R> {
    let size = items.len().div_ceil(threads()).max(smallest);
    if items.len() <= size {
        return f(items);
    }
    items.par_chunks(size).map(f).collect::<Vec<_>>().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn in_a_pool_and_out_of_one_the_results_are_the_same() {
        let items: Vec<u32> = (0..50).collect();
        let doubled = |part: &[u32]| part.iter().map(|item| 2 * item).collect::<Vec<u32>>();
        let expected: Vec<u32> = (0..100).step_by(2).collect();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        let both = || (map(&items, |item| 2 * item), parts(&items, 16, doubled));
        for (mapped, in_parts) in [both(), pool.install(both)] {
            assert_eq!(mapped, expected);
            assert_eq!(in_parts, expected);
        }
    }

    #[test]
    fn parts_are_no_smaller_than_asked_and_no_more_than_threads() {
        let items: Vec<u32> = (0..50).collect();
        let sizes = |smallest| parts(&items, smallest, |part| vec![part.len()]);
        assert_eq!(sizes(1), [50], "there is no pool here");
        let pool = rayon::ThreadPoolBuilder::new().num_threads(3).build().unwrap();
        pool.install(|| {
            assert_eq!(sizes(1), [17, 17, 16]);
            assert_eq!(sizes(32), [32, 18]);
            assert_eq!(sizes(64), [50]);
            assert!(parts(&[0; 0], 4, |part| vec![part.len()]).len() <= 1);
        });
        let here = || vec![rayon::current_thread_index()];
        assert_eq!(parts(&items, 1, |_| here()).into_iter().collect::<HashSet<_>>(), HashSet::from([None]));
    }
}
