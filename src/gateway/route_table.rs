//! The compiled forward-auth policy: the most specific route decides. Without a matching route, the
//! request is denied.
//!
//! Among the routes that match method, host and path, a route for a host precedes one for any host;
//! then, from left to right, a literal segment precedes `{name}`, which precedes `{*rest}`; then a
//! route for a method precedes one for any method.

use std::fmt;

use super::host::{HostBuffer, MAX_HOST, normal_host};
use super::path::{NormalPath, RejectedPath, decoded, normal_path};
use super::route::{Part, Route, is_method};

type Map<T> = std::collections::HashMap<Box<str>, T, ahash::RandomState>;

/// All routes, compiled. Immutable: another policy is another table.
#[derive(Debug, Default)]
pub struct RouteTable {
    routes: Vec<Route>,
    any_host: Node,
    hosts: Map<Node>,
}

/// A node of the path tree. It stands for all paths that begin with the same segments.
#[derive(Debug, Default)]
struct Node {
    literals: Map<Node>,
    parameter: Option<Box<Node>>,
    /// Routes whose path ends here.
    here: Vec<usize>,
    /// Routes whose `{*rest}` begins here.
    rest: Vec<usize>,
}

/// Two routes match the same requests, so only one of them could ever decide.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DuplicateRoute {
    /// The id of the earlier route.
    pub first: String,
    /// The id of the later route.
    pub second: String,
}

/// Why a request is denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// The method is not in capital letters.
    Method,
    /// The host is malformed.
    Host,
    /// The host is unknown, and some routes depend on it.
    HostUnknown,
    /// The path is not in normal form.
    Path(RejectedPath),
    /// No route matches.
    NoRoute,
}

impl Denied {
    /// The reason as text. It contains nothing of the request.
    pub fn text(self) -> &'static str {
        match self {
            Self::Method => "the method of the original request is not in capital letters",
            Self::Host => "the host of the original request is malformed",
            Self::HostUnknown => "the host of the original request is not known, and routes depend on it",
            Self::Path(rejected) => rejected.text(),
            Self::NoRoute => "no route allows this request",
        }
    }
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl RouteTable {
    /// Compiles routes.
    ///
    /// # Errors
    /// [`DuplicateRoute`] if two routes match the same requests.
    pub fn compile(routes: Vec<Route>) -> Result<Self, DuplicateRoute> {
        let mut table = Self::default();
        for (number, route) in routes.iter().enumerate() {
            let root = match &route.host {
                Some(host) => table.hosts.entry(host.as_str().into()).or_default(),
                None => &mut table.any_host,
            };
            let place = root.place(route.path.parts());
            if let Some(first) = place.iter().find(|other| routes[**other].method == route.method) {
                return Err(DuplicateRoute {
                    first: routes[*first].id.clone(),
                    second: route.id.clone(),
                });
            }
            place.push(number);
        }
        table.routes = routes;
        Ok(table)
    }

    /// All routes, in the order given to [`Self::compile`].
    pub fn routes(&self) -> &[Route] {
        &self.routes
    }

    /// The route that decides about a request. Allocates only if the path has escapes.
    ///
    /// # Errors
    /// [`Denied`] if no route matches or the request is ambiguous.
    pub fn decide(&self, method: &str, host: Option<&str>, target: &str) -> Result<&Route, Denied> {
        let mut buffer = [0; MAX_HOST];
        let (host, path) = self.normalize(method, host, target, &mut buffer)?;
        let with_host = host.and_then(|host| self.hosts.get(host));
        let roots = with_host.into_iter().chain([&self.any_host]);
        let inner = &path.as_str()[1..];
        roots
            .filter_map(|root| self.find(root, Some(inner), method))
            .next()
            .ok_or(Denied::NoRoute)
    }

    /// The normal forms of host and path.
    ///
    /// # Errors
    /// [`Denied`] if the request is ambiguous.
    pub(super) fn normalize<'a>(
        &self,
        method: &str,
        host: Option<&str>,
        target: &'a str,
        buffer: &'a mut HostBuffer,
    ) -> Result<(Option<&'a str>, NormalPath<'a>), Denied> {
        if !is_method(method) {
            return Err(Denied::Method);
        }
        let host = host.map(|host| normal_host(host, buffer)).transpose();
        let host = host.map_err(|_| Denied::Host)?;
        let path = normal_path(target).map_err(Denied::Path)?;
        if host.is_none() && !self.hosts.is_empty() {
            // A route for any host must not decide if a route for this host might be stricter.
            return Err(Denied::HostUnknown);
        }
        Ok((host, path))
    }

    /// The first route below `node` that matches the rest of the path, in order of precedence.
    /// Visits each node at most once.
    fn find(&self, node: &Node, left: Option<&str>, method: &str) -> Option<&Route> {
        let Some(left) = left else {
            return self.pick(&node.here, method);
        };
        let (segment, left) = match left.split_once('/') {
            Some((segment, left)) => (segment, Some(left)),
            None => (left, None),
        };
        let literal = || self.find(node.literals.get(&*decoded(segment))?, left, method);
        let parameter = || {
            let parameter = node.parameter.as_deref().filter(|_| !segment.is_empty());
            self.find(parameter?, left, method)
        };
        literal().or_else(parameter).or_else(|| self.pick(&node.rest, method))
    }

    /// The route for this method, among routes that differ only in their method.
    fn pick(&self, places: &[usize], method: &str) -> Option<&Route> {
        places
            .iter()
            .map(|number| &self.routes[*number])
            .filter_map(|route| Some((method_rank(route, method)?, route)))
            .min_by_key(|(rank, _)| *rank)
            .map(|(_, route)| route)
    }
}

