//! Which form an operation takes: the fused one of this room, or the one composed of candle's own.
//!
//! The fused operations know the CPU alone. Both forms give the same values and gradients, which tests hold each of them to,
//! so what a GPU computes is tested where there is none.

use candle_core::Tensor;

/// Whether an operation on `x` is to be fused.
pub(super) fn is_fused(x: &Tensor) -> bool {
    #[cfg(test)]
    if COMPOSED.get() {
        return false;
    }
    x.device().is_cpu()
}

#[cfg(test)]
thread_local! {
    static COMPOSED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `work` with every operation of this thread composed, as on a GPU.
#[cfg(test)]
pub(crate) fn composed<T>(work: impl FnOnce() -> T) -> T {
    struct Reset;
    impl Drop for Reset {
        fn drop(&mut self) {
            COMPOSED.set(false);
        }
    }
    COMPOSED.set(true);
    let _reset = Reset;
    work()
}
