//! One job from its examples to new weights: gather, embed, fit. Nothing is published here.

mod held_out;
mod rows;

use std::collections::{BTreeSet, HashMap};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use ndarray::Array2;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

pub(super) use self::held_out::HeldOut;

use crate::causes::Causes;
use crate::encoder::Encoder;
use crate::heads::head::Head;
use crate::heads::live::{LiveTask, Snapshot};
use crate::heads::{HeadVersion, InitialSeed, Kind, NewLabels, Task};
use crate::metrics::{Metrics, TaskLabel};
use crate::store::{Store, StoreError};
use crate::training::background::compute;
use crate::training::dataset::Dataset;
use crate::training::evaluation::Evaluation;
use crate::training::hold::Hold;
use crate::training::job::{ClassWeight, EpochReport, Job, JobSpec, Mode, Target};
use crate::training::learn::{Learning, Learnt, Plan, Start, Step, learn};
use crate::training::progress::{Meter, Phase};
use crate::training::publish::twin;
use crate::training::result::{RowCounts, Seconds, TextCounts};
use crate::training::run::held_out::HeldOutText;
use crate::training::run::rows::Rows;
use crate::training::solver::FitError;

/// Steps that may wait to be recorded before the solver waits for the store.
const STEPS: usize = 64;

/// What a run works with.
pub(super) struct Run<'a> {
    pub store: &'a Store,
    /// What is asked of the store waits for it while it is away.
    pub hold: &'a Hold<'a>,
    pub encoder: &'a Encoder,
    pub heads: &'a Snapshot,
    pub metrics: &'a Metrics,
    pub changes: &'a watch::Sender<u64>,
    pub progress: &'a Meter,
}

/// The heads that a run has fit, and what they can be judged by.
pub(super) struct Fitted {
    pub heads: Vec<Trained>,
    pub held_out: Option<Arc<HeldOut>>,
    pub texts: TextCounts,
    pub rows: RowCounts,
    pub seconds: Seconds,
}

/// A head that a run has fit.
pub(super) struct Trained {
    /// As it was when the head was fit.
    pub task: Task,
    /// The fingerprint of the encoder whose embeddings it was fit on.
    pub encoder: String,
    /// The version that the fit started from.
    pub parent: Option<i64>,
    pub head: Head,
    /// Made in the same way without the held-out rows, where there are any.
    pub twin: Option<Head>,
    pub evaluation: Evaluation,
}

impl Trained {
    /// The head that was fit without the held-out rows.
    pub fn challenger(&self) -> &Head {
        self.twin.as_ref().unwrap_or(&self.head)
    }
}

/// Why a run gave no heads.
pub(super) enum RunError {
    Cancelled,
    /// Another replica runs the job by now.
    TakenOver,
    /// With the reason, as the job's record shows it.
    Failed(String),
}

