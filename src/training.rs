//! Jobs: labelled sentences in, new head versions out, while serving goes on.

pub mod dataset;
pub mod evaluation;
pub mod job;
pub mod progress;
mod run;
pub mod solver;
pub mod worker;
