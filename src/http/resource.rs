//! A resource: one path, a handler for each of its methods, and the format of its errors.
//!
//! Any other method gets 405 with the `Allow` header (RFC 9110 §15.5.6).

use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::middleware::DefaultHeaders;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, HttpResponse, Route, guard};
use pin_project_lite::pin_project;

use super::cors::{self, CrossOrigin, Origins};
use super::error::{self, ApiError, Format};
use crate::metrics::RouteLabel;

/// A resource.
pub struct Resource {
    pattern: &'static str,
    /// Where it is served: at `pattern`, or at another path without parameters.
    path: Cow<'static, str>,
    format: Format,
    cross_origin: CrossOrigin,
    routes: Vec<(Method, Route)>,
    /// The handler for every method.
    any: Option<Route>,
    /// Whether any other method gets 404 instead of 405.
    hidden: bool,
}

/// An OAuth endpoint, or another resource for everyone, without handlers.
pub fn at(pattern: &'static str) -> Resource {
    with_format(pattern, Format::OAuth)
}

/// A resource of the admin API, without handlers.
pub fn admin_at(pattern: &'static str) -> Resource {
    with_format(pattern, Format::Problem)
}

/// A resource for gateways, without handlers.
pub fn gateway_at(pattern: &'static str) -> Resource {
    with_format(pattern, Format::ForwardAuth)
}

fn with_format(pattern: &'static str, format: Format) -> Resource {
    Resource {
        pattern,
        path: pattern.into(),
        format,
        cross_origin: CrossOrigin::No,
        routes: Vec::new(),
        any: None,
        hidden: false,
    }
}

/// What a handler returns: a response, or an error that its resource formats.
pub trait Outcome {
    /// The response.
    fn response(self, format: Format) -> HttpResponse;
}

impl Outcome for HttpResponse {
    fn response(self, _: Format) -> HttpResponse {
        self
    }
}

impl Outcome for Result<HttpResponse, ApiError> {
    fn response(self, format: Format) -> HttpResponse {
        self.unwrap_or_else(|error| error.response(format))
    }
}

/// A handler whose errors have the format of its resource.
#[derive(Clone)]
struct Formatted<F> {
    handler: F,
    format: Format,
}

impl<F, Args> Handler<Args> for Formatted<F>
where
    F: Handler<Args>,
    F::Output: Outcome,
{
    type Output = HttpResponse;
    type Future = FormattedFuture<F::Future>;

    fn call(&self, args: Args) -> Self::Future {
        FormattedFuture {
            outcome: self.handler.call(args),
            format: self.format,
        }
    }
}

pin_project! {
    /// The response of a [`Formatted`] handler.
    struct FormattedFuture<F> {
        #[pin]
        outcome: F,
        format: Format,
    }
}

impl<F> Future for FormattedFuture<F>
where
    F: Future<Output: Outcome>,
{
    type Output = HttpResponse;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<HttpResponse> {
        let this = self.project();
        let outcome = ready!(this.outcome.poll(context));
        Poll::Ready(outcome.response(*this.format))
    }
}

/// One function for each method.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident)*) => {$(
        $(#[$doc])*
        pub fn $name<F, Args>(self, handler: F) -> Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Outcome,
        {
            self.on(Method::$method, handler)
        }
    )*};
}

impl Resource {
    methods! {
        /// Handles GET and HEAD.
        get GET
        /// Handles POST.
        post POST
        /// Handles PUT.
        put PUT
        /// Handles PATCH.
        patch PATCH
        /// Handles DELETE.
        delete DELETE
    }

    /// Handles every method.
    pub fn any<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Outcome,
    {
        self.any = Some(self.route(handler));
        self
    }

    /// Any other method gets 404, as if the path had no resource.
    pub fn or_not_found(self) -> Self {
        Self { hidden: true, ..self }
    }

    /// Pages of these origins may read the responses.
    pub fn for_origins(self, cross_origin: CrossOrigin) -> Self {
        Self { cross_origin, ..self }
    }

