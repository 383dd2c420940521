//! Who may enter: a count of requests and a budget of cost, given back when the work ends.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Config, PermitError};

/// Compute time over which the measured speed forgets.
const MEMORY: Duration = Duration::from_secs(20);
/// What is told while nothing has been measured yet, and at least.
const SHORTEST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(120);

/// Room for one piece of work in the queue. It travels with the work and is given back when the work ends, not when the
/// client leaves.
#[derive(Debug)]
pub struct Permit {
    admission: Arc<Admission>,
    /// 1; 0 for work that is done already.
    requests: usize,
    cost: u64,
}

impl Permit {
    /// Tells how long a part of this work took, so that a full queue can say when to come back.
    pub(super) fn measured(&self, cost: f64, took: Duration) {
        self.admission.measured(cost, took);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.admission.give_back(self);
    }
}

/// The books of the queue. Both numbers sit behind one lock, held for a few lines and never across a wait, so that a
/// request is admitted by both or by neither.
#[derive(Debug)]
pub(super) struct Admission {
    max_requests: usize,
    max_cost: u64,
    threads: usize,
    books: Mutex<Books>,
}

#[derive(Debug, Default)]
struct Books {
    requests: usize,
    cost: u64,
    closed: bool,
    speed: Speed,
}

/// The speed of one thread: recent cost over the recent time it took. Sums, not a mean of speeds: a swarm of tiny units
/// then weighs no more than the time it used.
#[derive(Debug, Default)]
struct Speed {
    cost: f64,
    seconds: f64,
}

impl Speed {
    fn add(&mut self, cost: f64, seconds: f64) {
        let kept = (-seconds / MEMORY.as_secs_f64()).exp();
        self.cost = self.cost * kept + cost;
        self.seconds = self.seconds * kept + seconds;
    }

    fn per_second(&self) -> Option<f64> {
        (self.cost > 0.0 && self.seconds > 0.0).then(|| self.cost / self.seconds)
    }
}

impl Admission {
    pub(super) fn new(config: &Config, threads: usize) -> Self {
        Self { max_requests: config.max_requests, max_cost: config.max_cost, threads, books: Mutex::default() }
    }

    pub(super) fn permit(self: &Arc<Self>, cost: u64) -> Result<Permit, PermitError> {
        let mut books = self.books();
        if books.closed {
            return Err(PermitError::Stopping);
        }
        if cost > self.max_cost {
            return Err(PermitError::TooCostly { cost, limit: self.max_cost });
        }
        // The books never exceed the limit, so the difference can't wrap.
        if books.requests >= self.max_requests || cost > self.max_cost - books.cost {
            return Err(PermitError::Overloaded { retry_after: self.retry_after(&books) });
        }
        books.requests += 1;
        books.cost += cost;
        publish(&books);
        Ok(Permit { admission: Arc::clone(self), requests: 1, cost })
    }

    /// The permit of work that is done already: it takes no room, so there is always some.
    pub(super) fn pass(self: &Arc<Self>) -> Permit {
        Permit { admission: Arc::clone(self), requests: 0, cost: 0 }
    }

    pub(super) fn close(&self) {
        self.books().closed = true;
    }

    fn give_back(&self, permit: &Permit) {
        let mut books = self.books();
        books.requests -= permit.requests;
        books.cost -= permit.cost;
        publish(&books);
    }

    fn measured(&self, cost: f64, took: Duration) {
        self.books().speed.add(cost, took.as_secs_f64());
    }

    /// The time that all threads need for what was admitted.
    fn retry_after(&self, books: &Books) -> Duration {
        let Some(speed) = books.speed.per_second() else { return SHORTEST_RETRY };
        let seconds = books.cost as f64 / (speed * self.threads as f64);
        Duration::try_from_secs_f64(seconds).unwrap_or(LONGEST_RETRY).clamp(SHORTEST_RETRY, LONGEST_RETRY)
    }

    /// A panic can't happen while the lock is held, and the books would still be true after one.
    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn publish(books: &Books) {
    metrics::gauge!("graphkin_score_queue_requests").set(books.requests as f64);
    metrics::gauge!("graphkin_score_queue_cost").set(books.cost as f64);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(max_requests: usize, max_cost: u64) -> Arc<Admission> {
        Arc::new(Admission::new(&Config { max_requests, max_cost, ..Config::tiny() }, 2))
    }

    #[test]
    fn a_permit_takes_a_place_and_cost_and_gives_both_back() {
        let admission = admission(2, 100);
        let first = admission.permit(60).unwrap();
        assert!(matches!(admission.permit(41), Err(PermitError::Overloaded { .. })), "no cost left");
        let second = admission.permit(40).unwrap();
        assert!(matches!(admission.permit(0), Err(PermitError::Overloaded { .. })), "no place left");
        let pass = admission.pass();
        drop(first);
        let third = admission.permit(60).unwrap();
        drop((second, third, pass));
        let books = admission.books();
        assert_eq!((books.requests, books.cost), (0, 0));
    }

    #[test]
    fn what_could_never_fit_is_told_apart_from_a_full_queue() {
        let admission = admission(1, 100);
        let _held = admission.permit(1).unwrap();
        assert!(matches!(admission.permit(101), Err(PermitError::TooCostly { cost: 101, limit: 100 })));
        assert!(matches!(admission.permit(u64::MAX), Err(PermitError::TooCostly { .. })));
    }

    #[test]
    fn nothing_enters_a_closed_queue() {
        let admission = admission(1, 100);
        admission.close();
        assert!(matches!(admission.permit(1), Err(PermitError::Stopping)));
    }

    #[test]
    fn retry_after_follows_the_measured_speed() {
        let retry_after = |admission: &Arc<Admission>| match admission.permit(1) {
            Err(PermitError::Overloaded { retry_after }) => retry_after,
            other => panic!("{other:?}"),
        };
        let admission = admission(1, 1_000_000);
        let permit = admission.permit(6_000).unwrap();
        assert_eq!(retry_after(&admission), SHORTEST_RETRY, "nothing measured yet");
        for _ in 0..100 {
            permit.measured(100.0, Duration::from_secs(1));
        }
        // 6,000 at 100 a second on each of 2 threads.
        assert_eq!(retry_after(&admission), Duration::from_secs(30));
        for _ in 0..200 {
            permit.measured(1_000.0, Duration::from_secs(1));
        }
        let faster = retry_after(&admission).as_secs_f64();
        assert!((faster - 3.0).abs() < 0.01, "the old speed is forgotten: {faster}");
        permit.measured(0.0, Duration::from_secs(1_000_000));
        assert_eq!(retry_after(&admission), SHORTEST_RETRY, "no speed at all");
    }
}
