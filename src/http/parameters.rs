//! What stands in the address: the query string and the one variable part of a path, with errors in
//! the shape of all others.

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::http::error::Problem;

/// The query string as `T`.
pub struct Parameters<T>(pub T);

/// The variable part of a path, such as a task's name.
pub struct Segment(pub String);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Parameters<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Parameters<T>, Problem> {
        let Query(parameters) = Query::from_request_parts(parts, state).await.map_err(problem)?;
        Ok(Parameters(parameters))
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Segment, Problem> {
        let Path(segment): Path<String> =
            Path::from_request_parts(parts, state).await.map_err(|_| {
                Problem::malformed("invalid_path", "the path is not UTF-8 once it is unescaped")
            })?;
        match segment.contains('\0') {
            true => Err(Problem::malformed("invalid_path", "the path holds a NUL character")),
            false => Ok(Segment(segment)),
        }
    }
}

fn problem(rejection: QueryRejection) -> Problem {
    let text = rejection.body_text();
    let cause = text.rsplit_once("query string: ").map_or(text.as_str(), |(_, cause)| cause);
    Problem::invalid("invalid_query", format!("the query string is not valid: {cause}"))
}
