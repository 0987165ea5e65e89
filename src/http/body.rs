//! Request bodies: read whole, within a bound and a deadline (P6).

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

use actix_web::HttpRequest;
use actix_web::http::header::CONTENT_TYPE;
use actix_web::web::{Bytes, BytesMut, Payload};
use futures_util::StreamExt;

use super::state::{HttpSettings, Worker};
use crate::oauth::error::OAuthError;

const FORM: &str = "application/x-www-form-urlencoded";

/// Turns the bytes of a body into what they say.
pub type Parser<T> = fn(&[u8]) -> Result<T, OAuthError>;

/// Reads a body as its media type says: a form, or JSON where the endpoint takes it. The query string is never looked at (P7).
///
/// # Errors
/// 415 for another media type or none (P4), 400 for a body that is empty or that the parser refuses, and as [`read`].
pub async fn parsed<T>(
    request: &HttpRequest,
    payload: Payload,
    form: Parser<T>,
    json: Option<Parser<T>>,
) -> Result<T, OAuthError> {
    let parse = match (media_type(request), json) {
        (Some(media), _) if media.eq_ignore_ascii_case(FORM) => form,
        (Some(media), Some(json)) if media.eq_ignore_ascii_case("application/json") => json,
        _ => return Err(OAuthError::UnsupportedMediaType),
    };
    let body = read(payload, &Worker::of(request).shared.settings).await?;
    if body.is_empty() {
        return Err(OAuthError::InvalidRequest("the body is empty"));
    }
    parse(&body)
}

/// The media type without its parameters.
fn media_type(request: &HttpRequest) -> Option<&str> {
    let value = request.headers().get(CONTENT_TYPE)?;
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
    if let Some(body) = at_hand(reading.as_mut()).await {
        return body;
    }
    match Box::pin(tokio::time::timeout(settings.request_timeout, reading)).await {
        Ok(body) => body,
        Err(_) => Err(OAuthError::BodyTimeout),
    }
}

/// What is there without waiting; `None` when it is still on its way.
///
/// actix calls a handler before it hands on what came behind the head, and again once it has. So nothing is there at the
/// first look, and nearly always all of it at the second.
async fn at_hand<T>(mut reading: Pin<&mut impl Future<Output = T>>) -> Option<T> {
    let mut looked = false;
    poll_fn(|context| match reading.as_mut().poll(context) {
        Poll::Ready(body) => Poll::Ready(Some(body)),
        Poll::Pending if looked => Poll::Ready(None),
        Poll::Pending => {
            looked = true;
            // The second look must come whatever the caller does, or a body that never comes would have no deadline.
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake, Waker};

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn p6_a_body_that_does_not_come_is_looked_for_twice_without_being_asked() {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut context = Context::from_waker(&waker);
        let mut never = pin!(std::future::pending::<()>());
        let mut looking = pin!(at_hand(never.as_mut()));
        assert_eq!(looking.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
        assert_eq!(looking.as_mut().poll(&mut context), Poll::Ready(None));
    }

    #[test]
    fn a_body_that_comes_between_the_looks_is_taken() {
        let mut context = Context::from_waker(Waker::noop());
        let mut looks = 0;
        let mut second = pin!(poll_fn(|_| {
            looks += 1;
            if looks == 2 { Poll::Ready(7) } else { Poll::Pending }
        }));
        let mut looking = pin!(at_hand(second.as_mut()));
        assert_eq!(looking.as_mut().poll(&mut context), Poll::Pending);
        assert_eq!(looking.as_mut().poll(&mut context), Poll::Ready(Some(7)));
    }
}
