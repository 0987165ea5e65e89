//! What the audit log gets to know about calls that change nothing: sign-ins of operators, and
//! calls of the admin API that were denied or failed.
//!
//! The middleware sees every response, so an endpoint cannot forget its event. The target is the
//! pattern of the path and never the path itself, in which a caller may have put a secret (G8).

use std::borrow::Cow;
use std::sync::Arc;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::{Method, StatusCode};
use serde_json::{Value, json};

use super::caller::Caller;
use super::state::Worker;
use crate::api::audit::{Action, ActorKind, AuditEvent, Principal};
use crate::api::authority::Authority;
use crate::oauth::claims::AccessTokenClaims;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::denial::Denial;
use crate::oauth::duty::Duties;
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// Who called the admin API, as its authorization found out. An extension of the request.
#[derive(Clone)]
pub enum AdminCaller {
    /// An authorized operator.
    Operator {
        /// The client.
        client: ClientId,
        /// Its token.
        jti: TokenId,
        /// The secret that obtained the token.
        secret_id: Arc<str>,
    },
    /// A client with an active token for the admin API, which lacks the right to this call.
    WithoutRight {
        /// The client.
        client: ClientId,
    },
    /// No operator, or none that could be authorized.
    Stranger {
        /// The client that an inactive token, or one for another audience, was issued to. Everyone
        /// to whom the client ever showed the token can present it.
        named: Option<ClientId>,
        /// Why the call was denied or failed.
        reason: &'static str,
    },
}

/// Why a request failed, in the words of the response. An extension of the response.
pub struct Detail(pub Cow<'static, str>);

/// The reason for a call without a token.
const NO_TOKEN: &str = "no_token";

/// Notes a response of the admin API, unless a change has written its own event.
pub fn answered(worker: &Worker, response: &ServiceResponse<BoxBody>) {
    let request = response.request();
    let status = response.status();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let extensions = request.extensions();
    let caller = extensions.get::<AdminCaller>().cloned();
    drop(extensions);
    let action = match &caller {
        None | Some(AdminCaller::Operator { .. }) if is_denied(status) => Action::AdminDenied,
        None => return,
        Some(AdminCaller::Operator { .. }) if reads && status.is_client_error() => return,
        Some(AdminCaller::Operator { .. }) if is_failed(status) => Action::AdminFailed,
        Some(AdminCaller::Operator { .. }) if status.is_success() && reads && worker.shared.settings.audit_reads => {
            Action::AdminRead
        }
        Some(AdminCaller::Operator { .. }) => return,
        Some(_) if status.is_server_error() => Action::AdminFailed,
        Some(_) => Action::AdminDenied,
    };
    let sender = worker.caller(request);
    let (by, reason) = match caller {
        Some(AdminCaller::Operator { client, jti, secret_id }) => {
            let extensions = response.response().extensions();
            let reason = extensions.get::<Detail>().map(|detail| detail.0.clone());
            (operator(&sender, &client, jti, &secret_id), reason.unwrap_or_default())
        }
        Some(AdminCaller::WithoutRight { client }) => (
            principal(&sender, Some(&client), json!({})),
            Denial::InsufficientScope.name().into(),
        ),
        Some(AdminCaller::Stranger {
            named: Some(id),
            reason,
        }) => (
            principal(&sender, None, json!({ "token_client": id.to_string() })),
            reason.into(),
        ),
        Some(AdminCaller::Stranger { named: None, reason }) => (principal(&sender, None, json!({})), reason.into()),
        None => (principal(&sender, None, json!({})), NO_TOKEN.into()),
    };
    let detail = json!({
        "status": status.as_u16(),
        "reason": reason,
        "request_id": sender.request_id_text(),
    });
    let event = AuditEvent {
        action,
        subject: format!("{} {}", request.method(), request.match_name().unwrap_or_default()),
        detail,
    };
    worker.shared.audit_notes.note(by, worker.now(), reason, event);
}

fn is_denied(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
}

fn is_failed(status: StatusCode) -> bool {
    status.is_client_error() || status.is_server_error()
}

/// Notes that a token for the admin API was issued, if it holds a duty there. The server cannot tell
/// the console from a script.
pub fn signed_in(worker: &Worker, caller: &Caller<'_>, claims: &AccessTokenClaims, now: UnixMillis) {
    if !Duties::held(&claims.scope).is_operator() {
        return;
    }
    let (Some(client), Some(secret_id)) = (ClientId::parse(&claims.client_id), &claims.secret_id) else {
        return;
    };
    let event = AuditEvent {
        action: Action::OperatorSignIn,
        subject: claims.scope.to_string(),
        detail: json!({ "secret_id": secret_id, "expires_at": UnixMillis(claims.exp * 1000).to_string() }),
    };
    let by = operator(caller, &client, claims.jti, secret_id);
    worker.shared.audit_notes.note(by, now, Cow::Borrowed(""), event);
}

/// Notes that the authentication of `client` was denied, if it is an operator.
pub fn sign_in_failed(worker: &Worker, caller: &Caller<'_>, client: &Client, denial: Denial, now: UnixMillis) {
    if !Duties::held(&client.scope).is_operator() {
        return;
    }
    let event = AuditEvent {
        action: Action::OperatorSignInFailed,
        subject: client.id.to_string(),
        detail: json!({
            "reason": denial.name(),
            "request_id": caller.request_id_text(),
        }),
    };
    let by = principal(caller, None, json!({}));
    worker
        .shared
        .audit_notes
        .note(by, now, Cow::Borrowed(denial.name()), event);
}

/// Notes that an operator has cleared the caches, which is no change of the database.
pub fn cleared_caches(worker: &Worker, by: Principal) {
    let event = AuditEvent {
        action: Action::CacheClear,
        subject: "client caches".into(),
        detail: json!({}),
    };
    worker
        .shared
        .audit_notes
        .note(by, worker.now(), Cow::Borrowed(""), event);
}

/// The operator with this token.
pub fn operator(caller: &Caller<'_>, client: &ClientId, jti: TokenId, secret_id: &str) -> Principal {
    principal(
        caller,
        Some(client),
        json!({ "token": jti.to_string(), "secret_id": secret_id }),
    )
}

fn principal(caller: &Caller<'_>, client: Option<&ClientId>, context: Value) -> Principal {
    Principal {
        actor: client.map(ClientId::to_string).unwrap_or_default(),
        kind: match client {
            Some(_) => ActorKind::Client,
            None => ActorKind::Anonymous,
        },
        source: caller.address().to_string(),
        context,
        // It is noted what was done, and nothing will be.
        authority: Authority::Machine,
    }
}
