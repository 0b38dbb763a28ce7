//! Scores of heads on labelled embeddings.
