//! Choosing how strong the penalty is and what stands beside it, or how long to go on: stratified k-fold
//! cross-validation.

mod blend;
mod epochs;
mod folds;
mod stage;

use std::ops::ControlFlow;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{Object, OneOf, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

pub use self::blend::Blend;
pub use self::epochs::{EarlyStop, StoppedBy};
pub use self::stage::{FoldFit, Stage};

use crate::heads::head::Head;
use crate::training::calibration::temperature;
use crate::training::dataset::Dataset;
use crate::training::predictions::Predictions;
use crate::training::selection::blend::SHRINKAGES;
use crate::training::selection::folds::Folds;
use crate::training::solver::Path;

/// How strong the penalty of the weights is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Strength {
    /// Chosen for each task by cross-validation, and with it a [`Blend`] where that gains.
    #[default]
    Auto,
    /// The inverse of scikit-learn's `C`; see [`Solver`](crate::training::solver::Solver).
    Given(f64),
}

impl Strength {
    /// 0 until one is chosen.
    pub fn given(self) -> f64 {
        match self {
            Strength::Given(l2) => l2,
            Strength::Auto => 0.0,
        }
    }
}

/// Written for what it is: `"auto"`.
const AUTO: &str = "auto";

impl Serialize for Strength {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Strength::Auto => serializer.serialize_str(AUTO),
            Strength::Given(l2) => serializer.serialize_f64(*l2),
        }
    }
}

impl PartialSchema for Strength {
    fn schema() -> RefOr<Schema> {
        let number =
            Object::builder().schema_type(Type::Number).minimum(Some(0)).maximum(Some(1e12));
        let auto = Object::builder().schema_type(Type::String).enum_values(Some([AUTO]));
        OneOf::builder().item(number).item(auto).into()
    }
}

impl ToSchema for Strength {}

impl<'de> Deserialize<'de> for Strength {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Strength;

            fn expecting(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
                formatter.write_str("a number or \"auto\"")
            }

            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Strength, E> {
                Ok(Strength::Given(value))
            }

            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Strength, E> {
                Ok(Strength::Given(value as f64))
            }

            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Strength, E> {
                Ok(Strength::Given(value as f64))
            }

            /// In a query string, numbers are texts.
            fn visit_str<E: de::Error>(self, value: &str) -> Result<Strength, E> {
                if value == AUTO {
                    return Ok(Strength::Auto);
                }
                let number = value.parse().map(Strength::Given);
                number.map_err(|_| E::invalid_value(de::Unexpected::Str(value), &self))
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}

/// A strength that was tried.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Candidate {
    pub l2: f64,
    /// Mean cross-entropy in nats of the rows that the heads were not fit on, at the best temperature.
    pub loss: f64,
    /// Share of these rows that are answered rightly, with thresholds of 0.5 where there are any.
    pub accuracy: f64,
}

/// The outcome of a cross-validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The strength with the least loss.
    pub l2: f64,
    /// All strengths that were tried, strong ones first.
    pub candidates: Vec<Candidate>,
    /// What it gains by, beside a regression of that strength; only sought where the strength is.
    pub blend: Option<Blend>,
    /// After how many epochs the loss was least, where that was sought.
    pub epochs: Option<u32>,
    /// What the heads that come of both say of the rows that they were not fit on.
    pub predictions: Predictions,
    /// At which these predictions have the least loss.
    pub temperature: f64,
    /// Where the fit to all rows is to start: with the mean of the regressions, which is near to its end;
    /// where `epochs` counts how far it goes, where those started that were counted.
    pub head: Head,
}

/// Over the mean square of the embeddings' length, so that it does not matter in what unit they are:
/// for embeddings of length 1, C in scikit-learn's terms from 0.1 to 100.
const GRID: [f64; 7] = [10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01];

/// What a task gets, times the same, that has too few rows for a choice.
const FALLBACK: f64 = 0.1;

