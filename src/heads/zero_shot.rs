//! Classification without training: a text is compared with the names of the labels.
//!
//! The embeddings of the labels, each put into a template, are the rows of a [`Head`]'s weights: its
//! logits are cosines divided by a temperature.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::future::try_join_all;
use ndarray::{Array1, Array2};
use thiserror::Error;
use tokio::sync::OnceCell;

use crate::heads::head::{Head, HeadError};

/// What a cosine is divided by before the softmax.
///
/// Sentence encoders learn by a softmax over cosines at this very temperature:
/// `MultipleNegativesRankingLoss` of sentence-transformers, by which all-MiniLM-L6-v2 was trained,
/// has `scale = 20`. Measured on SST-2, TREC and Banking77 with the labels' names: of 1, 0.2, 0.1,
/// 0.05, 0.03, 0.02 and 0.01, the log-loss of all-MiniLM-L6-v2 is least at 0.05 on each (calibration
/// error 0.03 to 0.10; at 1 all labels come out nearly alike), that of bge-small-en-v1.5 at 0.05 or
/// 0.03. One number serves all models: the best label does not depend on it, only how sure it looks.
pub const TEMPERATURE: f32 = 0.05;

/// Where a label goes in a template.
pub const PLACEHOLDER: &str = "{}";

/// The label by itself.
pub const DEFAULT_TEMPLATE: &str = PLACEHOLDER;

/// Bytes of a template: beyond them, models have stopped reading.
pub const MOST_TEMPLATE_BYTES: usize = 1024;

/// A sentence with a place for a label, such as `This text is about {}.`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(String);

/// Why a text is no template.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TemplateError {
    #[error(
        "the template holds {PLACEHOLDER} {0} times; it stands for the label and occurs exactly once"
    )]
    Placeholders(usize),
    #[error("the template has {0} bytes; allowed: at most {MOST_TEMPLATE_BYTES}")]
    TooLong(usize),
}

impl Template {
    pub fn new(text: impl Into<String>) -> Result<Template, TemplateError> {
        let text = text.into();
        match text.matches(PLACEHOLDER).count() {
            1 if text.len() <= MOST_TEMPLATE_BYTES => Ok(Template(text)),
            1 => Err(TemplateError::TooLong(text.len())),
            found => Err(TemplateError::Placeholders(found)),
        }
    }

    /// The sentence about one label.
    pub fn about(&self, label: &str) -> String {
        self.0.replacen(PLACEHOLDER, label, 1)
    }
}

/// A head that compares embeddings of length 1 with those of the labels, also of length 1.
///
/// # Errors
/// Labels that are not distinct, embeddings with NaN or infinite components.
///
/// # Panics
/// If there is not one embedding for each label, all of one width.
pub fn head(labels: Vec<String>, embeddings: &[Arc<[f32]>]) -> Result<Head, HeadError> {
    let width = embeddings.first().map_or(0, |embedding| embedding.len());
    let weights = embeddings.iter().flat_map(|embedding| embedding.iter());
    let weights = weights.map(|component| component / TEMPERATURE).collect();
    let weights = Array2::from_shape_vec((labels.len(), width), weights)
        .expect("there is one embedding for each label");
    let bias = Array1::zeros(labels.len());
    Head::new(labels, weights, bias)
}

/// Embeddings of sentences about labels, kept for the requests to come. Two requests that need the
/// same one at once wait for the same computation.
pub struct LabelCache {
    capacity: usize,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    slots: HashMap<Key, Slot>,
    /// Counts the uses.
    now: u64,
}

/// Model and sentence.
type Key = (String, String);

#[derive(Default)]
struct Slot {
    embedding: Arc<OnceCell<Arc<[f32]>>>,
    last_used: u64,
}

impl LabelCache {
    /// A cache of about `capacity` embeddings: when there are more, the half that was not used for
    /// the longest time goes.
    pub fn new(capacity: usize) -> LabelCache {
        LabelCache { capacity, kept: Mutex::default() }
    }

    /// The embeddings of `sentences` by a model, in their order; those that are not kept are made by
    /// `embed`.
    ///
    /// # Errors
    /// The first of `embed`. What has been embedded by then is kept.
    pub async fn embeddings<F, E>(
        &self,
        model: &str,
        sentences: Vec<String>,
        embed: impl Fn(String) -> F,
    ) -> Result<Vec<Arc<[f32]>>, E>
    where
        F: Future<Output = Result<Arc<[f32]>, E>>,
    {
        let cells = self.cells(model, &sentences);
        let embed = &embed;
        let made = cells.into_iter().zip(sentences).map(|(cell, sentence)| async move {
            // Should the one who computes go away, the next in line takes over.
            cell.get_or_try_init(|| embed(sentence)).await.cloned()
        });
        try_join_all(made).await
    }

    fn cells(&self, model: &str, sentences: &[String]) -> Vec<Arc<OnceCell<Arc<[f32]>>>> {
        // Every change leaves the cache whole: a panic spoils nothing.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.now += 1;
        let now = kept.now;
        let mut cell = |sentence: &String| {
            let slot = kept.slots.entry((model.to_owned(), sentence.clone())).or_default();
            slot.last_used = now;
            Arc::clone(&slot.embedding)
        };
        let cells = sentences.iter().map(&mut cell).collect();
        if kept.slots.len() > self.capacity {
            kept.forget_half();
        }
        cells
    }
}

