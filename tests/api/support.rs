//! Starts the real binary for a test and talks to it. Every answer is held to the contract on the way.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::contract;

const BINARY: &str = env!("CARGO_BIN_EXE_graphkin");

/// Tiny, so that tests reach them.
const SETTINGS: [(&str, &str); 13] = [
    ("listen", "127.0.0.1:0"),
    ("load-samples", "false"),
    ("max-body", "65536"),
    ("max-line", "4096"),
    ("max-upload", "262144"),
    ("max-unpacked", "1048576"),
    ("max-dataset-graphs", "1000"),
    ("max-nodes", "5000"),
    ("max-edges", "20000"),
    ("max-batch", "50"),
    ("threads", "1"),
    ("grace-period", "0"),
    ("training-threads", "1"),
];

/// A running service. It is killed when this is dropped.
pub(crate) struct App {
    process: Child,
    /// Kept open: a service whose standard output is closed could not write to it.
    _stdout: BufReader<tokio::process::ChildStdout>,
    pub(crate) address: String,
    place: Arc<TempDir>,
    settings: BTreeMap<String, String>,
    key: Option<String>,
}

impl App {
    /// A service with nothing in it.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// The same with other settings, named as the flags are.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        let place = Arc::new(tempfile::tempdir().expect("a temporary directory"));
        let settings = SETTINGS.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Self::launch(place, settings.collect(), None).await
    }

    async fn launch(place: Arc<TempDir>, settings: BTreeMap<String, String>, key: Option<String>) -> Self {
        let log = File::options().create(true).append(true).open(place.path().join("log")).expect("a log file");
        let mut process = Command::new(BINARY)
            .arg("serve")
            .arg(format!("--data-dir={}", place.path().join("data").display()))
            .args(settings.iter().map(|(name, value)| format!("--{name}={value}")))
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .expect("the binary starts");
        let mut stdout = BufReader::new(process.stdout.take().expect("its standard output"));
        let mut line = String::new();
        let read = async {
            while !line.contains("listening on http://") {
                line.clear();
                if stdout.read_line(&mut line).await.expect("readable output") == 0 {
                    let log = std::fs::read_to_string(place.path().join("log")).unwrap_or_default();
                    panic!("the service ended before it listened:\n{log}");
                }
            }
        };
        timeout(Duration::from_secs(60), read).await.expect("it listens within a minute");
        let address = line.split_once("listening on ").expect("an address").1.trim().to_owned();
        Self { process, _stdout: stdout, address, place, settings, key }
    }

    /// Ends the process with no warning (`kill -9`) and starts another on the same data.
    pub(crate) async fn kill_and_restart(mut self) -> Self {
        self.process.kill().await.expect("it can be killed");
        let (place, settings, key) = (Arc::clone(&self.place), self.settings.clone(), self.key.clone());
        drop(self);
        Self::launch(place, settings, key).await
    }

    /// Stops the process in order (`SIGTERM`) and starts another on the same data.
    pub(crate) async fn stop_and_restart(mut self) -> Self {
        self.ask_to_stop().await;
        timeout(Duration::from_secs(60), self.process.wait()).await.expect("it stops").expect("it can be waited for");
        let (place, settings, key) = (Arc::clone(&self.place), self.settings.clone(), self.key.clone());
        drop(self);
        Self::launch(place, settings, key).await
    }

    /// As [`Self::kill_and_restart`], with other settings on top of [`App::start`]'s.
    pub(crate) async fn restart_with(mut self, settings: &[(&str, &str)]) -> Self {
        let settings = SETTINGS.iter().chain(settings).map(|&(name, value)| (name.to_owned(), value.to_owned()));
        self.settings = settings.collect();
        self.kill_and_restart().await
    }

    /// The most memory that the process has held so far, in bytes, where the system tells.
    pub(crate) fn peak_memory(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()?)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
    }

    /// Asks the process to stop in order (`SIGTERM`), and does not wait until it has.
    pub(crate) async fn ask_to_stop(&self) {
        let id = self.process.id().expect("a running process");
        let asked = Command::new("kill").arg(id.to_string()).status().await.expect("kill runs");
        assert!(asked.success());
    }

    pub(crate) fn data_dir(&self) -> PathBuf {
        self.place.path().join("data")
    }

    /// Makes a key, as an operator does, while the service runs.
    pub(crate) async fn create_key(&self, name: &str, scope: &str) -> String {
        let printed = self.command(&["keys", "create", "--name", name, "--scope", scope]).await;
        let key = printed.split_whitespace().find(|word| word.starts_with("gk_"));
        key.unwrap_or_else(|| panic!("no key in {printed:?}")).to_owned()
    }

    pub(crate) async fn revoke_key(&self, name: &str) {
        self.command(&["keys", "revoke", name]).await;
    }

    /// Runs a command of the binary on this service's data; gives back what it printed.
    pub(crate) async fn command(&self, arguments: &[&str]) -> String {
        let output = Command::new(BINARY)
            .args(arguments)
            .arg(format!("--data-dir={}", self.data_dir().display()))
            .output()
            .await
            .expect("the binary runs");
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// Sends this key from now on.
    pub(crate) fn use_key(&mut self, key: &str) {
        self.key = Some(key.to_owned());
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send(self.request(Method::DELETE, path)).await
    }

    pub(crate) async fn post_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    pub(crate) async fn put_json(&self, path: &str, body: &Value) -> Answer {
        self.send(self.request(Method::PUT, path).json(body)).await
    }

    pub(crate) async fn post(&self, path: &str, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
        self.send(self.request(Method::POST, path).header(CONTENT_TYPE, content_type).body(body)).await
    }

    /// A family of this name, for tests that need one.
    pub(crate) async fn create_family(&self, name: &str) {
        self.post_json("/v1/families", &serde_json::json!({ "name": name })).await.expect(201);
    }

    /// A request to be changed before it is sent.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = client().request(method, format!("{}{path}", self.address));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    /// Sends a request and holds the answer to the contract.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let (method, path) = (request.method().clone(), request.url().path().to_owned());
        let response = client().execute(request).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.expect("the whole answer").to_vec();
        let answer = Answer { status, headers, bytes };
        assert!(answer.headers.contains_key("x-request-id"), "{method} {path}: no request id");
        contract::check(&method, &path, &answer);
        answer
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = std::fs::read_to_string(self.place.path().join("log")).unwrap_or_default();
            eprintln!("the service's log:\n{log}");
        }
    }
}

/// A client for one test: connections belong to the runtime that made them.
fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .expect("a client")
}

/// What the service answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    /// Fails the test unless the status is this one; gives back the JSON body, null where there is none.
    #[track_caller]
    pub(crate) fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text());
        if self.bytes.is_empty() { Value::Null } else { self.json() }
    }

    /// Fails the test unless this is the problem `code` with this status; gives it back.
    #[track_caller]
    pub(crate) fn expect_problem(&self, status: u16, code: &str) -> Value {
        let problem = self.expect(status);
        assert_eq!(problem["type"], format!("urn:graphkin:problem:{code}"), "{problem}");
        problem
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).unwrap_or_else(|| panic!("no header {name}: {:?}", self.headers));
        value.to_str().expect("a readable header")
    }

    pub(crate) fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE)?.to_str().ok()
    }
}

/// The pointers of a problem's `errors`.
pub(crate) fn pointers(problem: &Value) -> Vec<&str> {
    let places = problem["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    places.iter().filter_map(|place| place["pointer"].as_str()).collect()
}
