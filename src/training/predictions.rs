//! What a head says of rows whose classes are known.

use ndarray::{Array2, ArrayView1};

use crate::heads::head::Head;
use crate::training::dataset::Labelled;

/// Logits of rows, with the class and the weight of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// One block of rows × classes after another.
    blocks: Vec<Array2<f32>>,
    classes: Vec<usize>,
    weights: Vec<f64>,
}

/// One row of [`Predictions`].
pub struct Row<'a> {
    logits: ArrayView1<'a, f32>,
    /// The right class.
    pub class: usize,
    /// How much the row counts in a fit.
    pub weight: f64,
}

impl Predictions {
    /// Logits, rows × classes, with the class of each row.
    ///
    /// # Panics
    /// If there are not as many classes as rows.
    pub fn new(logits: Array2<f32>, classes: Vec<usize>) -> Self {
        assert_eq!(logits.nrows(), classes.len(), "each row has a class");
        Self { blocks: vec![logits], weights: vec![1.0; classes.len()], classes }
    }

    /// What `head` says of `rows`.
    ///
    /// # Panics
    /// If the head has another width than the embeddings.
    pub fn of(head: &Head, rows: &Labelled) -> Self {
        let mut blocks = Vec::new();
        rows.for_each_block(|_, embeddings| blocks.push(head.batch_logits(embeddings)));
        Self { blocks, classes: rows.classes().to_vec(), weights: rows.weights().to_vec() }
    }

    /// Adds the rows of `other`.
    pub fn append(&mut self, mut other: Self) {
        self.blocks.append(&mut other.blocks);
        self.classes.append(&mut other.classes);
        self.weights.append(&mut other.weights);
    }

    /// All logits over `temperature`.
    pub fn at_temperature(mut self, temperature: f64) -> Self {
        for block in &mut self.blocks {
            block.mapv_inplace(|logit| (f64::from(logit) / temperature) as f32);
        }
        self
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.classes.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.classes.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let logits = self.blocks.iter().flat_map(|block| block.outer_iter());
        let targets = self.classes.iter().zip(&self.weights);
        logits.zip(targets).map(|(logits, (&class, &weight))| Row { logits, class, weight })
    }
}

impl Row<'_> {
    /// One a class.
    pub fn logits(&self) -> impl Iterator<Item = f64> + Clone {
        self.logits.iter().map(|&logit| f64::from(logit))
    }

    /// The logit of the right class.
    pub fn own(&self) -> f64 {
        f64::from(self.logits[self.class])
    }

    /// The greatest logit.
    pub fn greatest(&self) -> f64 {
        self.logits().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The most probable class; of equally probable ones the first.
    pub fn answer(&self) -> usize {
        let (mut best, mut greatest) = (0, f64::NEG_INFINITY);
        for (class, logit) in self.logits().enumerate() {
            if logit > greatest {
                (best, greatest) = (class, logit);
            }
        }
        best
    }

    /// The probability of the most probable class.
    pub fn confidence(&self) -> f64 {
        let greatest = self.greatest();
        self.logits().map(|logit| (logit - greatest).exp()).sum::<f64>().recip()
    }

    /// −ln of the right class's probability, in nats.
    pub fn cross_entropy(&self) -> f64 {
        -self.confidence().ln() + self.greatest() - self.own()
    }
}
