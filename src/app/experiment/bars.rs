//! Progress bars on a terminal; nothing where there is none.

use std::io::{self, Write as _};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{evaluate, train};

/// How often a bar whose work tells nothing shows that time passes.
const TICK: Duration = Duration::from_millis(500);

/// All cells, and those at hand.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    cells: ProgressBar,
}

impl Bars {
    pub(super) fn new(cells: u64) -> Self {
        let all = MultiProgress::new();
        let cells = all.add(ProgressBar::new(cells));
        cells.set_style(style("{elapsed_precise} {wide_bar} {pos}/{len}"));
        cells.enable_steady_tick(TICK);
        Self { all, cells }
    }

    /// A bar for the cell that begins.
    pub(super) fn cell(&self, name: &str) -> CellBar {
        let bar = self.all.add(ProgressBar::new(1));
        bar.set_style(style("         {wide_bar} {msg}"));
        CellBar { bar, name: name.to_owned(), what: String::new() }
    }

    /// One cell more is there.
    pub(super) fn done(&self, cell: Option<CellBar>) {
        if let Some(cell) = cell {
            cell.bar.finish_and_clear();
        }
        self.cells.inc(1);
    }

    /// A line above the bars, and where there are none.
    pub(super) fn tell(&self, what: &str) {
        // Where nobody can be told, the report still says it.
        self.all.suspend(|| writeln!(io::stderr(), "{what}").unwrap_or_default());
    }

    pub(super) fn finish(&self) {
        self.cells.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    // Only a template that can't be read could fail, and these are two constants.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// Watches a cell's trainings and evaluations.
#[derive(Debug)]
pub(super) struct CellBar {
    bar: ProgressBar,
    name: String,
    what: String,
}

impl CellBar {
    pub(super) fn begin(&mut self, what: &str) {
        what.clone_into(&mut self.what);
        self.tell("", 0, 1);
    }

    fn tell(&self, phase: &str, done: u64, total: u64) {
        self.bar.set_length(total.max(1));
        self.bar.set_position(done);
        self.bar.set_message(format!("{}: {} {phase}", self.name, self.what));
    }
}

impl train::Observer for CellBar {
    fn progress(&mut self, progress: &train::Progress) {
        self.tell(&progress.phase, progress.epoch, progress.epochs);
    }

    fn checkpoint(
        &mut self,
        _make: &dyn Fn() -> Result<train::Checkpoint, train::TrainError>,
    ) -> Result<(), train::TrainError> {
        Ok(())
    }

    fn should_stop(&self) -> bool {
        false
    }
}

impl evaluate::Observer for CellBar {
    fn progress(&mut self, progress: &evaluate::Progress) {
        self.tell(&progress.phase, progress.done, progress.total);
    }

    fn should_stop(&self) -> bool {
        false
    }
}