/// Strengths in succession without a better loss after which weaker ones, which take longest, are not
/// tried.
const WORSE: usize = 2;

/// With fewer rows to score on, chance decides.
pub(super) const FEWEST_ROWS: usize = 10;

/// The strength for a task whose rows are too few for a choice.
pub fn fallback(data: &Dataset, task: usize) -> f64 {
    FALLBACK * data.labelled(task).mean_square()
}

/// What to cross-validate: a task by its position in the data set. `seed` draws the folds.
pub struct CrossValidation<'a> {
    pub data: &'a Dataset,
    pub task: usize,
    /// With the task's labels.
    pub like: &'a Head,
    pub seed: u64,
}

impl CrossValidation<'_> {
    /// Tries strengths, strong ones first: each fold's rows are scored by heads that were fit on the other folds'. A
    /// given strength is the only one, and stays without a [`Blend`]. Tells `go_on` before each epoch how far
    /// it is, and breaks off if that says so. Gives `None` where there are too few rows.
    pub fn run(
        &self,
        strength: Strength,
        go_on: &mut dyn FnMut(Stage) -> ControlFlow<()>,
    ) -> ControlFlow<(), Option<Selection>> {
        let rows = self.data.labelled(self.task);
        let scale = rows.mean_square();
        let strengths = match strength {
            Strength::Auto => GRID.map(|l2| l2 * scale).to_vec(),
            Strength::Given(l2) => vec![l2],
        };
        let folds = Folds::of(&rows, self.seed);
        if folds.scored() < FEWEST_ROWS {
            return ControlFlow::Continue(None);
        }
        let train = |fold| self.data.labelled_among(self.task, folds.others(fold));
        let mut paths: Vec<Path> =
            (0..folds.count()).map(|fold| Path::new(train(fold), self.like)).collect();
        let mut best: Option<Selection> = None;
        let mut candidates = Vec::with_capacity(strengths.len());
        let mut worse = 0;
        let (count, blends) = match strength {
            Strength::Auto => (strengths.len(), SHRINKAGES.len()),
            Strength::Given(_) => (1, 0),
        };
        for (place, &l2) in strengths.iter().enumerate() {
            let mut heads = Vec::with_capacity(paths.len());
            for (fold, path) in paths.iter_mut().enumerate() {
                let (strength, fold) = (place + 1, fold + 1);
                let fit = FoldFit { l2, strength, strengths: count, fold, folds: folds.count() };
                let stage = Stage {
                    done: place * folds.count() + fold - 1,
                    total: count * folds.count() + blends,
                    fit: Some(fit),
                };
                match path.fit(l2, &mut || go_on(stage))? {
                    Some(head) => heads.push(head),
                    None => return ControlFlow::Continue(None),
                }
            }
            let predictions = self.predict(&heads, &folds);
            let (candidate, temperature) = score(l2, &predictions);
            if best.is_none() || candidates.iter().all(|it: &Candidate| candidate.loss < it.loss) {
                best = Some(Selection {
                    l2,
                    candidates: Vec::new(),
                    blend: None,
                    epochs: None,
                    predictions,
                    temperature,
                    head: mean(&heads),
                });
                worse = 0;
            } else {
                worse += 1;
            }
            candidates.push(candidate);
            if worse == WORSE {
                break;
            }
        }
        drop(paths);
        let Some(best) = best else { return ControlFlow::Continue(None) };
        let best = Selection { candidates, ..best };
        ControlFlow::Continue(Some(match strength {
            Strength::Auto => self.blend(best, &folds, go_on)?,
            Strength::Given(_) => best,
        }))
    }

    /// What the heads of the folds say of the rows that they were not fit on.
    fn predict(&self, heads: &[Head], folds: &Folds) -> Predictions {
        let of_fold = |(fold, head)| {
            let rows = self.data.labelled_among(self.task, folds.rows(fold));
            Predictions::of(head, &rows)
        };
        let predictions = heads.iter().enumerate().map(of_fold).reduce(Predictions::joined);
        predictions.expect("there are at least three folds")
    }
}

