//! A route, and the decision of the policy about a request, as the command line and the admin API
//! show them.

use serde::Serialize;
use utoipa::ToSchema;

use crate::gateway::explain::Explanation;
use crate::gateway::route::{Access, Route};
use crate::gateway::route_table::RouteTable;

/// A route; `null`: any method, any host, the default audience, and for a public route no scope.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Route)]
pub struct RouteDocument<'a> {
    id: &'a str,
    method: Option<&'a str>,
    host: Option<&'a str>,
    path: &'a str,
    /// Whether requests need no token.
    public: bool,
    scope: Option<&'a str>,
    audience: Option<&'a str>,
}

impl<'a> From<&'a Route> for RouteDocument<'a> {
    fn from(route: &'a Route) -> Self {
        let (scope, audience) = match &route.access {
            Access::Public => (None, None),
            Access::Token { scope, audience } => (Some(scope.as_str()), audience.as_deref()),
        };
        Self {
            id: &route.id,
            method: route.method.as_ref().map(|method| method.as_str()),
            host: route.host.as_ref().map(|host| host.as_str()),
            path: route.path.as_str(),
            public: route.access == Access::Public,
            scope,
            audience,
        }
    }
}

impl<'a> RouteDocument<'a> {
    /// The id of the route.
    pub fn id(&self) -> &'a str {
        self.id
    }
}

/// Which route decides on a request, and why.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Explanation)]
pub struct ExplanationDocument<'a> {
    /// `route` or `denied`.
    pub decision: &'static str,
    /// The route that decides.
    pub route: Option<RouteDocument<'a>>,
    /// Why it decides, or why no route does.
    pub reason: String,
    /// Other routes whose path matches, most specific first.
    pub others: Vec<RunnerUpDocument<'a>>,
}

/// A route that does not decide.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RunnerUp)]
pub struct RunnerUpDocument<'a> {
    /// The route.
    pub route: RouteDocument<'a>,
    /// Why it does not decide.
    pub reason: String,
}

impl<'a> From<&Explanation<'a>> for ExplanationDocument<'a> {
    fn from(explanation: &Explanation<'a>) -> Self {
        let (decision, route, reason) = match explanation.decision {
            Ok(route) => ("route", Some(route.into()), deciding_reason(explanation)),
            Err(denied) => ("denied", None, denied.text().to_owned()),
        };
        let others = explanation.others.iter().map(|other| RunnerUpDocument {
            route: other.route.into(),
            reason: other.why.to_string(),
        });
        Self {
            decision,
            route,
            reason,
            others: others.collect(),
        }
    }
}

fn deciding_reason(explanation: &Explanation<'_>) -> String {
    use crate::gateway::route_table::WhyNot;
    let rival =
        |other: &&crate::gateway::explain::RunnerUp<'_>| !matches!(other.why, WhyNot::OtherHost | WhyNot::OtherMethod);
    match explanation.others.iter().filter(rival).count() {
        0 => "it is the only route that matches".into(),
        rivals => format!("it is the most specific of {} routes that match", rivals + 1),
    }
}

/// Explains the decision about a request to a URL: `https://host/path`, or `/path` if the host is
/// unknown.
///
/// The URL is split without a URL parser: a parser would repair what the policy must deny.
pub fn explain<'t>(table: &'t RouteTable, method: &str, url: &str) -> ExplanationDocument<'t> {
    let (host, target) = split_url(url);
    (&table.explain(method, host, target)).into()
}

fn split_url(url: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = url.split_once("://") else {
        return (None, url);
    };
    if !["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) {
        return (None, url);
    }
    match rest.find(['/', '?', '#', '\\']) {
        Some(at) if rest[at..].starts_with('/') => (Some(&rest[..at]), &rest[at..]),
        // No client sends a target without a path: it sends "/" instead.
        Some(at) if rest[at..].starts_with('?') => (Some(&rest[..at]), "/"),
        Some(at) => (Some(&rest[..at]), &rest[at..]),
        None => (Some(rest), "/"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_split_and_not_repaired() {
        for (url, parts) in [
            ("/orders/1", (None, "/orders/1")),
            ("https://api.example", (Some("api.example"), "/")),
            ("https://api.example?x", (Some("api.example"), "/")),
            ("HTTP://api.example:80/a/../b?x", (Some("api.example:80"), "/a/../b?x")),
            ("https://api.example\\a", (Some("api.example"), "\\a")),
            ("https://u@api.example/a", (Some("u@api.example"), "/a")),
            ("ftp://api.example/a", (None, "ftp://api.example/a")),
            ("/a?b=https://c/d", (None, "/a?b=https://c/d")),
        ] {
            assert_eq!(split_url(url), parts, "{url}");
        }
    }
}
