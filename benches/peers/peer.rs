//! The child process in which PyTorch runs.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::case::CaseFile;

/// One case in PyTorch, loaded. Ends with its value.
pub(crate) struct Peer {
    child: Child,
    requests: ChildStdin,
    answers: BufReader<ChildStdout>,
    version: String,
}

#[derive(Deserialize)]
struct Ready {
    torch: String,
}

/// What a run found.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) seconds: f64,
    /// Seconds of these in which tensors were made of graphs and orderings.
    pub(crate) preparing: f64,
    pub(crate) values: Vec<f64>,
}

impl Peer {
    /// Writes the case down and starts a process on it; returns when that has loaded it.
    pub(crate) fn start(name: &str, case: &CaseFile, threads: usize) -> Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let folder = package.join("target/peers");
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.safetensors", name.replace(' ', "_")));
        case.write(&path).with_context(|| path.display().to_string())?;
        let python = python(&folder);
        let mut child = Command::new(&python)
            .arg(package.join("benches/peers/peer.py"))
            .arg(&path)
            .arg(threads.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} can't be started; see benches/peers/README.md", python.display()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            bail!("the peer has no pipes")
        };
        let mut peer = Self { child, requests, answers: BufReader::new(answers), version: String::new() };
        peer.version = peer.answer::<Ready>()?.torch;
        Ok(peer)
    }

    /// PyTorch's version.
    pub(crate) fn version(&self) -> &str {
        &self.version
    }

    /// Computes the case once.
    pub(crate) fn run(&mut self) -> Result<Answer> {
        self.requests.write_all(b"\n")?;
        self.requests.flush()?;
        self.answer()
    }

    fn answer<T: DeserializeOwned>(&mut self) -> Result<T> {
        let mut line = String::new();
        if self.answers.read_line(&mut line)? == 0 {
            bail!("the peer ended: {}", self.child.wait()?);
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It holds nothing that would have to be saved, and may be in the middle of a run.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The interpreter that has PyTorch.
fn python(folder: &Path) -> PathBuf {
    env::var_os("GRAPHKIN_PEERS_PYTHON").map_or_else(|| folder.join("venv/bin/python"), |own: OsString| own.into())
}
