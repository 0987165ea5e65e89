//! The middleware around every answer, whatever the route: a request id (P26), rejection of bodies that declare themselves
//! too large (P6), `Connection: close` while the server stops, and a place in the metrics.

use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll, ready as ready_or_pending};

use actix_web::Error;
use actix_web::body::BoxBody;
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready};
use actix_web::http::ConnectionType;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::Data;
use pin_project_lite::pin_project;
use tokio::time::Instant;

use super::caller::{REQUEST_ID, request_id};
use super::error::{ApiError, Format};
use super::state::Worker;
use crate::metrics::RouteLabel;
use crate::oauth::error::OAuthError;

/// The middleware; to be wrapped around everything.
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

/// The middleware around one application.
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
        if declares_too_much(&request) {
            let rejection = ApiError::from(OAuthError::BodyTooLarge).response(Format::of_path(request.path()));
            return MiddlewareFuture::Rejected {
                began,
                response: Some(request.into_response(rejection)),
            };
        }
        MiddlewareFuture::Called {
            began,
            answering: self.service.call(request),
        }
    }
}

pin_project! {
    /// The answer on its way.
    #[project = MiddlewareProjection]
    pub enum MiddlewareFuture<F> {
        /// The application answers.
        Called { began: Instant, #[pin] answering: F },
        /// The application was not asked.
        Rejected { began: Instant, response: Option<ServiceResponse<BoxBody>> },
    }
}

impl<F> Future for MiddlewareFuture<F>
where
    F: Future<Output = Result<ServiceResponse<BoxBody>, Error>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let (mut response, began) = match self.project() {
            MiddlewareProjection::Called { began, answering } => (ready_or_pending!(answering.poll(context))?, *began),
            MiddlewareProjection::Rejected { began, response } => {
                let response = response.take().expect("a future is not polled after its end");
                (response, *began)
            }
        };
        add_headers(&mut response);
        count(&response, began);
        Poll::Ready(Ok(response))
    }
}

fn add_headers(response: &mut ServiceResponse<BoxBody>) {
    let request = response.request();
    let worker = worker(request.app_data());
    let id = request_id(request, worker.map(|worker| &worker.request_ids));
    let draining = worker.is_some_and(|worker| worker.shared.readiness.is_draining());
    response.headers_mut().insert(REQUEST_ID, id);
    if draining {
        response
            .response_mut()
            .head_mut()
            .set_connection_type(ConnectionType::Close);
    }
}

/// Both readings of the clock are in here and in `call`: one when the head has come, one when the answer is made.
fn count(response: &ServiceResponse<BoxBody>, began: Instant) {
    let request = response.request();
    let Some(worker) = worker(request.app_data()) else {
        return;
    };
    let route = match request.app_data::<RouteLabel>() {
        Some(label) => *label,
        // Nothing is there, or the request was refused before it came to its route.
        None => worker.shared.metrics.route_named(request.match_name()),
    };
    let status = response.status();
    if !status.is_success()
        && let Some(error) = response.response().extensions().get::<OAuthError>()
    {
        worker.metrics.token_error(route, *error);
    }
    let method = request.method().as_str();
    worker.metrics.answered(route, method, status.as_u16(), began.elapsed());
}

fn declares_too_much(request: &ServiceRequest) -> bool {
    let Some(length) = request.headers().get(CONTENT_LENGTH) else {
        return false;
    };
    let declared = length.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    let most = worker(request.app_data()).map_or(0, |worker| worker.shared.settings.max_body);
    // A length that is no number has been refused by the parser; one that overflows is too much.
    declared.is_none_or(|declared| declared > most)
}

fn worker(data: Option<&Data<Worker>>) -> Option<&Worker> {
    data.map(|data| data.as_ref())
}
