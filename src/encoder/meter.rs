//! Counts tokens for whoever they are encoded for, without the encoder's knowing who that is.

use std::sync::Arc;

/// Told of tokens as they are queued.
type Meter = Arc<dyn Fn(usize) + Send + Sync>;

tokio::task_local! {
    static METER: Meter;
}

/// Runs `work` and tells `count` of the tokens, special ones included, that it has encoded: as soon as they
/// are counted, so that those of a caller who then goes away are told as well. What `work` spawns does not
/// count.
pub async fn metered<F: Future>(
    count: impl Fn(usize) + Send + Sync + 'static,
    work: F,
) -> F::Output {
    METER.scope(Arc::new(count), work).await
}

/// Tells of tokens. Work that nobody meters, such as training, is told to nobody.
pub(super) fn count(tokens: usize) {
    let _ = METER.try_with(|meter| meter(tokens));
}
