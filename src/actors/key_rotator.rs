//! KeyRotator: publishes the next signing key ahead of time, and removes a retired key once its
//! tokens have expired.
//!
//! Every instance has a rotator, and all decide by the same rules ([`crate::keys::rotation`]). The
//! instance that decides first publishes its key. The others learn of it from the change feed, or
//! find it when they check again under the lock. No instance activates a key: a key signs from its
//! activation time on.

use std::time::Duration;

use actix::prelude::*;

use crate::backoff::jittered;
use crate::cluster::keys::Rotation;

/// The average time between two checks. A check reads only the keys in memory and costs almost
/// nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// The average time until the next check after a failure. It is longer because a failed attempt may
/// have generated RSA keys, which is expensive.
const RETRY_INTERVAL: Duration = Duration::from_secs(15);

/// The actor.
pub struct KeyRotator {
    rotation: Rotation,
}

impl KeyRotator {
    /// Creates a rotator that has not been started.
    pub fn new(rotation: Rotation) -> Self {
        Self { rotation }
    }
}

impl Actor for KeyRotator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.check_after(INTERVAL, ctx);
    }
}

impl KeyRotator {
    fn check_after(&self, interval: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(jittered(interval), |this, ctx| {
            let rotation = this.rotation.clone();
            let check = async move { rotation.rotate_if_due().await };
            ctx.spawn(check.into_actor(this).map(|checked, this, ctx| {
                let interval = match checked {
                    Ok(()) => INTERVAL,
                    Err(error) => {
                        log::warn!(error:%; "signing key rotation failed");
                        RETRY_INTERVAL
                    }
                };
                this.check_after(interval, ctx);
            }));
        });
    }
}
