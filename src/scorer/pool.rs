//! The compute threads, which take batches from one queue.
//!
//! Each batch is computed by the thread that took it; one that is alone, and worth it, by as many as there are. A request
//! that would be over before a thread has woken is computed where it is, when nothing waits.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use rayon::{ThreadPool, ThreadPoolBuilder};

use super::batch::{Batch, Budget};
use super::compute::Compute;
use super::queue::Queue;
use super::request::Request;
use super::watch::Watch;

/// Work that is no request: it goes before all that waits. It doesn't panic: the thread would be lost.
type Errand = Box<dyn FnOnce() + Send>;

/// The pool is closed.
#[derive(Debug)]
pub(super) struct Closed;

pub(super) struct Pool<C: Compute> {
    shared: Arc<Shared<C>>,
    size: usize,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl<C: Compute> std::fmt::Debug for Pool<C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl<C: Compute> Pool<C> {
    /// # Errors
    /// When a thread can't be started.
    pub(super) fn start(threads: usize, budget: Budget, watch: &Arc<Watch>) -> std::io::Result<Self> {
        let queue = Queue::new(threads as u64, budget);
        let waiting = Waiting { errands: VecDeque::new(), queue, computing: 0, closed: false };
        let crew = (threads > 1).then(|| crew(threads)).transpose()?;
        let shared = Arc::new(Shared { waiting: Mutex::new(waiting), arrived: Condvar::new(), crew });
        let pool = Self { shared: Arc::clone(&shared), size: threads, threads: Mutex::default() };
        for index in 0..threads {
            let (shared, watch) = (Arc::clone(&shared), Arc::clone(watch));
            let thread = thread::Builder::new().name(format!("scorer-{index}")).spawn(move || {
                while let Some(turn) = shared.take() {
                    match turn {
                        Turn::Errand(errand) => watch.over(errand),
                        Turn::Batch(batch, is_alone) => shared.compute(batch, is_alone, &watch),
                    }
                }
            })?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Queues a request behind what is there. The queue itself sets no bound: whoever submits holds a permit.
    pub(super) fn submit(&self, request: Arc<Request<C>>) -> Result<(), Closed> {
        // A list is for all threads to share.
        let several = request.len() > 1;
        self.shared.put(several, |waiting| waiting.queue.push(request))
    }

    /// Computes a request on the calling thread, if nothing waits and one of the pool's threads is idle, so that nobody is
    /// overtaken. Whether it did. All of the pool's threads may find work meanwhile: there is one computation too many then
    /// for each such request, as long as a quick one takes.
    pub(super) fn compute_here(&self, request: &Arc<Request<C>>, watch: &Watch) -> bool {
        let mut waiting = lock(&self.shared.waiting);
        if waiting.closed || waiting.computing >= self.size || !waiting.is_empty() {
            return false;
        }
        waiting.computing += 1;
        drop(waiting);
        self.shared.compute(Batch::all_of(request), false, watch);
        true
    }

    /// Runs an errand before what is there: for the probe, whose question is about the threads and not about the queue.
    pub(super) fn submit_first(&self, errand: Errand) -> Result<(), Closed> {
        self.shared.put(false, |waiting| waiting.errands.push_back(errand))
    }

    /// Errands, and requests with units that nobody has begun.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        let waiting = lock(&self.shared.waiting);
        waiting.errands.len() + waiting.queue.len()
    }

    /// Takes no more requests; what is queued is finished.
    pub(super) fn close(&self) {
        lock(&self.shared.waiting).closed = true;
        self.shared.arrived.notify_all();
    }

    /// Waits for the threads to end, once closed. Blocks.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A batch can't panic, and if it did, the others would still have to be waited for.
            let _ = thread.join();
        }
    }
}

impl<C: Compute> Drop for Pool<C> {
    /// The threads end by themselves, not joined: a drop must not wait for minutes of computing.
    fn drop(&mut self) {
        self.close();
    }
}

/// A batch that costs less is over before other threads have woken.
const WORTH_SPREADING: u64 = 5_000_000;

/// Threads for a batch that is alone: they sleep while each compute thread has a batch of its own.
fn crew(threads: usize) -> std::io::Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads).thread_name(|index| format!("scorer-crew-{index}"));
    builder.build().map_err(std::io::Error::other)
}

struct Shared<C: Compute> {
    waiting: Mutex<Waiting<C>>,
    arrived: Condvar,
    /// None where there is but one thread.
    crew: Option<ThreadPool>,
}

struct Waiting<C: Compute> {
    errands: VecDeque<Errand>,
    queue: Queue<C>,
    /// Batches taken and not yet ended.
    computing: usize,
    closed: bool,
}

impl<C: Compute> Waiting<C> {
    fn is_empty(&self) -> bool {
        self.errands.is_empty() && self.queue.is_empty()
    }
}

/// What a thread does next.
enum Turn<C: Compute> {
    Errand(Errand),
    /// With whether nothing else was computed or waited when it was taken.
    Batch(Batch<C>, bool),
}

impl<C: Compute> Shared<C> {
    fn put(&self, for_several: bool, put: impl FnOnce(&mut Waiting<C>)) -> Result<(), Closed> {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Err(Closed);
        }
        put(&mut waiting);
        drop(waiting);
        if for_several {
            self.arrived.notify_all();
        } else {
            self.arrived.notify_one();
        }
        Ok(())
    }

    fn compute(&self, batch: Batch<C>, is_alone: bool, watch: &Watch) {
        match &self.crew {
            Some(crew) if is_alone && batch.multiply_adds() >= WORTH_SPREADING => crew.install(|| batch.run(watch)),
            _ => watch.over(|| batch.run(watch)),
        }
        lock(&self.waiting).computing -= 1;
    }

    /// `None` when the pool is closed and nothing waits.
    fn take(&self) -> Option<Turn<C>> {
        let mut waiting = lock(&self.waiting);
        loop {
            if let Some(errand) = waiting.errands.pop_front() {
                return Some(Turn::Errand(errand));
            }
            if let Some(batch) = waiting.queue.take() {
                let is_alone = waiting.computing == 0 && waiting.queue.is_empty();
                waiting.computing += 1;
                return Some(Turn::Batch(batch, is_alone));
            }
            if waiting.closed {
                return None;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Nothing panics under these locks, and what they guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
