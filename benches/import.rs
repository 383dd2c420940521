//! Reading graphs against reading their bytes: a dataset against unpacking it, a graph in JSON against any JSON.

#[path = "support/dataset.rs"]
mod dataset;
mod support;

use std::io::{Cursor, copy, sink};

use anyhow::{Context as _, Result};
use graphkin::graph::Graph;
use graphkin::graph::format::json;
use graphkin::graph::format::tu;
use serde_json::Value;
use support::{Report, medians, seconds};
use zip::ZipArchive;

const ROUNDS: usize = 15;

fn main() -> Result<()> {
    let mut report = Report::new("import")?;
    let archive = dataset::read("DD")?;

    let [import, unpack] = medians(
        ROUNDS,
        [&mut || seconds(|| Ok(tu::read(Cursor::new(&archive), &dataset::LIMITS)?)), &mut || {
            seconds(|| unpack(&archive))
        }],
    )?;
    let made_of = format!("{:.1} ms against {:.1} ms of unpacking", import * 1e3, unpack * 1e3);
    report.tell("DD.zip, read as graphs", &made_of, (import / unpack, "x"), ..=3.0)?;

    let mut graphs = dataset::graphs(&archive)?;
    graphs.sort_by_key(Graph::node_count);
    let median = graphs.get(graphs.len() / 2).context("a dataset without graphs")?;
    let text = json::to_canonical(median, None).to_string();
    let [graph, value] = medians(
        ROUNDS * 100,
        [&mut || seconds(|| Ok(json::parse(text.as_bytes(), &dataset::LIMITS.graph)?)), &mut || {
            seconds(|| Ok(serde_json::from_str::<Value>(&text)?))
        }],
    )?;
    let made_of = format!("{:.1} us against {:.1} us for serde_json's Value", graph * 1e6, value * 1e6);
    report.tell("DD's median graph, read from JSON", &made_of, (graph / value, "x"), ..)
}

/// Unpacks all files of an archive, and keeps nothing.
fn unpack(archive: &[u8]) -> Result<u64> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    (0..archive.len()).map(|index| Ok(copy(&mut archive.by_index(index)?, &mut sink())?)).sum()
}
