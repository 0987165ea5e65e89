//! The middleware of every request: the request id of the response (P26), rejection of bodies whose
//! `Content-Length` is too large (P6), `Connection: close` while the server stops, and the request
//! metrics.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready as ready_or_pending};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::ConnectionType;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Data;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::audit_log;
use super::caller::{REQUEST_ID, request_id};
use super::connection::{Announced, Connection};
use super::error::{ApiError, Format, is_of_admin};
use super::state::Worker;
use crate::metrics::RouteLabel;
use crate::oauth::bounds::MAX_FORM;
use crate::oauth::error::OAuthError;

/// The middleware. It wraps the whole application, so that it sees unknown paths too.
pub struct Middleware;

impl<S> Transform<S, ServiceRequest> for Middleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Transform = MiddlewareService<S>;
    type InitError = ();
    type Future = Ready<Result<Self::Transform, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(MiddlewareService { service }))
    }
}

/// The middleware of one application.
pub struct MiddlewareService<S> {
    service: S,
}

impl<S> Service<ServiceRequest> for MiddlewareService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = MiddlewareFuture<S::Future>;

    forward_ready!(service);

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let began = Instant::now();
        let declared = declared_length(&request);
        let connection = request.conn_data::<Rc<Connection>>().cloned();
        if let Some(connection) = &connection {
            connection.request_began(announced(&request, declared));
        }
        if is_too_large(&request, declared) {
            let rejection = ApiError::from(OAuthError::BodyTooLarge).response(Format::of_path(request.path()));
            return MiddlewareFuture::Rejected {
                began,
                connection,
                response: Some(request.into_response(rejection)),
            };
        }
        MiddlewareFuture::Called {
            began,
            connection,
            response: self.service.call(request),
        }
    }
}

pin_project! {
    /// The response of a request.
    #[project = MiddlewareProjection]
    pub enum MiddlewareFuture<F> {
        /// The application handles the request.
        Called { began: Instant, connection: Option<Rc<Connection>>, #[pin] response: F },
        /// The request was rejected before it reached the application.
        Rejected { began: Instant, connection: Option<Rc<Connection>>, response: Option<ServiceResponse<BoxBody>> },
    }
}

impl<F> Future for MiddlewareFuture<F>
where
    F: Future<Output = Result<ServiceResponse<BoxBody>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut response, began, connection) = match self.project() {
            MiddlewareProjection::Called {
                began,
                connection,
                response,
            } => (ready_or_pending!(response.poll(context))?, *began, connection),
            MiddlewareProjection::Rejected {
                began,
                connection,
                response,
            } => {
                let response = response.take().expect("a future is not polled after its end");
                (response, *began, connection)
            }
        };
        // What is left of a body that was not read could be taken for the next request.
        let unread = connection.as_deref().is_some_and(Connection::response_began);
        let request = response.request();
        let worker = request.app_data::<Data<Worker>>();
        if let Some(worker) = worker {
            count(&response, worker, began);
        }
        // Afterwards, because an audit event may have generated the id.
        let id = request_id(request, worker.map(|worker| &worker.request_ids));
        let draining = worker.is_some_and(|worker| worker.shared.readiness.is_draining());
        response.headers_mut().insert(REQUEST_ID, id);
        if draining || unread {
            let head = response.response_mut().head_mut();
            head.set_connection_type(ConnectionType::Close);
        }
        Poll::Ready(Ok(response))
    }
}

/// The duration is measured from the arrival of the head to the complete response.
fn count(response: &ServiceResponse<BoxBody>, worker: &Worker, began: Instant) {
    let request = response.request();
    let route = match request.app_data::<RouteLabel>() {
        Some(label) => *label,
        // No resource has the path, or the request was rejected before routing.
        None => worker.shared.metrics.route_named(request.match_name()),
    };
    let status = response.status();
    if !status.is_success()
        && let Some(error) = response.response().extensions().get::<OAuthError>()
    {
        worker.metrics.token_error(route, *error);
    }
    if route.is_admin() {
        audit_log::answered(worker, response);
    }
    let method = request.method().as_str();
    worker.metrics.answered(route, method, status.as_u16(), began.elapsed());
}

/// The declared length of the body. actix rejects a length that is no number. One that overflows is
/// too large.
fn declared_length(request: &ServiceRequest) -> Option<u64> {
    let length = request.headers().get(CONTENT_LENGTH)?;
    Some(
        length
            .to_str()
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(u64::MAX),
    )
}

fn is_too_large(request: &ServiceRequest, declared: Option<u64>) -> bool {
    // `server.max_body` is never less than a form may need.
    let Some(declared) = declared.filter(|declared| *declared > MAX_FORM as u64) else {
        return false;
    };
    let max = request.app_data::<Data<Worker>>().map_or(0, |worker| {
        let settings = &worker.shared.settings;
        match is_of_admin(request.path()) {
            true => settings.max_admin_body(),
            false => settings.max_body,
        }
    });
    declared > max as u64
}

fn announced(request: &ServiceRequest, declared: Option<u64>) -> Announced {
    match (request.parts().1, declared) {
        (Payload::None, _) => Announced::Nothing,
        (_, Some(length)) => Announced::Length(length),
        (_, None) => Announced::Unknown,
    }
}
