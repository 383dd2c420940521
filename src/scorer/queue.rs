//! The requests that wait, and the batches that are made of them.
//!
//! A batch is made when a thread comes for one, of what waits by then: no timer holds a unit back for company, and with
//! nothing else waiting a batch is one unit. The service this is modelled on also has the next batch formed while one is
//! computed, to keep its one accelerator fed through a chain of tasks; here the thread that computes takes from the queue
//! itself, in microseconds, so a batch formed ahead would save nothing and would miss what arrives meanwhile.

use std::collections::VecDeque;
use std::sync::Arc;

use super::batch::{Batch, Budget};
use super::compute::Compute;
use super::request::Request;

pub(super) struct Queue<C: Compute> {
    waiting: VecDeque<Entry<C>>,
    budget: Budget,
    threads: u64,
}

/// A request and what of it nobody has begun: at least one unit.
struct Entry<C: Compute> {
    request: Arc<Request<C>>,
    next: usize,
    multiply_adds: u64,
}

impl<C: Compute> Queue<C> {
    /// For `threads` that take batches of at most `budget`.
    pub(super) const fn new(threads: u64, budget: Budget) -> Self {
        Self { waiting: VecDeque::new(), budget, threads }
    }

    pub(super) fn push(&mut self, request: Arc<Request<C>>) {
        self.waiting.push_back(Entry::new(request));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Requests with units that nobody has begun.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// A batch of wanted units, from the head on; none when nothing waits.
    ///
    /// Requests take turns, a unit each: a long list fills a batch only with what the others leave, and stands behind
    /// them afterwards. What can't join, or doesn't fit, keeps its place, so whatever stands at the head is in the very
    /// next batch.
    pub(super) fn take(&mut self) -> Option<Batch<C>> {
        let budget = self.share();
        let mut batch = Batch::new();
        let mut passed_over = VecDeque::new();
        while let Some(entry) = self.waiting.pop_front() {
            if !entry.request.wanted() {
                entry.request.dropped();
            } else if batch.has_room(&entry.request, entry.next, budget) {
                batch.take(Arc::clone(&entry.request), entry.next);
                self.waiting.extend(entry.advanced());
            } else {
                passed_over.push_back(entry);
            }
        }
        self.waiting = passed_over;
        (!batch.is_empty()).then_some(batch)
    }

    /// What one thread may take: never more than its share of all that waits, or the others would idle beside it. As the
    /// queue runs dry the shares shrink, and the threads end together (guided self-scheduling, Polychronopoulos & Kuck
    /// 1987).
    fn share(&self) -> Budget {
        let waiting = self.waiting.iter().fold(0_u64, |sum, entry| sum.saturating_add(entry.multiply_adds));
        Budget { multiply_adds: self.budget.multiply_adds.min(waiting.div_ceil(self.threads)), ..self.budget }
    }
}

impl<C: Compute> Entry<C> {
    fn new(request: Arc<Request<C>>) -> Self {
        let multiply_adds = request.multiply_adds();
        Self { request, next: 0, multiply_adds }
    }

    /// Without the unit that was next; nothing after the last.
    fn advanced(self) -> Option<Self> {
        let Self { request, next, multiply_adds } = self;
        let multiply_adds = multiply_adds.saturating_sub(request.cost(next).multiply_adds);
        (next + 1 < request.len()).then_some(Self { request, next: next + 1, multiply_adds })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::scorer::Config;
    use crate::scorer::admission::Admission;
    use crate::scorer::testing::{COSTLY, Made};

    /// A queue in which requests wait whose clients are there.
    struct Waiting {
        queue: Queue<Made>,
        admission: Arc<Admission>,
        clients: Vec<Box<dyn std::any::Any>>,
    }

    impl Waiting {
        fn new(threads: u64, multiply_adds: u64, bytes: u64) -> Self {
            let config = Config { max_requests: 100, max_cost: 100, ..Config::tiny() };
            let queue = Queue::new(threads, Budget { multiply_adds, bytes });
            Self { queue, admission: Arc::new(Admission::new(&config, 1)), clients: Vec::new() }
        }

        fn push(&mut self, units: Vec<usize>) {
            let permit = self.admission.permit(1).unwrap();
            let (request, client) = Request::new(Made::each(|unit| unit), units, permit);
            self.queue.push(request);
            self.clients.push(Box::new(client));
        }

        /// The sizes of the batches that are taken until nothing waits.
        fn sizes(&mut self) -> Vec<usize> {
            std::iter::from_fn(|| self.queue.take()).map(|batch| batch.len()).collect()
        }
    }

    #[test]
    fn a_batch_costs_what_it_may_and_its_first_unit_anything() {
        let mut waiting = Waiting::new(1, 4, 100);
        waiting.push((0..10).collect());
        assert_eq!(waiting.sizes(), [4, 4, 2]);
        waiting.push(vec![1, COSTLY, 2]);
        waiting.push(vec![3]);
        assert_eq!(waiting.sizes(), [2, 1, 1], "1 and 3, then the costly one, then what stood behind it");
        let mut waiting = Waiting::new(1, 100, 3);
        waiting.push((0..8).collect());
        assert_eq!(waiting.sizes(), [3, 3, 2], "memory, too, is of all units together");
    }

    #[test]
    fn no_thread_takes_more_than_its_share() {
        let mut waiting = Waiting::new(4, 100, 100);
        waiting.push((0..8).collect());
        assert_eq!(waiting.sizes(), [2, 2, 1, 1, 1, 1]);
        (0..3).for_each(|unit| waiting.push(vec![unit]));
        assert_eq!(waiting.sizes(), [1, 1, 1], "three requests for three of the threads");
    }

    #[test]
    fn who_has_left_is_passed_by() {
        let mut waiting = Waiting::new(1, 100, 100);
        waiting.push(vec![1, 2, 3]);
        waiting.push(vec![4]);
        waiting.clients.remove(0);
        assert_eq!(waiting.sizes(), [1]);
        assert!(waiting.admission.permit(99).is_ok(), "and its room is free again");
    }
}
