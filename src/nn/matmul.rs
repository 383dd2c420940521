//! A matrix product on slices, for inference without a tensor library's bookkeeping.

use gemm::{Parallelism, gemm};

/// `y = x W` for row-major `x [rows, inner]`, `W [inner, columns]`, `y [rows, columns]`; on the calling thread.
///
/// # Panics
/// When a slice's length isn't the product of its dimensions: a bug of the caller's, caught before memory is touched.
#[expect(unsafe_code, reason = "the gemm crate's only entry point takes raw pointers")]
pub fn matmul(x: &[f32], w: &[f32], y: &mut [f32], inner: usize, columns: usize) {
    let rows = y.len().checked_div(columns).unwrap_or(0);
    assert_eq!(x.len(), rows * inner, "x is [rows, inner]");
    assert_eq!(w.len(), inner * columns, "W is [inner, columns]");
    assert_eq!(y.len(), rows * columns, "y is [rows, columns]");
    let (inner_stride, column_stride) = (inner as isize, columns as isize);
    // SAFETY: the three slices are valid for their whole lengths, which were just checked to be those of row-major
    // matrices of these dimensions; `y` is borrowed mutably, so it overlaps neither.
    unsafe {
        gemm(
            rows,
            columns,
            inner,
            y.as_mut_ptr(),
            1,
            column_stride,
            false,
            x.as_ptr(),
            1,
            inner_stride,
            w.as_ptr(),
            1,
            column_stride,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::matmul;

    #[test]
    fn small_product() {
        let mut y = [0.0; 4];
        matmul(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &[1.0, 0.0, 0.0, 1.0, 10.0, 100.0], &mut y, 3, 2);
        assert_eq!(y, [31.0, 302.0, 64.0, 605.0]);
    }

    #[test]
    fn no_rows_is_no_work() {
        matmul(&[], &[1.0, 2.0], &mut [], 1, 2);
    }

    #[test]
    #[should_panic(expected = "W is [inner, columns]")]
    fn wrong_lengths_never_reach_memory() {
        matmul(&[1.0, 2.0], &[1.0], &mut [0.0], 2, 1);
    }
}
