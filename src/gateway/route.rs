//! A route of the forward-auth policy: which requests it matches, and whether they need a token.

use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
use utoipa::ToSchema;

use super::host::Host;
use super::path::{RejectedPath, normal_path, normal_path_of_0_1};
use crate::oauth::bounds::MAX_SCOPE;
use crate::oauth::duty::is_reserved;
use crate::oauth::resource::{is_audience, is_stored_audience};
use crate::oauth::scope::Scope;
use crate::time::UnixMillis;

/// Maximum length of a path template, in bytes.
pub const MAX_TEMPLATE: usize = 1024;

/// Maximum number of segments in a path template. It limits the recursion depth of matching.
pub const MAX_SEGMENTS: usize = 64;

const MAX_METHOD: usize = 32;

/// A route: a request that matches method, host and path is allowed by [`Access`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The route id.
    pub id: String,
    /// The method; `None`: any.
    pub method: Option<Method>,
    /// The host; `None`: any.
    pub host: Option<Host>,
    /// The template of the paths.
    pub path: PathTemplate,
    /// What a request needs.
    pub access: Access,
    /// When the route was created.
    pub created_at: UnixMillis,
}

/// What a request needs to be allowed by a route. Public is a case of its own, not the absence of a
/// requirement: what is forgotten or empty must not open a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Nothing. A token in the request is ignored.
    Public,
    /// A token.
    Token {
        /// The required scope. The token must have all of it.
        scope: Scope,
        /// The required audience of the token; `None`: the default audience.
        audience: Option<Arc<str>>,
    },
}

/// The members of a new route. An unknown member is an error: a misspelt `method` would otherwise
/// create a route for every method.
#[derive(Clone, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRoute {
    /// The path template.
    #[schema(pattern = "^/", max_length = 1024)]
    pub path: String,
    /// Whether requests need no token. Excludes scope and audience.
    #[serde(default)]
    pub public: bool,
    /// The scope. Required unless the route is public.
    #[serde(default)]
    #[schema(pattern = "^[!#-\\[\\]-~]+( [!#-\\[\\]-~]+)*$", max_length = 4000)]
    pub scope: Option<String>,
    /// The method.
    #[serde(default)]
    #[schema(pattern = "^[A-Z_-]{1,32}$")]
    pub method: Option<String>,
    /// The host.
    #[serde(default)]
    pub host: Option<String>,
    /// The audience.
    #[serde(default)]
    #[schema(pattern = "^[!-~]+$", max_length = 512)]
    pub audience: Option<String>,
}

/// Why a new route is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MalformedRoute {
    /// The path is not in normal form.
    Path(RejectedPath),
    /// The path has a query.
    Query,
    /// A brace that does not enclose a whole segment, or a malformed name between braces.
    Braces,
    /// Something follows `{*rest}`.
    RestNotLast,
    /// A parameter name is repeated.
    RepeatedName,
    /// The path is too long or has too many segments.
    TooLong,
    /// The method is malformed.
    Method,
    /// The host is malformed.
    Host,
    /// There is no scope, and the route is not public.
    NoScope,
    /// The scope is malformed.
    Scope,
    /// The scope is reserved for operators.
    ReservedScope,
    /// The audience is malformed.
    Audience,
    /// The route is public and has a scope or an audience.
    PublicWithToken,
}

impl MalformedRoute {
    /// The rule that was violated, as text. It contains nothing of the input.
    pub fn text(self) -> &'static str {
        match self {
            Self::Path(rejected) => rejected.text(),
            Self::Query => "the path must not have a query",
            Self::Braces => {
                "a parameter of the path must be a whole segment: {name} or {*rest}, of letters, digits and _"
            }
            Self::RestNotLast => "{*rest} must be the last segment of the path",
            Self::RepeatedName => "a parameter must not come twice in the path",
            Self::TooLong => "the path must have at most 1024 bytes and 64 segments",
            Self::Method => "the method must be in capital letters, as in GET",
            Self::Host => "the host must be a name or an address without a port",
            Self::NoScope => "scope must be given and not be empty, unless public is true",
            Self::Scope => "the scope must be scope tokens separated by single spaces, at most 4000 bytes",
            Self::ReservedScope => {
                "the scope must not begin with mintage:, because /validate accepts no token with such a scope"
            }
            Self::Audience => "the audience must be printable ASCII without spaces, at most 512 bytes",
            Self::PublicWithToken => "a public route must have neither a scope nor an audience",
        }
    }
}

