//! The routes of the forward-auth policy.

use diesel::prelude::*;

use super::changes::{self, Change};
use super::conn::Conn;
use super::error::DbError;
use super::schema::routes;
use crate::gateway::route::{Access, NewRoute, Route};
use crate::gateway::route_table::RouteTable;
use crate::time::UnixMillis;

/// The stored scope of a public route. A version that does not know the column `public` reads a
/// route that requires this scope: no token has it and the scope is reserved, so it denies what the
/// route matches, and no wider route decides in its place.
const SCOPE_OF_PUBLIC: &str = "mintage:public";

#[derive(Queryable, Insertable)]
#[diesel(table_name = routes, treat_none_as_default_value = false)]
struct RouteRow {
    id: String,
    method: Option<String>,
    host: Option<String>,
    path: String,
    scope: String,
    audience: Option<String>,
    created_at_ms: i64,
    public: bool,
}

/// All routes, oldest first.
///
/// # Errors
/// The database cannot be reached, or a row is malformed. A malformed row fails the whole list,
/// because without it a less strict route could decide in its place.
pub fn list(conn: &mut Conn) -> Result<Vec<Route>, DbError> {
    let rows: Vec<RouteRow> = routes::table.order((routes::created_at_ms, routes::id)).load(conn)?;
    rows.into_iter().map(RouteRow::into_route).collect()
}

/// All routes, compiled.
///
/// # Errors
/// As [`list`], and if two routes match the same requests, which [`insert`] prevents.
pub fn table(conn: &mut Conn) -> Result<RouteTable, DbError> {
    let routes = list(conn)?;
    RouteTable::compile(routes).map_err(|duplicate| {
        let (first, second) = (duplicate.first, duplicate.second);
        DbError::Inconsistent(format!("routes {first:?} and {second:?} are for the same requests"))
    })
}

/// Adds a route.
///
/// # Errors
/// [`DbError::Conflict`] if a route for the same method, host and path exists.
pub fn insert(conn: &mut Conn, route: &Route) -> Result<(), DbError> {
    conn.write(|conn| {
        // First, because the lock of the change log also keeps other writers from adding the same
        // route.
        changes::append(conn, &Change::Routes, route.created_at)?;
        if list(conn)?.iter().any(|other| other.duplicates(route)) {
            return Err(DbError::Conflict);
        }
        diesel::insert_into(routes::table)
            .values(RouteRow::from(route))
            .execute(conn)?;
        Ok(())
    })
}

/// Deletes a route. Returns `false` if none has this id.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub fn delete(conn: &mut Conn, id: &str, now: UnixMillis) -> Result<bool, DbError> {
    conn.write(|conn| {
        changes::append(conn, &Change::Routes, now)?;
        let deleted = diesel::delete(routes::table.find(id)).execute(conn)?;
        Ok(deleted == 1)
    })
}

impl From<&Route> for RouteRow {
    fn from(route: &Route) -> Self {
        let (scope, audience) = match &route.access {
            Access::Public => (SCOPE_OF_PUBLIC.to_owned(), None),
            Access::Token { scope, audience } => (scope.to_string(), audience.as_ref().map(ToString::to_string)),
        };
        Self {
            id: route.id.clone(),
            method: route.method.as_ref().map(ToString::to_string),
            host: route.host.as_ref().map(ToString::to_string),
            path: route.path.to_string(),
            scope,
            audience,
            created_at_ms: route.created_at.0,
            public: route.access == Access::Public,
        }
    }
}

