//! Inverting the matrices of second moments.

use ndarray::{Array2, ArrayView2, Axis, s};

/// The inverse of a symmetric positive definite matrix by its four blocks (Schur complement), so that
/// nearly all work is matrix products.
pub(super) fn inverse(matrix: ArrayView2<f64>) -> Array2<f64> {
    let size = matrix.nrows();
    if size == 1 {
        return matrix.mapv(f64::recip);
    }
    let half = size / 2;
    let (top, bottom) = matrix.split_at(Axis(0), half);
    let ((first, corner), second) =
        (top.split_at(Axis(1), half), bottom.slice_move(s![.., half..]));
    let first = inverse(first);
    let across = first.dot(&corner);
    let complement = &second - &corner.t().dot(&across);
    let second = inverse(complement.view());
    let off = across.dot(&second);
    let mut result = Array2::zeros((size, size));
    result.slice_mut(s![..half, ..half]).assign(&(first + off.dot(&across.t())));
    result.slice_mut(s![half.., ..half]).assign(&-&off.t());
    result.slice_mut(s![..half, half..]).assign(&-&off);
    result.slice_mut(s![half.., half..]).assign(&second);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_times_its_inverse_is_the_identity() {
        // An odd size, so that the blocks differ; diagonally dominant, so that it is positive definite.
        let matrix = Array2::from_shape_fn((7, 7), |(row, column)| match row == column {
            true => 4.0,
            false => ((row * column) as f64).cos() / 2.0,
        });
        let product = matrix.dot(&inverse(matrix.view()));
        for ((row, column), &found) in product.indexed_iter() {
            let expected = f64::from(u8::from(row == column));
            assert!((found - expected).abs() < 1e-12, "{row} {column}: {found}");
        }
    }
}
