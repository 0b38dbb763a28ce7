//! `/heads`: tasks made, listed and removed, with their versions.

pub(super) mod versions;
pub(super) mod weights;

use axum::Json as Answer;
use axum::extract::State;
use axum::http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::heads::live::LiveTask;
use crate::heads::{HeadVersion, InitialSeed, Kind, NewLabels, Task};
pub use versions::{promote, roll_back};
pub use weights::{export, import};

use crate::http::body::Json;
use crate::http::classify::check_threshold;
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::http::{AppState, to_the_end};
use crate::store::{TaskChange, VersionInfo};
use crate::training::evaluation::Evaluation;

/// A task and its live version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Head)]
pub struct HeadView {
    task: String,
    model: String,
    labels: Vec<String>,
    /// Whether a text may have any number of the labels, or has exactly one.
    multi_label: bool,
    new_labels: NewLabels,
    /// The least probability at which a label is given, unless a request says another.
    #[serde(skip_serializing_if = "Option::is_none")]
    threshold: Option<f32>,
    /// 0 while no training has published a version.
    version: i64,
    trained: bool,
    /// The latest version, where it was fit on another encoder than the one that is loaded now.
    #[serde(skip_serializing_if = "Option::is_none")]
    mismatched: Option<i64>,
    /// Examples that the store keeps for the task.
    examples: i64,
}

/// A [`HeadView`] with the history of its versions, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeadDetail {
    #[serde(flatten)]
    head: HeadView,
    versions: Vec<VersionView>,
}

