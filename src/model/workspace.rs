//! Buffers that a thread keeps from one computation to the next, so that in the steady state none is allocated.

use std::cell::Cell;

/// A workspace larger than this isn't kept: what one huge graph took must not be held by every thread for good.
const MOST_BYTES_KEPT: usize = 16 << 20;

/// Where a thread keeps it, none while it is in use.
pub(super) type Kept<W> = Cell<Option<Box<W>>>;

pub(super) trait Workspace: Default {
    /// What it holds, about.
    fn bytes(&self) -> usize;
}

/// Runs `work` with the workspace kept, in whatever state the computation before left it, or with a new one.
pub(super) fn with<W: Workspace, R>(kept: &Kept<W>, work: impl FnOnce(&mut W) -> R) -> R {
    let mut workspace = kept.take().unwrap_or_default();
    let result = work(&mut workspace);
    if workspace.bytes() <= MOST_BYTES_KEPT {
        kept.set(Some(workspace));
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

    #[test]
    fn what_is_small_is_kept_and_what_is_huge_is_not() {
        let kept: Kept<Bytes> = Kept::default();
        let grown_to = |bytes: usize| {
            with(&kept, |workspace| {
                let before = workspace.0.capacity();
                workspace.0.reserve_exact(bytes);
                before
            })
        };
        assert_eq!([grown_to(1_000), grown_to(MOST_BYTES_KEPT + 1), grown_to(10)], [0, 1_000, 0]);
        let inner = with(&kept, |_| grown_to(5));
        assert_eq!(inner, 0, "a workspace in use is nobody else's");
    }
}
