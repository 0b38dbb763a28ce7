//! What a head says of rows of which the truth is known.

use ndarray::{Array2, ArrayView1};

use crate::heads::head::{Decision, Head, sigmoid};
use crate::training::dataset::{Balance, Labelled, Truth};

/// Logits of rows, with the truth and the weight of each, and how the head decides.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// One block of rows × classes after another.
    blocks: Vec<Array2<f32>>,
    truths: Vec<Truth>,
    weights: Vec<f64>,
    /// One a label.
    balance: Vec<Balance>,
    decision: Decision,
}

/// One row of [`Predictions`].
pub struct Row<'a> {
    logits: ArrayView1<'a, f32>,
    pub truth: &'a Truth,
    /// How much the row counts in a fit.
    pub weight: f64,
    balance: &'a [Balance],
    decision: &'a Decision,
}

/// One label of a row of a multi-label task.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judgement {
    /// The label's log-odds.
    pub logit: f64,
    /// Whether the label applies.
    pub applies: bool,
    /// How much the row counts for the label in a fit.
    pub weight: f64,
}

impl Predictions {
    /// What `head` says of `rows`.
    ///
    /// # Panics
    /// If the head has another width than the embeddings, or is for another kind of task.
    pub fn of(head: &Head, rows: &Labelled) -> Self {
        let mut blocks = Vec::new();
        rows.for_each_block(|_, embeddings| blocks.push(head.batch_logits(embeddings)));
        Self {
            blocks,
            truths: rows.truths().to_vec(),
            weights: rows.weights().to_vec(),
            balance: rows.balance().to_vec(),
            decision: head.decision().clone(),
        }
    }

    /// Logits, rows × classes, with the truth of each row; all rows count once.
    ///
    /// # Panics
    /// If there are not as many truths as rows.
    pub fn new(logits: Array2<f32>, truths: Vec<Truth>, decision: Decision) -> Self {
        assert_eq!(logits.nrows(), truths.len(), "each row has a truth");
        let balance = vec![Balance::default(); logits.ncols()];
        Self { weights: vec![1.0; truths.len()], blocks: vec![logits], truths, balance, decision }
    }

    /// With the rows of `other`, which are of the same task, behind its own.
    pub fn joined(mut self, mut other: Self) -> Self {
        self.blocks.append(&mut other.blocks);
        self.truths.append(&mut other.truths);
        self.weights.append(&mut other.weights);
        self
    }

    /// What the sum of two heads says, each times its factor, of rows of which they say `self` and `other`.
    ///
    /// # Panics
    /// If these are not the same rows.
    pub fn mixed(&self, factor: f32, other: &Self, other_factor: f32) -> Self {
        let mut mixed = self.clone();
        for (block, other) in mixed.blocks.iter_mut().zip(&other.blocks) {
            block.zip_mut_with(other, |own, other| *own = *own * factor + other * other_factor);
        }
        mixed
    }

    /// All logits over `temperature`: what the head says [at it](Head::at_temperature).
    pub fn at_temperature(mut self, temperature: f64) -> Self {
        for block in &mut self.blocks {
            block.mapv_inplace(|logit| (f64::from(logit) / temperature) as f32);
        }
        self.decision = self.decision.at_temperature(temperature);
        self
    }

    /// The same logits, decided otherwise.
    pub fn decided(self, decision: Decision) -> Self {
        Self { decision, ..self }
    }

    /// How the head decides.
    pub fn decision(&self) -> &Decision {
        &self.decision
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.truths.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.truths.is_empty()
    }

    /// The rows in order.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        let Self { balance, decision, .. } = self;
        let logits = self.blocks.iter().flat_map(|block| block.outer_iter());
        let targets = self.truths.iter().zip(&self.weights);
        let row =
            move |(logits, (truth, &weight))| Row { logits, truth, weight, balance, decision };
        logits.zip(targets).map(row)
    }
}

impl<'a> Row<'a> {
    /// What a head that decides so says of the row at `position` with these logits.
    pub(super) fn new(
        logits: ArrayView1<'a, f32>,
        rows: &'a Labelled,
        position: usize,
        decision: &'a Decision,
    ) -> Self {
        let (truth, weight) = (&rows.truths()[position], rows.weights()[position]);
        Self { logits, truth, weight, balance: rows.balance(), decision }
    }

    /// One a class.
    pub fn logits(&self) -> impl Iterator<Item = f64> + Clone {
        self.logits.iter().map(|&logit| f64::from(logit))
    }

    /// The logit of a class.
    pub fn logit(&self, class: usize) -> f64 {
        f64::from(self.logits[class])
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

    /// By a softmax, the probability of the most probable class.
    pub fn confidence(&self) -> f64 {
        let greatest = self.greatest();
        self.logits().map(|logit| (logit - greatest).exp()).sum::<f64>().recip()
    }

    /// A label of a multi-label task.
    pub fn judgement(&self, class: usize) -> Judgement {
        let Balance { present, absent } = self.balance[class];
        let applies = self.truth.classes().binary_search(&class).is_ok();
        let weight = self.weight * if applies { present } else { absent };
        Judgement { logit: self.logit(class), applies, weight }
    }

    /// All of them, in order.
    pub fn judgements(&self) -> impl Iterator<Item = Judgement> {
        (0..self.logits.len()).map(|class| self.judgement(class))
    }

    /// Those of them that the head answers.
    pub fn answers(&self) -> impl Iterator<Item = usize> {
        let thresholds = self.decision.thresholds().into_iter().flatten();
        let reaches = |(logit, &threshold): (f64, &f32)| sigmoid(logit) as f32 >= threshold;
        let reached = self.logits().zip(thresholds).map(reaches);
        reached.enumerate().filter_map(|(class, reached)| reached.then_some(class))
    }

    /// Whether the head answers the row's label, or exactly its labels.
    pub fn is_right(&self) -> bool {
        match self.truth {
            Truth::Class(class) => self.answer() == *class,
            Truth::Set(classes) => self.answers().eq(classes.iter().copied()),
        }
    }

    /// The cross-entropy in nats: −ln of the right class's probability; in a multi-label task −ln of
    /// the probability that each label applies, or does not, as it is, summed over labels.
    pub fn cross_entropy(&self) -> f64 {
        match self.truth {
            Truth::Class(class) => self.cross_entropy_of(*class),
            Truth::Set(_) => self.judgements().map(|label| label.cross_entropy()).sum(),
        }
    }

    /// The same times the weights by which it counts in a fit.
    pub fn weighted_cross_entropy(&self) -> f64 {
        match self.truth {
            Truth::Class(class) => self.weight * self.cross_entropy_of(*class),
            Truth::Set(_) => {
                self.judgements().map(|label| label.weight * label.cross_entropy()).sum()
            }
        }
    }

    fn cross_entropy_of(&self, class: usize) -> f64 {
        let greatest = self.greatest();
        let sum: f64 = self.logits().map(|logit| (logit - greatest).exp()).sum();
        sum.ln() + greatest - self.logit(class)
    }
}

impl Judgement {
    /// −ln of the probability of what is true: ln(1 + exp(z)), where z is what speaks against it.
    fn cross_entropy(&self) -> f64 {
        let against = if self.applies { -self.logit } else { self.logit };
        against.max(0.0) + (-against.abs()).exp().ln_1p()
    }
}
