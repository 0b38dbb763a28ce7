//! The shapes of OpenAI's API: `POST /v1/embeddings`, `GET /v1/models`.

pub(super) mod embeddings;
pub(super) mod models;

pub use embeddings::{Wanted, answer, embeddings};
pub use models::{list, show};
