//! Request bodies, limited in size and time (P6).

use std::future::{Future, Ready, poll_fn, ready};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap, TRANSFER_ENCODING};
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, FromRequest, HttpRequest, dev};
use futures_util::StreamExt;

use super::connection::{Announced, Connection};
use super::state::HttpSettings;
use crate::oauth::error::OAuthError;

const FORM: &str = "application/x-www-form-urlencoded";

const FORM_ONLY: &str = "the media type must be application/x-www-form-urlencoded";
const FORM_OR_JSON: &str = "the media type must be application/x-www-form-urlencoded or application/json";

/// The body of a request, which was not read yet.
///
/// A request that announces neither a length nor chunks has no body (RFC 9112 §6.3). actix takes
/// everything behind the head of such a request for its body if it asks for a WebSocket or for a
/// tunnel, so reading it would end with the connection only.
pub struct Payload {
    payload: dev::Payload,
    connection: Option<Rc<Connection>>,
}

/// Whether actix delivers a body that the request does not announce.
fn is_unannounced(request: &HttpRequest, connection: Option<&Connection>) -> bool {
    connection.is_some_and(|connection| connection.announced() == Announced::Unknown)
        && !request.headers().contains_key(TRANSFER_ENCODING)
}

impl FromRequest for Payload {
    type Error = Error;
    type Future = Ready<Result<Self, Error>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let connection = request.conn_data::<Rc<Connection>>();
        ready(Ok(
            match is_unannounced(request, connection.map(|connection| &**connection)) {
                // Without the connection: what follows was not read, so the response closes it.
                true => Self {
                    payload: dev::Payload::None,
                    connection: None,
                },
                false => Self {
                    payload: payload.take(),
                    connection: connection.cloned(),
                },
            },
        ))
    }
}

/// Parses a body.
pub type Parser<T> = fn(&[u8]) -> Result<T, OAuthError>;

/// Reads a body and parses it by its media type: a form, or JSON if the endpoint accepts it. The
/// query string is ignored (P7).
///
/// # Errors
/// 415 for another media type or none (P4), 400 for an empty or malformed body, and as [`read`].
pub async fn parsed<T>(
    headers: &HeaderMap,
    payload: Payload,
    settings: &HttpSettings,
    form: Parser<T>,
    json: Option<Parser<T>>,
) -> Result<T, OAuthError> {
    let parse = match (media_type(headers), json) {
        (Some(media), _) if media.eq_ignore_ascii_case(FORM) => form,
        (Some(media), Some(json)) if media.eq_ignore_ascii_case("application/json") => json,
        (_, Some(_)) => return Err(OAuthError::UnsupportedMediaType(FORM_OR_JSON)),
        (_, None) => return Err(OAuthError::UnsupportedMediaType(FORM_ONLY)),
    };
    let body = read(payload, settings, settings.max_body).await?;
    if body.is_empty() {
        return Err(OAuthError::InvalidRequest("the body is empty"));
    }
    parse(&body)
}

/// The media type without its parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?;
    // The usual spelling needs no parsing.
    if value == FORM {
        return Some(FORM);
    }
    let value = value.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// Reads a body of at most `max` bytes.
///
/// # Errors
/// `BodyTooLarge` above `max`, `BodyTimeout` if head and body take longer than
/// `server.request_timeout`, `InvalidRequest` if the connection breaks or the transfer coding is
/// malformed.
pub async fn read(payload: Payload, settings: &HttpSettings, max: usize) -> Result<Bytes, OAuthError> {
    let connection = payload.connection.as_deref();
    // From here on the connection delivers what arrives of the body.
    if let Some(connection) = connection {
        connection.body_reading();
    }
    let mut reading = pin!(read_whole(payload.payload, max));
    // Usually the body has arrived with the head, and no timer is needed.
    let body = match poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        Poll::Ready(body) => body,
        Poll::Pending => {
            let timeout = settings.request_timeout;
            let left = connection.map_or(timeout, |connection| connection.time_left(timeout));
            let body = Box::pin(tokio::time::timeout(left, reading)).await;
            body.unwrap_or(Err(OAuthError::BodyTimeout))
        }
    }?;
    if let Some(connection) = connection {
        connection.body_ended();
    }
    Ok(body)
}

async fn read_whole(mut payload: dev::Payload, max: usize) -> Result<Bytes, OAuthError> {
    const BROKEN: OAuthError = OAuthError::InvalidRequest("the body could not be read");
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| BROKEN)?;
    if first.len() > max {
        return Err(OAuthError::BodyTooLarge);
    }
    // Usually there is one piece, which is returned without a copy.
    let Some(second) = payload.next().await else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        let piece = piece.map_err(|_| BROKEN)?;
        if whole.len() + piece.len() > max {
            return Err(OAuthError::BodyTooLarge);
        }
        whole.extend_from_slice(&piece);
        next = payload.next().await;
    }
    Ok(whole.freeze())
}
