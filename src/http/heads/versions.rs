//! Versions made live by hand.

use axum::Json as Answer;
use axum::extract::{Request, State};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{HeadView, summary, unknown_task};
use crate::heads::HeadVersion;
use crate::http::body::{Json, parse_json, read};
use crate::http::error::Problem;
use crate::http::parameters::Segment;
use crate::http::{AppState, to_the_end};
use crate::store::{StoreError, StoredVersion};

/// The body of `POST /heads/{task}/promote`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Promotion {
    version: i64,
}

/// The body of `POST /heads/{task}/rollback`, which may be left out.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    version: Option<i64>,
}

/// Makes a version live, whatever its scores are.
#[utoipa::path(
    post, path = "/heads/{task}/promote", tag = "heads",
    params(("task" = String, Path, description = "The task's name")),
    request_body = Promotion,
    responses(
        (status = 200, description = "The task with the version that is live now", body = HeadView),
        (status = 404, description = "unknown_task, unknown_version"),
        (status = 409, description = "encoder_mismatch"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn promote(
    State(state): State<AppState>,
    Segment(task): Segment,
    Json(Promotion { version }): Json<Promotion>,
) -> Result<Answer<HeadView>, Problem> {
    change(state, task, Change::Promote(version)).await.map(Answer)
}

/// Makes the version live that was live before, or an earlier one that the body names.
#[utoipa::path(
    post, path = "/heads/{task}/rollback", tag = "heads",
    params(("task" = String, Path, description = "The task's name")),
    request_body = Option<Rollback>,
    responses(
        (status = 200, description = "The task with the version that is live now", body = HeadView),
        (status = 404, description = "unknown_task, unknown_version"),
        (status = 409, description = "no_earlier_version, never_live, encoder_mismatch"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn roll_back(
    State(state): State<AppState>,
    Segment(task): Segment,
    request: Request,
) -> Result<Answer<HeadView>, Problem> {
    let body = read(request, state.config.limits.body_bytes.get()).await?;
    let Rollback { version } = match body.trim_ascii().is_empty() {
        true => Rollback::default(),
        false => parse_json(&body)?,
    };
    change(state, task, Change::RollBack(version)).await.map(Answer)
}

enum Change {
    Promote(i64),
    RollBack(Option<i64>),
}

/// Durable first, then live in one step.
async fn change(state: AppState, task: String, change: Change) -> Result<HeadView, Problem> {
    to_the_end(async move {
        let heads = state.heads.write().await;
        let snapshot = state.heads.snapshot();
        let live = snapshot.get(&task).ok_or_else(|| unknown_task(&task))?;
        let encoder = &state.encoder(Some(&live.task.model))?.info().fingerprint;
        let changed: Result<StoredVersion, StoreError> = match change {
            Change::Promote(version) => state.store.promote(&task, version, encoder).await,
            Change::RollBack(to) => state.store.roll_back(&task, to, encoder).await,
        };
        let version = HeadVersion::restored(changed?);
        heads.publish(vec![version.map_err(|error| Problem::internal(&error))?]);
        summary(&state, &task).await
    })
    .await
}
