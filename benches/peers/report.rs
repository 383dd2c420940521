//! What was measured, as a table in Markdown.

use std::fmt;

use anyhow::{Result, ensure};

use crate::peak::Peak;
use crate::peer::Answer;

/// The largest relative difference of two values that counts as none.
const TOLERANCE: f64 = 1e-4;

/// The ratio that rows whose names begin so are meant to reach; any other row is told as it is.
const GOALS: [(&str, f64); 5] = [
    ("score graphrnn-rnn", 5.0),
    ("score full-mask", 10.0),
    ("score full-edge-prediction", 3.0),
    ("score gran", 3.0),
    ("train", 2.0),
];

/// A case on both sides.
#[derive(Debug)]
pub(crate) struct Measured {
    graphs: usize,
    multiply_adds: Option<u64>,
    own: Vec<f64>,
    peer: Vec<f64>,
    peer_preparing: Vec<f64>,
    largest_difference: f64,
}

impl Measured {
    pub(crate) fn new(graphs: usize, multiply_adds: Option<u64>) -> Self {
        let (own, peer, peer_preparing) = (Vec::new(), Vec::new(), Vec::new());
        Self { graphs, multiply_adds, own, peer, peer_preparing, largest_difference: 0.0 }
    }

    /// Keeps the largest relative difference; one that is no number is the largest of all.
    pub(crate) fn compare(&mut self, own: &[f64], peer: &[f64]) -> Result<()> {
        ensure!(own.len() == peer.len(), "{} values here, {} there", own.len(), peer.len());
        for (own, peer) in own.iter().zip(peer) {
            let difference = (own - peer).abs() / own.abs().max(peer.abs()).max(f64::MIN_POSITIVE);
            let difference = if difference.is_nan() { f64::INFINITY } else { difference };
            self.largest_difference = self.largest_difference.max(difference);
        }
        Ok(())
    }

    /// Keeps the times of a run of either side.
    pub(crate) fn push(&mut self, own_seconds: f64, peer: &Answer) {
        self.own.push(own_seconds);
        self.peer.push(peer.seconds);
        self.peer_preparing.push(peer.preparing);
    }

    fn agrees(&self) -> bool {
        self.largest_difference <= TOLERANCE
    }
}

/// All that was measured.
pub(crate) struct Table {
    peak: Peak,
    rows: Vec<(String, Measured)>,
}

impl Table {
    pub(crate) fn new(peak: Peak) -> Self {
        Self { peak, rows: Vec::new() }
    }

    pub(crate) fn push(&mut self, name: &str, measured: Measured) {
        self.rows.push((name.to_owned(), measured));
    }

    pub(crate) fn scores_agree(&self) -> bool {
        self.rows.iter().all(|(_, measured)| measured.agrees())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| row | graphs | graphkin, ms | PyTorch, ms | preparing | ratio | without preparing | goal | difference \
             | graphkin's GFLOP/s |\n|---|---|---|---|---|---|---|---|---|---|"
        )?;
        for (name, measured) in &self.rows {
            let [own, peer, preparing] = [&measured.own, &measured.peer, &measured.peer_preparing].map(|of| median(of));
            let ratio = |peer: f64| if measured.agrees() { format!("{:.2}", peer / own) } else { "-".to_owned() };
            let goal = GOALS
                .iter()
                .find(|(row, _)| name.starts_with(row))
                .map_or("-".to_owned(), |(_, goal)| format!("{goal}"));
            let arithmetic = measured.multiply_adds.map_or("-".to_owned(), |multiply_adds| {
                let rate = multiply_adds as f64 / own;
                format!("{:.1} ({:.0} % of peak)", 2e-9 * rate, 100.0 * rate / self.peak.multiply_adds_per_second())
            });
            writeln!(
                f,
                "| {name} | {} | {:.2} | {:.2} | {:.2} | {} | {} | {goal} | {:.1e}{} | {arithmetic} |",
                measured.graphs,
                1e3 * own,
                1e3 * peer,
                1e3 * preparing,
                ratio(peer),
                ratio(peer - preparing),
                measured.largest_difference,
                if measured.agrees() { "" } else { ": too large to count" },
            )?;
        }
        Ok(())
    }
}

fn median(of: &[f64]) -> f64 {
    let mut sorted = of.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}
