//! Distinct texts with their labels, and where their embeddings come from.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Instant;

use ndarray::{Array2, ArrayViewMut2};
use tokio_util::sync::CancellationToken;

use super::{Run, RunError, failed};
use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, EmbedOptions};
use crate::store::StoredExample;
use crate::training::job::{Example, Job, Mode, Target};
use crate::training::result::{RowCounts, TextCounts};
use crate::training::text_hash::TextHash;

/// Texts that are looked up or embedded at a time: enough to keep the workers busy, few enough that
/// a cancellation is soon seen.
const CHUNK: usize = 256;

/// Distinct texts with their labels.
#[derive(Default)]
pub(super) struct Rows {
    /// What each text is known by.
    pub hashes: Vec<TextHash>,
    /// Task to what is said for it, one a text.
    pub labels: Vec<BTreeMap<String, Target>>,
    /// One a text; see [`Example::weight`].
    pub weights: Vec<f64>,
    /// Texts that were kept already: a head of before may have been fit on them.
    kept: HashSet<TextHash>,
    /// `None` where the store keeps no texts.
    texts: Vec<Option<String>>,
    positions: HashMap<TextHash, usize>,
    /// Examples whose text was there already, and what was said for a task and is no more.
    merged: usize,
    corrected: usize,
}

/// The embeddings of rows.
pub(super) struct Embedded {
    /// rows × width.
    pub values: Array2<f32>,
    pub counts: TextCounts,
    /// Wall time that it took.
    pub seconds: f64,
}

impl Rows {
    pub fn counts(&self) -> RowCounts {
        let Rows { merged, corrected, .. } = *self;
        RowCounts { distinct: self.hashes.len(), merged, corrected }
    }

    /// Whether the job brings the text, so that no head of before can have been fit on it.
    pub fn is_new(&self, row: usize) -> bool {
        !self.kept.contains(&self.hashes[row])
    }

    /// Adds what is known of a text. What is said later for the same task replaces the former, and a
    /// later weight.
    fn add(&mut self, example: StoredExample) {
        let weight = example.weight.unwrap_or(1.0);
        match self.positions.get(&example.hash) {
            Some(&position) => {
                self.merged += 1;
                for (task, target) in example.labels {
                    let former = self.labels[position].insert(task, target.clone());
                    self.corrected += usize::from(former.is_some_and(|former| former != target));
                }
                self.weights[position] = weight;
                let known = &mut self.texts[position];
                *known = known.take().or(example.text);
            }
            None => {
                self.positions.insert(example.hash, self.hashes.len());
                self.hashes.push(example.hash);
                self.texts.push(example.text);
                self.labels.push(example.labels);
                self.weights.push(weight);
            }
        }
    }
}

impl Run<'_> {
    /// The examples to fit on: those of earlier jobs, if the mode says so, then the job's own.
    pub(super) async fn gather(&self, job: &Job) -> Result<Rows, RunError> {
        let mut rows = Rows::default();
        let trained: BTreeSet<String> =
            job.spec.tasks.difference(&job.spec.frozen).cloned().collect();
        for kept in self.hold.persist(|| self.store.examples(&trained)).await? {
            rows.kept.insert(kept.hash);
            if job.spec.mode == Mode::Extend {
                rows.add(kept);
            }
        }
        for example in self.hold.persist(|| self.store.job_examples(&job.id)).await? {
            let hash = TextHash::of(&example.text);
            let Example { text, labels, weight } = example;
            rows.add(StoredExample { hash, text: Some(text), labels, weight });
        }
        Ok(rows)
    }

    /// The embeddings of all rows: those that the store keeps, and the others, made at the lowest
    /// class. These are kept as soon as they are made, so that a job that a crash interrupts finds
    /// them when it runs again. Memory is bounded by the rows and one chunk.
    pub(super) async fn embed(
        &self,
        rows: &Rows,
        cancel: &CancellationToken,
    ) -> Result<Embedded, RunError> {
        let clock = Instant::now();
        let mut values = Array2::zeros((rows.hashes.len(), self.encoder.info().dimensions));
        let missing = self.look_up(rows, values.view_mut(), cancel).await?;
        let without_text = missing.iter().filter(|&&row| rows.texts[row].is_none()).count();
        if without_text > 0 {
            return Err(RunError::Failed(format!(
                "{without_text} of {} examples have no embedding by the encoder that is loaded now ({}), and their texts were not kept (store.texts = false): send them again, delete them (DELETE /examples), train with mode = \"replace\", or go back to the former model",
                rows.hashes.len(),
                self.encoder.info().fingerprint,
            )));
        }
        let mut done = rows.hashes.len() - missing.len();
        self.progress.reach(done);
        for chunk in missing.chunks(CHUNK) {
            self.embed_chunk(rows, chunk, values.view_mut(), cancel).await?;
            done += chunk.len();
            self.progress.reach(done);
        }
        let (embedded, found) = (missing.len(), rows.hashes.len() - missing.len());
        let counts = TextCounts { embedded, found };
        Ok(Embedded { values, counts, seconds: clock.elapsed().as_secs_f64() })
    }

    /// Fills in the embeddings that the store keeps; gives the rows of which it has none.
    async fn look_up(
        &self,
        rows: &Rows,
        mut values: ArrayViewMut2<'_, f32>,
        cancel: &CancellationToken,
    ) -> Result<Vec<usize>, RunError> {
        let info = self.encoder.info();
        let mut missing = Vec::new();
        for (index, chunk) in rows.hashes.chunks(CHUNK).enumerate() {
            if cancel.is_cancelled() {
                return Err(RunError::Cancelled);
            }
            let look = || self.store.embeddings(&info.fingerprint, chunk, info.dimensions);
            let found = self.hold.persist(look).await?;
            for (place, hash) in chunk.iter().enumerate() {
                let row = index * CHUNK + place;
                match found.get(hash) {
                    Some(embedding) => write(&mut values, row, embedding),
                    None => missing.push(row),
                }
            }
        }
        Ok(missing)
    }

    /// Embeds the rows `chunk`, keeps the embeddings and fills them in.
    async fn embed_chunk(
        &self,
        rows: &Rows,
        chunk: &[usize],
        mut values: ArrayViewMut2<'_, f32>,
        cancel: &CancellationToken,
    ) -> Result<(), RunError> {
        let options = EmbedOptions {
            class: Class::Training,
            deadline: None,
            truncation: Truncation::Right,
            prompted: false,
            normalize: None,
            dimensions: None,
        };
        let text = |&row: &usize| rows.texts[row].clone().expect("looked at before");
        let embedded = tokio::select! {
            embedded = self.encoder.embed(chunk.iter().map(text).collect(), options) => embedded,
            () = cancel.cancelled() => return Err(RunError::Cancelled),
        };
        let embedded = embedded.map_err(failed)?;
        let hashes = chunk.iter().map(|&row| rows.hashes[row]);
        let new: Vec<_> = hashes.zip(embedded.rows()).collect();
        let encoder = &self.encoder.info().fingerprint;
        self.hold.persist(|| self.store.keep_embeddings(encoder, &new)).await?;
        for (&row, (_, embedding)) in chunk.iter().zip(&new) {
            write(&mut values, row, embedding);
        }
        Ok(())
    }
}

fn write(values: &mut ArrayViewMut2<f32>, row: usize, embedding: &[f32]) {
    for (to, from) in values.row_mut(row).iter_mut().zip(embedding) {
        *to = *from;
    }
}
