//! One server, one shared sentence encoder per model, many task heads, trained while serving.
//!
//! This is the inside of the program `polyhead`; how to use it from without is in `README.md` and in the
//! guides in `docs/`, how to change it in `CONTRIBUTING.md`. The crate is not published, and its items
//! are public so that tests and benchmarks reach them, not as an interface that stays.
//!
//! New here? Read this page, then follow one request, from its handler [`http::embed`] to
//! [`Encoder::embed`](encoder::Encoder::embed), and one job, from [`http::train`] by way of
//! [`training::worker`] and [`training::learn`] to [`heads::live`]. [`app`] shows how all of it is put
//! together, [`config`] what can be set, and [`http::router`] which routes there are.
//!
//! # The map
//!
//! ```text
//!            cli ──► app: assembles, owns every task and thread, ends them in order
//!                     │
//!     ┌───────────────┼────────────────┬───────────────────┐
//!     ▼               ▼                ▼                   ▼
//!   http ────────► encoder           heads ◄──────────  training ──► store
//!   routes,        texts → vectors   live versions,     jobs, solvers,   tasks, versions,
//!   errors         (onnx: graphs,    atomic swap        evaluation       jobs, examples
//!                   kernel: fused)
//! ```
//!
//! - A **model** is a sentence encoder on disk; an [`Encoder`](encoder::Encoder) is a model that is
//!   loaded. A **task** is a named label set on a model, its **head** the linear classifier on the
//!   model's embeddings, a **head version** immutable weights plus what made them. A **job** is one
//!   training request; to **publish** a version is to make it durable, then live.
//! - [`encoder`] does not know that heads exist; [`heads`] know neither HTTP nor training;
//!   [`training::learn`] and [`training::solver`], [`encoder::pooling`] and [`heads::head`] are pure
//!   functions of their arguments.
//! - [`auth`] knows API keys, by their hashes, with scopes and rates; [`http`] asks for them.
//! - Four libraries are each named in one place: ONNX Runtime in [`encoder::session`] and [`kernel`], tokenizers in
//!   [`encoder::tokenizer`], the database in [`store`], the web framework in [`http`] (and where
//!   [`app`] starts it). `tests/tidiness.rs` holds us to it.
//!
//! # Serving
//!
//! JSON → a validated request → admitted by tokens or refused at once → tokenised, long texts
//! off the async runtime → queued by class → cut into micro-batches by tokens and time → run by a worker thread that
//! owns its sessions, which share the weights → pooled, normalised (neither for `/embed_all`) → for
//! `/classify`, each task's live head → JSON. A request whose caller went away, or whose deadline has
//! passed, goes no further.
//!
//! # Training
//!
//! `POST /train` → checked → stored with its examples → 202. The [trainer](training::worker) takes
//! one job at a time: it gathers the examples, embeds them at the lowest class through the same
//! encoder, [learns](training::learn) on a thread of its own (what to hold out, how strong the penalty,
//! what to mix in, the fit, its calibration, its scores), and records every epoch. The new versions, the job's end and
//! its examples become durable in one transaction; then one atomic swap makes the versions live.
//!
//! # Replicas
//!
//! Processes that share a PostgreSQL database are one system. The one that runs a job holds its
//! lease, which the transaction that publishes confirms; the others take the job over when the lease
//! runs out. Each [follows](heads::follow) the store: what goes live there goes live here. Serving
//! needs no database.
//!
//! # What always holds
//!
//! 1. An embedding does not depend on what else was in its batch.
//! 2. An answer comes from exactly one version of each head. What is live is durable. Versions never
//!    change.
//! 3. Nothing waits without a bound: queues, jobs, bodies, shutdown.
//! 4. Every thread and task has an owner that joins it. One that dies makes the process unready and
//!    ends it with a reason; nobody's request hangs.
//! 5. Liveness depends on nothing. Readiness means loaded, warmed and not draining; training never
//!    changes it.
//! 6. Nothing leaves the machine that the operator did not ask for.

pub mod app;
pub mod auth;
mod causes;
pub mod cli;
pub mod config;
pub mod encoder;
mod file_watch;
pub mod heads;
pub mod http;
pub mod hub;
#[cfg_attr(not(target_arch = "x86_64"), path = "kernel/elsewhere.rs")]
pub mod kernel;
pub mod metrics;
mod name;
pub mod npy;
pub mod onnx;
pub mod readiness;
mod sha256;
pub mod shutdown;
pub mod store;
pub mod telemetry;
pub mod training;
