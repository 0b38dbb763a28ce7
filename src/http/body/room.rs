//! How many bytes of bodies, and of what is made of them, the server holds at a time: many uploads at
//! once, each within its limit, must not add up to more memory than there is.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::http::AppState;
use crate::http::error::Problem;
use crate::metrics::Rejection;

/// Bytes of a body that are taken in any case, so that a few that upload much cannot keep out all the
/// others. The number of connections bounds these.
pub const ALWAYS_TAKEN: usize = 64 << 10;

/// The room that bodies share.
#[derive(Debug)]
pub struct BodyRoom {
    capacity: usize,
    taken: AtomicUsize,
}

/// What one request's body takes up of the room. Clones share it; it is free again once the last of
/// them is dropped.
#[derive(Clone, Debug)]
pub struct Share(Arc<Held>);

#[derive(Debug)]
struct Held {
    room: Arc<BodyRoom>,
    bytes: AtomicUsize,
}

impl BodyRoom {
    /// Room for so many bytes.
    pub fn new(capacity: usize) -> BodyRoom {
        BodyRoom { capacity, taken: AtomicUsize::new(0) }
    }

    fn share(self: &Arc<Self>) -> Share {
        Share(Arc::new(Held { room: Arc::clone(self), bytes: AtomicUsize::new(0) }))
    }
}

impl Share {
    /// Makes room for `bytes` of the body and of what was made of it. There always is for a single
    /// one, whose own limits bound it.
    ///
    /// # Errors
    /// 429 where others leave too little of it.
    pub fn grow_to(&self, bytes: usize) -> Result<(), Problem> {
        let Held { room, bytes: held } = &*self.0;
        let had = held.load(Ordering::Relaxed);
        if bytes <= ALWAYS_TAKEN.max(had) {
            return Ok(());
        }
        let fits = |taken: usize| {
            let sum = taken + (bytes - had);
            (sum <= room.capacity || taken == had).then_some(sum)
        };
        if room.taken.try_update(Ordering::Relaxed, Ordering::Relaxed, fits).is_err() {
            let detail = format!(
                "this body takes {bytes} bytes or more, for which there is no room beside those of other requests; allowed: {} bytes in all; a body of up to {ALWAYS_TAKEN} is always taken",
                room.capacity
            );
            return Err(Problem::too_many(Rejection::BodiesFull, "bodies_full", detail));
        }
        held.store(bytes, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.room.taken.fetch_sub(*self.bytes.get_mut(), Ordering::Relaxed);
    }
}

/// Gives a request its [`Share`], which those who read the body find in its extensions, until it is
/// answered.
pub async fn share(State(state): State<AppState>, mut request: Request, next: Next) -> Response {
    let share = state.bodies.share();
    request.extensions_mut().insert(share.clone());
    let response = next.run(request).await;
    drop(share);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_is_taken_until_the_last_share_of_a_request_is_dropped() {
        let room = Arc::new(BodyRoom::new(3 * ALWAYS_TAKEN));
        let first = room.share();
        first.grow_to(ALWAYS_TAKEN + 1).unwrap();
        first.grow_to(2 * ALWAYS_TAKEN).unwrap();
        // Less than there was: a later piece of the same body cannot shrink it.
        first.grow_to(ALWAYS_TAKEN + 1).unwrap();
        let second = room.share();
        second.grow_to(ALWAYS_TAKEN + 1).unwrap_err();
        let kept = first.clone();
        drop(first);
        second.grow_to(ALWAYS_TAKEN + 1).unwrap_err();
        drop(kept);
        second.grow_to(3 * ALWAYS_TAKEN).unwrap();
        drop(second);
        assert_eq!(room.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn small_bodies_need_no_room_and_a_single_one_has_it() {
        let room = Arc::new(BodyRoom::new(1));
        let only = room.share();
        only.grow_to(ALWAYS_TAKEN + 1).unwrap();
        only.grow_to(3 * ALWAYS_TAKEN).unwrap();
        for bytes in [0, 1, ALWAYS_TAKEN] {
            room.share().grow_to(bytes).unwrap();
        }
        room.share().grow_to(ALWAYS_TAKEN + 1).unwrap_err();
        drop(only);
        room.share().grow_to(ALWAYS_TAKEN + 1).unwrap();
    }
}
