//! Losses that stay finite.

use std::sync::Arc;

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Result, Shape, Tensor, bail};

use super::dispatch::is_fused;
use super::edges::sum_into;
use super::real::{Real, contiguous, with_numbers};
use super::simd::vectorised;

/// Binary cross-entropy of logits `x` and targets `y ∈ {0, 1}`, in nats, element by element.
///
/// `max(x, 0) − x y + ln(1 + exp(−|x|))`. candle's own takes the sigmoid first and gives NaN from |x| of about 17.
///
/// # Errors
/// When the shapes differ.
pub fn binary_cross_entropy_with_logits(logits: &Tensor, targets: &Tensor) -> Result<Tensor> {
    let log_term = (logits.abs()?.neg()?.exp()? + 1.0)?.log()?;
    (logits.relu()? - (logits * targets)?)? + log_term
}

/// What each row of logits is held to.
#[derive(Debug, Clone)]
pub struct Targets {
    pub present: Vec<bool>,
    /// Whether the row counts.
    pub counted: Vec<bool>,
}

/// `y_i = Σ_{e: rows_e = i} cost(x_e)` over the rows that count, each column a Bernoulli of its own: `x [E, C]` to
/// `[count, C]`, in nats.
///
/// # Errors
/// When there are not as many rows as names and targets of them.
pub fn bernoulli_cost_sums(logits: &Tensor, targets: Targets, rows: &Arc<Vec<u32>>, count: usize) -> Result<Tensor> {
    let (entries, _) = logits.dims2()?;
    if [rows.len(), targets.present.len(), targets.counted.len()] != [entries; 3] {
        bail!("bernoulli-cost-sums: {entries} rows, {} names, {} targets", rows.len(), targets.present.len());
    }
    if is_fused(logits) {
        return logits.contiguous()?.apply_op1(CostSums { targets, rows: Arc::clone(rows), count });
    }
    let column = |bits: &[bool]| {
        let bits: Vec<f32> = bits.iter().map(|&bit| f32::from(u8::from(bit))).collect();
        Tensor::from_vec(bits, (entries, 1), logits.device())?.to_dtype(logits.dtype())
    };
    let present = column(&targets.present)?.broadcast_as(logits.shape())?.contiguous()?;
    let costs = binary_cross_entropy_with_logits(logits, &present)?.broadcast_mul(&column(&targets.counted)?)?;
    sum_into(&costs, rows, count)
}

struct CostSums {
    targets: Targets,
    rows: Arc<Vec<u32>>,
    count: usize,
}

impl CostSums {
    fn sums<T: Real>(&self, logits: &[T], width: usize) -> Vec<T> {
        let mut costs = logits.to_vec();
        for (logits, _) in costs.chunks_exact_mut(width.max(1)).zip(&self.targets.present).filter(|(_, on)| !**on) {
            logits.iter_mut().for_each(|logit| *logit = -*logit);
        }
        T::bernoulli_costs(&mut costs);
        let mut sums = vec![T::default(); self.count * width];
        let counted = self.rows.iter().zip(&self.targets.counted).zip(costs.chunks_exact(width.max(1)));
        for ((&to, _), costs) in counted.filter(|((_, counted), _)| **counted) {
            let sum = &mut sums[to as usize * width..(to as usize + 1) * width];
            sum.iter_mut().zip(costs).for_each(|(sum, &cost)| *sum += cost);
        }
        sums
    }

    /// `(σ(x) - y)` times the gradient of the row's sum.
    fn gradients<T: Real>(&self, logits: &Tensor, gradient: &Tensor) -> Result<Tensor> {
        let (entries, width) = logits.dims2()?;
        let mut gradients = vec![T::default(); entries * width];
        with_numbers(logits, |logits: &[T]| {
            with_numbers(gradient, |gradient: &[T]| {
                vectorised(
                    #[inline(always)]
                    || {
                        let targets = self.targets.present.iter().zip(&self.targets.counted).zip(&*self.rows);
                        let rows = gradients.chunks_exact_mut(width.max(1)).zip(logits.chunks_exact(width.max(1)));
                        for ((to, logits), ((&present, &counted), &of)) in rows.zip(targets) {
                            if !counted {
                                continue;
                            }
                            let target = if present { T::ONE } else { T::default() };
                            let gradient = &gradient[of as usize * width..(of as usize + 1) * width];
                            for ((to, &logit), &gradient) in to.iter_mut().zip(logits).zip(gradient) {
                                *to = gradient * (logit.sigmoid() - target);
                            }
                        }
                    },
                );
            })
        })??;
        Tensor::from_vec(gradients, logits.shape(), logits.device())
    }
}