impl Kept {
    fn forget_half(&mut self) {
        let mut uses: Vec<u64> = self.slots.values().map(|slot| slot.last_used).collect();
        let half = uses.len() / 2;
        let (_, &mut median, _) = uses.select_nth_unstable(half);
        self.slots.retain(|_, slot| slot.last_used > median);
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn a_template_has_one_place_for_a_label() {
        let template = Template::new("This text is about {}.").unwrap();
        assert_eq!(template.about("sport"), "This text is about sport.");
        // A label is put in as it is.
        assert_eq!(template.about("{} and {}"), "This text is about {} and {}.");
        assert_eq!(Template::new("about"), Err(TemplateError::Placeholders(0)));
        assert_eq!(Template::new("{} and {}"), Err(TemplateError::Placeholders(2)));
        let long = format!("{{}}{}", "a".repeat(MOST_TEMPLATE_BYTES));
        assert_eq!(Template::new(long), Err(TemplateError::TooLong(MOST_TEMPLATE_BYTES + 2)));
    }

    #[test]
    fn probabilities_are_the_softmax_of_cosines_over_the_temperature() {
        let labels = vec!["sport".to_owned(), "finance".to_owned()];
        let embeddings: [Arc<[f32]>; 2] = [Arc::new([1.0, 0.0]), Arc::new([0.6, 0.8])];
        let head = head(labels, &embeddings).unwrap();
        let found = head.probabilities(&[0.8, 0.6]);
        // The cosines are 0.8 and 0.96: 0.16 / 0.05 = 3.2 nats apart.
        let expected = 1.0 / (1.0 + 3.2f32.exp());
        // Sums of a few products in single precision, magnified by the temperature.
        assert!((found[0] - expected).abs() < 1e-5, "{found:?}");
        assert!((found[0] + found[1] - 1.0).abs() < 1e-6, "{found:?}");
    }

    fn sentences(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    /// A cache with a count of what it computed; an embedding is its sentence's length.
    struct Counted {
        cache: LabelCache,
        computed: AtomicUsize,
    }

    impl Counted {
        fn new(capacity: usize) -> Counted {
            Counted { cache: LabelCache::new(capacity), computed: AtomicUsize::new(0) }
        }

        async fn get(&self, model: &str, texts: &[&str]) -> Vec<f32> {
            let embed = |sentence: String| async move {
                self.computed.fetch_add(1, Ordering::Relaxed);
                tokio::task::yield_now().await;
                Ok::<_, Infallible>(Arc::from([sentence.len() as f32]))
            };
            let embeddings = self.cache.embeddings(model, sentences(texts), embed).await;
            embeddings.unwrap().iter().map(|embedding| embedding[0]).collect()
        }

        fn computed(&self) -> usize {
            self.computed.load(Ordering::Relaxed)
        }
    }

    #[tokio::test]
    async fn a_label_is_embedded_once_for_each_model() {
        let counted = Counted::new(10);
        assert_eq!(counted.get("minilm", &["a", "bb"]).await, [1.0, 2.0]);
        assert_eq!(counted.get("minilm", &["bb", "ccc", "a"]).await, [2.0, 3.0, 1.0]);
        assert_eq!(counted.computed(), 3);
        counted.get("bert", &["a"]).await;
        assert_eq!(counted.computed(), 4);
    }

    #[tokio::test]
    async fn two_requests_at_once_share_a_computation() {
        let counted = Counted::new(10);
        let (one, other) =
            tokio::join!(counted.get("minilm", &["a", "bb"]), counted.get("minilm", &["bb", "a"]));
        assert_eq!((one, other), (vec![1.0, 2.0], vec![2.0, 1.0]));
        assert_eq!(counted.computed(), 2);
    }

    #[tokio::test]
    async fn what_fails_is_tried_again_and_what_succeeded_is_kept() {
        let cache = LabelCache::new(10);
        let embed = |sentence: String| async move {
            if sentence == "bad" { Err("no") } else { Ok(Arc::from([0.0f32])) }
        };
        let failed = cache.embeddings("minilm", sentences(&["good", "bad"]), embed).await;
        assert_eq!(failed.unwrap_err(), "no");
        let embed = |sentence: String| async move {
            if sentence == "good" { Err("computed again") } else { Ok(Arc::from([1.0f32])) }
        };
        let kept = cache.embeddings("minilm", sentences(&["good", "bad"]), embed).await.unwrap();
        assert_eq!((kept[0][0], kept[1][0]), (0.0, 1.0));
    }

    #[tokio::test]
    async fn the_cache_is_bounded_and_forgets_what_was_not_used_for_long() {
        let counted = Counted::new(4);
        for text in ["a", "b", "c", "d", "a", "e"] {
            counted.get("minilm", &[text]).await;
        }
        assert_eq!(counted.computed(), 5);
        assert!(counted.cache.kept.lock().unwrap().slots.len() <= 4);
        // Those used last are still there.
        counted.get("minilm", &["a", "e"]).await;
        assert_eq!(counted.computed(), 5);
        counted.get("minilm", &["b"]).await;
        assert_eq!(counted.computed(), 6);
    }
}
