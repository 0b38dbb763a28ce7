//! The whole configuration file as one type.
