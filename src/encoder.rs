//! Texts in, embeddings out.

pub mod folder;
pub mod pooling;
pub mod session;
pub mod tokenizer;
