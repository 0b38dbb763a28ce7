//! Embeddings with their labels.
