//! Accepts connections and serves the routes on each. A client that keeps one open without using it is cut off.

use std::io::{Error, ErrorKind};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;
use tokio_io_timeout::TimeoutStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

/// Before a connection is accepted again when none could be: descriptors that ran out come back when connections end.
const RESPITE: Duration = Duration::from_secs(1);

/// Serves until `closing`, then lets the requests that are under way end.
///
/// `idle` is how long a client may take for the head of its next request, and for any more of an answer to be taken in.
/// Bodies have a limit of their own.
pub async fn serve(listener: TcpListener, routes: Router, idle: Duration, closing: CancellationToken) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(idle);
    let under_way = GracefulShutdown::new();
    while let Some(accepted) = closing.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let service = TowerToHyperService::new(routes.clone());
                let connection = under_way.watch(http.serve_connection(TokioIo::new(patient(stream, idle)), service));
                tokio::spawn(async move {
                    if let Err(error) = connection.await {
                        debug!(error = &error as &dyn std::error::Error, "a connection broke off");
                    }
                });
            }
            Err(error) if is_of_one_client(&error) => {}
            Err(error) => {
                error!(error = &error as &dyn std::error::Error, "no connection can be accepted");
                closing.run_until_cancelled(sleep(RESPITE)).await;
            }
        }
    }
    drop(listener);
    under_way.shutdown().await;
}

/// A stream that fails when nothing more of an answer is taken in for a while.
fn patient(stream: TcpStream, idle: Duration) -> std::pin::Pin<Box<TimeoutStream<TcpStream>>> {
    // A line of a streamed answer is not to wait for the next. It fails only when the client is already gone.
    let _ = stream.set_nodelay(true);
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(idle));
    Box::pin(stream)
}

fn is_of_one_client(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset)
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::task::JoinHandle;
    use tokio::time::timeout;

    use super::*;

    const IDLE: Duration = Duration::from_millis(300);
    const LONG: Duration = Duration::from_secs(20);
    /// More than the buffers between two sockets hold.
    const HUGE: usize = 64 << 20;

    async fn start() -> (SocketAddr, CancellationToken, JoinHandle<()>) {
        let slow = || async {
            sleep(3 * IDLE).await;
            "slow"
        };
        let routes = Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/slow", get(slow))
            .route("/huge", get(|| async { vec![b'x'; HUGE] }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (address, closing) = (listener.local_addr().unwrap(), CancellationToken::new());
        let served = tokio::spawn(serve(listener, routes, IDLE, closing.clone()));
        (address, closing, served)
    }

    async fn ask(address: SocketAddr, head: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(head.as_bytes()).await.unwrap();
        stream
    }

    /// What comes until the connection ends.
    async fn rest(mut stream: TcpStream) -> Vec<u8> {
        let mut all = Vec::new();
        // A reset is an end, too.
        let _ = timeout(LONG, stream.read_to_end(&mut all)).await.expect("the connection ends");
        all
    }

    #[tokio::test]
    async fn a_head_that_does_not_end_and_a_connection_that_nobody_uses_are_cut_off() {
        let (address, ..) = start().await;
        assert_eq!(rest(ask(address, "GET / HTTP/1.1\r\nhost: x\r\na: ").await).await, b"");
        assert_eq!(rest(ask(address, "").await).await, b"");
        let answered = rest(ask(address, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
        assert!(answered.ends_with(b"hello"), "kept open for the next request, and then no more");
    }

    #[tokio::test]
    async fn an_answer_may_take_longer_than_a_client() {
        let (address, ..) = start().await;
        assert!(rest(ask(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await).await.ends_with(b"slow"));
    }

    #[tokio::test]
    async fn an_answer_that_nobody_takes_in_is_cut_off() {
        let (address, ..) = start().await;
        let stream = ask(address, "GET /huge HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sleep(5 * IDLE).await;
        assert!(rest(stream).await.len() < HUGE);
        let read_at_once = rest(ask(address, "GET /huge HTTP/1.1\r\nhost: x\r\n\r\n").await).await;
        assert!(read_at_once.len() > HUGE);
    }

    #[tokio::test]
    async fn once_closing_it_ends_with_the_last_request() {
        let (address, closing, served) = start().await;
        let under_way = ask(address, "GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await;
        sleep(IDLE / 2).await;
        closing.cancel();
        assert!(rest(under_way).await.ends_with(b"slow"));
        timeout(LONG, served).await.expect("it ends").unwrap();
        assert!(TcpStream::connect(address).await.is_err());
    }
}
