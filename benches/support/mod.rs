//! What all benches share: how a figure is measured, and how it is told and kept.
//!
//! A figure is a ratio to what anybody could do instead, or a number; each has its goal. What is compared is measured in
//! turns, round by round, so that whatever else the machine does meets both sides.

use std::env;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::{Bound, RangeBounds};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

/// The program's own, so that what runs in the bench's process is as fast as there.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The figures of one bench: printed as they come, and kept as lines of a Markdown table in `bench/rows/` of the target
/// directory, in the place of those of the run before.
pub(crate) struct Report {
    bench: &'static str,
    rows: File,
}

impl Report {
    pub(crate) fn new(bench: &'static str) -> Result<Self> {
        let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
        let target = target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target"));
        let folder = target.join("bench/rows");
        fs::create_dir_all(&folder)?;
        let file = folder.join(format!("{bench}.md"));
        let rows = File::create(&file).with_context(|| format!("{} cannot be written", file.display()))?;
        Ok(Self { bench, rows })
    }

    /// Tells a figure with its unit, what it was made of, and what it should be.
    #[expect(clippy::print_stdout, reason = "a bench is read by whoever runs it")]
    pub(crate) fn tell(
        &mut self,
        what: &str,
        made_of: &str,
        (figure, unit): (f64, &str),
        goal: impl RangeBounds<f64>,
    ) -> Result<()> {
        let met = if goal.contains(&figure) { "met" } else { "missed" };
        let goal = match (goal.start_bound(), goal.end_bound()) {
            (Bound::Unbounded, Bound::Included(most)) => format!("at most {most} {unit}"),
            (Bound::Included(least), Bound::Unbounded) => format!("at least {least} {unit}"),
            _ => "none".to_owned(),
        };
        println!("{}: {what}: {figure:.2} {unit} ({made_of}); goal: {goal}: {met}", self.bench);
        writeln!(self.rows, "| {} | {what} | {made_of} | {figure:.2} {unit} | {goal} | {met} |", self.bench)?;
        Ok(())
    }
}

/// The median of what each of `sides` measures, over rounds in which each has its turn. The first round, which finds cold
/// caches, does not count.
pub(crate) fn medians<const N: usize>(
    rounds: usize,
    mut sides: [&mut dyn FnMut() -> Result<f64>; N],
) -> Result<[f64; N]> {
    let mut measured = [const { Vec::new() }; N];
    for round in 0..=rounds {
        for (side, measured) in sides.iter_mut().zip(&mut measured) {
            let figure = side()?;
            if round > 0 {
                measured.push(figure);
            }
        }
    }
    Ok(measured.map(|mut figures| {
        figures.sort_unstable_by(f64::total_cmp);
        figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
    }))
}

/// The seconds that `work` takes. Its result is dropped outside.
pub(crate) fn seconds<T>(work: impl FnOnce() -> Result<T>) -> Result<f64> {
    let begun = Instant::now();
    let result = std::hint::black_box(work()?);
    let took = begun.elapsed();
    drop(result);
    Ok(took.as_secs_f64())
}
