//! The cells of one worker: counts that only its thread writes and a scrape reads.

use std::cell::Cell;
use std::marker::PhantomData;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::counter::Counter;
use super::histogram::Histogram;
use crate::oauth::alg::Alg;
use crate::oauth::denial::Denial;
use crate::oauth::error::{CODES, OAuthError};

/// Routes that have a label of their own. The route table has about half as many.
pub const MAX_ROUTES: usize = 64;

/// The methods that are told apart; what comes last is all others.
pub const METHODS: [&str; 8] = ["GET", "POST", "HEAD", "DELETE", "PATCH", "PUT", "OPTIONS", "other"];

/// The statuses that this server answers with; there is a cell more, for all others.
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

/// All that one worker counts. Aligned so that no neighbour on the heap shares its cache lines (which some processors
/// fetch in pairs).
#[derive(Debug)]
#[repr(align(128))]
pub struct Cells {
    /// Made when the first request comes to a route: most workers see a few of them.
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

/// The label of a route, resolved when the route table is built, so that a request looks nothing up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RouteLabel {
    pub(super) index: usize,
    pub(super) is_token: bool,
}

impl RouteLabel {
    /// For requests for which there is no route.
    pub const UNMATCHED: Self = Self {
        index: 0,
        is_token: false,
    };
}

/// What one worker counts at one route.
#[derive(Debug, Default)]
#[repr(align(128))]
pub struct RouteCells {
    pub answered: [[Counter; STATUSES.len() + 1]; METHODS.len()],
    pub durations: Histogram,
}

/// The pen of one worker. It can be neither cloned nor shared, so that a cell has one writer.
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

    /// A request was answered.
    #[inline]
    pub fn answered(&self, route: RouteLabel, method: &str, status: u16, took: Duration) {
        let cells = self.cells.routes[route.index].get_or_init(Box::default);
        cells.answered[method_index(method)][status_index(status)].add(1);
        cells.durations.observe(took);
    }

    /// A token was issued.
    #[inline]
    pub fn issued(&self, alg: Alg, one_time: bool) {
        self.cells.issued[alg.index()][usize::from(one_time)].add(1);
    }

    /// A request to this route was refused; counted if it is the token endpoint's.
    pub fn token_error(&self, route: RouteLabel, error: OAuthError) {
        if route.is_token {
            let code = error.row().code;
            let index = CODES.iter().position(|known| *known == code);
            self.cells.errors[index.expect("every code is one of CODES")].add(1);
        }
    }

    /// Credentials or a gateway's request were denied.
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