impl fmt::Display for MalformedRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl std::error::Error for MalformedRoute {}

impl NewRoute {
    /// Builds the route.
    ///
    /// # Errors
    /// [`MalformedRoute`] for the first invalid member.
    pub fn route(&self, id: String, now: UnixMillis) -> Result<Route, MalformedRoute> {
        let route = self.stored_route(id, now)?;
        // No request would match.
        normal_path(&self.path).map_err(MalformedRoute::Path)?;
        if let Access::Token { scope, audience } = &route.access {
            // Beyond these bounds, no token could satisfy the route.
            if scope.as_str().len() > MAX_SCOPE {
                return Err(MalformedRoute::Scope);
            }
            if scope.tokens().any(is_reserved) {
                return Err(MalformedRoute::ReservedScope);
            }
            if !audience.as_deref().is_none_or(is_audience) {
                return Err(MalformedRoute::Audience);
            }
        }
        Ok(route)
    }

    /// Builds a route that was stored earlier. Its scope may be reserved, and scope and audience
    /// longer than now, because earlier versions allowed that: the route then denies every request,
    /// and is not left out, because a less strict one could decide in its place. One whose path is
    /// not in normal form matches none ([`PathTemplate::never_matches`]).
    ///
    /// # Errors
    /// As [`NewRoute::route`].
    pub fn stored_route(&self, id: String, now: UnixMillis) -> Result<Route, MalformedRoute> {
        let method = self.method.as_deref();
        let method = method.map(|text| Method::parse(text).ok_or(MalformedRoute::Method));
        let host = self.host.as_deref();
        let host = host.map(|text| Host::parse(text).ok_or(MalformedRoute::Host));
        Ok(Route {
            id,
            path: PathTemplate::stored(&self.path)?,
            method: method.transpose()?,
            host: host.transpose()?,
            access: self.access()?,
            created_at: now,
        })
    }

    fn access(&self) -> Result<Access, MalformedRoute> {
        let audience = self.audience.as_deref();
        let scope = match self.scope.as_deref() {
            None if self.public && audience.is_none() => return Ok(Access::Public),
            _ if self.public => return Err(MalformedRoute::PublicWithToken),
            None | Some("") => return Err(MalformedRoute::NoScope),
            Some(scope) => Scope::parse(scope).map_err(|_| MalformedRoute::Scope)?,
        };
        match audience.is_none_or(is_stored_audience) {
            true => Ok(Access::Token {
                scope,
                audience: audience.map(Arc::from),
            }),
            false => Err(MalformedRoute::Audience),
        }
    }
}

impl Route {
    /// Whether both routes match the same requests, so that only one of them could ever decide.
    pub fn duplicates(&self, other: &Route) -> bool {
        self.method == other.method && self.host == other.host && self.path.parts == other.path.parts
    }
}

/// A method in capital letters. `get` is rejected: some upstreams treat it as GET, others as
/// another method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method(Box<str>);

impl Method {
    /// Parses a method.
    pub fn parse(text: &str) -> Option<Self> {
        is_method(text).then(|| Self(text.into()))
    }

    /// The method as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether `text` is a method that every parser reads alike.
pub fn is_method(text: &str) -> bool {
    (1..=MAX_METHOD).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_uppercase() || b"-_".contains(&byte))
}

/// A path template: literal segments, `{name}` for one segment, `{*rest}` for the remainder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathTemplate {
    text: Box<str>,
    parts: Vec<Part>,
}

/// A segment of a template, ordered by specificity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// This text, decoded. Empty at the end of a path that ends with a slash.
    Literal(Box<str>),
    /// Any single segment that is not empty.
    Parameter,
    /// All remaining segments, including the empty one after a slash.
    Rest,
}

