//! The engine with made-up computations in place of detectors.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use super::*;

const LONG: Duration = Duration::from_secs(20);

fn engine(threads: usize, max_requests: usize) -> Arc<Engine> {
    Arc::new(Engine::start(&Config { threads, max_requests, max_cost: 1_000, max_graph_memory: 1 }).unwrap())
}

/// A gate that computations wait at, and that tells when one has arrived.
struct Gate {
    arrived: mpsc::Receiver<()>,
    open: mpsc::Sender<()>,
}

impl Gate {
    fn new() -> (Self, impl Fn() + Send + Sync + 'static) {
        let (arrive, arrived) = mpsc::channel();
        let (open, opened) = mpsc::channel();
        let opened = Mutex::new(opened);
        (Self { arrived, open }, move || {
            arrive.send(()).unwrap();
            opened.lock().unwrap().recv_timeout(LONG).unwrap();
        })
    }

    /// Waits until a computation stands at the gate.
    async fn reached(self) -> Self {
        tokio::task::spawn_blocking(move || {
            self.arrived.recv_timeout(LONG).unwrap();
            self
        })
        .await
        .unwrap()
    }

    fn open(&self) {
        self.open.send(()).unwrap();
    }
}

async fn until(what: impl Fn() -> bool) {
    let deadline = Instant::now() + LONG;
    while !what() {
        assert!(Instant::now() < deadline, "it never came true");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn results_come_in_the_order_of_the_units_and_free_their_room() {
    let engine = engine(3, 1);
    for _ in 0..20 {
        let permit = engine.permit(1_000).expect("the room of the answer before is free again");
        let (results, _) = engine.compute(permit, 50, |unit| unit * unit).await.unwrap();
        assert_eq!(results, (0..50).map(|unit| unit * unit).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn nothing_to_score_is_answered_at_once() {
    let engine = engine(1, 1);
    let permit = engine.permit(0).unwrap();
    let (results, _) = engine.compute(permit, 0, |_| ()).await.unwrap();
    assert!(results.is_empty());
}

#[tokio::test]
async fn a_client_that_leaves_frees_nothing_before_its_unit_ends_and_starts_nothing_more() {
    let engine = engine(1, 1);
    let (gate, pass) = Gate::new();
    let started = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&started);
    let handle = Arc::clone(&engine);
    let permit = engine.permit(1).unwrap();
    let request = tokio::spawn(async move {
        let work = move |_| {
            counted.fetch_add(1, Ordering::SeqCst);
            pass();
        };
        handle.compute(permit, 5, work).await
    });
    let gate = gate.reached().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    assert!(matches!(engine.permit(1), Err(PermitError::Overloaded { .. })), "its unit still computes");
    gate.open();
    until(|| engine.permit(1).is_ok()).await;
    assert_eq!(started.load(Ordering::SeqCst), 1, "the other four units never started");
}

#[tokio::test]
async fn a_long_batch_does_not_hold_up_a_short_one() {
    let engine = engine(1, 8);
    let (gate, pass) = Gate::new();
    let long = engine.permit(1).unwrap();
    let handle = Arc::clone(&engine);
    let long = tokio::spawn(async move { handle.compute(long, 1_000, move |_| pass()).await });
    let gate = gate.reached().await;
    let short = engine.permit(1).unwrap();
    let handle = Arc::clone(&engine);
    let short = tokio::spawn(async move { handle.compute(short, 1, |_| ()).await });
    until(|| engine.pool.waiting() == 2).await;
    // The unit at the gate, and the long one's next, which stood before the short one.
    gate.open();
    gate.open();
    tokio::time::timeout(LONG, short).await.unwrap().unwrap().unwrap();
    assert!(!long.is_finished());
    long.abort();
    for _ in 0..1_000 {
        gate.open();
    }
}

#[tokio::test]
async fn a_panic_fails_its_own_batch_and_no_other() {
    let engine = engine(2, 4);
    for _ in 0..10 {
        let permit = engine.permit(1).unwrap();
        let failed = engine.compute(permit, 8, |unit| assert!(unit != 3, "a unit that panics")).await;
        assert!(matches!(failed, Err(ScoreError::Failed)));
    }
    let permit = engine.permit(1).unwrap();
    let (results, _) = engine.compute(permit, 8, |unit| unit).await.unwrap();
    assert_eq!(results.len(), 8);
    until(|| (0..4).map(|_| engine.permit(1)).collect::<Result<Vec<_>, _>>().is_ok()).await;
}

#[tokio::test]
async fn several_threads_share_one_batch() {
    let engine = engine(3, 1);
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let permit = engine.permit(1).unwrap();
    let work = engine.compute(permit, 3, move |_| {
        barrier.wait();
    });
    tokio::time::timeout(LONG, work).await.expect("three units meet at once").unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_is_queued_and_refuses_more() {
    let engine = engine(1, 4);
    let late = engine.permit(1).unwrap();
    let (gate, pass) = Gate::new();
    let permit = engine.permit(1).unwrap();
    let handle = Arc::clone(&engine);
    let queued = tokio::spawn(async move {
        handle
            .compute(permit, 3, move |unit| {
                pass();
                unit
            })
            .await
    });
    let gate = gate.reached().await;
    let handle = Arc::clone(&engine);
    let stopping = tokio::task::spawn_blocking(move || {
        handle.close();
        handle.join();
    });
    until(|| matches!(engine.permit(1), Err(PermitError::Stopping))).await;
    for _ in 0..3 {
        gate.open();
    }
    assert_eq!(queued.await.unwrap().unwrap().0, vec![0, 1, 2]);
    stopping.await.unwrap();
    assert!(matches!(engine.compute(late, 1, |_| ()).await, Err(ScoreError::Stopping)));
}

#[tokio::test]
async fn a_probe_that_panics_is_no_success() {
    let engine = engine(1, 1);
    assert!(!engine.probe(|| panic!("a broken device")).await);
    assert!(engine.probe(|| ()).await);
}

#[tokio::test]
async fn a_probe_goes_before_a_full_queue() {
    let engine = engine(1, 2);
    let (gate, pass) = Gate::new();
    let pass = Arc::new(pass);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (handle, pass, permit) = (Arc::clone(&engine), Arc::clone(&pass), engine.permit(1).unwrap());
            tokio::spawn(async move { handle.compute(permit, 1, move |_| pass()).await })
        })
        .collect();
    let gate = gate.reached().await;
    let handle = Arc::clone(&engine);
    let probe = tokio::spawn(async move { handle.probe(|| ()).await });
    until(|| engine.pool.waiting() == 2).await;
    gate.open();
    assert!(tokio::time::timeout(LONG, probe).await.unwrap().unwrap());
    gate.open();
    for request in held {
        request.await.unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_probe_runs_on_a_thread_when_nothing_did_lately() {
    let engine = engine(1, 1);
    assert!(!engine.succeeded_within(RECENT));
    assert!(engine.probe(|| ()).await);
    assert!(engine.succeeded_within(RECENT));
}
