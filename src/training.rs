//! Jobs: labelled sentences in, new head versions out, while serving goes on.

mod background;
pub mod calibration;
pub mod dataset;
pub mod evaluation;
mod hold;
pub mod job;
pub mod learn;
pub mod predictions;
pub mod progress;
mod publish;
pub mod result;
mod run;
pub mod selection;
pub mod solver;
pub mod text_hash;
pub mod thresholds;
pub mod unseen;
pub mod verdict;
pub mod worker;
