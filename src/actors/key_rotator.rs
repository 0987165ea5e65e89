//! KeyRotator: publishes the next signing key in time and removes the last one when its tokens have expired.
//!
//! Every instance has one and all of them decide by the same rules ([`crate::keys::rotation`]). Who decides first has its key
//! published; the others hear of it by the change feed, or find it when they look once more, under the lock. Nobody has
//! to make a key active: it signs when its time has come.

use std::time::Duration;

use actix::prelude::*;

use crate::backoff::jittered;
use crate::cluster::keys::Rotation;

/// Time between two looks at the keys in memory, which cost next to nothing.
const INTERVAL: Duration = Duration::from_secs(1);

/// Time to the next look after a failure: what failed may have been preceded by the making of RSA keys.
const AFTER_FAILURE: Duration = Duration::from_secs(15);

/// The timer.
pub struct KeyRotator {
    rotation: Rotation,
}

impl KeyRotator {
    /// One that has not been started.
    pub fn new(rotation: Rotation) -> Self {
        Self { rotation }
    }

    fn look_again_after(&self, interval: Duration, ctx: &mut Context<Self>) {
        ctx.run_later(jittered(interval), |this, ctx| {
            let rotation = this.rotation.clone();
            let look = async move { rotation.look().await };
            ctx.spawn(look.into_actor(this).map(|looked, this, ctx| {
                let interval = match looked {
                    Ok(()) => INTERVAL,
                    Err(error) => {
                        log::warn!(error:%; "signing key rotation failed");
                        AFTER_FAILURE
                    }
                };
                this.look_again_after(interval, ctx);
            }));
        });
    }
}

impl Actor for KeyRotator {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.look_again_after(INTERVAL, ctx);
    }
}
