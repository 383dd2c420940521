//! A service in a process of its own, and a client that adds little to what is measured.

use std::env;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use tokio::net::TcpListener;

/// With this variable a bench is the bare service that it compares with: the variable holds what that is to serve.
const BARE: &str = "GRAPHKIN_BENCH_BARE";

/// How a service says where it is.
const LISTENING: &str = "listening on http://";

/// A running service. It is killed when this is dropped.
pub(crate) struct Service {
    pub(crate) process: Child,
    /// Kept open: a service whose standard output is closed could not write to it.
    _stdout: BufReader<ChildStdout>,
    address: String,
}

impl Service {
    /// Starts `graphkin serve` with these flags, on a free port.
    pub(crate) fn graphkin(flags: &[String]) -> Result<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_graphkin"));
        command.args(["serve", "--listen=127.0.0.1:0", "--workers=0"]).args(flags);
        Self::start(command)
    }

    /// Starts this very program as the bare service.
    pub(crate) fn bare(what: &str) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.env(BARE, what);
        Self::start(command)
    }

    fn start(mut command: Command) -> Result<Self> {
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let mut stdout = BufReader::new(process.stdout.take().context("its standard output")?);
        let mut line = String::new();
        stdout.read_line(&mut line)?;
        let address = line.trim().strip_prefix(LISTENING).context("the service ended before it listened")?.to_owned();
        Ok(Self { process, _stdout: stdout, address })
    }

    pub(crate) fn client(&self) -> Result<Client> {
        let stream = TcpStream::connect(&self.address)?;
        stream.set_nodelay(true)?;
        Ok(Client { address: self.address.clone(), stream: BufReader::new(stream) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// What this process is to serve, if it was started as the bare service.
pub(crate) fn bare_service() -> Option<String> {
    env::var(BARE).ok()
}

/// Serves until the process is killed.
#[expect(clippy::print_stdout, reason = "whoever started it reads where it listens")]
pub(crate) async fn serve(router: axum::Router) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{LISTENING}{}", listener.local_addr()?);
    Ok(axum::serve(listener, router).await?)
}

/// One connection that is kept open, as far as HTTP/1.1 is needed here: answers come with their length.
pub(crate) struct Client {
    address: String,
    stream: BufReader<TcpStream>,
}

impl Client {
    /// Asks, and gives back the body of the answer, whose status must be 200.
    pub(crate) fn ask(&mut self, method: &str, path: &str, json: &str) -> Result<Vec<u8>> {
        let (address, length) = (&self.address, json.len());
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{json}"
        );
        self.stream.get_mut().write_all(request.as_bytes())?;
        let status = self.line()?;
        let mut length = None;
        loop {
            let line = self.line()?;
            match line.split_once(':') {
                Some((name, value)) if name.eq_ignore_ascii_case("content-length") => {
                    length = Some(value.trim().parse()?);
                }
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length.context("an answer without its length")?];
        self.stream.read_exact(&mut body)?;
        ensure!(status.contains(" 200 "), "{method} {path}: {status}: {}", String::from_utf8_lossy(&body));
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}
