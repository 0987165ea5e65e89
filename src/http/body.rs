//! Request bodies: read whole, within a bound and a deadline (P6).

use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use super::state::HttpSettings;
use crate::oauth::error::OAuthError;

/// Reads a body.
///
/// # Errors
/// `BodyTooLarge` past `server.max_body`, `BodyTimeout` when it has not arrived after `server.request_timeout`,
/// `InvalidRequest` when the connection or its encoding broke.
pub async fn read(payload: Payload, settings: &HttpSettings) -> Result<Bytes, OAuthError> {
    match tokio::time::timeout(settings.request_timeout, read_whole(payload, settings.max_body)).await {
        Ok(read) => read,
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
