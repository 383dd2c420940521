//! Matrix products on slices, for kernels without a tensor library's bookkeeping.

use gemm::{Parallelism, gemm};

use super::real::Real;
use super::simd::vectorised;

/// A matrix in a slice.
#[derive(Debug, Clone, Copy)]
pub struct View<'a, T> {
    data: &'a [T],
    rows: usize,
    columns: usize,
    row_stride: usize,
    column_stride: usize,
}

impl<'a, T> View<'a, T> {
    /// `[rows, columns]`, row by row.
    #[must_use]
    pub fn new(data: &'a [T], rows: usize, columns: usize) -> Self {
        Self::strided(data, rows, columns, columns)
    }

    /// The first `columns` of rows that are `row_stride` apart.
    #[must_use]
    pub fn strided(data: &'a [T], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { data, rows, columns, row_stride, column_stride: 1 }
    }

    #[must_use]
    pub fn transposed(self) -> Self {
        Self {
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
            ..self
        }
    }

    /// Whether every element lies within the data.
    fn fits(&self) -> bool {
        self.rows == 0
            || self.columns == 0
            || (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride < self.data.len()
    }
}

/// What a product does to its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    Replace,
    Add,
}

/// `y = x W`, or `y += x W`, for row-major `y`; on the calling thread.
///
/// # Panics
/// When the dimensions don't fit or a view leaves its slice: a bug of the caller's, caught before memory is touched.
#[expect(unsafe_code, reason = "the gemm crate's only entry point takes raw pointers")]
pub fn multiply<T: Real>(x: View<'_, T>, w: View<'_, T>, y: &mut [T], write: Write) {
    assert_eq!(x.columns, w.rows, "x is [rows, inner] and W [inner, columns]");
    assert_eq!(y.len(), x.rows * w.columns, "y is [rows, columns]");
    assert!(x.fits(), "x leaves its slice");
    assert!(w.fits(), "W leaves its slice");
    // SAFETY: the views were just checked to lie within their slices, and `y` to be exactly [rows, columns]; `y` is
    // borrowed mutably, so it overlaps neither.
    unsafe {
        gemm(
            x.rows,
            w.columns,
            x.columns,
            y.as_mut_ptr(),
            1,
            w.columns as isize,
            write == Write::Add,
            x.data.as_ptr(),
            x.column_stride as isize,
            x.row_stride as isize,
            w.data.as_ptr(),
            w.column_stride as isize,
            w.row_stride as isize,
            T::ONE,
            T::ONE,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

/// The sum of each column of `rows [.., width]`.
pub(super) fn column_sums<T: Real>(rows: &[T], width: usize) -> Vec<T> {
    let mut sums = vec![T::default(); width];
    vectorised(
        #[inline(always)]
        || {
            for row in rows.chunks_exact(width.max(1)) {
                sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += value);
            }
        },
    );
    sums
}

#[cfg(test)]
mod tests {
    use super::{View, Write, multiply};

    #[test]
    fn small_product() {
        let mut y = [0.0_f32; 4];
        let (x, w) = ([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [1.0, 0.0, 0.0, 1.0, 10.0, 100.0]);
        multiply(View::new(&x, 2, 3), View::new(&w, 3, 2), &mut y, Write::Replace);
        assert_eq!(y, [31.0, 302.0, 64.0, 605.0]);
    }

    #[test]
    fn no_rows_is_no_work() {
        multiply(View::new(&[], 0, 1), View::new(&[1.0_f32, 2.0], 1, 2), &mut [], Write::Replace);
    }

    #[test]
    fn transposed_and_strided_views_and_sums() {
        // W is the transpose of [[1, 2], [3, 4]], which stands in rows of three.
        let w = View::strided(&[1.0_f64, 2.0, 9.0, 3.0, 4.0, 9.0], 2, 2, 3).transposed();
        let mut y = [100.0, 200.0];
        multiply(View::new(&[1.0, 10.0], 1, 2), w, &mut y, Write::Add);
        assert_eq!(y, [121.0, 243.0]);
    }

    #[test]
    #[should_panic(expected = "W [inner, columns]")]
    fn wrong_lengths_never_reach_memory() {
        multiply(View::new(&[1.0_f32, 2.0], 1, 2), View::new(&[1.0], 1, 1), &mut [0.0], Write::Replace);
    }

    #[test]
    #[should_panic(expected = "W leaves its slice")]
    fn a_view_beyond_its_slice_never_reaches_memory() {
        multiply(View::new(&[1.0_f32], 1, 1), View::new(&[1.0], 1, 2), &mut [0.0; 2], Write::Replace);
    }
}
