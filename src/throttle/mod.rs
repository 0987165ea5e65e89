//! The limit on failed authentications, and the budgets of what strangers can cause in the log. This
//! module works with addresses and client ids, never with a request.

mod bucket;
mod budget;
mod failure;
mod limiter;
mod network;

pub use budget::{BudgetLimits, BudgetedCaller, Budgets, Counted, Verdict};
pub use failure::{Failure, SharedBucket};
pub use limiter::{AuthLimits, Limited, Noted};
pub use network::Network;
