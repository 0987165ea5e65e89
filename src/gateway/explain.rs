//! Explains a decision of the forward-auth policy: the deciding route, and why each other route
//! that matches the path does not decide.

use super::host::MAX_HOST;
use super::path::NormalPath;
use super::route::{Part, Route};
use super::route_table::{Denied, Rank, RouteTable, WhyNot};

impl RouteTable {
    /// The decision of [`Self::decide`], and the reason why each other route that matches the path
    /// does not decide.
    pub fn explain<'t>(&'t self, method: &str, host: Option<&str>, target: &str) -> Explanation<'t> {
        let decision = self.decide(method, host, target);
        let mut buffer = [0; MAX_HOST];
        let Ok((host, path)) = self.normalize(method, host, target, &mut buffer) else {
            return Explanation {
                decision,
                others: Vec::new(),
            };
        };
        let mut others: Vec<(Rank<'_>, &Route)> = self
            .routes()
            .iter()
            .filter(|route| path_matches(route.path.parts(), path))
            .filter(|route| !decision.is_ok_and(|deciding| std::ptr::eq(deciding, *route)))
            .map(|route| (Rank::of(route, method), route))
            .collect();
        others.sort_by(|(a, _), (b, _)| a.cmp(b));
        let others = others.into_iter().map(|(rank, route)| RunnerUp {
            route,
            why: match (&route.host, decision) {
                (Some(named), _) if Some(named.as_str()) != host => WhyNot::OtherHost,
                _ if rank.method.is_none() => WhyNot::OtherMethod,
                (_, Ok(deciding)) => Rank::of(deciding, method).lead_over(&rank),
                (_, Err(_)) => unreachable!("a route that matches method, host and path would decide"),
            },
        });
        Explanation {
            decision,
            others: others.collect(),
        }
    }
}

fn path_matches(parts: &[Part], path: NormalPath<'_>) -> bool {
    let mut segments = path.segments();
    for part in parts {
        let matches = match (part, segments.next()) {
            (Part::Rest, Some(_)) => return true,
            (Part::Literal(text), Some(segment)) => **text == *segment,
            (Part::Parameter, Some(segment)) => !segment.is_empty(),
            (_, None) => false,
        };
        if !matches {
            return false;
        }
    }
    segments.next().is_none()
}

/// A decision and its reasons.
#[derive(Debug)]
pub struct Explanation<'t> {
    /// The deciding route, or the reason why no route decides.
    pub decision: Result<&'t Route, Denied>,
    /// The other routes whose path matches, the most specific first.
    pub others: Vec<RunnerUp<'t>>,
}

/// A route that matches the path and does not decide.
#[derive(Debug, PartialEq, Eq)]
pub struct RunnerUp<'t> {
    /// The route.
    pub route: &'t Route,
    /// Why the route does not decide.
    pub why: WhyNot,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::path::RejectedPath;
    use crate::gateway::samples::table;

    #[test]
    fn p44_explain_returns_the_deciding_route_and_why_the_others_do_not_decide() {
        let table = table(&[
            "* * /{*rest}",
            "* * /orders/{id}",
            "GET * /orders/{id}",
            "POST * /orders/{id}",
            "* other.example /orders/{id}",
            "* * /carts/{id}",
        ]);
        let explained = table.explain("GET", Some("api.example"), "/orders/1");
        assert_eq!(explained.decision.unwrap().id, "GET * /orders/{id}");
        let others: Vec<(&str, WhyNot)> = explained
            .others
            .iter()
            .map(|other| (other.route.id.as_str(), other.why))
            .collect();
        assert_eq!(
            others,
            [
                ("* other.example /orders/{id}", WhyNot::OtherHost),
                ("POST * /orders/{id}", WhyNot::OtherMethod),
                ("* * /orders/{id}", WhyNot::LessSpecificMethod),
                ("* * /{*rest}", WhyNot::LessLiteral(1)),
            ]
        );
        assert_eq!(
            table.explain("GET", Some("h"), "/a/../b").decision.unwrap_err(),
            Denied::Path(RejectedPath::DotSegment)
        );
    }
}
