//! Assembles the parts, owns every task and thread, and ends them in order.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;

use crate::auth::{Keyring, KeyringError};
use crate::config::{Config, ModelConfig, ShutdownConfig};
use crate::encoder::folder::Overrides;
use crate::encoder::session::Runtime;
use crate::encoder::{Engine, EngineSettings, LoadError, ModelSpec, Models};
use crate::heads::follow::{FollowError, Follower, FollowerParts};
use crate::heads::live::LiveHeads;
use crate::heads::zero_shot::LabelCache;
use crate::http::body::room::BodyRoom;
use crate::http::tls::{Tls, TlsError};
use crate::http::{self, AppState, Parts, gate, listener};
use crate::metrics::Metrics;
use crate::readiness::{Phase, Readiness};
use crate::store::{Store, StoreError};
use crate::training::worker::{Trainer, TrainerParts};

/// Label sets of the largest size whose embeddings are kept.
const LABEL_SETS_KEPT: usize = 4;

/// How long the store may take to close after the grace time.
const CLOSE: Duration = Duration::from_secs(2);

/// Why the server did not start or did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Follow(#[from] FollowError),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Keys(#[from] KeyringError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("asked to end while the store and the models were being loaded")]
    Interrupted,
    #[error("{0}")]
    Fault(String),
    #[error("requests or a training were still in work when the grace time of {0:?} was over")]
    GraceExceeded(Duration),
}

/// A server that answers health checks while the rest of it is being loaded.
pub struct Listening {
    config: Config,
    address: SocketAddr,
    tls: Option<Arc<Tls>>,
    server: JoinHandle<()>,
    stop_serving: CancellationToken,
    readiness: Readiness,
    application: Arc<OnceLock<Router>>,
}

/// A server with everything loaded.
pub struct App {
    listening: Listening,
    state: AppState,
    engine: Engine,
}

impl Listening {
    /// Takes the configured address; port 0 takes any that is free.
    pub async fn bind(config: Config) -> Result<Listening, AppError> {
        let tls = Tls::open(&config.server.tls)?.map(Arc::new);
        let address = config.server.listen;
        let failed = |source| AppError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let readiness = Readiness::default();
        let application = Arc::new(OnceLock::new());
        let terms = listener::Terms { most: config.limits.connections.get(), tls: tls.clone() };
        let stop_serving = CancellationToken::new();
        let gate = gate::router(readiness.clone(), Arc::clone(&application));
        let server = tokio::spawn(listener::serve(listener, gate, terms, stop_serving.clone()));
        Ok(Listening { config, address, tls, server, stop_serving, readiness, application })
    }

    /// Where the server is to be found.
    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Loads the models, the store and the heads, and starts to answer requests.
    ///
    /// # Errors
    /// [`AppError::Interrupted`] if `shutdown` came first. Not to be dropped half-way: see
    /// [`Engine::start`].
    pub async fn load(self, shutdown: &CancellationToken) -> Result<App, AppError> {
        let config = &self.config;
        let metrics = Arc::new(Metrics::new());
        let keyring = Arc::new(Keyring::open(&config.auth, Arc::clone(&metrics))?);
        if !keyring.guards() && !self.address.ip().is_loopback() {
            tracing::warn!(
                address = %self.address,
                "no API key is asked for: whoever reaches this address may embed, train and delete"
            );
        }
        let store = open_store(config, shutdown).await?;
        let (engine, runtime) = start_engine(config, &metrics, shutdown).await?;
        let encoders = engine.encoders().clone();
        let heads = Arc::new(LiveHeads::new(Arc::clone(&metrics)));
        declare_tasks(config, &store).await?;
        let follower = Arc::new(Follower::new(FollowerParts {
            store: store.clone(),
            encoders: encoders.clone(),
            heads: Arc::clone(&heads),
            metrics: Arc::clone(&metrics),
            readiness: self.readiness.clone(),
        }));
        follower.refresh().await?;
        let parts = TrainerParts {
            store: store.clone(),
            encoders: encoders.clone(),
            heads: Arc::clone(&heads),
            follower: Arc::clone(&follower),
            metrics: Arc::clone(&metrics),
        };
        let trainer = Trainer::new(parts, config.training.clone());
        trainer.recover().await?;
        let state = AppState::new(Parts {
            config: self.config.clone(),
            keyring,
            encoders,
            heads,
            follower,
            labels: LabelCache::new(LABEL_SETS_KEPT * config.limits.labels_per_task.get()),
            bodies: Arc::new(BodyRoom::new(config.limits.body_bytes_in_flight.get())),
            store,
            trainer,
            metrics,
            readiness: self.readiness.clone(),
            runtime: runtime.build_info(),
            started_at: Timestamp::now(),
            description: OnceLock::new(),
        });
        if self.application.set(http::router(state.clone())).is_err() {
            unreachable!("an application is loaded once: `load` takes the value");
        }
        self.readiness.enter(Phase::Ready);
        Ok(App { listening: self, state, engine })
    }
}

impl App {
    pub fn address(&self) -> SocketAddr {
        self.listening.address
    }

    /// Serves until `shutdown`, then drains: readiness says so at once, training is cancelled and
    /// recorded, and after the configured delay the requests in flight are finished.
    ///
    /// # Errors
    /// A part of the server died, or the grace time was too short.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), AppError> {
        let App { listening, state, mut engine } = self;
        let Listening { config, tls, mut server, stop_serving, readiness, .. } = listening;
        let stop_training = CancellationToken::new();
        let mut trainer = tokio::spawn(state.trainer.clone().run(stop_training.clone()));
        // What is published elsewhere goes live here until the last answer is out.
        let mut follower = tokio::spawn(Arc::clone(&state.follower).run(stop_serving.clone()));
        let mut keyring = tokio::spawn(Arc::clone(&state.keyring).run(stop_serving.clone()));
        let mut certificate = tokio::spawn({
            let (metrics, stop) = (Arc::clone(&state.metrics), stop_serving.clone());
            async move {
                match tls {
                    Some(tls) => tls.run(metrics, stop).await,
                    None => stop.cancelled().await,
                }
            }
        });

