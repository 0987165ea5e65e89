//! The client caches: one actor on each worker's thread, and the handle to all of them.

mod actor;
mod all;
mod entries;

pub use actor::{
    Answer, CacheCounts, Clear, ClientCache, ClientCacheHandle, Current, Invalidate, Lifetimes, Lookup, OutageKnown,
    Remembered, Stats, Tune, Warm,
};
pub use all::ClientCaches;
pub use entries::MEAN_CLIENT;
