//! Buffers that a thread keeps from one computation to the next, so that in the steady state none is allocated.

use std::cell::Cell;
use std::thread::LocalKey;

/// A workspace larger than this isn't kept: what one huge graph took must not be held by every thread for good.
const MOST_BYTES_KEPT: usize = 16 << 20;

/// Where a thread keeps it.
pub(super) type Kept<W> = Cell<Option<Box<W>>>;

pub(super) trait Workspace: Default {
    /// What it holds, about.
    fn bytes(&self) -> usize;
}

/// Runs `work` with this thread's workspace, in whatever state the computation before left it, or with a new one.
pub(super) fn with<W: Workspace, R>(key: &'static LocalKey<Kept<W>>, work: impl FnOnce(&mut W) -> R) -> R {
    let mut workspace = key.take().unwrap_or_default();
    let result = work(&mut workspace);
    if workspace.bytes() <= MOST_BYTES_KEPT {
        key.set(Some(workspace));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Bytes(Vec<u8>);

    impl Workspace for Bytes {
        fn bytes(&self) -> usize {
            self.0.capacity()
        }
    }

    thread_local! {
        static KEPT: Kept<Bytes> = const { Cell::new(None) };
    }

    #[test]
    fn what_is_small_is_kept_and_what_is_huge_is_not() {
        let grown_to = |bytes: usize| {
            with(&KEPT, |workspace| {
                let before = workspace.0.capacity();
                workspace.0.reserve_exact(bytes);
                before
            })
        };
        assert_eq!([grown_to(1_000), grown_to(MOST_BYTES_KEPT + 1), grown_to(10)], [0, 1_000, 0]);
        let inner = with(&KEPT, |_| grown_to(5));
        assert_eq!(inner, 0, "a workspace in use is nobody else's");
    }
}
