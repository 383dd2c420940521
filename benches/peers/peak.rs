//! The arithmetic that the machine is capable of in matrix products, as either side reaches it.

use std::fmt;
use std::hint::black_box;
use std::time::Instant;

use anyhow::Result;
use graphkin::nn::matmul::{View, Write, multiply};
use rayon::ThreadPool;
use serde_json::json;

use crate::case::CaseFile;
use crate::peer::Peer;

/// Of square matrices: large enough that little else is left, small enough to take milliseconds.
const SIZES: [usize; 3] = [1_024, 1_536, 2_048];

/// The most multiply-adds a second in f32 matrix products.
#[derive(Debug, Clone)]
pub(crate) struct Peak {
    own: f64,
    peer: f64,
    threads: usize,
    version: String,
}

impl Peak {
    /// The better of both sides.
    pub(crate) fn multiply_adds_per_second(&self) -> f64 {
        self.own.max(self.peer)
    }
}

impl fmt::Display for Peak {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} thread(s), PyTorch {}. The fastest f32 matrix products: {:.1} GFLOP/s here, {:.1} in PyTorch.",
            self.threads,
            self.version,
            2e-9 * self.own,
            2e-9 * self.peer
        )
    }
}

/// Both sides in turn; of each the best run counts.
pub(crate) fn measure(pool: &ThreadPool, runs: u64) -> Result<Peak> {
    let threads = pool.current_num_threads();
    let mut peer = Peer::start("peak", &CaseFile::new(json!({"task": "peak", "sizes": SIZES})), threads)?;
    let (mut best_own, mut best_peer) = (0.0_f64, 0.0_f64);
    for _ in 0..runs {
        // Our products stay on their thread: those of all threads at the same time add up.
        best_own = best_own.max(pool.broadcast(|_| multiply_adds_per_second()).iter().sum());
        best_peer = peer.run()?.values.into_iter().fold(best_peer, f64::max);
    }
    Ok(Peak { own: best_own, peer: best_peer, threads, version: peer.version().to_owned() })
}

/// Of the best size on this thread.
fn multiply_adds_per_second() -> f64 {
    SIZES
        .iter()
        .map(|&size| {
            let (x, w, mut y) = (vec![1.0_f32; size * size], vec![1.0; size * size], vec![0.0; size * size]);
            let begun = Instant::now();
            multiply(View::new(&x, size, size), View::new(&w, size, size), &mut y, Write::Replace);
            black_box(&y);
            (size * size * size) as f64 / begun.elapsed().as_secs_f64()
        })
        .fold(0.0, f64::max)
}
