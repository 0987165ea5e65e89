//! A row of the route table: a pattern, and what answers there for each method. Another method is answered by the row
//! itself, with 405 and what it has in `Allow` (RFC 9110 §15.5.6).

use actix_web::http::Method;
use actix_web::http::header::HeaderValue;
use actix_web::web::{self, ServiceConfig};
use actix_web::{FromRequest, Handler, Responder, Route, guard};

use super::error;
use crate::metrics::RouteLabel;

/// A resource.
pub struct Resource {
    pattern: &'static str,
    /// Whether it speaks problem documents.
    admin: bool,
    routes: Vec<(Method, Route)>,
    /// What answers whatever the method.
    any: Option<Route>,
    /// Whether another method is answered as if nothing were there.
    hidden: bool,
}

/// A resource of the protocol at a pattern; nothing answers there yet.
pub fn at(pattern: &'static str) -> Resource {
    Resource {
        pattern,
        admin: false,
        routes: Vec::new(),
        any: None,
        hidden: false,
    }
}

/// A resource for operators.
pub fn admin_at(pattern: &'static str) -> Resource {
    Resource {
        admin: true,
        ..at(pattern)
    }
}

/// One function a method: what a handler is to actix.
macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident $method:ident)*) => {$(
        $(#[$doc])*
        pub fn $name<F, Args>(self, handler: F) -> Self
        where
            F: Handler<Args>,
            Args: FromRequest + 'static,
            F::Output: Responder + 'static,
        {
            self.on(Method::$method, web::to(handler))
        }
    )*};
}

impl Resource {
    methods! {
        /// Answers GET, and HEAD where somebody only wants to know that it is there.
        get GET
        /// Answers POST.
        post POST
        /// Answers PATCH.
        patch PATCH
        /// Answers DELETE.
        delete DELETE
    }

    /// Answers every method.
    pub fn any<F, Args>(mut self, handler: F) -> Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.any = Some(web::to(handler));
        self
    }

    /// Answers another method as if nothing were there.
    pub fn or_not_found(self) -> Self {
        Self { hidden: true, ..self }
    }

    fn on(mut self, method: Method, route: Route) -> Self {
        self.routes.push((method, route));
        self
    }

    /// Where it is.
    pub fn pattern(&self) -> &'static str {
        self.pattern
    }

    /// The methods that it answers by name; `None`: every one.
    pub fn methods(&self) -> Option<Vec<&str>> {
        let named = || self.routes.iter().map(|(method, _)| method.as_str()).collect();
        self.any.is_none().then(named)
    }

    /// Makes it a part of the application, with the label under which its answers are counted. It is named after its
    /// pattern too: by that the label is found when a request is refused on its way here.
    pub fn serve(self, config: &mut ServiceConfig, label: RouteLabel) {
        let (admin, hidden, allowed) = (self.admin, self.hidden, self.allowed());
        let mut resource = web::resource(self.pattern).name(self.pattern).app_data(label);
        for (method, route) in self.routes {
            resource = resource.route(match method {
                Method::GET => route.guard(guard::Any(guard::Get()).or(guard::Head())),
                other => route.method(other),
            });
        }
        config.service(match self.any {
            Some(route) => resource.route(route),
            None => resource.default_service(web::to(move || {
                let answer = match hidden {
                    true => error::not_found(admin),
                    false => error::method_not_allowed(admin, allowed.clone()),
                };
                async move { answer }
            })),
        });
    }

    fn allowed(&self) -> HeaderValue {
        let mut names = Vec::new();
        for (method, _) in &self.routes {
            names.push(method.as_str());
            if method == Method::GET {
                names.push(Method::HEAD.as_str());
            }
        }
        HeaderValue::from_str(&names.join(", ")).expect("names of methods are capital letters")
    }
}