impl Run<'_> {
    /// Trains the heads that the job does not freeze, and gives these.
    pub async fn train(&self, job: &Job, cancel: &CancellationToken) -> Result<Fitted, RunError> {
        let live = self.tasks(&job.spec)?;
        self.progress.enter(&job.id, Phase::Gathering, 0);
        let rows = self.gather(job).await?;
        let tasks: Vec<Task> = live.iter().map(|live| grown(&live.task, &rows)).collect();
        self.progress.enter(&job.id, Phase::Embedding, rows.hashes.len());
        let embedded = self.embed(&rows, cancel).await?;
        let (clock, counts) = (Instant::now(), rows.counts());
        let start = self.starts(&live, &tasks, &job.spec).await?;
        let (labels, spec) = (tasks.clone(), job.spec.clone());
        // Copies of large arrays: nothing for the async runtime.
        let prepared = compute(move || prepare(labels, &rows, embedded.values, &spec)).await;
        let mut prepared = prepared.map_err(failed)?.map_err(RunError::Failed)?;
        let texts = std::mem::take(&mut prepared.texts);
        let Learning { heads, held_out } = self.learn(job, prepared, start, cancel).await?;
        let seconds =
            Seconds { embedding: embedded.seconds, fitting: clock.elapsed().as_secs_f64() };
        let trained = |((live, task), learnt): ((&LiveTask, Task), Learnt)| Trained {
            task,
            encoder: self.encoder.info().fingerprint.clone(),
            parent: parent(live, &job.spec),
            head: learnt.head,
            twin: learnt.twin,
            evaluation: learnt.evaluation,
        };
        let learnt = live.into_iter().zip(tasks).zip(heads);
        let unfrozen = learnt.filter(|((_, task), _)| !job.spec.frozen.contains(&task.name));
        let heads = unfrozen.map(trained).collect();
        let held_out = held_out.map(|data| Arc::new(HeldOut { data, texts }));
        Ok(Fitted { heads, held_out, texts: embedded.counts, rows: counts, seconds })
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

    /// Where the fits start. What was live has seen the rows that are held out now, its twin has not.
    async fn starts(
        &self,
        live: &[&LiveTask],
        tasks: &[Task],
        spec: &JobSpec,
    ) -> Result<Vec<Start>, RunError> {
        let mut starts = Vec::with_capacity(tasks.len());
        for (live, task) in live.iter().zip(tasks) {
            let current = known(&live.version.head, task);
            starts.push(if spec.frozen.contains(&task.name) {
                Start::Freeze(current)
            } else if spec.mode == Mode::Extend && live.version.is_trained() {
                let (twin, _) = self.hold.persist(|| twin(self.store, live)).await?;
                Start::Train { head: current, twin: known(&twin, task) }
            } else if spec.mode == Mode::Extend {
                Start::Train { twin: current.clone(), head: current }
            } else {
                let seed = InitialSeed(spec.seed);
                let head = HeadVersion::untrained(task, self.encoder.info(), seed).head;
                Start::Train { twin: head.clone(), head }
            });
        }
        Ok(starts)
    }

    /// Learns on a thread of its own, and records each epoch as it comes.
    async fn learn(
        &self,
        job: &Job,
        Prepared { data, held_out, .. }: Prepared,
        start: Vec<Start>,
        cancel: &CancellationToken,
    ) -> Result<Learning, RunError> {
        let epochs = job.spec.solver.epochs() as usize;
        self.progress.enter(&job.id, Phase::Fitting, epochs);
        let (sender, mut steps) = mpsc::channel(STEPS);
        let plan = Plan {
            solver: job.spec.solver.clone(),
            l2: job.spec.l2,
            calibrate: job.spec.calibrate,
            seed: job.spec.seed,
        };
        let cancelled = cancel.clone();
        let fitting = compute(move || {
            let mut on_step = |step| {
                // Nobody listens any more when the store refused a report: the job fails then.
                let heard = match step {
                    Step::Epoch(_) => sender.blocking_send(step).is_ok(),
                    // Only to be seen as it goes by.
                    Step::CrossValidation(_) | Step::Refit => {
                        !matches!(sender.try_send(step), Err(TrySendError::Closed(_)))
                    }
                };
                match heard && !cancelled.is_cancelled() {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                }
            };
            learn(&plan, data, &held_out, start, &mut on_step)
        });
        let mut recorded = Ok(());
        let mut batch = Vec::with_capacity(STEPS);
        let (mut refit, trained) = (0, job.spec.tasks.difference(&job.spec.frozen).count());
        while recorded.is_ok() && steps.recv_many(&mut batch, STEPS).await > 0 {
            let mut reports = Vec::new();
            for step in batch.drain(..) {
                match step {
                    Step::CrossValidation(stage) => self.progress.cross_validate(stage),
                    Step::Refit => {
                        refit += 1;
                        self.progress.step(Phase::Refitting, refit, epochs * trained);
                    }
                    Step::Epoch(report) => reports.push(report),
                }
            }
            recorded = self.record(job, &reports).await;
        }
        drop(steps);
        let fitted = fitting.await;
        recorded?;
        match fitted {
            Ok(Ok(learnt)) if !cancel.is_cancelled() => Ok(learnt),
            Ok(Ok(_) | Err(FitError::Cancelled { .. })) => Err(RunError::Cancelled),
            Ok(Err(error)) => Err(failed(error)),
            Err(error) => Err(failed(error)),
        }
    }

    async fn record(&self, job: &Job, reports: &[EpochReport]) -> Result<(), RunError> {
        let Some(last) = reports.last() else { return Ok(()) };
        self.hold.persist(|| self.store.record_epochs(&job.id, reports)).await?;
        for (task, scores) in &last.tasks {
            let label = TaskLabel { task: task.clone() };
            self.metrics.epoch_loss.get_or_create(&label).set(scores.train.loss);
        }
        let epochs = job.spec.solver.epochs() as usize;
        self.progress.step(Phase::Fitting, last.epoch as usize, epochs);
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }
}

