//! Request bodies: read whole, within a bound and a deadline (P6).

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use actix_web::http::header::{CONTENT_TYPE, HeaderMap};
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use super::state::HttpSettings;
use crate::oauth::error::OAuthError;

const FORM: &str = "application/x-www-form-urlencoded";

/// Turns the bytes of a body into what they say.
pub type Parser<T> = fn(&[u8]) -> Result<T, OAuthError>;

/// Reads a body as its media type says: a form, or JSON where the endpoint takes it. The query string is never looked at (P7).
///
/// # Errors
/// 415 for another media type or none (P4), 400 for a body that is empty or that the parser refuses, and as [`read`].
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
        _ => return Err(OAuthError::UnsupportedMediaType),
    };
    let body = read(payload, settings).await?;
    if body.is_empty() {
        return Err(OAuthError::InvalidRequest("the body is empty"));
    }
    parse(&body)
}

/// The media type without its parameters.
pub fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?;
    // As nearly everybody writes it: there is nothing to look for then.
    if value == FORM {
        return Some(FORM);
    }
    let value = value.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim())
}

/// Reads a body.
///
/// # Errors
/// `BodyTooLarge` past `server.max_body`, `BodyTimeout` when it has not arrived after `server.request_timeout`,
/// `InvalidRequest` when the connection or its encoding broke.
pub async fn read(payload: Payload, settings: &HttpSettings) -> Result<Bytes, OAuthError> {
    let mut reading = pin!(read_whole(payload, settings.max_body));
    // Nearly always the body has come with the head: then no clock is read and no timer made.
    if let Poll::Ready(body) = poll_fn(|context| Poll::Ready(reading.as_mut().poll(context))).await {
        return body;
    }
    match Box::pin(tokio::time::timeout(settings.request_timeout, reading)).await {
        Ok(body) => body,
        Err(_) => Err(OAuthError::BodyTimeout),
    }
}

async fn read_whole(mut payload: Payload, most: usize) -> Result<Bytes, OAuthError> {
    const BROKEN: OAuthError = OAuthError::InvalidRequest("the body could not be read");
    let Some(first) = payload.next().await else {
        return Ok(Bytes::new());
    };
    let first = first.map_err(|_| BROKEN)?;
    if first.len() > most {
        return Err(OAuthError::BodyTooLarge);
    }
    // Nearly always one piece is all there is; it is handed on as it came.
    let Some(second) = payload.next().await else {
        return Ok(first);
    };
    let mut whole = BytesMut::from(first);
    let mut next = Some(second);
    while let Some(piece) = next {
        let piece = piece.map_err(|_| BROKEN)?;
        if whole.len() + piece.len() > most {
            return Err(OAuthError::BodyTooLarge);
        }
        whole.extend_from_slice(&piece);
        next = payload.next().await;
    }
    Ok(whole.freeze())
}
