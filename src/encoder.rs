//! Texts in, embeddings out.

pub mod folder;