/// The task with the labels that its examples bring, if it allows that, in the order of these.
fn grown(task: &Task, rows: &Rows) -> Task {
    let mut grown = task.clone();
    if task.new_labels == NewLabels::Allow {
        let mut known: BTreeSet<&String> = task.labels.iter().collect();
        let targets = rows.labels.iter().filter_map(|labels| labels.get(&task.name));
        let labels = targets.flat_map(Target::labels);
        grown.labels.extend(labels.filter(|&label| known.insert(label)).cloned());
    }
    grown
}

/// The head, for all labels of its task.
fn known(head: &Head, task: &Task) -> Head {
    let further = task.labels.strip_prefix(&**head.labels()).unwrap_or_default();
    head.extended(further).expect("the labels of a task differ")
}

/// The rows to learn from, which of them to hold out, and the texts of these.
struct Prepared {
    data: Dataset,
    held_out: Vec<bool>,
    texts: Vec<HeldOutText>,
}

fn prepare(
    tasks: Vec<Task>,
    rows: &Rows,
    embeddings: Array2<f32>,
    spec: &JobSpec,
) -> Result<Prepared, String> {
    let dataset = label(tasks, rows, embeddings)?;
    let held_out = dataset
        .choose_held_out(spec.validation, &rows.hashes)
        .map_err(|error| error.to_string())?;
    let data = match spec.class_weight {
        Some(ClassWeight::Balanced) => dataset.balanced(),
        None => dataset,
    };
    let texts = HeldOutText::of(rows, &held_out);
    Ok(Prepared { data, held_out, texts })
}

fn label(tasks: Vec<Task>, rows: &Rows, embeddings: Array2<f32>) -> Result<Dataset, String> {
    let mut dataset = Dataset::new(embeddings)
        .and_then(|dataset| dataset.with_weights(rows.weights.clone()))
        .map_err(|error| error.to_string())?;
    for task in tasks {
        let classes: HashMap<&String, usize> =
            task.labels.iter().enumerate().map(|(class, label)| (label, class)).collect();
        let class = |label: &String| match classes.get(label) {
            Some(&class) => Ok(class),
            None => Err(format!("task {:?} no longer has the label {label:?}", task.name)),
        };
        let other_kind = || format!("task {:?} is {} by now", task.name, task.kind);
        let targets = rows.labels.iter().map(|labels| labels.get(&task.name));
        let labelled = match task.kind {
            Kind::SingleLabel => {
                let one = |target: Option<&Target>| match target {
                    None => Ok(None),
                    Some(Target::Label(label)) => class(label).map(Some),
                    Some(Target::Labels(_)) => Err(other_kind()),
                };
                let values = targets.map(one).collect::<Result<_, _>>()?;
                dataset.with_task(&task.name, classes.len(), values)
            }
            Kind::MultiLabel => {
                let several = |target: Option<&Target>| match target {
                    None => Ok(None),
                    Some(Target::Labels(labels)) => {
                        labels.iter().map(class).collect::<Result<_, _>>().map(Some)
                    }
                    Some(Target::Label(_)) => Err(other_kind()),
                };
                let values = targets.map(several).collect::<Result<_, _>>()?;
                dataset.with_multi_label_task(&task.name, classes.len(), values)
            }
        };
        dataset = labelled.map_err(|error| error.to_string())?;
    }
    Ok(dataset)
}

/// The version that the fit starts from.
fn parent(live: &LiveTask, spec: &JobSpec) -> Option<i64> {
    let continued = spec.mode == Mode::Extend && live.version.is_trained();
    continued.then_some(live.version.version)
}

impl From<StoreError> for RunError {
    fn from(error: StoreError) -> RunError {
        match error {
            StoreError::LeaseLost { .. } | StoreError::JobState { .. } => RunError::TakenOver,
            error => failed(error),
        }
    }
}

fn failed(error: impl std::error::Error + 'static) -> RunError {
    RunError::Failed(Causes(&error).to_string())
}
