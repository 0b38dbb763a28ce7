//! `/train`: jobs submitted, listed, watched and cancelled.

pub(super) mod events;
mod request;
mod rows;
mod upload;

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::{FromRequestParts, Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

pub use events::events;

use crate::http::body::room::Share;
use crate::http::body::{self, Pieces, media_type, parse_json, read, unsupported};
use crate::http::error::Problem;
use crate::http::parameters::{Parameters, Segment};
use crate::http::train::request::TrainRequest;
use crate::http::train::rows::{Checked, Place, Skipped};
use crate::http::train::upload::Format;
use crate::http::{AppState, to_the_end};
use crate::readiness::Phase;
use crate::store::{Cancellation, JobQuery, Submission};
use crate::training::job::{Job, JobSpec, JobState};
use crate::training::progress::Progress;

/// The media types that `POST /train` takes.
const ACCEPTED: &str = "application/json, text/csv, application/x-ndjson";

/// A page of jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobList {
    jobs: Vec<JobSummary>,
    /// Give it as `before` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A job and, while it has not ended, its progress.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobView {
    #[serde(flatten)]
    job: Job,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<Progress>,
}

impl JobView {
    fn of(job: Job, state: &AppState) -> JobView {
        JobView { progress: state.trainer.progress(&job), job }
    }
}

/// A job without the reports of its epochs.
#[derive(Debug, Serialize, ToSchema)]
pub struct JobSummary {
    id: String,
    state: JobState,
    spec: JobSpec,
    examples: i64,
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    finished_at: Option<Timestamp>,
    published: BTreeMap<String, i64>,
    reason: Option<String>,
}

impl From<Job> for JobSummary {
    fn from(job: Job) -> JobSummary {
        JobSummary {
            id: job.id,
            state: job.state,
            spec: job.spec,
            examples: job.examples,
            created_at: job.created_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            published: job.published,
            reason: job.reason,
        }
    }
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Jobs on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 100)]
    limit: u32,
    /// The `next` of the page before, or a job's id.
    #[param(pattern = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$")]
    before: Option<String>,
    /// Only jobs in this state.
    state: Option<JobState>,
}

const MOST_LISTED: u32 = 100;

fn default_limit() -> u32 {
    100
}

/// A job that was accepted.
#[derive(Debug, Serialize, ToSchema)]
pub struct Accepted {
    #[serde(flatten)]
    job: JobView,
    /// Rows that are not trained on, where the request allows for such.
    #[serde(skip_serializing_if = "Skipped::is_empty")]
    skipped: Skipped,
}

/// What a request would be as a job.
#[derive(Debug, Serialize, ToSchema)]
pub struct DryRun {
    spec: JobSpec,
    examples: usize,
    #[serde(skip_serializing_if = "Skipped::is_empty")]
    skipped: Skipped,
}

/// Trains heads on labelled sentences, in the background.
///
/// Examples that come as CSV (a header with `text` and a column for each task) or NDJSON (one example a
/// line) leave all other fields to the query string, which a JSON body has no use for. The time for an
/// answer begins when all examples are there.
#[utoipa::path(
    post, path = "/train", tag = "training", operation_id = "train",
    request_body(content(
        (TrainRequest = "application/json"),
        (String = "text/csv"),
        (String = "application/x-ndjson"),
    )),
    responses(
        (status = 200, description = "With `dry_run`: what would be a job", body = DryRun),
        (
            status = 202, description = "The job, which is durable now", body = Accepted,
            headers(("location", description = "Where the job is, such as `/train/{id}`")),
        ),
        (status = 400, description = "invalid_csv, row_too_long"),
        (status = 408, description = "body_too_slow"),
        (status = 422, description = "no_examples, too_many_examples, empty_text, nul_character, invalid_weight, no_labels, label_without_task, unknown_task, unknown_label, invalid_label, not_multi_label, conflicting_labels, mixed_models, single_class, encoder_not_frozen, invalid_option, invalid_csv, invalid_query"),
        (status = 429, description = "jobs_full"),
        (status = 503, description = "draining, store_unavailable"),
    ),
)]
pub async fn submit(State(state): State<AppState>, request: Request) -> Result<Response, Problem> {
    if state.readiness.phase() != Phase::Ready {
        return Err(Problem::unavailable("draining", "the server is shutting down"));
    }
    let share = request.extensions().get::<Share>().cloned();
    let (request, examples) = decode(&state, request).await?;
    let most = state.config.server.request_timeout;
    let answer = timeout(most, accept(state, request, examples, share)).await;
    answer.unwrap_or_else(|_| Err(Problem::timed_out(most)))
}

async fn accept(
    state: AppState,
    request: TrainRequest,
    examples: Checked,
    share: Option<Share>,
) -> Result<Response, Problem> {
    let dry_run = request.dry_run;
    let spec = request.check(&state, &examples).await?;
    let Checked { examples, skipped, .. } = examples;
    if dry_run {
        let examples = examples.len();
        return Ok(Answer(DryRun { spec, examples, skipped }).into_response());
    }
    let trainer = state.trainer.clone();
    let summary = skipped.summary();
    let submit = async move {
        // The examples take up their room until they are stored, whether anybody waits for it or not.
        let _share = share;
        let (examples, skipped) = (&examples[..], summary.as_ref());
        Ok(trainer.submit(Submission { spec: &spec, examples, skipped }).await?)
    };
    let job = to_the_end(submit).await?;
    let location = format!("/train/{}", job.id);
    // The answer lists the rows themselves.
    let job = Job { skipped: None, ..job };
    let accepted = Accepted { job: JobView::of(job, &state), skipped };
    let location = [(header::LOCATION, location)];
    Ok((StatusCode::ACCEPTED, location, Answer(accepted)).into_response())
}