impl PathTemplate {
    /// Parses a template. Its literals must be in the normal form of paths. Otherwise no path could
    /// match them.
    ///
    /// # Errors
    /// The rule that the template violates.
    pub fn parse(text: &str) -> Result<Self, MalformedRoute> {
        let template = Self::stored(text)?;
        normal_path(text).map_err(MalformedRoute::Path)?;
        Ok(template)
    }

    /// As [`PathTemplate::parse`], but accepts what version 0.1 accepted.
    fn stored(text: &str) -> Result<Self, MalformedRoute> {
        if text.contains('?') {
            return Err(MalformedRoute::Query);
        }
        if text.len() > MAX_TEMPLATE || text.split('/').count() > MAX_SEGMENTS + 1 {
            return Err(MalformedRoute::TooLong);
        }
        normal_path_of_0_1(text).map_err(MalformedRoute::Path)?;
        let mut names = Vec::new();
        let mut parts = Vec::new();
        for segment in text[1..].split('/') {
            if parts.last() == Some(&Part::Rest) {
                return Err(MalformedRoute::RestNotLast);
            }
            let braced = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
            let Some(braced) = braced else {
                if segment.contains(['{', '}']) {
                    return Err(MalformedRoute::Braces);
                }
                parts.push(Part::Literal(super::path::decoded(segment).into()));
                continue;
            };
            let (part, name) = match braced.strip_prefix('*') {
                Some(name) => (Part::Rest, name),
                None => (Part::Parameter, braced),
            };
            if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
                return Err(MalformedRoute::Braces);
            }
            if names.contains(&name) {
                return Err(MalformedRoute::RepeatedName);
            }
            names.push(name);
            parts.push(part);
        }
        Ok(Self {
            text: text.into(),
            parts,
        })
    }

    /// The template in its original spelling.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the template is that of a stored route whose path no request can have.
    pub fn never_matches(&self) -> bool {
        normal_path(&self.text).is_err()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }
}

