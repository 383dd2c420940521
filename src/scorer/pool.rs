//! The compute threads and their queue.
//!
//! Work comes in units, one a graph. A thread takes the next unit of the work at the head of the queue and puts that work
//! back at the tail: a long batch shares the threads with what came after it instead of holding it up, several threads
//! share one batch, and no thread idles or waits for company while a unit is left.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

/// A piece of work in units that can run on any thread, in any order.
pub(super) trait Work: Send + Sync {
    fn units(&self) -> usize;
    /// Whether somebody still waits for it.
    fn wanted(&self) -> bool;
    /// Computes one unit. It doesn't panic: the thread would be lost.
    fn run(&self, unit: usize);
    /// Told once when the work is taken off the queue unfinished because nobody wants it.
    fn dropped(&self);
}

pub(super) struct Pool {
    queue: Arc<Queue>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").finish_non_exhaustive()
    }
}

impl Pool {
    /// # Errors
    /// When a thread can't be started.
    pub(super) fn start(threads: usize) -> std::io::Result<Self> {
        let queue = Arc::new(Queue::default());
        let pool = Self { queue: Arc::clone(&queue), threads: Mutex::default() };
        for index in 0..threads {
            let queue = Arc::clone(&queue);
            let thread = thread::Builder::new().name(format!("scorer-{index}")).spawn(move || {
                while let Some((work, unit)) = queue.take() {
                    work.run(unit);
                }
            })?;
            lock(&pool.threads).push(thread);
        }
        Ok(pool)
    }

    /// Queues work behind what is there; gives it back when the pool is closed. The queue itself sets no bound: whoever
    /// submits holds a permit.
    pub(super) fn submit(&self, work: Arc<dyn Work>) -> Result<(), Arc<dyn Work>> {
        self.queue.push(work, VecDeque::push_back)
    }

    /// Queues work before what is there: for the probe, whose question is about the threads and not about the queue.
    pub(super) fn submit_first(&self, work: Arc<dyn Work>) -> Result<(), Arc<dyn Work>> {
        self.queue.push(work, VecDeque::push_front)
    }

    /// How much work has units that nobody has begun.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        lock(&self.queue.waiting).work.len()
    }

    /// Takes no more work; what is queued is finished.
    pub(super) fn close(&self) {
        self.queue.close();
    }

    /// Waits for the threads to end, once closed. Blocks.
    pub(super) fn join(&self) {
        let threads = std::mem::take(&mut *lock(&self.threads));
        for thread in threads {
            // A unit can't panic, and if it did, the others would still have to be waited for.
            let _ = thread.join();
        }
    }
}

impl Drop for Pool {
    /// The threads end by themselves, not joined: a drop must not wait for minutes of computing.
    fn drop(&mut self) {
        self.close();
    }
}

/// Work with its next unit.
type Entry = (Arc<dyn Work>, usize);

#[derive(Default)]
struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Condvar,
}

#[derive(Default)]
struct Waiting {
    work: VecDeque<Entry>,
    closed: bool,
}

impl Queue {
    fn push(&self, work: Arc<dyn Work>, place: fn(&mut VecDeque<Entry>, Entry)) -> Result<(), Arc<dyn Work>> {
        let mut waiting = lock(&self.waiting);
        if waiting.closed {
            return Err(work);
        }
        let units = work.units();
        place(&mut waiting.work, (work, 0));
        drop(waiting);
        if units > 1 {
            self.arrived.notify_all();
        } else {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// The next unit of wanted work; `None` when the queue is closed and empty.
    fn take(&self) -> Option<Entry> {
        let mut waiting = lock(&self.waiting);
        loop {
            while let Some((work, unit)) = waiting.work.pop_front() {
                if !work.wanted() {
                    work.dropped();
                    continue;
                }
                if unit + 1 < work.units() {
                    waiting.work.push_back((Arc::clone(&work), unit + 1));
                }
                return Some((work, unit));
            }
            if waiting.closed {
                return None;
            }
            waiting = self.arrived.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn close(&self) {
        lock(&self.waiting).closed = true;
        self.arrived.notify_all();
    }
}

/// Nothing panics under these locks, and what they guard is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