impl RouteRow {
    /// Both columns must say that a route is public: one of them alone, in a row that something
    /// else has written, must not open it.
    fn into_route(self) -> Result<Route, DbError> {
        let new = NewRoute {
            path: self.path,
            public: self.public,
            scope: Some(self.scope).filter(|scope| !self.public || scope != SCOPE_OF_PUBLIC),
            method: self.method,
            host: self.host,
            audience: self.audience,
        };
        new.stored_route(self.id.clone(), UnixMillis(self.created_at_ms))
            .map_err(|malformed| DbError::Inconsistent(format!("route {:?}: {malformed}", self.id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::db::{Db, migrations};
    use crate::oauth::duty::{Duty, is_reserved};

    /// A migrated database in a temporary directory.
    fn database() -> (tempfile::TempDir, Db) {
        let directory = tempfile::tempdir().unwrap();
        let mut database = config::Database {
            url: format!("sqlite:{}", directory.path().join("mintage.db").display()),
            ..Default::default()
        };
        database.pool.max_size = 1;
        database.pool.min_idle = 0;
        let db = Db::open(&database);
        db.run_here(migrations::up).unwrap();
        (directory, db)
    }

    fn route(id: &str, path: &str, created_at: i64) -> Route {
        let new = NewRoute {
            path: path.into(),
            public: false,
            scope: Some("orders:read orders:list".into()),
            method: Some("GET".into()),
            host: Some("API.example".into()),
            audience: Some("https://api.example".into()),
        };
        new.route(id.into(), UnixMillis(created_at)).unwrap()
    }

    fn changes_of(conn: &mut Conn) -> Vec<Change> {
        let all = changes::from(conn, 0, 100).unwrap();
        all.into_iter().map(|line| line.change).collect()
    }

    #[test]
    fn routes_are_listed_oldest_first() {
        let (_directory, db) = database();
        db.run_here(|conn| {
            let open = NewRoute {
                path: "/{*rest}".into(),
                scope: Some("any".into()),
                ..NewRoute::default()
            };
            let (newer, older) = (
                open.route("a".into(), UnixMillis(2)).unwrap(),
                route("b", "/orders/{id}", 1),
            );
            insert(conn, &newer)?;
            insert(conn, &older)?;
            assert_eq!(list(conn)?, [older, newer]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_route_for_the_same_requests_is_a_conflict_and_changes_nothing() {
        let (_directory, db) = database();
        db.run_here(|conn| {
            insert(conn, &route("a", "/orders/{id}", 1))?;
            assert_eq!(insert(conn, &route("b", "/orders/{order}", 2)), Err(DbError::Conflict));
            assert_eq!(list(conn)?.len(), 1);
            assert_eq!(changes_of(conn), [Change::Routes]);
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn each_write_is_in_the_change_log() {
        let (_directory, db) = database();
        db.run_here(|conn| {
            insert(conn, &route("a", "/orders/{id}", 1))?;
            assert!(delete(conn, "a", UnixMillis(2))?);
            assert!(!delete(conn, "a", UnixMillis(3))?);
            assert_eq!(list(conn)?, []);
            assert_eq!(changes_of(conn), vec![Change::Routes; 3]);
            Ok(())
        })
        .unwrap();
    }

    fn public(id: &str, path: &str) -> Route {
        let new = NewRoute {
            path: path.into(),
            public: true,
            ..NewRoute::default()
        };
        new.route(id.into(), UnixMillis(1)).unwrap()
    }

    #[test]
    fn a_version_that_knows_no_public_routes_reads_one_that_every_token_lacks_the_scope_for() {
        let (_directory, db) = database();
        db.run_here(|conn| {
            insert(conn, &public("a", "/public/{*rest}"))?;
            assert_eq!(list(conn)?, [public("a", "/public/{*rest}")]);
            // The default of the column is what an older version writes and, in effect, reads.
            diesel::update(routes::table)
                .set(routes::public.eq(false))
                .execute(conn)?;
            let read = list(conn)?;
            let Access::Token { scope, audience } = &read[0].access else {
                panic!("{read:?}");
            };
            assert_eq!((scope.as_str(), audience), (SCOPE_OF_PUBLIC, &None));
            assert!(is_reserved(SCOPE_OF_PUBLIC) && Duty::of(SCOPE_OF_PUBLIC).is_none());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_route_is_public_only_if_both_columns_say_so() {
        let (_directory, db) = database();
        for scope in ["orders:read", "", "mintage:public orders:read"] {
            let read = db.run_here(|conn| {
                diesel::delete(routes::table).execute(conn)?;
                insert(conn, &public("a", "/public/{*rest}"))?;
                diesel::update(routes::table)
                    .set(routes::scope.eq(scope))
                    .execute(conn)?;
                list(conn)
            });
            assert!(matches!(read, Err(DbError::Inconsistent(_))), "{scope}: {read:?}");
        }
    }

    #[test]
    fn a_malformed_row_fails_the_whole_list() {
        let (_directory, db) = database();
        db.run_here(|conn| {
            insert(conn, &route("a", "/orders/{id}", 1))?;
            insert(conn, &route("b", "/carts/{id}", 1))?;
            diesel::update(routes::table.find("b"))
                .set(routes::path.eq("/carts/../orders/1"))
                .execute(conn)?;
            assert!(matches!(list(conn), Err(DbError::Inconsistent(_))));
            Ok(())
        })
        .unwrap();
    }
}
