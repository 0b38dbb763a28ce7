//! One fit after another, for choosing the strength of the penalty.

use std::ops::ControlFlow;

use ndarray::{Array1, Array2};

use super::lbfgs::{Lbfgs, Tolerance};
use super::{Fitter, rounded};
use crate::heads::head::Head;
use crate::training::dataset::Labelled;

/// Near enough to tell strengths apart: further epochs change the loss by less than a hundredth.
const TOLERANCE: Tolerance = Tolerance { gradient: 1e-5, decrease: 3e-4 };

const MOST_EPOCHS: u32 = 100;

/// L-BFGS fits of one task to the same rows, each from where the last one ended. From strong
/// penalties to weak ones that is the shortest way.
pub struct Path<'a> {
    fit: Lbfgs<'a>,
    head: Head,
}

impl<'a> Path<'a> {
    /// A path that starts from weights of 0. `like` has the labels, the width and the kind.
    ///
    /// # Panics
    /// If the rows have other classes than `like` has labels, or another width.
    pub fn new(rows: Labelled<'a>, like: &Head) -> Self {
        let head = blank(like);
        Self { fit: Lbfgs::new(rows, &head, 0.0).with_tolerance(TOLERANCE), head }
    }

    /// Fits with the strength `l2`. Asks before each epoch whether to go on, and breaks off if not.
    /// Gives `None` if the weights grew beyond all bounds.
    pub fn fit(
        &mut self,
        l2: f64,
        go_on: &mut dyn FnMut() -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<Head>> {
        self.fit.set_l2(l2);
        for _ in 0..MOST_EPOCHS {
            if self.fit.converged() {
                break;
            }
            go_on()?;
            self.fit.epoch();
        }
        ControlFlow::Continue(rounded(self.fit.parameters(), &self.head))
    }
}

/// A head like `like` that knows nothing: its weights are 0.
pub fn blank(like: &Head) -> Head {
    let weights = Array2::zeros(like.weights().raw_dim());
    like.with_parameters(weights, Array1::zeros(like.bias().len()))
        .expect("zeros of a head's shape are a head")
        .undecided()
}
