//! One model in one precision, loaded twice: for one worker, and for all.

use std::sync::Arc;

use crate::app::engine_settings;
use crate::config::{Config, Precision};
use crate::encoder::session::Runtime;
use crate::encoder::{Encoder, Engine, EngineSettings, LoadError, ModelSpec, Models};
use crate::metrics::Metrics;

/// A model in a precision that can be had here.
pub struct Contender {
    pub precision: Precision,
    pub one: Loaded,
    pub all: Loaded,
}

/// A model with workers of its own.
pub struct Loaded {
    encoder: Arc<Encoder>,
    pub workers: usize,
    /// Joins its workers when it is dropped.
    _engine: Engine,
}

impl Loaded {
    pub fn encoder(&self) -> &Encoder {
        &self.encoder
    }
}

impl Contender {
    /// Loads a model, batched as the configuration says.
    pub fn load(
        runtime: &Runtime,
        config: &Config,
        spec: &ModelSpec,
    ) -> Result<Contender, LoadError> {
        let settings = engine_settings(config);
        let one = load(runtime, spec, EngineSettings { workers: 1, ..settings })?;
        let all = load(runtime, spec, settings)?;
        Ok(Contender { precision: spec.precision, one, all })
    }
}

fn load(
    runtime: &Runtime,
    spec: &ModelSpec,
    settings: EngineSettings,
) -> Result<Loaded, LoadError> {
    let models = Models::read(std::slice::from_ref(spec))?;
    let metrics = Arc::new(Metrics::new());
    let engine = Engine::start(runtime.clone(), models, settings, metrics)?;
    let encoder = engine.encoders().values().next().map(Arc::clone);
    let encoder = encoder.expect("an engine has the model that it was started with");
    Ok(Loaded { encoder, workers: settings.workers, _engine: engine })
}
