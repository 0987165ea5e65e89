//! Routes of the forward-auth policy: list, read as a table, add, remove.

use super::error::failed;
use super::{Administration, OperationError};
use crate::api::audit::Principal;
use crate::cluster;
use crate::db::{Conn, DbError, routes, transactions};
use crate::gateway::route::{NewRoute, Route};
use crate::gateway::route_table::RouteTable;
use crate::random::random_text;

/// The length of a route's id, in letters and digits.
const ID_LENGTH: usize = 16;

impl Administration {
    /// All routes, oldest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_routes(&self) -> Result<Vec<Route>, OperationError> {
        self.db.read(routes::list).await.map_err(failed)
    }

    /// The route table as the database has it, to explain a decision with.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read_route_table(&self) -> Result<RouteTable, OperationError> {
        self.db.run_repeatable(routes::table).await.map_err(failed)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`OperationError::MalformedRoute`], [`OperationError::RouteExists`], or when the database
    /// fails.
    pub async fn add_route(&self, by: Principal, new: &NewRoute) -> Result<Route, OperationError> {
        let route = new
            .route(random_text(ID_LENGTH), self.clock.now())
            .map_err(OperationError::MalformedRoute)?;
        let row = route.clone();
        let work = move |conn: &mut Conn| transactions::add_route(conn, &by, &row);
        self.db.run(work).await.map_err(|error| match error {
            DbError::Conflict => OperationError::RouteExists,
            other => failed(other),
        })?;
        self.apply_routes().await?;
        Ok(route)
    }

    /// Removes a route.
    ///
    /// # Errors
    /// [`OperationError::RouteNotFound`], or when the database fails.
    pub async fn remove_route(&self, by: Principal, id: String) -> Result<(), OperationError> {
        let now = self.clock.now();
        let work = move |conn: &mut Conn| transactions::remove_route(conn, &by, &id, now);
        let removed = self.db.run(work).await.map_err(failed)?;
        // Also when it was not found: a table that still has the route must lose it.
        self.apply_routes().await?;
        match removed {
            true => Ok(()),
            false => Err(OperationError::RouteNotFound),
        }
    }

    /// Applies a committed change of the routes to every worker.
    async fn apply_routes(&self) -> Result<(), OperationError> {
        let reloaded = cluster::routes::reload(&self.db, &self.routes).await;
        reloaded.map_err(failed)?;
        self.db.catch_up().await.map_err(failed)
    }
}