impl fmt::Display for PathTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_path_that_no_request_has_is_kept_and_a_new_one_is_rejected() {
        for (path, rejected) in [
            ("/a%20/{id}", RejectedPath::OuterSpace),
            ("/%ef%bc%8e/a", RejectedPath::Unnormalized),
        ] {
            let new = NewRoute {
                path: path.into(),
                scope: Some("x".into()),
                ..NewRoute::default()
            };
            let now = UnixMillis(1);
            assert_eq!(new.route("r".into(), now), Err(MalformedRoute::Path(rejected)));
            assert!(new.stored_route("r".into(), now).unwrap().path.never_matches());
        }
        assert!(PathTemplate::stored("/a%20/%2f").is_err());
        assert!(!PathTemplate::parse("/a%20b/{id}").unwrap().never_matches());
    }

    fn parts(text: &str) -> Vec<Part> {
        PathTemplate::parse(text).unwrap().parts
    }

    #[test]
    fn p44_a_template_has_literals_parameters_and_a_remainder() {
        let literal = |text: &str| Part::Literal(text.into());
        assert_eq!(
            parts("/orders/{id}/lines/{*rest}"),
            [literal("orders"), Part::Parameter, literal("lines"), Part::Rest]
        );
        assert_eq!(parts("/"), [literal("")]);
        assert_eq!(parts("/orders/"), [literal("orders"), literal("")]);
        assert_eq!(parts("/caf%C3%A9/%7Bid%7D"), [literal("café"), literal("{id}")]);
    }

    #[test]
    fn p44_a_malformed_template_is_rejected() {
        use MalformedRoute::*;
        for (text, malformed) in [
            ("orders", Path(RejectedPath::NoSlash)),
            ("/a/../b", Path(RejectedPath::DotSegment)),
            ("/a//b", Path(RejectedPath::EmptySegment)),
            ("/a%2fb", Path(RejectedPath::AmbiguousEscape)),
            ("/a;b", Path(RejectedPath::Parameter)),
            ("/a?b", Query),
            ("/{}", Braces),
            ("/{*}", Braces),
            ("/{a-b}", Braces),
            ("/a{id}", Braces),
            ("/{id}.json", Braces),
            ("/{a}{b}", Braces),
            ("/}", Braces),
            ("/{*rest}/a", RestNotLast),
            ("/{*rest}/", RestNotLast),
            ("/{a}/{a}", RepeatedName),
        ] {
            assert_eq!(PathTemplate::parse(text), Err(malformed), "{text}");
        }
        assert_eq!(PathTemplate::parse(&"/a".repeat(65)), Err(TooLong));
        assert_eq!(PathTemplate::parse(&format!("/{}", "a".repeat(1024))), Err(TooLong));
    }

    #[test]
    fn an_error_names_what_is_wrong_with_a_new_route() {
        let good = NewRoute {
            path: "/orders/{id}".into(),
            public: false,
            scope: Some("orders:read".into()),
            method: Some("GET".into()),
            host: Some("api.example".into()),
            audience: Some("https://api.example".into()),
        };
        let error_of = |change: fn(&mut NewRoute)| {
            let mut new = good.clone();
            change(&mut new);
            new.route("r".into(), UnixMillis(0)).unwrap_err()
        };
        assert!(good.route("r".into(), UnixMillis(0)).is_ok());
        assert_eq!(error_of(|new| new.method = Some("get".into())), MalformedRoute::Method);
        assert_eq!(error_of(|new| new.method = Some(String::new())), MalformedRoute::Method);
        assert_eq!(error_of(|new| new.host = Some("a:1".into())), MalformedRoute::Host);
        assert_eq!(error_of(|new| new.scope = Some("a  b".into())), MalformedRoute::Scope);
        assert_eq!(
            error_of(|new| new.scope = Some("a mintage:read".into())),
            MalformedRoute::ReservedScope
        );
        assert_eq!(
            error_of(|new| new.audience = Some("the orders".into())),
            MalformedRoute::Audience
        );
        assert_eq!(error_of(|new| new.path = "/{".into()), MalformedRoute::Braces);
    }

    #[test]
    fn a_stored_route_of_a_version_with_other_rules_is_read() {
        let old = NewRoute {
            path: "/a".into(),
            scope: Some("mintage:read".into()),
            audience: Some(format!("urn:{}", "x".repeat(600))),
            ..NewRoute::default()
        };
        assert!(old.stored_route("r".into(), UnixMillis(0)).is_ok());
        assert!(old.route("r".into(), UnixMillis(0)).is_err());
    }

    #[test]
    fn a_route_is_public_only_if_it_says_so_and_then_has_neither_scope_nor_audience() {
        let access = |public: bool, scope: Option<&str>, audience: Option<&str>| {
            let new = NewRoute {
                path: "/a".into(),
                public,
                scope: scope.map(str::to_owned),
                audience: audience.map(str::to_owned),
                ..NewRoute::default()
            };
            let (new, stored) = (
                new.route("r".into(), UnixMillis(0)),
                new.stored_route("r".into(), UnixMillis(0)),
            );
            assert_eq!(new, stored);
            new.map(|route| route.access)
        };
        assert_eq!(access(true, None, None), Ok(Access::Public));
        for (scope, audience) in [
            (Some(""), None),
            (Some("a"), None),
            (None, Some("urn:a")),
            (Some("a"), Some("urn:a")),
        ] {
            assert_eq!(access(true, scope, audience), Err(MalformedRoute::PublicWithToken));
        }
        for (scope, audience) in [(None, None), (Some(""), None), (None, Some("urn:a"))] {
            assert_eq!(access(false, scope, audience), Err(MalformedRoute::NoScope));
        }
        assert!(matches!(access(false, Some("a"), None), Ok(Access::Token { .. })));
    }

    #[test]
    fn routes_that_differ_in_names_and_spelling_only_are_the_same() {
        let route = |path: &str| {
            let new = NewRoute {
                path: path.into(),
                scope: Some("a".into()),
                ..NewRoute::default()
            };
            new.route(path.into(), UnixMillis(0)).unwrap()
        };
        assert!(route("/orders/{id}").duplicates(&route("/%6Frders/{order}")));
        assert!(!route("/orders/{id}").duplicates(&route("/orders/{*id}")));
        assert!(!route("/orders").duplicates(&route("/orders/")));
    }
}