        let fault = tokio::select! {
            () = shutdown.cancelled() => None,
            reason = engine.fault() => Some(AppError::Fault(reason)),
            ended = &mut server => Some(ended_early("the server's task", ended)),
            ended = &mut trainer => Some(ended_early("the trainer", ended)),
            ended = &mut certificate => Some(ended_early("what follows the certificate", ended)),
            ended = &mut keyring => Some(ended_early("what follows the keys", ended)),
            ended = &mut follower => Some(ended_early("the follower of the live heads", ended)),
        };
        let phase = if fault.is_some() { Phase::Failed } else { Phase::Draining };
        readiness.enter(phase);
        stop_training.cancel();
        let ShutdownConfig { delay, grace } = config.server.shutdown;
        if fault.is_none() {
            tracing::info!(?delay, ?grace, "draining");
            tokio::time::sleep(delay).await;
        }
        stop_serving.cancel();
        let drained = drain(vec![server, trainer, follower, keyring, certificate], grace).await;
        // What is not done by now is cut off: joining waits for no more than one micro-batch a worker.
        let closing = tokio::time::timeout(CLOSE, state.store.close());
        let joining = spawn_blocking(move || drop(engine));
        let (closed, joined) = tokio::join!(closing, joining);
        if closed.is_err() || joined.is_err() {
            tracing::error!("the store could not be closed, or a worker thread not be joined");
        }
        match fault {
            Some(fault) => Err(fault),
            None => drained,
        }
    }
}

/// A database that is away is waited for, but not by one that is asked to end.
async fn open_store(config: &Config, shutdown: &CancellationToken) -> Result<Store, AppError> {
    let store = tokio::select! {
        store = Store::open(&config.store.url) => store?,
        () = shutdown.cancelled() => return Err(AppError::Interrupted),
    };
    Ok(store.keeping_texts(config.store.texts).with_leases_of(config.training.lease))
}

async fn start_engine(
    config: &Config,
    metrics: &Arc<Metrics>,
    shutdown: &CancellationToken,
) -> Result<(Engine, Runtime), AppError> {
    let library = config.runtime.library.clone();
    let specs: Vec<ModelSpec> =
        config.models.iter().map(|(name, model)| model_spec(name, model)).collect();
    let settings = engine_settings(config);
    let metrics = Arc::clone(metrics);
    let runtime = Runtime::load(&library).map_err(LoadError::from)?;
    let reading = spawn_blocking(move || Models::read(&specs));
    // Reading may take long and be given up; opening must be waited for.
    let models = tokio::select! {
        models = reading => models.map_err(|_| LoadError::WorkerDied)??,
        () = shutdown.cancelled() => return Err(AppError::Interrupted),
    };
    let opening = spawn_blocking({
        let runtime = runtime.clone();
        move || Engine::start(runtime, models, settings, metrics)
    });
    let engine = opening.await.map_err(|_| LoadError::WorkerDied)??;
    for encoder in engine.encoders().values() {
        let info = encoder.info();
        tracing::info!(
            model = info.name,
            precision = info.precision.as_str(),
            provider = info.provider.as_str(),
            dimensions = info.dimensions,
            output = ?info.output,
            weights = %info.weights.display(),
            "model loaded"
        );
    }
    Ok((engine, runtime))
}

/// How the configuration wants the engine to cut and bound its work.
pub(crate) fn engine_settings(config: &Config) -> EngineSettings {
    EngineSettings {
        workers: config.runtime.worker_threads().get(),
        batch_tokens: config.batching.batch_tokens.get(),
        batch_time: config.batching.batch_time,
        queue_tokens: config.batching.queue_tokens.get(),
        tokens_per_request: config.limits.tokens_per_request.get(),
    }
}

/// What the configuration says of one model.
pub(crate) fn model_spec(name: &str, model: &ModelConfig) -> ModelSpec {
    ModelSpec {
        name: name.to_owned(),
        path: model.path.clone(),
        overrides: Overrides {
            file: model.file.clone(),
            pooling: model.pooling,
            normalize: model.normalize,
            max_seq_length: model.max_seq_length.map(|length| length.get()),
        },
        precision: model.precision,
        provider: model.provider,
    }
}

/// Makes the configuration's tasks durable beside those that were made over HTTP.
async fn declare_tasks(config: &Config, store: &Store) -> Result<(), AppError> {
    for task in config.declared_tasks() {
        store.put_task(&task).await?;
    }
    Ok(())
}

/// Waits for the tasks to end, together at most for `grace`; then ends them.
async fn drain(mut tasks: Vec<JoinHandle<()>>, grace: Duration) -> Result<(), AppError> {
    let all = async {
        for task in tasks.iter_mut().filter(|task| !task.is_finished()) {
            // A task that panicked is ended all the same.
            let _ = task.await;
        }
    };
    let drained = tokio::time::timeout(grace, all).await;
    tasks.iter().for_each(JoinHandle::abort);
    drained.map_err(|_| AppError::GraceExceeded(grace))
}

fn ended_early(what: &str, ended: Result<(), JoinError>) -> AppError {
    AppError::Fault(match ended {
        Ok(()) => format!("{what} ended by itself"),
        Err(error) => format!("{what} died: {error}"),
    })
}