    /// The resource at another path, which has no parameters. Its responses are counted under the
    /// same label.
    pub fn served_at(self, path: String) -> Self {
        Self {
            path: path.into(),
            ..self
        }
    }

    fn on<F, Args>(mut self, method: Method, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Outcome,
    {
        self.routes.push((method, self.route(handler)));
        self
    }

    fn route<F, Args>(&self, handler: F) -> Route
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Outcome,
    {
        web::to(Formatted {
            handler,
            format: self.format,
        })
    }

    /// The path, and the label of the responses.
    pub fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// The methods that have a handler; `None` if every method has one.
    pub fn methods(&self) -> Option<Vec<&str>> {
        let named = || self.routes.iter().map(|(method, _)| method.as_str()).collect();
        self.any.is_none().then(named)
    }

    /// Adds the resource to an application, with the label under which its responses are counted.
    /// The resource is named after its pattern: the middleware finds the label by that name when it
    /// rejects a request before routing.
    ///
    /// The path has a single spelling: actix decodes escapes before it compares paths, so that
    /// `/%6detrics` would pass a proxy that denies `/metrics`. The resources for gateways reject
    /// escapes by themselves, with 403.
    pub fn serve(self, config: &mut ServiceConfig, label: RouteLabel, origins: &Origins) {
        let (format, hidden, allowed) = (self.format, self.hidden, self.allowed());
        let mut resource = web::resource(self.path.as_ref()).name(self.pattern).app_data(label);
        if format != Format::ForwardAuth {
            let path = self.path;
            resource = resource.guard(guard::fn_guard(move |context| {
                is_spelled_as(&path, context.head().uri.path())
            }));
        }
        for (method, route) in self.routes {
            resource = resource.route(match method {
                Method::GET => route.guard(guard::Any(guard::Get()).or(guard::Head())),
                other => route.method(other),
            });
        }
        if let Some(route) = cors::preflight(self.cross_origin, origins, &allowed) {
            resource = resource.route(route);
        }
        let resource = match self.any {
            Some(route) => resource.route(route),
            None => resource.default_service(web::to(move || {
                let response = match hidden {
                    true => error::not_found(format),
                    false => error::method_not_allowed(format, allowed.clone()),
                };
                async move { response }
            })),
        };
        match self.cross_origin {
            CrossOrigin::Every => config.service(resource.wrap(DefaultHeaders::new().add(cors::for_every()))),
            CrossOrigin::Listed if !origins.is_empty() => {
                let origins = origins.clone();
                config.service(resource.wrap_fn(move |request, service| cors::for_listed(&origins, request, service)))
            }
            _ => config.service(resource),
        };
    }

    fn allowed(&self) -> HeaderValue {
        let mut names = Vec::new();
        for (method, _) in &self.routes {
            names.push(method.as_str());
            if method == Method::GET {
                names.push(Method::HEAD.as_str());
            }
        }
        HeaderValue::from_str(&names.join(", ")).expect("names of methods are upper-case letters")
    }
}

/// Whether every literal segment of `pattern` is in `path` byte for byte. `path` matches the pattern
/// once escapes are decoded.
fn is_spelled_as(pattern: &str, path: &str) -> bool {
    if pattern == path {
        return true;
    }
    let mut segments = path.split('/');
    let is_spelled = |expected: &str| {
        let found = segments.next();
        found.is_some_and(|segment| expected == segment || expected.starts_with('{'))
    };
    pattern.contains('{') && pattern.split('/').all(is_spelled) && segments.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::is_spelled_as;

    #[test]
    fn literal_segments_are_compared_byte_for_byte_and_parameters_may_be_escaped() {
        for path in ["/a", "/a/b/c", "/a/%62/c"] {
            let pattern = if path == "/a" { "/a" } else { "/a/{id}/c" };
            assert!(is_spelled_as(pattern, path), "{path}");
        }
        for path in ["/%61/b/c", "/a/b/%63", "/a/b", "/a/b/c/", "/a/b/c/d", "/a/{id}"] {
            assert!(!is_spelled_as("/a/{id}/c", path), "{path}");
        }
        assert!(!is_spelled_as("/a", "/%61"));
    }
}