/// How heads of that strength do, by what they say of the rows that they were not fit on, and the
/// temperature at which that has the least loss.
fn score(l2: f64, predictions: &Predictions) -> (Candidate, f64) {
    let temperature = temperature(predictions).unwrap_or(1.0);
    let (mut loss, mut right, mut total) = (0.0, 0.0, 0.0);
    for row in predictions.clone().at_temperature(temperature).rows() {
        loss += row.weighted_cross_entropy();
        right += row.weight * f64::from(u8::from(row.is_right()));
        total += row.weight;
    }
    (Candidate { l2, loss: loss / total, accuracy: right / total }, temperature)
}

/// The head whose weights are the mean of all.
fn mean(heads: &[Head]) -> Head {
    let (mut weights, mut bias) = (heads[0].weights().to_owned(), heads[0].bias().to_owned());
    for head in &heads[1..] {
        weights += head.weights();
        bias += head.bias();
    }
    let share = 1.0 / heads.len() as f32;
    heads[0]
        .with_parameters(weights * share, bias * share)
        .expect("the mean of bounded weights is bounded")
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    const WIDTH: usize = 24;

    /// Rows of three classes in turn, `signal` away from each other in noise of ±1.
    fn data(rows: usize, signal: f32, unit: f32) -> Dataset {
        let mut generator = ChaCha8Rng::seed_from_u64(5);
        let embeddings = Array2::from_shape_fn((rows, WIDTH), |(row, column)| {
            let noise = 2.0 * generator.random::<f32>() - 1.0;
            unit * (noise + if column == row % 3 { signal } else { 0.0 })
        });
        let classes = (0..rows).map(|row| Some(row % 3)).collect();
        Dataset::new(embeddings).unwrap().with_task("task", 3, classes).unwrap()
    }

    fn select(data: &Dataset, strength: Strength) -> Option<Selection> {
        let like = Head::seeded(["a", "b", "c"].map(str::to_owned).to_vec(), WIDTH, 0).unwrap();
        let validation = CrossValidation { data, task: 0, like: &like, seed: 3 };
        match validation.run(strength, &mut |_| ControlFlow::Continue(())) {
            ControlFlow::Continue(selection) => selection,
            ControlFlow::Break(()) => panic!("nobody stopped it"),
        }
    }

    #[test]
    fn noise_gets_a_stronger_penalty_than_signal() {
        let noise = select(&data(150, 0.0, 1.0), Strength::Auto).unwrap();
        let signal = select(&data(150, 3.0, 1.0), Strength::Auto).unwrap();
        assert!(noise.l2 > signal.l2, "{} {}", noise.l2, signal.l2);
        for selection in [&noise, &signal] {
            let least = |best: f64, candidate: &Candidate| best.min(candidate.loss);
            let least = selection.candidates.iter().fold(f64::INFINITY, least);
            let chosen = selection.candidates.iter().find(|it| it.l2 == selection.l2).unwrap();
            assert_eq!(chosen.loss, least);
            // All were tried, or as many beyond the best as are enough to tell.
            let (tried, beyond) = (selection.candidates.len(), &selection.candidates);
            let beyond = beyond.iter().filter(|candidate| candidate.l2 < selection.l2).count();
            assert!(tried == GRID.len() || beyond == WORSE, "{:?}", selection.candidates);
        }
    }

    #[test]
    fn no_row_is_scored_by_a_head_that_has_seen_it() {
        // Sixty rows of noise in 24 dimensions: a head that has seen them gets most of them right.
        let found = select(&data(60, 0.0, 1.0), Strength::Given(0.01)).unwrap();
        assert_eq!(found.candidates.len(), 1);
        assert_eq!(found.predictions.len(), 60);
        let accuracy = found.candidates[0].accuracy;
        // One in three by chance, with a standard deviation of 0.06.
        assert!(accuracy < 0.55, "{accuracy}");
    }

    #[test]
    fn the_unit_of_the_embeddings_does_not_matter() {
        let small = select(&data(90, 0.7, 0.1), Strength::Auto).unwrap();
        let large = select(&data(90, 0.7, 6.0), Strength::Auto).unwrap();
        assert!((large.l2 / small.l2 / 3600.0 - 1.0).abs() < 1e-3);
        for (small, large) in small.candidates.iter().zip(&large.candidates) {
            // As near as the tolerance of a path.
            assert!((small.loss - large.loss).abs() < 5e-3, "{small:?} {large:?}");
        }
    }

    #[test]
    fn too_few_rows_leave_the_choice_open() {
        assert_eq!(select(&data(9, 1.0, 1.0), Strength::Auto), None);
        assert!(select(&data(10, 1.0, 1.0), Strength::Auto).is_some());
    }

    #[test]
    fn a_cross_validation_tells_how_far_it_is() {
        let data = data(90, 0.7, 1.0);
        let like = Head::seeded(["a", "b", "c"].map(str::to_owned).to_vec(), WIDTH, 0).unwrap();
        let validation = CrossValidation { data: &data, task: 0, like: &like, seed: 3 };
        for (strength, count, most) in
            [(Strength::Auto, GRID.len(), 40), (Strength::Given(0.1), 1, 5)]
        {
            let mut stages: Vec<Stage> = Vec::new();
            let found = validation.run(strength, &mut |stage| {
                stages.push(stage);
                ControlFlow::Continue(())
            });
            let ControlFlow::Continue(Some(found)) = found else { panic!("nobody stopped it") };
            assert!(stages.is_sorted_by_key(|stage| stage.done));
            assert!(stages.iter().all(|stage| stage.done < stage.total && stage.total <= most));
            let fits: Vec<FoldFit> = stages.iter().filter_map(|stage| stage.fit).collect();
            assert!(fits.iter().all(|it| it.strengths == count && it.folds == 5));
            let (first, last) = (fits[0], fits[fits.len() - 1]);
            assert_eq!((first.strength, first.fold, first.l2), (1, 1, found.candidates[0].l2));
            assert_eq!((last.strength, last.fold), (found.candidates.len(), 5));
            // What need not be tried is taken off what is to come.
            let blends = if strength == Strength::Auto { SHRINKAGES.len() } else { 0 };
            assert_eq!(stages.last().unwrap().total, found.candidates.len() * 5 + blends);
        }
    }

    #[test]
    fn a_cross_validation_stops_when_told_to() {
        let data = data(60, 1.0, 1.0);
        let like = Head::seeded(["a", "b", "c"].map(str::to_owned).to_vec(), WIDTH, 0).unwrap();
        let validation = CrossValidation { data: &data, task: 0, like: &like, seed: 3 };
        let mut epochs = 0;
        let stopped = validation.run(Strength::Auto, &mut |_| {
            epochs += 1;
            if epochs == 5 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((stopped, epochs), (ControlFlow::Break(()), 5));
    }

    #[test]
    fn a_strength_is_written_as_auto_or_a_number() {
        for (strength, text) in [(Strength::Auto, "\"auto\""), (Strength::Given(0.25), "0.25")] {
            assert_eq!(serde_json::to_string(&strength).unwrap(), text);
            assert_eq!(serde_json::from_str::<Strength>(text).unwrap(), strength);
        }
        // As it comes in a query string.
        assert_eq!(serde_json::from_str::<Strength>("\"3e-1\"").unwrap(), Strength::Given(0.3));
        let refused = serde_json::from_str::<Strength>("\"strong\"").unwrap_err().to_string();
        assert!(refused.contains("expected a number or \"auto\""), "{refused}");
    }
}
