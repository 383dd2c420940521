//! The engine with made-up computations in place of detectors.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::task::JoinHandle;

use super::super::testing::{Made, broken_device};
use super::*;

const LONG: Duration = Duration::from_secs(20);

type Answer = Result<(Vec<usize>, Timing), ScoreError>;

/// Whose batches have one unit.
fn engine(threads: usize, max_requests: usize) -> Arc<Engine<Made>> {
    batching(threads, max_requests, 1)
}

fn batching(threads: usize, max_requests: usize, max_batch_cost: u64) -> Arc<Engine<Made>> {
    started(threads, max_requests, max_batch_cost, 0)
}

fn started(threads: usize, max_requests: usize, max_batch_cost: u64, quick: u64) -> Arc<Engine<Made>> {
    let max_graph_memory = 1_000;
    let config = Config { threads, max_requests, max_cost: 1_000, max_batch_cost, max_graph_memory, ..Config::tiny() };
    Arc::new(Engine::start(&config, threads, quick, Watch::new(|| Ok(()), None)).unwrap())
}

fn units(count: usize) -> Vec<usize> {
    (0..count).collect()
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

/// Whose units each wait at a gate.
fn held_at(pass: impl Fn() + Send + Sync + 'static) -> Made {
    Made::each(move |unit| {
        pass();
        unit
    })
}

/// A request of so many units, under way.
fn asked(engine: &Arc<Engine<Made>>, work: Made, count: usize) -> JoinHandle<Answer> {
    let (engine, permit) = (Arc::clone(engine), engine.permit(1).unwrap());
    tokio::spawn(async move { engine.compute(permit, work, units(count)).await })
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
        let (results, _) = engine.compute(permit, Made::each(|unit| unit * unit), units(50)).await.unwrap();
        assert_eq!(results, (0..50).map(|unit| unit * unit).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn nothing_to_score_is_answered_at_once() {
    let engine = engine(1, 1);
    let permit = engine.permit(0).unwrap();
    let (results, _) = engine.compute(permit, Made::each(|unit| unit), units(0)).await.unwrap();
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
        let work = move |unit| {
            counted.fetch_add(1, Ordering::SeqCst);
            pass();
            unit
        };
        handle.compute(permit, Made::each(work), units(5)).await
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
async fn a_long_request_does_not_hold_up_a_short_one() {
    let engine = engine(1, 8);
    let (gate, pass) = Gate::new();
    let long = asked(&engine, held_at(pass), 1_000);
    let gate = gate.reached().await;
    let short = asked(&engine, Made::each(|unit| unit), 1);
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
async fn a_panic_fails_its_own_request_and_no_other() {
    let engine = engine(2, 4);
    for _ in 0..10 {
        let permit = engine.permit(1).unwrap();
        let work = Made::each(|unit| if unit == 3 { panic!("a unit that panics") } else { unit });
        let failed = engine.compute(permit, work, units(8)).await;
        assert!(matches!(failed, Err(ScoreError::Failed)));
    }
    let permit = engine.permit(1).unwrap();
    let (results, _) = engine.compute(permit, Made::each(|unit| unit), units(8)).await.unwrap();
    assert_eq!(results.len(), 8);
    until(|| (0..4).map(|_| engine.permit(1)).collect::<Result<Vec<_>, _>>().is_ok()).await;
}

#[tokio::test]
async fn several_threads_share_one_request() {
    let engine = batching(3, 1, 1_000);
    let barrier = Arc::new(std::sync::Barrier::new(3));
    let permit = engine.permit(1).unwrap();
    let work = Made::each(move |unit| {
        barrier.wait();
        unit
    });
    let work = engine.compute(permit, work, units(3));
    tokio::time::timeout(LONG, work).await.expect("three units meet at once").unwrap();
}

#[tokio::test]
async fn stopping_finishes_what_is_queued_and_refuses_more() {
    let engine = engine(1, 4);
    let late = engine.permit(1).unwrap();
    let (gate, pass) = Gate::new();
    let permit = engine.permit(1).unwrap();
    let handle = Arc::clone(&engine);
    let queued = tokio::spawn(async move { handle.compute(permit, held_at(pass), units(3)).await });
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
    assert!(matches!(engine.compute(late, Made::each(|unit| unit), units(1)).await, Err(ScoreError::Stopping)));
}

/// An engine with one thread, which is held at a gate while requests line up behind.
struct Held {
    engine: Arc<Engine<Made>>,
    gate: Gate,
    first: JoinHandle<Answer>,
    calls: Arc<Mutex<Vec<Vec<usize>>>>,
}

impl Held {
    async fn new(max_batch_cost: u64) -> Self {
        let engine = batching(1, 100, max_batch_cost);
        let (gate, pass) = Gate::new();
        let first = asked(&engine, held_at(pass), 1);
        Self { engine, gate: gate.reached().await, first, calls: Arc::default() }
    }

    /// Lets a request line up whose calls are remembered; a call with the unit 13 panics.
    async fn line_up(&self, company: &'static str, units: Vec<usize>) -> JoinHandle<Answer> {
        let before = self.engine.pool.waiting();
        let (handle, calls) = (Arc::clone(&self.engine), Arc::clone(&self.calls));
        let permit = self.engine.permit(1).unwrap();
        let work = Made::together(company, move |units| {
            calls.lock().unwrap().push(units.to_vec());
            assert!(!units.contains(&13), "a unit that panics");
            units.iter().map(|unit| unit * 10).collect()
        });
        let request = tokio::spawn(async move { handle.compute(permit, work, units).await });
        until(|| self.engine.pool.waiting() == before + 1).await;
        request
    }

    /// Opens the gate; the calls that were made when the last of `requests` is answered, and the answers.
    async fn open(self, requests: Vec<JoinHandle<Answer>>) -> (Vec<Vec<usize>>, Vec<Option<Vec<usize>>>) {
        self.gate.open();
        self.first.await.unwrap().unwrap();
        let mut answers = Vec::new();
        for request in requests {
            let answer = tokio::time::timeout(LONG, request).await.unwrap().unwrap();
            answers.push(answer.ok().map(|(results, _)| results));
        }
        let calls = std::mem::take(&mut *self.calls.lock().unwrap());
        (calls, answers)
    }
}

#[tokio::test]
async fn requests_that_wait_are_computed_in_one_call_and_answered_each_its_own() {
    let held = Held::new(100).await;
    let mut requests = Vec::new();
    for (company, units) in [("a", vec![1, 2]), ("b", vec![3]), ("a", vec![4]), ("a", vec![5, 6]), ("b", vec![7])] {
        requests.push(held.line_up(company, units).await);
    }
    let (calls, answers) = held.open(requests).await;
    assert_eq!(calls, [vec![1, 4, 5, 2, 6], vec![3, 7]], "a unit each in turn, and no two companies in one call");
    let expected = [vec![10, 20], vec![30], vec![40], vec![50, 60], vec![70]];
    assert_eq!(answers, expected.map(Some));
}

#[tokio::test]
async fn a_long_list_leaves_room_in_every_batch_for_what_came_after_it() {
    let held = Held::new(4).await;
    let list = held.line_up("a", (100..200).collect()).await;
    let same = held.line_up("a", vec![1]).await;
    let other = held.line_up("b", vec![2]).await;
    let (calls, _) = held.open(vec![list, same, other]).await;
    assert_eq!(calls[..2], [vec![100, 1, 101, 102], vec![2]], "both are served by the second call");
    assert!(calls[2..].iter().all(|call| call.len() == 4 || call.ends_with(&[199])), "{calls:?}");
}

#[tokio::test]
async fn a_panic_in_a_batch_fails_only_the_request_whose_unit_panics() {
    let held = Held::new(100).await;
    let mut requests = Vec::new();
    for units in [vec![11, 12], vec![13, 14], vec![15]] {
        requests.push(held.line_up("a", units).await);
    }
    let (calls, answers) = held.open(requests).await;
    assert_eq!(answers, [Some(vec![110, 120]), None, Some(vec![150])]);
    assert_eq!(calls[0], [11, 13, 15, 12, 14], "they were in one batch");
    assert_eq!(calls[1..], [11, 13, 15, 12, 14].map(|unit| vec![unit]), "and then each alone");
}

#[tokio::test]
async fn a_result_too_few_is_a_failure_and_no_endless_wait() {
    let engine = batching(1, 1, 100);
    let work = Made::together("a", |units| units[1..].to_vec());
    let answer = engine.compute(engine.permit(1).unwrap(), work, units(2));
    assert!(matches!(tokio::time::timeout(LONG, answer).await.unwrap(), Err(ScoreError::Failed)));
}

#[tokio::test]
async fn what_is_quick_is_computed_by_who_asks_unless_the_threads_are_busy() {
    let engine = started(1, 9, 1, 3);
    let asker = std::thread::current().id();
    let whether_here = move || Made::each(move |_| usize::from(std::thread::current().id() == asker));
    for (count, expected) in [(1, vec![1]), (3, vec![1; 3]), (4, vec![0; 4])] {
        let answer = engine.compute(engine.permit(1).unwrap(), whether_here(), units(count)).await;
        assert_eq!(answer.unwrap().0, expected, "four cost more than what is quick");
    }
    let (gate, pass) = Gate::new();
    let long = asked(&engine, held_at(pass), 4);
    let gate = gate.reached().await;
    let quick = asked(&engine, whether_here(), 1);
    until(|| engine.pool.waiting() == 2).await;
    (0..4).for_each(|_| gate.open());
    assert_eq!(quick.await.unwrap().unwrap().0, [0], "it took its turn behind the long one");
    long.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_panic_of_what_is_quick_fails_its_own_request() {
    let engine = started(1, 1, 1, 3);
    let work = Made::each(|unit| if unit == 1 { panic!("a unit that panics") } else { unit });
    let failed = engine.compute(engine.permit(1).unwrap(), work, units(2)).await;
    assert!(matches!(failed, Err(ScoreError::Failed)));
    let answer = engine.compute(engine.permit(1).unwrap(), Made::each(|unit| unit), units(2)).await;
    assert_eq!(answer.unwrap().0, [0, 1]);
}

/// Of one thread on a device that is broken while the switch is on.
fn on_a_device(broken: &Arc<AtomicBool>) -> Engine<Made> {
    let switch = Arc::clone(broken);
    let check = move || if switch.load(Ordering::SeqCst) { Err(broken_device()) } else { Ok(()) };
    let config =
        Config { max_requests: 9, max_cost: 1_000, max_batch_cost: 100, max_graph_memory: 1_000, ..Config::tiny() };
    Engine::start(&config, 1, 0, Watch::new(check, Some(Duration::ZERO))).unwrap()
}

#[tokio::test]
async fn a_failure_on_a_device_that_still_computes_costs_its_own_request_only() {
    let engine = on_a_device(&Arc::default());
    let answer = engine.compute(engine.permit(1).unwrap(), Made::on_a_device(|unit| unit == 1), units(3)).await;
    assert!(matches!(answer, Err(ScoreError::Failed)), "{answer:?}");
    assert!(!engine.probe(|| Err(broken_device())).await);
    assert!(!engine.is_lost());
    engine.compute(engine.permit(1).unwrap(), Made::on_a_device(|_| false), units(3)).await.unwrap();
    assert!(engine.probe(|| Ok(())).await);
}

#[tokio::test]
async fn a_device_that_fails_for_good_lets_nothing_in_and_is_told_of() {
    let broken = Arc::new(AtomicBool::new(false));
    let engine = on_a_device(&broken);
    engine.compute(engine.permit(1).unwrap(), Made::on_a_device(|_| false), units(3)).await.unwrap();
    let waiting = engine.permit(1).unwrap();
    broken.store(true, Ordering::SeqCst);
    let answer = engine.compute(engine.permit(1).unwrap(), Made::on_a_device(|_| true), units(3)).await;
    assert!(matches!(answer, Err(ScoreError::DeviceLost)), "{answer:?}");
    tokio::time::timeout(LONG, engine.lost()).await.expect("whoever waits for it is told");
    assert!(matches!(engine.permit(1), Err(PermitError::Stopping)));
    assert!(!engine.probe(|| Ok(())).await, "not even a recent success vouches for it");
    let answer = engine.compute(waiting, Made::on_a_device(|_| true), units(2)).await;
    assert!(matches!(answer, Err(ScoreError::DeviceLost)), "what waits is answered, too: {answer:?}");
}

#[tokio::test]
async fn a_device_that_does_not_come_back_is_lost_when_patience_is_over() {
    let engine = Arc::new(on_a_device(&Arc::default()));
    engine.keep_up();
    assert!(!engine.is_lost(), "it has nothing to do");
    let (gate, wait) = Gate::new();
    let stuck = Made::on_a_device(move |_| {
        wait();
        false
    });
    let (asked, permit) = (Arc::clone(&engine), engine.permit(1).unwrap());
    let answer = tokio::spawn(async move { asked.compute(permit, stuck, units(1)).await });
    let gate = gate.reached().await;
    engine.keep_up();
    assert!(engine.is_lost());
    let answer = tokio::time::timeout(LONG, answer).await.expect("nobody waits for the device").unwrap();
    assert!(matches!(answer, Err(ScoreError::DeviceLost)), "{answer:?}");
    gate.open();
}

#[tokio::test]
async fn a_probe_finds_a_device_that_failed_while_nobody_scored() {
    let broken = Arc::new(AtomicBool::new(true));
    let engine = on_a_device(&broken);
    assert!(!engine.is_lost());
    assert!(!engine.probe(|| panic!("its library panics")).await);
    assert!(engine.is_lost());
}

#[tokio::test]
async fn a_probe_that_panics_is_no_success() {
    let engine = engine(1, 1);
    assert!(!engine.probe(|| panic!("a broken device")).await);
    assert!(engine.probe(|| Ok(())).await);
}

#[tokio::test]
async fn a_probe_goes_before_a_full_queue() {
    let engine = engine(1, 2);
    let (gate, pass) = Gate::new();
    let pass = Arc::new(pass);
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (handle, pass, permit) = (Arc::clone(&engine), Arc::clone(&pass), engine.permit(1).unwrap());
            let work = held_at(move || pass());
            tokio::spawn(async move { handle.compute(permit, work, units(1)).await })
        })
        .collect();
    let gate = gate.reached().await;
    let handle = Arc::clone(&engine);
    let probe = tokio::spawn(async move { handle.probe(|| Ok(())).await });
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
    assert!(engine.probe(|| Ok(())).await);
    assert!(engine.succeeded_within(RECENT));
}
