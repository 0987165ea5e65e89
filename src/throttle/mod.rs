//! The limit on failed authentications: how many may fail, from where, and in whose name. Knows addresses, never a request.

mod bucket;
mod failure;
mod limiter;

pub use failure::{Failure, SharedBucket};
pub use limiter::{AuthLimits, Limited, Noted};
