//! Which head versions a request waits for, and which ones answered it.

use std::collections::BTreeMap;

use axum::http::{HeaderName, HeaderValue};
use axum::response::{IntoResponseParts, ResponseParts};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::encoder::Deadline;
use crate::heads::live::{LiveHeads, LiveTask, Snapshot};
use crate::http::error::Problem;

/// The head versions that answered, such as `sentiment=3, topic=12`.
const HEAD_VERSION: HeaderName = HeaderName::from_static("x-head-version");

/// The field of the request.
const FIELD: &str = "min_head_version";

/// The least versions that may answer: a client that has published one, perhaps on another replica,
/// reads its own write.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a version, or an object of task and version")]
pub enum MinHeadVersion {
    /// Of the only task that the request names.
    OfTheTask(i64),
    ByTask(BTreeMap<String, i64>),
}

impl MinHeadVersion {
    /// Waits until all these versions, or later ones, are live.
    ///
    /// # Errors
    /// A request that does not say of which task, or of a task that it does not ask; a version that
    /// is not live when the deadline comes.
    pub async fn wait(
        self,
        heads: &LiveHeads,
        tasks: Option<&[String]>,
        deadline: Deadline,
    ) -> Result<(), Problem> {
        let wanted = self.by_task(tasks)?;
        let live = heads.wait_until(|snapshot| missing(snapshot, &wanted).is_none());
        if tokio::time::timeout_at(deadline.moment().into(), live).await.is_ok() {
            return Ok(());
        }
        match missing(&heads.snapshot(), &wanted) {
            Some(detail) => Err(Problem::conflict("head_version_not_live", detail).at(FIELD)),
            None => Ok(()),
        }
    }

    fn by_task(self, tasks: Option<&[String]>) -> Result<BTreeMap<String, i64>, Problem> {
        match (self, tasks) {
            (Self::OfTheTask(version), Some([task])) => Ok([(task.clone(), version)].into()),
            (Self::OfTheTask(_), _) => {
                let detail = "a version alone is for a request that names one task; give an object of task and version";
                Err(Problem::invalid("ambiguous_head_version", detail).at(FIELD))
            }
            (Self::ByTask(wanted), None) => Ok(wanted),
            (Self::ByTask(wanted), Some(tasks)) => {
                match wanted.keys().find(|it| !tasks.contains(it)) {
                    Some(task) => {
                        let detail = format!(
                            "task {task:?} is not among the tasks of the request: {}",
                            tasks.join(", ")
                        );
                        Err(Problem::invalid("task_not_asked", detail)
                            .at(format!("{FIELD}.{task}")))
                    }
                    None => Ok(wanted),
                }
            }
        }
    }
}

/// What is not live yet, in words.
fn missing(snapshot: &Snapshot, wanted: &BTreeMap<String, i64>) -> Option<String> {
    wanted.iter().find_map(|(task, &least)| match snapshot.get(task) {
        None => Some(format!("there is no task {task:?}, and none appeared in time")),
        Some(live) if live.version.version < least => Some(format!(
            "task {task:?} is at version {}; version {least} did not go live in time",
            live.version.version
        )),
        Some(_) => None,
    })
}

/// Tells in the header [`HEAD_VERSION`] who answered.
pub struct AnsweredBy(HeaderValue);

impl<'a> FromIterator<&'a LiveTask> for AnsweredBy {
    fn from_iter<T: IntoIterator<Item = &'a LiveTask>>(heads: T) -> AnsweredBy {
        let one = |live: &LiveTask| format!("{}={}", live.task.name, live.version.version);
        let versions: Vec<String> = heads.into_iter().map(one).collect();
        let versions = HeaderValue::try_from(versions.join(", "));
        AnsweredBy(versions.expect("the names of tasks are plain ASCII"))
    }
}

impl IntoResponseParts for AnsweredBy {
    type Error = std::convert::Infallible;

    fn into_response_parts(self, mut parts: ResponseParts) -> Result<ResponseParts, Self::Error> {
        parts.headers_mut().insert(HEAD_VERSION, self.0);
        Ok(parts)
    }
}
