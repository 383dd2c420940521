//! Losses that stay finite.

use candle_core::{Result, Tensor};

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

/// The same for one number.
#[must_use]
pub fn binary_cross_entropy(logit: f64, target: bool) -> f64 {
    let agreeing = if target { logit } else { -logit };
    (-agreeing).max(0.0) + (-agreeing.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor, Var};

    use super::{binary_cross_entropy, binary_cross_entropy_with_logits};

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
