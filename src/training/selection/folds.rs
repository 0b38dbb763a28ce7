//! Which rows are scored together, by heads that are fit on the others.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

use crate::training::dataset::{Labelled, Truth};

/// Of as many rows as [`FEWER_FOLDS_FROM`] each fold says so much that three are enough.
const FOLDS: usize = 5;
const FOLDS_OF_MANY: usize = 3;
const FEWER_FOLDS_FROM: usize = 5_000;

/// Rows that take part at most: more would not change the choice, but the time that it takes.
const MOST_ROWS: usize = 20_000;

/// Rows dealt out to folds.
pub(super) struct Folds {
    folds: Vec<Vec<usize>>,
    /// Rows of classes that have no other: always fit on, as nothing could be learnt without them.
    single: Vec<usize>,
}

impl Folds {
    /// Folds of rows that are alike in what is rare: see [`strata`].
    pub(super) fn of(rows: &Labelled, seed: u64) -> Self {
        Self::stratified(rows.rows(), &strata(rows), seed)
    }

    /// Deals the rows of each class, shuffled, to one fold after another, going on with the next class
    /// where the last one ended: the folds have as many rows to within one, of each class too. Of
    /// very many rows only so many take part as keeps their number bounded.
    fn stratified(rows: &[usize], classes: &[usize], seed: u64) -> Self {
        let count = if rows.len() < FEWER_FOLDS_FROM { FOLDS } else { FOLDS_OF_MANY };
        let piles = count * rows.len().div_ceil(MOST_ROWS).max(1);
        let mut folds = vec![Vec::new(); piles];
        let mut single = Vec::new();
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.shuffle(&mut ChaCha8Rng::seed_from_u64(seed));
        order.sort_by_key(|&position| classes[position]);
        let mut dealt = 0;
        for class in order.chunk_by(|&left, &right| classes[left] == classes[right]) {
            if let [only] = *class {
                single.push(rows[only]);
                continue;
            }
            for &position in class {
                folds[dealt % piles].push(rows[position]);
                dealt += 1;
            }
        }
        folds.truncate(count);
        // In the order of the data set: rows that lie side by side need not be copied.
        folds.iter_mut().for_each(|fold| fold.sort_unstable());
        Self { folds, single }
    }

    pub(super) fn count(&self) -> usize {
        self.folds.len()
    }

    pub(super) fn scored(&self) -> usize {
        self.folds.iter().map(Vec::len).sum()
    }

    /// The rows that are scored in a fold.
    pub(super) fn rows(&self, fold: usize) -> impl Iterator<Item = usize> {
        self.folds[fold].iter().copied()
    }

    /// The rows that are fit on there, in order.
    pub(super) fn others(&self, fold: usize) -> Vec<usize> {
        let others = self.folds.iter().enumerate().filter(|&(other, _)| other != fold);
        let mut rows: Vec<usize> = others.flat_map(|(_, rows)| rows.iter().copied()).collect();
        rows.extend_from_slice(&self.single);
        rows.sort_unstable();
        rows
    }
}

/// What the folds shall have alike of, one a row: the class or, of the labels that apply, the rarest;
/// between equally rare ones the first. Rows to which none applies are a stratum of their own.
fn strata(rows: &Labelled) -> Vec<usize> {
    let labels = rows.balance().len();
    let mut counts = vec![0_usize; labels];
    for &class in rows.truths().iter().flat_map(Truth::classes) {
        counts[class] += 1;
    }
    let rarest = |truth: &Truth| truth.classes().iter().copied().min_by_key(|&it| counts[it]);
    rows.truths().iter().map(|truth| rarest(truth).unwrap_or(labels)).collect()
}

#[cfg(test)]
mod tests {
    use ndarray::Array2;

    use super::*;
    use crate::training::dataset::Dataset;

    #[test]
    fn folds_share_the_rows_of_each_class() {
        let rows: Vec<usize> = (100..231).collect();
        let classes: Vec<usize> = (0..131).map(|row| if row == 7 { 3 } else { row % 3 }).collect();
        let folds = Folds::stratified(&rows, &classes, 1);
        assert_eq!(folds.single, [107]);
        let mut seen: Vec<usize> = (0..FOLDS).flat_map(|fold| folds.rows(fold)).collect();
        seen.extend(&folds.single);
        seen.sort_unstable();
        assert_eq!(seen, rows);
        for class in 0..3 {
            let of_class = |row: &usize| classes[row - 100] == class;
            let counts = (0..FOLDS).map(|fold| folds.rows(fold).filter(of_class).count());
            let counts: Vec<usize> = counts.collect();
            let spread = counts.iter().max().unwrap() - counts.iter().min().unwrap();
            assert!(spread <= 1, "class {class}: {counts:?}");
        }
        for fold in 0..FOLDS {
            let mut all = folds.others(fold);
            assert!(all.contains(&107));
            all.extend(folds.rows(fold));
            all.sort_unstable();
            assert_eq!(all, rows);
        }
        assert_ne!(Folds::stratified(&rows, &classes, 2).folds, folds.folds);
    }

    #[test]
    fn rows_with_sets_of_labels_are_dealt_by_their_rarest() {
        // None, the common label, it and a rare one, both and one that is rarer still, or that alone.
        let sets = [vec![], vec![0], vec![0, 1], vec![0, 1, 2], vec![2]];
        let of_row = |row: usize| match row % 20 {
            0..5 => 0,
            5..15 => 1,
            15..18 => 2,
            18 => 3,
            _ => 4,
        };
        let values = (0..200).map(|row| Some(sets[of_row(row)].clone())).collect();
        let data = Dataset::new(Array2::zeros((200, 1))).unwrap();
        let data = data.with_multi_label_task("tags", 3, values).unwrap();
        let rows = data.labelled(0);
        let strata = strata(&rows);
        assert_eq!([0, 5, 15, 18, 19].map(|row| strata[row]), [3, 0, 1, 2, 2]);
        let folds = Folds::of(&rows, 1);
        for (stratum, expected) in [(3, 10), (0, 20), (1, 6), (2, 4)] {
            for fold in 0..FOLDS {
                let count = folds.rows(fold).filter(|&row| strata[row] == stratum).count();
                assert_eq!(count, expected, "stratum {stratum} in fold {fold}");
            }
        }
    }

    #[test]
    fn of_very_many_rows_only_so_many_take_part() {
        let rows: Vec<usize> = (0..3 * MOST_ROWS).collect();
        let classes: Vec<usize> =
            rows.iter().map(|row| usize::from(row.is_multiple_of(10))).collect();
        let folds = Folds::stratified(&rows, &classes, 1);
        assert!(folds.scored().abs_diff(MOST_ROWS) <= FOLDS_OF_MANY, "{}", folds.scored());
        let rare: usize =
            folds.folds.iter().flatten().filter(|&&row| row.is_multiple_of(10)).count();
        assert!(rare.abs_diff(MOST_ROWS / 10) <= FOLDS_OF_MANY, "{rare}");
    }
}
