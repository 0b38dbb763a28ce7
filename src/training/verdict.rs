//! Champion and challenger: whether a new head may take the place of the one that answers. Pure.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::heads::head::Head;
use crate::training::dataset::Labelled;
use crate::training::predictions::{Predictions, Row};

/// With fewer held-out rows, one of them weighs 5 points of accuracy and more: no verdict.
pub const FEWEST_ROWS: usize = 20;

/// The margin of jobs that name none.
pub const DEFAULT_MARGIN: f64 = 0.01;

/// How a new head compares with the one that answers. Accuracies are shares in `[0, 1]`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// No trained head answers on this encoder for these labels.
    Unopposed,
    /// There are fewer than [`FEWEST_ROWS`] held-out rows that neither head was fit on.
    TooFewRows { rows: usize },
    /// The challenger is at most the margin below the champion.
    NotWorse(Accuracies),
    /// The challenger is more than the margin below the champion.
    Worse(Accuracies),
}

/// The accuracies of two heads on the same rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Accuracies {
    /// Of the new head.
    pub challenger: f64,
    /// Of the head that answers.
    pub champion: f64,
    /// How far below the champion's accuracy the challenger's may be.
    pub margin: f64,
    /// Held-out rows with a label for the task that the champion was not fit on either.
    pub rows: usize,
}

impl Verdict {
    /// Whether the challenger may take the champion's place.
    pub fn allows(self) -> bool {
        !matches!(self, Verdict::Worse(_))
    }
}

/// Scores both heads on `rows`, which neither may have been fit on, by the share of rows that are answered
/// with their label, or with exactly their labels, each head by its own thresholds. A champion that the
/// challenger has further labels than is wrong on the rows of these.
///
/// # Panics
/// If a head's width is not that of the rows' embeddings.
pub fn judge(challenger: &Head, champion: Option<&Head>, rows: &Labelled, margin: f64) -> Verdict {
    // A champion for other labels, or another kind of task, cannot be scored on these rows.
    let comparable = |champion: &&Head| {
        champion.kind() == challenger.kind() && challenger.labels().starts_with(champion.labels())
    };
    let Some(champion) = champion.filter(comparable) else {
        return Verdict::Unopposed;
    };
    let count = rows.len();
    if count < FEWEST_ROWS {
        return Verdict::TooFewRows { rows: count };
    }
    let right = |head| Predictions::of(head, rows).rows().filter(Row::is_right).count();
    let (new, live) = (right(challenger), right(champion));
    let share = |right| right as f64 / count as f64;
    let accuracies =
        Accuracies { challenger: share(new), champion: share(live), margin, rows: count };
    // In rows, and with a little to spare: a difference of exactly the margin is allowed, whatever
    // way its parts are rounded.
    match live as f64 - new as f64 <= margin * count as f64 + 1e-6 {
        true => Verdict::NotWorse(accuracies),
        false => Verdict::Worse(accuracies),
    }
}

#[cfg(test)]
mod tests {
    use ndarray::{Array2, arr1, arr2};

    use super::*;
    use crate::heads::head::{Decision, logit};
    use crate::training::dataset::Dataset;

    /// Answers 1 where the embedding's one component is above `threshold`, else 0.
    fn head(threshold: f32) -> Head {
        let labels = ["no", "yes"].map(str::to_owned).to_vec();
        Head::new(labels, arr2(&[[0.0], [1.0]]), arr1(&[0.0, -threshold])).unwrap()
    }

    /// Rows 0, 1, 2, … that all are of class 1: a head is right from its threshold on.
    fn rows(count: usize) -> Dataset {
        let embeddings = Array2::from_shape_fn((count, 1), |(row, _)| row as f32);
        Dataset::new(embeddings).unwrap().with_task("t", 2, vec![Some(1); count]).unwrap()
    }

    fn judged(challenger: f32, champion: f32, count: usize, margin: f64) -> Verdict {
        judge(&head(challenger), Some(&head(champion)), &rows(count).labelled(0), margin)
    }

    #[test]
    fn a_challenger_may_be_worse_by_the_margin_and_no_more() {
        // Right on 100 - 10 and on 100 - 11 rows.
        let accuracies =
            |challenger| Accuracies { challenger, champion: 0.9, margin: 0.01, rows: 100 };
        assert_eq!(judged(10.5, 9.5, 100, 0.01), Verdict::NotWorse(accuracies(0.89)));
        assert_eq!(judged(11.5, 9.5, 100, 0.01), Verdict::Worse(accuracies(0.88)));
        assert!(judged(9.5, 9.5, 100, 0.0).allows());
        assert!(!judged(10.5, 9.5, 100, 0.0).allows());
        assert!(judged(0.5, 90.5, 100, 0.0).allows());
    }

