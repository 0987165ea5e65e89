//! What an operator can do through the admin API: [`Administration`] owns every such operation.
//!
//! Nothing here knows HTTP. `http::admin` parses requests and decides status codes and documents;
//! the operations return domain types, and an [`OperationError`] when they fail. The command line
//! does not come this way: it calls [`crate::db::transactions`] on a connection of its own, because
//! it has no caches to keep current.

mod audit;
mod caches;
mod clients;
mod declarations;
mod error;
mod keys;
mod routes;
mod secrets;
mod stats;
mod tokens;

use crate::actors::client_cache::ClientCaches;
use crate::clock::Clock;
use crate::cluster::keys::Rotation;
use crate::db::Db;
use crate::gateway::route_table::RouteTable;
use crate::revocation::Revocations;
use crate::snapshot::Snapshot;

pub use crate::db::DbStats;
pub use crate::db::secrets::MAX_SECRETS;
pub use clients::CreatedClient;
pub use declarations::DeclaredClient;
pub use error::OperationError;
pub use keys::RotatedKeys;
pub use secrets::{AddedSecret, SecretLifetimes};
pub use tokens::TokenList;

/// Every operation of an operator. A clone operates on the same server.
///
/// An operation that changes something returns once the change is in effect: it is committed in one
/// transaction with its audit event, and every worker of this instance acts on it. Other instances
/// follow when they read the change log, within a second.
///
/// If the change is committed but cannot be applied here, the operation fails all the same, and
/// this instance applies the change when it reads the change log. The exceptions are
/// [`Administration::create_client`], [`Administration::declare_client`] of a new client and
/// [`Administration::add_secret`]: they succeed even then, because the secret that they return
/// cannot be shown later.
#[derive(Clone)]
pub struct Administration {
    db: Db,
    clock: Clock,
    revocations: Revocations,
    caches: ClientCaches,
    routes: Snapshot<RouteTable>,
    rotation: Rotation,
}

impl Administration {
    /// Operates on this database, and keeps the rest of this server current with what it writes
    /// there.
    pub fn new(
        db: Db,
        clock: Clock,
        revocations: Revocations,
        caches: ClientCaches,
        routes: Snapshot<RouteTable>,
        rotation: Rotation,
    ) -> Self {
        Self {
            db,
            clock,
            revocations,
            caches,
            routes,
            rotation,
        }
    }
}
