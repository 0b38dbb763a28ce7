//! The service in-process: real models, a real store, real HTTP over a port that the system chose.

mod app;
mod classify;
mod damage;
mod deadlines;
mod durability;
mod early_answers;
mod embed;
mod fairness;
mod head_versions;
mod health;
mod hot_swap;
mod jobs;
mod limits;
mod memory;
mod metrics;
mod models;
mod multi_label;
mod new_labels;
mod page;
mod refusals;
mod tasks;
mod train;
mod train_refusals;
mod train_uploads;
mod versions;
mod zero_shot;