    #[test]
    fn a_difference_of_exactly_the_margin_is_allowed_for_every_number_of_rows() {
        for count in FEWEST_ROWS..400 {
            for wrong in 1..9 {
                let margin = wrong as f64 / count as f64;
                let verdict = judged(wrong as f32 + 4.5, 4.5, count, margin);
                assert!(verdict.allows(), "{wrong} of {count}: {verdict:?}");
                let verdict = judged(wrong as f32 + 5.5, 4.5, count, margin);
                assert!(!verdict.allows(), "{wrong} of {count}: {verdict:?}");
            }
        }
    }

    #[test]
    fn without_enough_rows_or_without_a_champion_there_is_no_verdict() {
        assert_eq!(judged(18.5, 0.5, 19, 0.0), Verdict::TooFewRows { rows: 19 });
        assert!(!judged(18.5, 0.5, 20, 0.0).allows());
        let rows = rows(100);
        let unopposed = judge(&head(0.5), None, &rows.labelled(0), 0.0);
        assert_eq!(unopposed, Verdict::Unopposed);
        let labels = ["a", "b"].map(str::to_owned).to_vec();
        let other = Head::new(labels, arr2(&[[0.0], [1.0]]), arr1(&[0.0, 0.0])).unwrap();
        let unopposed = judge(&head(50.5), Some(&other), &rows.labelled(0), 0.0);
        assert_eq!(unopposed, Verdict::Unopposed);
        assert!(Verdict::Unopposed.allows() && Verdict::TooFewRows { rows: 3 }.allows());
    }

    #[test]
    fn a_champion_is_wrong_on_labels_that_it_does_not_know() {
        let classes = (0..100).map(|row| Some(if row < 90 { 1 } else { 2 })).collect();
        let embeddings = Array2::from_shape_fn((100, 1), |(row, _)| row as f32);
        let data = Dataset::new(embeddings).unwrap().with_task("t", 3, classes).unwrap();
        let challenger = head(20.5).extended(&["maybe".to_owned()]).unwrap();
        let verdict = judge(&challenger, Some(&head(9.5)), &data.labelled(0), 0.1);
        // The champion is right on 10 to 89, the challenger on 21 to 89.
        let accuracies = Accuracies { challenger: 0.69, champion: 0.8, margin: 0.1, rows: 100 };
        assert_eq!(verdict, Verdict::Worse(accuracies));
    }

    /// Rows 0, 1, 2, … to which the first label always applies, and the second from 50 on.
    fn sets() -> Dataset {
        let embeddings = Array2::from_shape_fn((100, 1), |(row, _)| row as f32);
        let values =
            (0..100).map(|row| Some(if row < 50 { vec![0] } else { vec![0, 1] })).collect();
        Dataset::new(embeddings).unwrap().with_multi_label_task("t", 2, values).unwrap()
    }

    /// Answers the first label always, and the second from about the row `from` on.
    fn of_sets(from: f32, threshold: f32) -> Head {
        let labels = ["all", "late"].map(str::to_owned).to_vec();
        let bias = logit(threshold) as f32 - from;
        let head = Head::new(labels, arr2(&[[0.0], [1.0]]), arr1(&[1.0, bias])).unwrap();
        let thresholds = arr1(&[0.5, threshold]);
        head.with_decision(Decision::Sigmoid { thresholds }).unwrap()
    }

    #[test]
    fn sets_are_right_when_they_are_exactly_right_by_each_heads_own_thresholds() {
        let data = sets();
        let judged = |challenger: &Head, champion: &Head| {
            judge(challenger, Some(champion), &data.labelled(0), 0.05)
        };
        let verdict = judged(&of_sets(43.5, 0.2), &of_sets(49.5, 0.9));
        // Six rows are answered with a label too many.
        let accuracies = Accuracies { challenger: 0.94, champion: 1.0, margin: 0.05, rows: 100 };
        assert_eq!(verdict, Verdict::Worse(accuracies));
        assert!(judged(&of_sets(54.5, 0.9), &of_sets(49.5, 0.2)).allows());
    }

    #[test]
    fn a_head_of_the_other_kind_is_no_champion() {
        let data = sets();
        let softmax = Head::seeded(of_sets(0.5, 0.5).labels().clone(), 1, 1).unwrap();
        let verdict = judge(&of_sets(90.5, 0.5), Some(&softmax), &data.labelled(0), 0.0);
        assert_eq!(verdict, Verdict::Unopposed);
    }

    #[test]
    fn a_champion_is_wrong_on_sets_with_labels_that_it_does_not_know() {
        let data = sets();
        let labels = vec!["all".to_owned()];
        let champion = Head::new(labels, arr2(&[[0.0]]), arr1(&[1.0])).unwrap();
        let thresholds = arr1(&[0.5]);
        let champion = champion.with_decision(Decision::Sigmoid { thresholds }).unwrap();
        let verdict = judge(&of_sets(49.5, 0.5), Some(&champion), &data.labelled(0), 0.0);
        let accuracies = Accuracies { challenger: 1.0, champion: 0.5, margin: 0.0, rows: 100 };
        assert_eq!(verdict, Verdict::NotWorse(accuracies));
    }
}
