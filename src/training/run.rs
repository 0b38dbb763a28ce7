//! One job from its examples to new weights: gather, embed, fit. Nothing is published here.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::ControlFlow;

use ndarray::Array2;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use crate::causes::Causes;
use crate::encoder::tokenizer::Truncation;
use crate::encoder::{Class, EmbedOptions, Encoder};
use crate::heads::head::Head;
use crate::heads::live::{LiveTask, Snapshot};
use crate::heads::{HeadVersion, InitialSeed, Task};
use crate::metrics::{Metrics, TaskLabel};
use crate::store::{NewVersion, Store};
use crate::training::dataset::{Dataset, Split};
use crate::training::job::{EpochReport, Example, Job, JobSpec, Mode};
use crate::training::progress::{Meter, Phase};
use crate::training::solver::{FitError, Start, fit};

/// Texts that are embedded at a time: enough to keep the workers busy, few enough that a
/// cancellation is soon seen.
const CHUNK: usize = 256;

/// Epoch reports that may wait to be recorded before the solver waits for the store.
const REPORTS: usize = 64;

/// What a run works with.
pub(super) struct Run<'a> {
    pub store: &'a Store,
    pub encoder: &'a Encoder,
    pub heads: &'a Snapshot,
    pub metrics: &'a Metrics,
    pub changes: &'a watch::Sender<u64>,
    pub progress: &'a Meter,
}

/// A head that a run has fit.
pub(super) struct Trained {
    pub version: NewVersion,
    pub head: Head,
}

/// Why a run gave no heads.
pub(super) enum RunError {
    Cancelled,
    /// With the reason, as the job's record shows it.
    Failed(String),
}

