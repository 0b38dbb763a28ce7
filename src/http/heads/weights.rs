//! Weights in and out, as safetensors.

use axum::Json as Answer;
use axum::extract::{Request, State};
use axum::http::{HeaderName, StatusCode, header};
use serde::Deserialize;
use utoipa::IntoParams;

use super::{VersionView, unknown_task, version_view};
use crate::heads::head::{Head, Origin, encoder_of};
use crate::heads::live::LiveTask;
use crate::heads::{HeadVersion, Task};
use crate::http::body::{media_type, read, unsupported};
use crate::http::error::Problem;
use crate::http::parameters::{Parameters, Segment};
use crate::http::{AppState, to_the_end};
use crate::store::{NewVersion, StoreError, VersionInfo};

/// safetensors has no registered media type.
const MEDIA_TYPE: &str = "application/octet-stream";

/// What a file may hold besides its tensors: the labels and other metadata.
const HEADER_BYTES: usize = 1 << 20;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ExportParameters {
    /// The live one by default.
    version: Option<i64>,
}

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ImportParameters {
    /// Whether the version goes live.
    #[serde(default = "yes")]
    promote: bool,
    /// The fingerprint of the encoder that the weights belong to, where the file does not name it.
    encoder: Option<String>,
}

fn yes() -> bool {
    true
}

/// The weights of a version, the live one by default: `weight`, `bias` and where they come from.
#[utoipa::path(
    get, path = "/heads/{task}/weights", tag = "heads", operation_id = "export_weights",
    params(("task" = String, Path, description = "The task's name"), ExportParameters),
    responses(
        (
            status = 200, description = "A safetensors file",
            body = Vec<u8>, content_type = "application/octet-stream",
            headers(("content-disposition", description = "The file's name, such as `topic-3.safetensors`")),
        ),
        (status = 404, description = "unknown_task, unknown_version"),
        (status = 409, description = "head_untrained"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn export(
    State(state): State<AppState>,
    Segment(task): Segment,
    Parameters(ExportParameters { version }): Parameters<ExportParameters>,
) -> Result<([(HeaderName, String); 2], Vec<u8>), Problem> {
    let snapshot = state.heads.snapshot();
    let live = snapshot.get(&task).ok_or_else(|| unknown_task(&task))?;
    let version = version.or_else(|| live_version(live)).ok_or_else(|| {
        let detail = format!("task {task:?} has no live version: no training has published one");
        Problem::conflict("head_untrained", detail)
    })?;
    let stored = state.store.version(&task, version).await?;
    let stored =
        stored.ok_or_else(|| StoreError::UnknownVersion { task: task.clone(), version })?;
    let restored = HeadVersion::restored(stored).map_err(|error| Problem::internal(&error))?;
    let origin = Origin {
        task: &task,
        model: &live.task.model,
        encoder: &restored.encoder,
        version: restored.version,
    };
    let disposition = format!("attachment; filename=\"{task}-{version}.safetensors\"");
    let headers =
        [(header::CONTENT_TYPE, MEDIA_TYPE.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((headers, restored.head.export(&origin)))
}

/// Takes weights in as a new version: 201.
#[utoipa::path(
    put, path = "/heads/{task}/weights", tag = "heads", operation_id = "import_weights",
    params(("task" = String, Path, description = "The task's name"), ImportParameters),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "A safetensors file with `weight` and `bias`"),
    responses(
        (
            status = 201, description = "The version that was made", body = VersionView,
            headers(("location", description = "Where its weights are")),
        ),
        (status = 400, description = "invalid_safetensors"),
        (status = 404, description = "unknown_task"),
        (status = 409, description = "encoder_mismatch, labels_mismatch, kind_mismatch, task_changed"),
        (status = 422, description = "unknown_encoder, invalid_weights"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn import(
    State(state): State<AppState>,
    Segment(name): Segment,
    Parameters(parameters): Parameters<ImportParameters>,
    request: Request,
) -> Result<(StatusCode, [(HeaderName, String); 1], Answer<VersionView>), Problem> {
    let media_type = media_type(request.headers());
    if media_type.as_deref().is_some_and(|media_type| media_type != MEDIA_TYPE) {
        return Err(unsupported(media_type, MEDIA_TYPE));
    }
    let task = task_of(&state, &name)?;
    let encoder = state.encoder(Some(&task.model))?;
    let width = encoder.info().dimensions;
    // Beside its weights, a label has a bias and, in a multi-label task, a threshold.
    let tensors = task.labels.len() * (width + 2) * size_of::<f32>();
    let body = read(request, tensors + HEADER_BYTES).await?;
    let fingerprint = encoder.info().fingerprint.clone();
    check_encoder(&body, parameters.encoder, &fingerprint, &task)?;
    let head = Head::import(&body, task.labels.clone(), task.kind, width)?;
    let version = NewVersion {
        task,
        encoder: fingerprint,
        parent: None,
        weights: head.to_bytes(),
        twin: None,
        evaluation: None,
        goes_live: parameters.promote,
    };
    let info = to_the_end(store(state, version, head)).await?;
    let location = format!("/heads/{name}/weights?version={}", info.version);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Answer(version_view(info))))
}

/// Durable first, then live in one step.
async fn store(state: AppState, version: NewVersion, head: Head) -> Result<VersionInfo, Problem> {
    let heads = state.heads.write().await;
    let info = state.store.import(version).await?;
    if info.live {
        heads.publish(vec![HeadVersion::published(info.clone(), head)]);
    }
    Ok(info)
}

fn check_encoder(
    body: &[u8],
    given: Option<String>,
    expected: &str,
    task: &Task,
) -> Result<(), Problem> {
    let Some(found) = encoder_of(body)?.or(given) else {
        let detail = format!(
            "the file's metadata does not say which encoder the weights belong to (`encoder`); if it is model {:?}, add ?encoder={expected}",
            task.model
        );
        return Err(Problem::invalid("unknown_encoder", detail).at("encoder"));
    };
    if found == expected {
        return Ok(());
    }
    let detail = format!(
        "the weights belong to the encoder {found:?}, but model {:?} of task {:?} is {expected:?}",
        task.model, task.name
    );
    Err(Problem::conflict("encoder_mismatch", detail).at("encoder"))
}

/// The version that answers, or would if it had not been fit on another encoder.
fn live_version(live: &LiveTask) -> Option<i64> {
    live.version.is_trained().then_some(live.version.version).or(live.mismatched)
}

fn task_of(state: &AppState, name: &str) -> Result<Task, Problem> {
    let snapshot = state.heads.snapshot();
    snapshot.get(name).map(|live| live.task.clone()).ok_or_else(|| unknown_task(name))
}
