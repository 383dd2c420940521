//! The signals that end the service.

use tokio::signal::unix::{SignalKind, signal as listen};
use tracing::warn;

/// What a shell gives a process that an interrupt ended.
const INTERRUPTED: i32 = 130;

/// Comes with the first SIGTERM or SIGINT; the second ends the process at once. From the call on, neither does by itself.
///
/// # Errors
/// When the signals can't be listened for.
pub(super) fn signal() -> std::io::Result<impl Future<Output = ()>> {
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut next = async move || {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    Ok(async move {
        next().await;
        tokio::spawn(async move {
            next().await;
            warn!("a second signal: ending at once");
            std::process::exit(INTERRUPTED);
        });
    })
}