impl Run<'_> {
    /// Trains the heads that the job does not freeze, and gives these.
    pub async fn train(
        &self,
        job: &Job,
        cancel: &CancellationToken,
    ) -> Result<Vec<Trained>, RunError> {
        let tasks = self.tasks(&job.spec)?;
        self.progress.enter(&job.id, Phase::Gathering, 0);
        let rows = self.gather(job).await?;
        self.progress.enter(&job.id, Phase::Embedding, rows.texts.len());
        let embeddings = self.embed(&rows.texts, cancel).await?;
        let start = self.starts(&tasks, &job.spec);
        let (labels, spec) =
            (tasks.iter().map(|live| live.task.clone()).collect(), job.spec.clone());
        // Copies of large arrays: nothing for the async runtime.
        let splitting =
            tokio::task::spawn_blocking(move || split(labels, &rows, embeddings, &spec));
        let split = splitting.await.map_err(failed)?.map_err(RunError::Failed)?;
        let heads = self.fit(job, split, start, cancel).await?;
        let trained = |(live, head): (&&LiveTask, Head)| Trained {
            version: NewVersion {
                task: live.task.clone(),
                encoder: self.encoder.info().fingerprint.clone(),
                parent: parent(live, &job.spec),
                weights: head.to_bytes(),
            },
            head,
        };
        let fitted = tasks.iter().zip(heads);
        let unfrozen = fitted.filter(|(live, _)| !job.spec.frozen.contains(&live.task.name));
        Ok(unfrozen.map(trained).collect())
    }

    /// The job's tasks as they are now, in the order of their names.
    fn tasks(&self, spec: &JobSpec) -> Result<Vec<&LiveTask>, RunError> {
        let find = |name: &String| {
            let live = self.heads.get(name).map(|live| &**live);
            live.filter(|live| live.task.model == spec.model).ok_or_else(|| {
                RunError::Failed(format!("task {name:?} was removed or moved to another model"))
            })
        };
        spec.tasks.iter().map(find).collect()
    }

    /// The examples to fit on: those of earlier jobs, if the mode says so, then the job's own.
    async fn gather(&self, job: &Job) -> Result<Rows, RunError> {
        let mut rows = Rows::default();
        if job.spec.mode == Mode::Extend {
            let trained: BTreeSet<String> =
                job.spec.tasks.difference(&job.spec.frozen).cloned().collect();
            rows.extend(self.store.examples(&trained).await.map_err(failed)?);
        }
        rows.extend(self.store.job_examples(&job.id).await.map_err(failed)?);
        Ok(rows)
    }

    /// The embeddings of `texts`, texts × width, made at the lowest class.
    async fn embed(
        &self,
        texts: &[String],
        cancel: &CancellationToken,
    ) -> Result<Array2<f32>, RunError> {
        let options = EmbedOptions {
            class: Class::Training,
            deadline: None,
            truncation: Truncation::Right,
            normalize: None,
            dimensions: None,
        };
        let width = self.encoder.info().dimensions;
        let mut values = Vec::with_capacity(texts.len() * width);
        for chunk in texts.chunks(CHUNK) {
            let embedded = tokio::select! {
                embedded = self.encoder.embed(chunk.to_vec(), options) => embedded,
                () = cancel.cancelled() => return Err(RunError::Cancelled),
            };
            values.extend(embedded.map_err(failed)?.values);
            self.progress.reach(values.len() / width);
        }
        Ok(Array2::from_shape_vec((texts.len(), width), values)
            .expect("the encoder gives one vector a text"))
    }

    fn starts(&self, tasks: &[&LiveTask], spec: &JobSpec) -> Vec<Start> {
        let start = |live: &&LiveTask| {
            if spec.frozen.contains(&live.task.name) {
                return Start::Freeze(live.version.head.clone());
            }
            match spec.mode {
                Mode::Extend => Start::Train(live.version.head.clone()),
                Mode::Replace => {
                    let seed = InitialSeed(spec.seed);
                    let info = self.encoder.info();
                    Start::Train(HeadVersion::untrained(&live.task, info, seed).head)
                }
            }
        };
        tasks.iter().map(start).collect()
    }

    /// Fits on a thread of its own, and records each epoch as it comes.
    async fn fit(
        &self,
        job: &Job,
        split: Split,
        start: Vec<Start>,
        cancel: &CancellationToken,
    ) -> Result<Vec<Head>, RunError> {
        self.progress.enter(&job.id, Phase::Fitting, job.spec.solver.epochs() as usize);
        let (sender, mut reports) = mpsc::channel(REPORTS);
        let (solver, seed) = (job.spec.solver.clone(), job.spec.seed);
        let cancelled = cancel.clone();
        let fitting = tokio::task::spawn_blocking(move || {
            let mut on_epoch = |report: EpochReport| {
                // Nobody listens any more when the store refused a report: the job fails then.
                let heard = sender.blocking_send(report).is_ok();
                match heard && !cancelled.is_cancelled() {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            fit(&solver, &split, start, seed, &mut on_epoch)
        });
        let mut recorded = Ok(());
        let mut batch = Vec::with_capacity(REPORTS);
        while recorded.is_ok() && reports.recv_many(&mut batch, REPORTS).await > 0 {
            recorded = self.record(job, &mut batch).await;
        }
        drop(reports);
        let fitted = fitting.await;
        recorded?;
        match fitted {
            Ok(Ok(heads)) if !cancel.is_cancelled() => Ok(heads),
            Ok(Ok(_) | Err(FitError::Cancelled { .. })) => Err(RunError::Cancelled),
            Ok(Err(error)) => Err(failed(error)),
            Err(_) => Err(RunError::Failed("the solver panicked; see the server's log".to_owned())),
        }
    }

    async fn record(&self, job: &Job, reports: &mut Vec<EpochReport>) -> Result<(), RunError> {
        self.store.record_epochs(&job.id, reports).await.map_err(failed)?;
        for (task, scores) in reports.last().iter().flat_map(|report| &report.tasks) {
            let label = TaskLabel { task: task.clone() };
            self.metrics.epoch_loss.get_or_create(&label).set(scores.train.loss);
        }
        self.progress.reach(reports.last().map_or(0, |report| report.epoch as usize));
        reports.clear();
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// Distinct texts with their labels.
#[derive(Default)]
struct Rows {
    texts: Vec<String>,
    /// Task to label, one a text.
    labels: Vec<BTreeMap<String, String>>,
    positions: HashMap<String, usize>,
}

impl Rows {
    /// Adds examples; a later label for the same text and task replaces the former.
    fn extend(&mut self, examples: Vec<Example>) {
        for example in examples {
            match self.positions.get(&example.text) {
                Some(&position) => self.labels[position].extend(example.labels),
                None => {
                    self.positions.insert(example.text.clone(), self.texts.len());
                    self.texts.push(example.text);
                    self.labels.push(example.labels);
                }
            }
        }
    }
}

fn split(
    tasks: Vec<Task>,
    rows: &Rows,
    embeddings: Array2<f32>,
    spec: &JobSpec,
) -> Result<Split, String> {
    let mut dataset = Dataset::new(embeddings).map_err(|error| error.to_string())?;
    for task in tasks {
        let class = |labels: &BTreeMap<String, String>| match labels.get(&task.name) {
            None => Ok(None),
            Some(label) => match task.labels.iter().position(|known| known == label) {
                Some(class) => Ok(Some(class)),
                None => Err(format!("task {:?} no longer has the label {label:?}", task.name)),
            },
        };
        let classes = rows.labels.iter().map(class).collect::<Result<Vec<_>, _>>()?;
        dataset = dataset
            .with_task(&task.name, task.labels.len(), classes)
            .map_err(|error| error.to_string())?;
    }
    dataset.split(spec.validation, spec.seed).map_err(|error| error.to_string())
}

/// The version that the fit starts from.
fn parent(live: &LiveTask, spec: &JobSpec) -> Option<i64> {
    let continued = spec.mode == Mode::Extend && live.version.is_trained();
    continued.then_some(live.version.version)
}

fn failed(error: impl std::error::Error + 'static) -> RunError {
    RunError::Failed(Causes(&error).to_string())
}