impl CustomOp1 for CostSums {
    fn name(&self) -> &'static str {
        "bernoulli-cost-sums"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (_, width) = layout.shape().dims2()?;
        let sums = match storage {
            CpuStorage::F64(_) => f64::into_storage(self.sums(contiguous::<f64>(storage, layout)?, width)),
            _ => f32::into_storage(self.sums(contiguous::<f32>(storage, layout)?, width)),
        };
        Ok((sums, Shape::from((self.count, width))))
    }

    fn bwd(&self, logits: &Tensor, _sums: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        match gradient.dtype() {
            DType::F64 => self.gradients::<f64>(logits, gradient).map(Some),
            _ => self.gradients::<f32>(logits, gradient).map(Some),
        }
    }
}

/// [`binary_cross_entropy_with_logits`] of one number.
#[must_use]
pub fn binary_cross_entropy(logit: f64, target: bool) -> f64 {
    let agreeing = if target { logit } else { -logit };
    (-agreeing).max(0.0) + (-agreeing.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use candle_core::{Device, Tensor, Var};

    use super::{Targets, bernoulli_cost_sums, binary_cross_entropy, binary_cross_entropy_with_logits};
    use crate::nn::dispatch::composed;

    #[test]
    fn sums_of_costs_and_their_gradients_are_those_of_the_costs() {
        let device = Device::Cpu;
        let logits = Var::new(&[[0.3_f64, -2.0], [40.0, 0.0], [-0.5, 1.5], [2.0, -30.0]], &device).unwrap();
        let targets = Targets { present: vec![true, false, true, false], counted: vec![true, true, false, true] };
        let rows = Arc::new(vec![1_u32, 0, 1, 1]);
        let sums = || bernoulli_cost_sums(&logits, targets.clone(), &rows, 2).unwrap();
        let (own, composed) = (sums(), composed(sums));
        let weights = Tensor::new(&[[0.7_f64, -1.3], [2.0, 0.4]], &device).unwrap();
        let numbers = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f64>().unwrap();
        let gradient = |sums: &Tensor| {
            let loss = (sums * &weights).unwrap().sum_all().unwrap();
            numbers(loss.backward().unwrap().get(&logits).unwrap())
        };
        for (own, composed) in [(numbers(&own), numbers(&composed)), (gradient(&own), gradient(&composed))] {
            assert!(
                own.iter().zip(&composed).all(|(own, composed)| (own - composed).abs() < 1e-12),
                "{own:?} {composed:?}"
            );
        }
        assert!(bernoulli_cost_sums(&logits, targets, &Arc::new(vec![0]), 2).is_err());
    }

    #[test]
    fn finite_and_right_at_large_logits() {
        let device = Device::Cpu;
        let logits: Vec<f64> = vec![-100.0, -20.0, -1.5, 0.0, 0.3, 20.0, 100.0];
        for target in [0.0, 1.0] {
            let x = Tensor::from_slice(&logits, logits.len(), &device).unwrap();
            let y = Tensor::full(target, logits.len(), &device).unwrap();
            let losses = binary_cross_entropy_with_logits(&x, &y).unwrap().to_vec1::<f64>().unwrap();
            for (&logit, &loss) in logits.iter().zip(&losses) {
                let signed: f64 = if target > 0.5 { logit } else { -logit };
                let exact = if signed < -30.0 { -signed } else { (-signed).exp().ln_1p() };
                assert!((loss - exact).abs() < 1e-12 * exact.max(1.0), "{logit} against {target}: {loss} {exact}");
                assert!((binary_cross_entropy(logit, target > 0.5) - exact).abs() < 1e-12 * exact.max(1.0));
            }
        }
    }

    #[test]
    fn gradient_is_sigmoid_minus_target() {
        let x = Var::from_slice(&[-30.0_f64, -0.7, 0.4, 30.0], 4, &Device::Cpu).unwrap();
        let y = Tensor::from_slice(&[1.0_f64, 0.0, 1.0, 0.0], 4, &Device::Cpu).unwrap();
        let loss = binary_cross_entropy_with_logits(x.as_tensor(), &y).unwrap().sum_all().unwrap();
        let gradient = loss.backward().unwrap().get(&x).unwrap().to_vec1::<f64>().unwrap();
        for ((g, x), y) in gradient.iter().zip([-30.0_f64, -0.7, 0.4, 30.0]).zip([1.0, 0.0, 1.0, 0.0]) {
            assert!((g - (1.0 / (1.0 + (-x).exp()) - y)).abs() < 1e-9);
        }
    }
}