/// A head version less its weights.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HeadVersion)]
pub struct VersionView {
    version: i64,
    /// The version that the fit started from.
    parent: Option<i64>,
    made_by: Maker,
    job: Option<String>,
    encoder: String,
    created_at: Timestamp,
    live: bool,
    /// How the head that was fit without the held-out rows did on them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Evaluation>)]
    evaluation: Option<Value>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Maker {
    Training,
    Import,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct HeadList {
    heads: Vec<HeadView>,
}

/// The body of `PUT /heads/{task}`: all that the task is. What is left out is as the configuration
/// declares it, if it declares the task, or else the default.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct HeadDefinition {
    /// In the order of the head's outputs.
    #[schema(min_items = 1)]
    labels: Vec<String>,
    /// The default one if it is left out.
    model: Option<String>,
    /// Whether a text may have any number of the labels, or has exactly one.
    multi_label: Option<bool>,
    new_labels: Option<NewLabels>,
    /// The least probability at which a label is given, unless a request says another.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f32>,
}

impl HeadDefinition {
    fn task(self, name: String, state: &AppState) -> Result<Task, Problem> {
        let declared = state.config.declared_tasks().into_iter().find(|task| task.name == name);
        let declared = declared.as_ref();
        let model = self.model.or_else(|| declared.map(|task| task.model.clone()));
        let model = state.encoder(model.as_deref())?.info().name.clone();
        let kind = match self.multi_label {
            Some(true) => Kind::MultiLabel,
            Some(false) => Kind::SingleLabel,
            None => declared.map(|task| task.kind).unwrap_or_default(),
        };
        let new_labels = self.new_labels.or(declared.map(|task| task.new_labels));
        let threshold = self.threshold.or(declared.and_then(|task| task.threshold));
        check_threshold(threshold)?;
        let task = Task::new(name, model, self.labels, kind, &state.config.limits.task_limits())?;
        Ok(Task { new_labels: new_labels.unwrap_or_default(), threshold, ..task })
    }
}

/// Lists the tasks with their live versions.
#[utoipa::path(
    get, path = "/heads", tag = "heads", operation_id = "list_heads",
    responses(
        (status = 200, description = "All tasks, by name", body = HeadList),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn list(State(state): State<AppState>) -> Result<Answer<HeadList>, Problem> {
    let counts = state.store.example_counts().await?;
    let snapshot = state.heads.snapshot();
    let view = |live: &LiveTask| view(live, counts.get(&live.task.name).copied().unwrap_or(0));
    Ok(Answer(HeadList { heads: snapshot.values().map(|live| view(live)).collect() }))
}

/// Shows a task with all its versions.
#[utoipa::path(
    get, path = "/heads/{task}", tag = "heads", operation_id = "show_head",
    params(("task" = String, Path, description = "The task's name")),
    responses(
        (status = 200, description = "The task", body = HeadDetail),
        (status = 404, description = "unknown_task"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn show(
    State(state): State<AppState>,
    Segment(task): Segment,
) -> Result<Answer<HeadDetail>, Problem> {
    detail(&state, &task).await.map(Answer)
}

/// Makes a task: 201, or 200 where it is there already with the same definition.
#[utoipa::path(
    put, path = "/heads/{task}", tag = "heads", operation_id = "put_head",
    params(("task" = String, Path, description = "The task's name")),
    request_body = HeadDefinition,
    responses(
        (status = 200, description = "The task was there already", body = HeadDetail),
        (status = 201, description = "The task was made", body = HeadDetail),
        (status = 404, description = "unknown_model"),
        (status = 409, description = "too_many_tasks, task_is_configured, task_in_use"),
        (status = 422, description = "invalid_task, invalid_threshold, nul_character"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn put(
    State(state): State<AppState>,
    Segment(name): Segment,
    Json(definition): Json<HeadDefinition>,
) -> Result<(StatusCode, Answer<HeadDetail>), Problem> {
    let task = definition.task(name.clone(), &state)?;
    let change = to_the_end(define(state.clone(), task.clone())).await?;
    if state.heads.snapshot().get(&name).is_none_or(|live| !live.task.is_grown_from(&task)) {
        // Another replica has just made it.
        state.follower.refresh().await?;
    }
    let status = match change {
        TaskChange::Created => StatusCode::CREATED,
        TaskChange::Redefined | TaskChange::Adjusted | TaskChange::Unchanged => StatusCode::OK,
    };
    Ok((status, Answer(detail(&state, &name).await?)))
}

/// Removes a task with its versions and its labels of examples.
#[utoipa::path(
    delete, path = "/heads/{task}", tag = "heads", operation_id = "delete_head",
    params(("task" = String, Path, description = "The task's name")),
    responses(
        (status = 204, description = "The task is gone"),
        (status = 404, description = "unknown_task"),
        (status = 409, description = "task_is_configured, task_in_training"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    Segment(task): Segment,
) -> Result<StatusCode, Problem> {
    check_is_not_configured(&state, &task)?;
    to_the_end(remove(state, task)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn define(state: AppState, task: Task) -> Result<TaskChange, Problem> {
    let heads = state.heads.write().await;
    let snapshot = state.heads.snapshot();
    let (tasks, allowed) = (snapshot.len(), state.config.limits.tasks.get());
    if !snapshot.contains_key(&task.name) && tasks >= allowed {
        let detail = format!("there are {tasks} tasks already; allowed: {allowed}");
        return Err(Problem::conflict("too_many_tasks", detail));
    }
    if snapshot.get(&task.name).is_some_and(|live| {
        live.task.new_labels != task.new_labels
            || live.task.threshold != task.threshold
            || !live.task.is_grown_from(&task)
    }) {
        check_is_not_configured(&state, &task.name)?;
    }
    let change = state.store.put_task(&task).await?;
    match change {
        TaskChange::Created | TaskChange::Redefined => {
            let info = state.encoder(Some(&task.model))?.info();
            let version = HeadVersion::untrained(&task, info, InitialSeed::default());
            heads.put(vec![LiveTask { task, version, mismatched: None }]);
        }
        TaskChange::Adjusted => {
            heads.grow(state.store.task(&task.name).await?.into_iter().collect())
        }
        TaskChange::Unchanged => {}
    }
    Ok(change)
}

async fn remove(state: AppState, task: String) -> Result<(), Problem> {
    let heads = state.heads.write().await;
    state.store.delete_task(&task).await?;
    heads.remove(&task);
    Ok(())
}

/// The next start would undo what is done here to a task of the configuration.
fn check_is_not_configured(state: &AppState, task: &str) -> Result<(), Problem> {
    if !state.config.tasks.contains_key(task) {
        return Ok(());
    }
    let detail =
        format!("task {task:?} is declared in the configuration; change or remove it there");
    Err(Problem::conflict("task_is_configured", detail))
}

async fn detail(state: &AppState, task: &str) -> Result<HeadDetail, Problem> {
    let snapshot = state.heads.snapshot();
    let live = snapshot.get(task).ok_or_else(|| unknown_task(task))?;
    let counts = state.store.example_counts().await?;
    let versions = state.store.versions(task).await?;
    Ok(HeadDetail {
        head: view(live, counts.get(task).copied().unwrap_or(0)),
        versions: versions.into_iter().map(version_view).collect(),
    })
}

/// The task with its live version, as of now.
async fn summary(state: &AppState, task: &str) -> Result<HeadView, Problem> {
    let counts = state.store.example_counts().await?;
    let snapshot = state.heads.snapshot();
    let live = snapshot.get(task).ok_or_else(|| unknown_task(task))?;
    Ok(view(live, counts.get(task).copied().unwrap_or(0)))
}

fn view(live: &LiveTask, examples: i64) -> HeadView {
    HeadView {
        task: live.task.name.clone(),
        model: live.task.model.clone(),
        labels: live.task.labels.clone(),
        multi_label: live.task.kind == Kind::MultiLabel,
        new_labels: live.task.new_labels,
        threshold: live.task.threshold,
        version: live.version.version,
        trained: live.version.is_trained(),
        mismatched: live.mismatched,
        examples,
    }
}

fn version_view(info: VersionInfo) -> VersionView {
    VersionView {
        version: info.version,
        parent: info.parent,
        made_by: if info.job.is_some() { Maker::Training } else { Maker::Import },
        job: info.job,
        encoder: info.encoder,
        created_at: info.created_at,
        live: info.live,
        evaluation: info.evaluation,
    }
}

fn unknown_task(task: &str) -> Problem {
    Problem::not_found("unknown_task", format!("there is no task {task:?}; see GET /heads"))
}
