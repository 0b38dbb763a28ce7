//! A training request as a client writes it, and its way to a [`JobSpec`].

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer};
use utoipa::ToSchema;

use crate::heads::live::Snapshot;
use crate::http::AppState;
use crate::http::body::object;
use crate::http::error::Problem;
use crate::http::one_or_many::OneOrMany;
use crate::http::train::rows::{Checked, OnBadRow, RawExample, Rows, Rules};
use crate::training::job::{ClassWeight, Example, JobSpec, Mode, Target};
use crate::training::result::Promote;
use crate::training::selection::Strength;
use crate::training::solver::{InvalidSetting, Solver, check_l2};
use crate::training::verdict::DEFAULT_MARGIN;

/// Stands for the shared encoder in `freeze`.
const ENCODER: &str = "encoder";

/// SetFit's rate for a head on frozen embeddings.
const ADAM_LEARNING_RATE: f64 = 1e-2;

const ADAM_EPOCHS: u32 = 50;

const ADAM_BATCH_SIZE: usize = 32;

/// The body of `POST /train`. All but the examples has a default; where these come as CSV or NDJSON,
/// the rest stands in the query string.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrainRequest {
    #[serde(default, deserialize_with = "object::list")]
    #[schema(required = true, min_items = 1)]
    pub examples: Vec<RawExample>,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    solver: SolverName,
    /// Of adam; 0.01 by default.
    #[schema(exclusive_minimum = 0)]
    learning_rate: Option<f64>,
    /// At most; 100 for lbfgs and 50 for adam by default.
    #[schema(minimum = 1)]
    epochs: Option<u32>,
    /// Of adam; 32 by default.
    #[schema(minimum = 1)]
    batch_size: Option<usize>,
    /// The strength of the penalty; by default `auto` for lbfgs and 0 for adam.
    l2: Option<Strength>,
    class_weight: Option<ClassWeight>,
    /// Of adam: epochs without a lower validation loss after which a task stops.
    #[schema(minimum = 1)]
    patience: Option<u32>,
    /// Whether probabilities are calibrated; for lbfgs by default.
    calibrate: Option<bool>,
    /// `encoder` and tasks; by default the encoder.
    #[serde(default, deserialize_with = "names")]
    #[schema(value_type = Option<OneOrMany>)]
    freeze: Option<Vec<String>>,
    /// Share of the examples that is held out; by default as many as say something.
    #[schema(minimum = 0, exclusive_maximum = 1)]
    validation: Option<f64>,
    /// Seeds initial weights, folds and the order of mini-batches.
    #[serde(default)]
    seed: u64,
    #[serde(default)]
    promote: Promote,
    /// How far below the live version's accuracy a new one may be to go live, as a share.
    #[serde(default = "default_margin")]
    #[schema(minimum = 0, maximum = 1)]
    margin: f64,
    /// The tasks whose labels count; by default all that the examples have labels for.
    #[serde(default, deserialize_with = "names")]
    #[schema(value_type = Option<OneOrMany>)]
    task: Option<Vec<String>>,
    #[serde(default)]
    on_bad_row: OnBadRow,
    /// Checks the request and tells what would be trained on, without a job.
    #[serde(default)]
    pub dry_run: bool,
}

fn default_margin() -> f64 {
    DEFAULT_MARGIN
}

/// The algorithm that fits the heads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum SolverName {
    #[default]
    Lbfgs,
    Adam,
}

impl TrainRequest {
    /// The checks that the examples, which are taken out of the request, have to pass.
    pub fn rows(&mut self, state: &AppState) -> Result<Rows, Problem> {
        Rows::new(Rules {
            heads: state.heads.snapshot(),
            tasks: self.task.take().unwrap_or_default(),
            on_bad_row: self.on_bad_row,
            most: state.config.limits.examples_per_job.get(),
            limits: state.config.limits.task_limits(),
        })
    }

    /// Everything that can be said before the job runs.
    pub async fn check(self, state: &AppState, examples: &Checked) -> Result<JobSpec, Problem> {
        let limits = &state.config.limits;
        let heads = state.heads.snapshot();
        let tasks = examples.tasks.clone();
        let frozen = self.frozen(&heads)?;
        if let Some((task, labels)) =
            examples.new_labels.iter().find(|(it, _)| frozen.contains(*it))
        {
            let detail = format!("task {task:?} is frozen and cannot learn {:?}", labels[0]);
            return Err(Problem::invalid("unknown_label", detail).at("freeze"));
        }
        let spec = JobSpec {
            model: examples.model.clone(),
            frozen: frozen.intersection(&tasks).cloned().collect(),
            tasks,
            mode: self.mode,
            solver: self.solver(limits.epochs_per_job.get())?,
            l2: self.l2()?,
            class_weight: self.class_weight,
            calibrate: self.calibrate()?,
            validation: self.validation()?,
            seed: self.seed,
            promote: self.promote,
            margin: self.margin()?,
        };
        check_classes(&examples.examples, &spec, state).await?;
        Ok(spec)
    }

