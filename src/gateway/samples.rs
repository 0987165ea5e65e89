//! Routes for the unit tests of this module, from one line each.

use super::route::{NewRoute, Route};
use super::route_table::RouteTable;
use crate::time::UnixMillis;

/// A route written as `METHOD HOST PATH`, with `*` for any. The text is its id.
pub fn route(text: &str) -> Route {
    let words: Vec<&str> = text.split(' ').collect();
    let named = |word: &str| (word != "*").then(|| word.to_owned());
    let new = NewRoute {
        method: named(words[0]),
        host: named(words[1]),
        path: words[2].into(),
        scope: Some("a".into()),
        ..NewRoute::default()
    };
    new.route(text.into(), UnixMillis(0)).unwrap()
}

/// The compiled table of such routes.
pub fn table(routes: &[&str]) -> RouteTable {
    RouteTable::compile(routes.iter().map(|text| route(text)).collect()).unwrap()
}