impl Node {
    /// The list for routes with this template. Creates the nodes on the way.
    fn place(&mut self, parts: &[Part]) -> &mut Vec<usize> {
        match parts {
            [] => &mut self.here,
            [Part::Rest, ..] => &mut self.rest,
            [Part::Parameter, left @ ..] => self.parameter.get_or_insert_default().place(left),
            [Part::Literal(text), left @ ..] => self.literals.entry(text.clone()).or_default().place(left),
        }
    }
}

/// How specifically a route names the method, 0 being best. `None` if the route is for another
/// method.
fn method_rank(route: &Route, method: &str) -> Option<u8> {
    match route.method.as_ref().map(|own| own.as_str()) {
        Some(own) if own == method => Some(0),
        Some("GET") if method == "HEAD" => Some(1),
        Some(_) => None,
        None => Some(2),
    }
}

/// The specificity of a route. The lowest rank decides.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank<'a> {
    any_host: bool,
    kinds: Vec<u8>,
    pub(super) method: Option<u8>,
    id: &'a str,
}

impl<'a> Rank<'a> {
    pub(super) fn of(route: &'a Route, method: &str) -> Self {
        let kind = |part: &Part| match part {
            Part::Literal(_) => 0,
            Part::Parameter => 1,
            Part::Rest => 2,
        };
        Self {
            any_host: route.host.is_none(),
            kinds: route.path.parts().iter().map(kind).collect(),
            method: method_rank(route, method),
            id: &route.id,
        }
    }

    /// In which respect this route is more specific.
    pub(super) fn lead_over(&self, other: &Rank<'_>) -> WhyNot {
        if self.any_host != other.any_host {
            return WhyNot::AnyHost;
        }
        let pairs = self.kinds.iter().zip(&other.kinds);
        match pairs.into_iter().position(|(own, others)| own != others) {
            Some(at) => WhyNot::LessLiteral(at + 1),
            None => WhyNot::LessSpecificMethod,
        }
    }
}

/// Why a route whose path matches does not decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhyNot {
    /// It is for another host.
    OtherHost,
    /// It is for another method.
    OtherMethod,
    /// It is for any host, and the deciding route is for this host.
    AnyHost,
    /// The deciding route is more specific in this segment (1-based index).
    LessLiteral(usize),
    /// The deciding route names the method more specifically.
    LessSpecificMethod,
}