    fn solver(&self, most_epochs: usize) -> Result<Solver, Problem> {
        if let Some(epochs) = self.epochs.filter(|&epochs| epochs as usize > most_epochs) {
            let detail = format!("epochs is {epochs}; allowed: 1 to {most_epochs}");
            return Err(Problem::invalid("invalid_option", detail).at("epochs"));
        }
        let solver = match self.solver {
            SolverName::Lbfgs => {
                for (given, name) in [
                    (self.learning_rate.is_some(), "learning_rate"),
                    (self.batch_size.is_some(), "batch_size"),
                    (self.patience.is_some(), "patience"),
                ] {
                    if given {
                        let detail = format!("{name} is for the solver adam; lbfgs has none");
                        return Err(Problem::invalid("invalid_option", detail).at(name));
                    }
                }
                Solver::Lbfgs { epochs: self.epochs.unwrap_or(Solver::default().epochs()) }
            }
            SolverName::Adam => Solver::Adam {
                learning_rate: self.learning_rate.unwrap_or(ADAM_LEARNING_RATE),
                epochs: self.epochs.unwrap_or(ADAM_EPOCHS),
                batch_size: self.batch_size.unwrap_or(ADAM_BATCH_SIZE),
                patience: self.patience,
            },
        };
        solver.validate().map_err(|error| out_of_range(&error))?;
        Ok(solver)
    }

    fn l2(&self) -> Result<Strength, Problem> {
        match (self.solver, self.l2) {
            (SolverName::Adam, Some(Strength::Auto)) => {
                let detail =
                    "l2 is \"auto\", which is for the solver lbfgs; allowed for adam: a number";
                Err(Problem::invalid("invalid_option", detail).at("l2"))
            }
            (SolverName::Adam, None) => Ok(Strength::Given(0.0)),
            (SolverName::Lbfgs, None) => Ok(Strength::Auto),
            (_, Some(strength)) => {
                if let Strength::Given(l2) = strength {
                    check_l2(l2).map_err(|error| out_of_range(&error))?;
                }
                Ok(strength)
            }
        }
    }

    /// Adam as it is asked for is left alone, so that its loop can be compared with others.
    fn calibrate(&self) -> Result<bool, Problem> {
        let adam = self.solver == SolverName::Adam;
        let told = self.validation != Some(0.0) || self.patience.is_some();
        if adam && self.calibrate == Some(true) && !told {
            let detail = "adam is calibrated on held-out examples or, with a patience, by cross-validation; with calibrate, validation is above 0 or left out, or there is a patience";
            return Err(Problem::invalid("invalid_option", detail).at("calibrate"));
        }
        Ok(self.calibrate.unwrap_or(!adam))
    }

    fn validation(&self) -> Result<Option<f64>, Problem> {
        match self.validation {
            Some(share) if !(0.0..1.0).contains(&share) => {
                let detail = format!("validation is {share}; allowed: at least 0 and below 1");
                Err(Problem::invalid("invalid_option", detail).at("validation"))
            }
            share => Ok(share),
        }
    }

    fn margin(&self) -> Result<f64, Problem> {
        if (0.0..=1.0).contains(&self.margin) {
            return Ok(self.margin);
        }
        let detail = format!(
            "margin is {}; allowed: 0 to 1, a share of the held-out rows (0.01 is one point of accuracy)",
            self.margin
        );
        Err(Problem::invalid("invalid_option", detail).at("margin"))
    }

    /// The tasks to freeze.
    fn frozen(&self, heads: &Snapshot) -> Result<BTreeSet<String>, Problem> {
        let Some(names) = &self.freeze else {
            return Ok(BTreeSet::new());
        };
        if !names.iter().any(|name| name == ENCODER) {
            let detail =
                "training the encoder is not supported yet: freeze must contain \"encoder\"";
            return Err(Problem::invalid("encoder_not_frozen", detail).at("freeze"));
        }
        let unknown = |&(_, name): &(usize, &String)| name != ENCODER && !heads.contains_key(name);
        if let Some((index, name)) = names.iter().enumerate().find(unknown) {
            let detail = format!("there is no task {name:?}; allowed: encoder, {}", known(heads));
            return Err(Problem::invalid("unknown_task", detail).at(format!("freeze[{index}]")));
        }
        Ok(names.iter().filter(|&name| name != ENCODER).cloned().collect())
    }
}

/// A head cannot learn from examples that all say the same. With earlier examples the job itself finds out.
async fn check_classes(
    examples: &[Example],
    spec: &JobSpec,
    state: &AppState,
) -> Result<(), Problem> {
    let kept = match spec.mode {
        Mode::Extend => state.store.example_counts().await?,
        Mode::Replace => BTreeMap::new(),
    };
    for task in spec.tasks.difference(&spec.frozen).filter(|&task| !kept.contains_key(task)) {
        let targets: BTreeSet<&Target> =
            examples.iter().filter_map(|example| example.labels.get(task)).collect();
        if let (1, Some(only)) = (targets.len(), targets.first()) {
            let needed = match only {
                Target::Label(_) => "2 different labels",
                Target::Labels(_) => "one label that applies to some of them and not to others",
            };
            let detail = format!(
                "all examples of task {task:?} are labelled {only}; a head needs at least {needed}"
            );
            return Err(Problem::invalid("single_class", detail).at("examples"));
        }
    }
    Ok(())
}

fn out_of_range(error: &InvalidSetting) -> Problem {
    Problem::invalid("invalid_option", error.to_string()).at(error.setting)
}

fn known(heads: &Snapshot) -> String {
    heads.keys().map(String::as_str).collect::<Vec<_>>().join(", ")
}

/// A list of names, or, as a query string has no lists, names with commas between them.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<String>>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a list of names, or names with commas between them")]
    enum Names {
        List(Vec<String>),
        Joined(String),
    }
    Ok(Option::<Names>::deserialize(deserializer)?.map(|names| match names {
        Names::List(names) => names,
        Names::Joined(names) => names.split(',').map(|name| name.trim().to_owned()).collect(),
    }))
}
