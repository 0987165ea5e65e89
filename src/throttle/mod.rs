//! The limit on failed authentications. This module works with addresses and client ids, never with
//! a request.

mod bucket;
mod failure;
mod limiter;

pub use failure::{Failure, SharedBucket};
pub use limiter::{AuthLimits, Limited, Noted};
