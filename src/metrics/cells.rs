//! The cells of one worker: counters that only its thread writes, and that a scrape reads.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::oauth::alg::Alg;
use crate::oauth::denial::Denial;
use crate::oauth::error::{CODES, OAuthError};

/// Maximum number of route labels. The route table has about half as many routes.
pub const MAX_ROUTES: usize = 64;

/// The methods with their own label. The last label stands for all others.
pub const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "DELETE", "PATCH", "PUT", "OPTIONS", "other"];

/// The statuses that this server sends. One more cell counts all others.
pub const STATUSES: [(u16, &str); 19] = [
    (200, "200"),
    (201, "201"),
    (204, "204"),
    (400, "400"),
    (401, "401"),
    (403, "403"),
    (404, "404"),
    (405, "405"),
    (408, "408"),
    (409, "409"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (422, "422"),
    (428, "428"),
    (429, "429"),
    (500, "500"),
    (503, "503"),
    (304, "304"),
];

/// The kinds of tokens.
pub const KINDS: [&str; 2] = ["bearer", "one_time"];

/// All counters of one worker. Aligned so that no other heap object shares its cache lines, which
/// some processors fetch in pairs.
#[derive(Debug)]
#[repr(align(128))]
pub struct Cells {
    /// Created by the first request to a route. Most workers serve only a few routes.
    pub routes: [OnceLock<Box<RouteCells>>; MAX_ROUTES],
    pub issued: [[Counter; KINDS.len()]; Alg::ALL.len()],
    pub errors: [Counter; CODES.len()],
    pub denials: [Counter; Denial::ALL.len()],
}

impl Default for Cells {
    fn default() -> Self {
        Self {
            routes: [const { OnceLock::new() }; MAX_ROUTES],
            issued: Default::default(),
            errors: Default::default(),
            denials: Default::default(),
        }
    }
}

/// The label of a route, resolved when the route table is built, so that a request needs no lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLabel {
    pub(super) index: usize,
    pub(super) is_token: bool,
    pub(super) is_admin: bool,
}

impl RouteLabel {
    /// The label of requests without a route.
    pub const UNMATCHED: Self = Self {
        index: 0,
        is_token: false,
        is_admin: false,
    };

    /// Whether the route belongs to the admin API.
    pub fn is_admin(self) -> bool {
        self.is_admin
    }
}

/// The counters of one worker for one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCells {
    pub answered: [[Counter; STATUSES.len() + 1]; METHODS.len()],
    pub durations: Histogram,
}

/// The write access to the cells of one worker. Neither `Clone` nor `Sync`, so each cell has one
/// writer.
#[derive(Debug)]
pub struct WorkerMetrics {
    cells: Arc<Cells>,
    of_one_thread: PhantomData<Cell<()>>,
}

impl WorkerMetrics {
    pub(super) fn new(cells: Arc<Cells>) -> Self {
        Self {
            cells,
            of_one_thread: PhantomData,
        }
    }

    /// Counts a response.
    #[inline]
    pub fn answered(&self, route: RouteLabel, method: &str, status: u16, took: Duration) {
        let cells = self.cells.routes[route.index].get_or_init(Box::default);
        cells.answered[method_index(method)][status_index(status)].add(1);
        cells.durations.observe(took);
    }

    /// Counts an issued token.
    #[inline]
    pub fn issued(&self, alg: Alg, one_time: bool) {
        self.cells.issued[alg.index()][usize::from(one_time)].add(1);
    }

    /// Counts an OAuth error, if the route is the token endpoint.
    pub fn token_error(&self, route: RouteLabel, error: OAuthError) {
        if route.is_token {
            let code = error.row().code;
            let index = CODES.iter().position(|known| *known == code);
            self.cells.errors[index.expect("every code is one of CODES")].add(1);
        }
    }

    /// Counts a denial of credentials or of a gateway's request.
    pub fn denied(&self, denial: Denial) {
        self.cells.denials[denial as usize].add(1);
    }
}

fn method_index(method: &str) -> usize {
    let others = METHODS.len() - 1;
    let known = METHODS[..others].iter().position(|known| *known == method);
    known.unwrap_or(others)
}

fn status_index(status: u16) -> usize {
    let known = STATUSES.iter().position(|(known, _)| *known == status);
    known.unwrap_or(STATUSES.len())
}
