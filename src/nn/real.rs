//! The two precisions that the hand-written kernels are generic over.

use std::fmt::Debug;
use std::ops::{Add, AddAssign, Div, Mul, MulAssign, Neg, Sub, SubAssign};

use candle_core::{CpuStorage, Layout, Result, Storage, Tensor, bail};

use super::loss::binary_cross_entropy;
use super::simd;

/// `f32` or `f64`, with the activations of recurrent layers.
pub trait Real:
    Copy
    + Default
    + Debug
    + Send
    + Sync
    + 'static
    + candle_core::WithDType
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
    + SubAssign
    + MulAssign
    + PartialOrd
{
    const ONE: Self;

    fn sqrt(self) -> Self;
    fn sigmoid(self) -> Self;
    fn hyperbolic_tangent(self) -> Self;
    /// `ln(1 + e⁻ˣ)` of each logit, in its place.
    fn bernoulli_costs(logits: &mut [Self]);
    /// The numbers of a storage of this precision.
    ///
    /// # Errors
    /// When the storage has another precision.
    fn of_storage(storage: &CpuStorage) -> Result<&[Self]>;
    fn into_storage(values: Vec<Self>) -> CpuStorage;
}

/// The numbers of a contiguous part of a storage.
///
/// # Errors
/// When they have gaps, or another precision.
pub(super) fn contiguous<'a, T: Real>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [T]> {
    let Some((start, end)) = layout.contiguous_offsets() else { bail!("contiguous numbers are wanted") };
    Ok(&T::of_storage(storage)?[start..end])
}

/// What `take` makes of the numbers of a tensor on the CPU, which are copied only when they have gaps.
///
/// # Errors
/// When the tensor is elsewhere or has another precision.
pub(super) fn with_numbers<T: Real, R>(tensor: &Tensor, take: impl FnOnce(&[T]) -> R) -> Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => Ok(take(contiguous(storage, layout)?)),
        _ => bail!("a tensor on the CPU is wanted"),
    }
}

impl Real for f32 {
    const ONE: Self = 1.0;

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + exp(-self))
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        1.0 - 2.0 / (1.0 + exp(2.0 * self))
    }

    fn bernoulli_costs(logits: &mut [Self]) {
        simd::bernoulli_costs(logits);
    }

    fn of_storage(storage: &CpuStorage) -> Result<&[Self]> {
        match storage {
            CpuStorage::F32(values) => Ok(values),
            _ => bail!("f32 was expected"),
        }
    }

    fn into_storage(values: Vec<Self>) -> CpuStorage {
        CpuStorage::F32(values)
    }
}

impl Real for f64 {
    const ONE: Self = 1.0;

    #[inline(always)]
    fn sqrt(self) -> Self {
        Self::sqrt(self)
    }

    #[inline(always)]
    fn sigmoid(self) -> Self {
        1.0 / (1.0 + (-self).exp())
    }

    #[inline(always)]
    fn hyperbolic_tangent(self) -> Self {
        self.tanh()
    }

    fn bernoulli_costs(logits: &mut [Self]) {
        logits.iter_mut().for_each(|logit| *logit = binary_cross_entropy(*logit, true));
    }

    fn of_storage(storage: &CpuStorage) -> Result<&[Self]> {
        match storage {
            CpuStorage::F64(values) => Ok(values),
            _ => bail!("f64 was expected"),
        }
    }

    fn into_storage(values: Vec<Self>) -> CpuStorage {
        CpuStorage::F64(values)
    }
}

/// eˣ without branches or calls, so that loops over it become vector code: x = k ln 2 + r with |r| ≤ ½ ln 2, a polynomial
/// for eʳ (Cephes `expf`), and 2ᵏ by its bits. Beyond ±87 it stays at the last finite value.
#[inline(always)]
fn exp(x: f32) -> f32 {
    /// 1.5 × 2²³: adding and taking it away rounds to the nearest integer.
    const ROUNDER: f32 = 12_582_912.0;
    /// ln 2 in two parts, the first exact in few bits.
    const LN_2_HIGH: f32 = 0.693_359_4;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    let x = x.clamp(-87.0, 87.0);
    let k = (x * std::f32::consts::LOG2_E + ROUNDER) - ROUNDER;
    let r = (x - k * LN_2_HIGH) - k * LN_2_LOW;
    let mut p = 1.987_569_1e-4;
    for coefficient in [1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 0.5] {
        p = p * r + coefficient;
    }
    let power = f32::from_bits(((k as i32 + 127) as u32) << 23);
    (p * r * r + r + 1.0) * power
}

#[cfg(test)]
mod tests {
    use super::{Real, exp};

    #[test]
    fn exponential_is_within_two_units_in_the_last_place() {
        for step in -87_000..=87_000 {
            let x = step as f32 / 1_000.0;
            let exact = f64::from(x).exp();
            assert!((f64::from(exp(x)) / exact - 1.0).abs() < 2.5e-7, "{x}");
        }
        assert!(exp(1e30).is_finite() && exp(-1e30) > 0.0);
    }

    #[test]
    fn activations_are_those_of_double_precision() {
        for step in -30_000..=30_000 {
            let x = step as f32 / 1_000.0;
            assert!((f64::from(x.sigmoid()) - f64::from(x).sigmoid()).abs() < 2e-7, "{x}");
            assert!((f64::from(x.hyperbolic_tangent()) - f64::from(x).tanh()).abs() < 4e-7, "{x}");
        }
    }
}