/// Lists jobs, newest first.
#[utoipa::path(
    get, path = "/train", tag = "training", operation_id = "list_jobs",
    params(ListParameters),
    responses(
        (status = 200, description = "A page of jobs", body = JobList),
        (status = 422, description = "invalid_limit, invalid_before"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Answer<JobList>, Problem> {
    if !(1..=MOST_LISTED).contains(&parameters.limit) {
        let detail = format!("limit is {}; allowed: 1 to {MOST_LISTED}", parameters.limit);
        return Err(Problem::invalid("invalid_limit", detail).at("limit"));
    }
    let ListParameters { limit, before, state: wanted } = parameters;
    if let Some(before) = before.as_deref().filter(|before| !is_job_id(before)) {
        let detail = format!("before is {before:?}; allowed: the `next` of a page, or a job's id");
        return Err(Problem::invalid("invalid_before", detail).at("before"));
    }
    let jobs = state.store.jobs(&JobQuery { limit, before, state: wanted }).await?;
    let next = jobs.last().filter(|_| jobs.len() == limit as usize).map(|job| job.id.clone());
    Ok(Answer(JobList { jobs: jobs.into_iter().map(JobSummary::from).collect(), next }))
}

/// Shows a job with the report of each epoch.
#[utoipa::path(
    get, path = "/train/{id}", tag = "training", operation_id = "show_job",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "The job", body = JobView),
        (status = 404, description = "unknown_job"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn show(
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Answer<JobView>, Problem> {
    let job = find(&state, &id).await?;
    Ok(Answer(JobView::of(job, &state)))
}

/// Cancels a job: 200 where it was waiting, 202 where it runs and will stop at its next epoch.
#[utoipa::path(
    delete, path = "/train/{id}", tag = "training", operation_id = "cancel_job",
    params(("id" = String, Path, description = "The job's id")),
    responses(
        (status = 200, description = "The job was waiting and is cancelled", body = JobView),
        (status = 202, description = "The job runs and will stop at its next epoch", body = JobView),
        (status = 404, description = "unknown_job"),
        (status = 409, description = "job_ended"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn cancel(
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<(StatusCode, Answer<JobView>), Problem> {
    let (trainer, job) = (state.trainer.clone(), id.clone());
    let cancel = async move { Ok(trainer.cancel(&job).await?) };
    let status = match to_the_end(cancel).await? {
        Cancellation::Done => StatusCode::OK,
        Cancellation::Requested => StatusCode::ACCEPTED,
    };
    let job = find(&state, &id).await?;
    Ok((status, Answer(JobView::of(job, &state))))
}

/// Whether a text is written as the ids of jobs are, by which they are ordered.
fn is_job_id(text: &str) -> bool {
    Uuid::try_parse(text).is_ok_and(|id| id.to_string() == text)
}

async fn find(state: &AppState, id: &str) -> Result<Job, Problem> {
    let job = state.store.job(id).await?;
    if job.as_ref().is_some_and(|job| job.state.has_ended()) {
        state.trainer.let_go(id).await;
    }
    job.ok_or_else(|| Problem::not_found("unknown_job", format!("there is no job {id:?}")))
}

/// The request in whichever of the accepted forms it came. CSV and NDJSON carry examples only;
/// all else stands in the query string then.
async fn decode(state: &AppState, request: Request) -> Result<(TrainRequest, Checked), Problem> {
    let limit = state.config.limits.train_body_bytes.get();
    let media_type = media_type(request.headers());
    let format = match media_type.as_deref() {
        None | Some("application/json") => return decode_json(state, request).await,
        Some(name) => Format::of(name).ok_or_else(|| unsupported(media_type.clone(), ACCEPTED))?,
    };
    let (mut parts, body) = request.into_parts();
    let Parameters(mut request) =
        Parameters::<TrainRequest>::from_request_parts(&mut parts, state).await?;
    let mut rows = request.rows(state)?;
    let body = Pieces::new(Request::from_parts(parts, body), limit)?;
    upload::read(format, body, &mut rows).await?;
    Ok((request, rows.finish()?))
}

async fn decode_json(
    state: &AppState,
    request: Request,
) -> Result<(TrainRequest, Checked), Problem> {
    if request.uri().query().is_some_and(|query| !query.is_empty()) {
        let detail = "a JSON body says everything itself; allowed in the query string: nothing";
        return Err(Problem::invalid("invalid_query", detail));
    }
    let share = request.extensions().get::<Share>().cloned();
    let body = read(request, state.config.limits.train_body_bytes.get()).await?;
    let state = state.clone();
    body::decode(body, move |body| {
        let mut request: TrainRequest = parse_json(&body)?;
        let mut rows = request.rows(&state)?;
        let examples = std::mem::take(&mut request.examples);
        let (found, most) = (examples.len(), rows.rules().most);
        if found > most {
            let detail = format!("there are {found} examples; allowed: 1 to {most}");
            return Err(Problem::invalid("too_many_examples", detail).at("examples"));
        }
        for (index, raw) in examples.into_iter().enumerate() {
            rows.push(Place::Example(index), raw)?;
        }
        if let Some(share) = share {
            share.grow_to(body.len() + rows.held())?;
        }
        Ok((request, rows.finish()?))
    })
    .await
}