impl fmt::Display for WhyNot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherHost => f.write_str("it is for another host"),
            Self::OtherMethod => f.write_str("it is for another method"),
            Self::AnyHost => f.write_str("it is for any host, and the deciding route names the host"),
            Self::LessLiteral(segment) => write!(f, "the deciding route is more specific in segment {segment}"),
            Self::LessSpecificMethod => f.write_str("the deciding route names the method"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::samples::{route, table};
    use proptest::prelude::*;

    fn decision<'t>(table: &'t RouteTable, method: &str, host: &str, target: &str) -> Result<&'t str, Denied> {
        table.decide(method, Some(host), target).map(|route| route.id.as_str())
    }

    #[test]
    fn p44_a_request_without_a_route_is_denied() {
        let empty = table(&[]);
        assert_eq!(decision(&empty, "GET", "h", "/"), Err(Denied::NoRoute));
        let orders = table(&["GET api.example /orders/{id}"]);
        assert!(decision(&orders, "GET", "API.example:8443", "/orders/1?x=/").is_ok());
        for (method, host, target) in [
            ("POST", "api.example", "/orders/1"),
            ("GET", "other.example", "/orders/1"),
            ("GET", "api.example", "/orders"),
            ("GET", "api.example", "/orders/"),
            ("GET", "api.example", "/orders/1/"),
            ("GET", "api.example", "/orders/1/lines"),
            ("GET", "api.example", "/Orders/1"),
            ("GET", "api.example", "/"),
        ] {
            assert_eq!(
                decision(&orders, method, host, target),
                Err(Denied::NoRoute),
                "{method} {host} {target}"
            );
        }
    }

    #[test]
    fn p44_the_remainder_is_everything_below_a_slash() {
        let files = table(&["* * /files/{*rest}"]);
        for target in ["/files/", "/files/a", "/files/a/b/", "/files/a/b/c"] {
            assert!(decision(&files, "GET", "h", target).is_ok(), "{target}");
        }
        assert_eq!(decision(&files, "GET", "h", "/files"), Err(Denied::NoRoute));
        assert!(decision(&table(&["* * /{*rest}"]), "GET", "h", "/").is_ok());
    }

    #[test]
    fn p44_the_most_specific_route_decides() {
        let all = [
            "* * /{*rest}",
            "GET * /{*rest}",
            "* * /orders/{id}",
            "GET * /orders/{id}",
            "* * /orders/special",
            "* * /{kind}/special",
            "DELETE * /{kind}/{id}",
            "* api.example /{*rest}",
        ];
        let table = table(&all);
        for (method, host, target, id) in [
            ("GET", "h", "/orders/special", "* * /orders/special"),
            ("GET", "h", "/orders/1", "GET * /orders/{id}"),
            ("HEAD", "h", "/orders/1", "GET * /orders/{id}"),
            ("PUT", "h", "/orders/1", "* * /orders/{id}"),
            ("DELETE", "h", "/orders/1", "* * /orders/{id}"),
            ("DELETE", "h", "/carts/1", "DELETE * /{kind}/{id}"),
            ("DELETE", "h", "/carts/special", "* * /{kind}/special"),
            ("PUT", "h", "/carts/1", "* * /{*rest}"),
            ("GET", "h", "/", "GET * /{*rest}"),
            ("GET", "api.example", "/orders/special", "* api.example /{*rest}"),
        ] {
            assert_eq!(
                decision(&table, method, host, target),
                Ok(id),
                "{method} {host} {target}"
            );
        }
    }

    #[test]
    fn p44_a_rule_for_get_covers_head_unless_head_has_its_own() {
        let both = table(&["GET * /a", "HEAD * /a", "* * /a"]);
        assert_eq!(decision(&both, "HEAD", "h", "/a"), Ok("HEAD * /a"));
        let get = table(&["GET * /a", "* * /a"]);
        assert_eq!(decision(&get, "HEAD", "h", "/a"), Ok("GET * /a"));
        let head = table(&["HEAD * /a"]);
        assert_eq!(decision(&head, "GET", "h", "/a"), Err(Denied::NoRoute));
    }

    #[test]
    fn p44_escapes_are_compared_decoded() {
        let routes = table(&["* * /caf%C3%A9", "* * /{*rest}"]);
        for target in ["/caf%c3%a9", "/%63af%C3%A9"] {
            assert_eq!(decision(&routes, "GET", "h", target), Ok("* * /caf%C3%A9"), "{target}");
        }
    }

    #[test]
    fn p44_an_ambiguous_request_is_denied() {
        let all = table(&["* * /{*rest}"]);
        assert_eq!(
            decision(&all, "GET", "h", "/a/../b"),
            Err(Denied::Path(RejectedPath::DotSegment))
        );
        for method in ["get", "Get", "", "GET ", "GET, POST", "G\u{c9}T"] {
            assert_eq!(decision(&all, method, "h", "/a"), Err(Denied::Method), "{method:?}");
        }
        for host in ["", "a, b", "a.", "u@a"] {
            assert_eq!(decision(&all, "GET", host, "/a"), Err(Denied::Host), "{host:?}");
        }
    }

    #[test]
    fn p44_an_unknown_host_is_denied_if_routes_depend_on_the_host() {
        let any = table(&["* * /{*rest}"]);
        assert!(any.decide("GET", None, "/a").is_ok());
        let named = table(&["* * /{*rest}", "* admin.example /a"]);
        assert_eq!(named.decide("GET", None, "/a").map(|_| ()), Err(Denied::HostUnknown));
    }

    #[test]
    fn p44_duplicates_do_not_compile() {
        let routes = ["GET API.example /orders/{id}", "GET api.example /%6frders/{order}"];
        let compiled = RouteTable::compile(routes.iter().map(|text| route(text)).collect());
        let duplicate = compiled.unwrap_err();
        assert_eq!([duplicate.first.as_str(), duplicate.second.as_str()], routes);
    }

    /// The policy as docs/protocol.md#p44 defines it, without a tree: the reference for the
    /// properties below.
    fn reference_decision<'r>(routes: &'r [String], method: &str, host: &str, segments: &[String]) -> Option<&'r str> {
        type Rank = (u8, Vec<u8>, u8);
        let mut best: Option<(Rank, &str)> = None;
        for text in routes {
            let words: Vec<&str> = text.split(' ').collect();
            let host_rank = match words[1] {
                "*" => 1,
                own if own.eq_ignore_ascii_case(host.split(':').next().unwrap()) => 0,
                _ => continue,
            };
            let method_rank = match words[0] {
                "*" => 2,
                own if own == method => 0,
                "GET" if method == "HEAD" => 1,
                _ => continue,
            };
            let template: Vec<&str> = words[2][1..].split('/').collect();
            let Some(kinds) = kinds_if_matching(&template, segments) else {
                continue;
            };
            let rank = (host_rank, kinds, method_rank);
            if best.as_ref().is_none_or(|(other, _)| rank < *other) {
                best = Some((rank, text));
            }
        }
        best.map(|(_, text)| text)
    }

    fn kinds_if_matching(template: &[&str], segments: &[String]) -> Option<Vec<u8>> {
        match (template.split_first(), segments.split_first()) {
            (None, None) => Some(Vec::new()),
            (Some((&"{*r}", _)), Some(_)) => Some(vec![2]),
            (Some((part, template)), Some((segment, segments))) => {
                let kind = match *part {
                    literal if literal == segment => 0,
                    part if part.starts_with('{') && !segment.is_empty() => 1,
                    _ => return None,
                };
                let mut kinds = kinds_if_matching(template, segments)?;
                kinds.insert(0, kind);
                Some(kinds)
            }
            _ => None,
        }
    }

    fn any_route() -> impl Strategy<Value = String> {
        let method = prop::sample::select(vec!["*", "*", "GET", "HEAD", "POST"]);
        let host = prop::sample::select(vec!["*", "*", "a.example", "b.example"]);
        let part = prop::sample::select(vec!["a", "b", "c", "{x}", "{x}"]);
        let end = prop::sample::select(vec!["", "", "/", "/{*r}"]);
        (method, host, prop::collection::vec(part, 0..4), end).prop_map(|(method, host, parts, end)| {
            let numbered = parts.iter().enumerate();
            let path: String = numbered
                .map(|(at, part)| format!("/{}", part.replace('x', &format!("x{at}"))))
                .collect();
            match format!("{path}{end}") {
                empty if empty.is_empty() => format!("{method} {host} /"),
                path => format!("{method} {host} {path}"),
            }
        })
    }

    /// A table without duplicates, and the texts of its routes.
    fn any_table() -> impl Strategy<Value = (RouteTable, Vec<String>)> {
        prop::collection::vec(any_route(), 0..12).prop_map(|texts| {
            let mut unique: Vec<Route> = Vec::new();
            for text in texts {
                let new = route(&text);
                if !unique.iter().any(|other| other.duplicates(&new)) {
                    unique.push(new);
                }
            }
            let texts = unique.iter().map(|route| route.id.clone()).collect();
            (RouteTable::compile(unique).expect("duplicates are omitted"), texts)
        })
    }

    fn any_method() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["GET", "HEAD", "POST", "DELETE"])
    }

    fn any_host() -> impl Strategy<Value = &'static str> {
        prop::sample::select(vec!["a.example", "A.Example:80", "b.example", "c.example"])
    }

    /// The segments of a served path, and an attacker's spelling of that path: each piece is plain
    /// or a trick.
    fn spelled_path() -> impl Strategy<Value = (Vec<String>, String)> {
        let segment = prop::sample::select(vec!["a", "b", "c", "d"]);
        let detour = prop::sample::select(vec![
            "/",
            "/",
            "/",
            "/",
            "//",
            "/./",
            "/%2e/",
            "/x/../",
            "/a/%2E%2e/",
            "\\",
            "/x\\..\\",
            "%2f",
            "/x;y/../",
            "/%2e%2e;/",
            "/.;/",
            "/\t",
            "/x/..%2f",
        ]);
        let tail = prop::sample::select(vec![
            "", "", "", "?q", ";x", "#x", "%00", "%3f", "%23", "%20", "%3b", "/.", "?/../a",
        ]);
        let escaped = any::<bool>();
        let step = (detour, segment, escaped);
        (prop::collection::vec(step, 1..4), tail).prop_map(|(steps, tail)| {
            let mut spelled = String::new();
            let mut served = Vec::new();
            for (detour, segment, escaped) in steps {
                spelled.push_str(detour);
                served.push(segment.to_owned());
                match escaped {
                    true => spelled.push_str(&format!("%{:02x}", segment.as_bytes()[0])),
                    false => spelled.push_str(segment),
                }
            }
            if tail == "/." {
                served.push(String::new());
            }
            (served, format!("{spelled}{tail}"))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2048))]

        #[test]
        fn p44_the_table_decides_as_the_reference_does(
            (table, texts) in any_table(),
            method in any_method(),
            host in any_host(),
            segments in prop::collection::vec(prop::sample::select(vec!["a", "b", "c", "d"]), 0..5),
            slash in any::<bool>(),
        ) {
            let slash = if slash || segments.is_empty() { "/" } else { "" };
            let target: String = segments.iter().map(|segment| format!("/{segment}")).collect::<String>() + slash;
            let segments: Vec<String> = target[1..].split('/').map(str::to_owned).collect();
            let expected = reference_decision(&texts, method, host, &segments);
            prop_assert_eq!(decision(&table, method, host, &target).ok(), expected, "{} {}", &target, texts.join(", "));
            let explained = table.explain(method, Some(host), &target);
            prop_assert_eq!(explained.decision.ok().map(|route| route.id.as_str()), expected);
            prop_assert!(explained.others.iter().all(|other| Some(other.route.id.as_str()) != expected));
        }

        /// A lenient upstream serves `served` for every spelling of the path. So only the route for
        /// exactly that path may let the request pass.
        #[test]
        fn p44_a_weaker_token_never_gets_a_stronger_route(
            (table, texts) in any_table(),
            method in any_method(),
            host in any_host(),
            (served, spelled) in spelled_path(),
        ) {
            if let Ok(decided) = decision(&table, method, host, &spelled) {
                // The tricks in accepted spellings: escapes of plain characters, a trailing space,
                // a query.
                let with_space: Vec<String> = served
                    .iter()
                    .enumerate()
                    .map(|(at, segment)| match at + 1 == served.len() && spelled.ends_with("%20") {
                        true => format!("{segment} "),
                        false => segment.clone(),
                    })
                    .collect();
                prop_assert_eq!(Some(decided), reference_decision(&texts, method, host, &with_space), "{}", spelled);
            }
        }
    }
}
