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
use crate::oauth::duty::{Duties, Duty};
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
    /// The call was denied.
    Denied {
        /// The client, if a token of this server names it.
        client: Option<ClientId>,
        /// Why.
        reason: Denial,
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
    let action = match (&caller, status) {
        (_, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Action::AdminDenied,
        (Some(AdminCaller::Operator { .. }), _) if !reads && status.as_u16() >= 400 => Action::AdminFailed,
        (Some(AdminCaller::Operator { .. }), _)
            if reads && status.is_success() && worker.shared.settings.audit_reads =>
        {
            Action::AdminRead
        }
        _ => return,
    };
    let sender = worker.caller(request);
    let reason = match &caller {
        Some(AdminCaller::Denied { reason, .. }) => Cow::Borrowed(reason.name()),
        None => Cow::Borrowed(NO_TOKEN),
        Some(AdminCaller::Operator { .. }) => response
            .response()
            .extensions()
            .get::<Detail>()
            .map_or(Cow::Borrowed(""), |detail| detail.0.clone()),
    };
    let detail = json!({
        "status": status.as_u16(),
        "reason": reason,
        "request_id": sender.request_id_text(),
    });
    let by = match caller {
        Some(AdminCaller::Operator { client, jti, secret_id }) => operator(&sender, &client, jti, &secret_id),
        Some(AdminCaller::Denied { client: Some(id), .. }) => principal(&sender, Some(&id), json!({})),
        _ => principal(&sender, None, json!({})),
    };
    let event = AuditEvent {
        action,
        subject: format!("{} {}", request.method(), request.match_name().unwrap_or_default()),
        detail,
    };
    worker.shared.audit_notes.note(by, worker.now(), reason, event);
}

/// Notes that a token for the admin API was issued. The server cannot tell the console from a
/// script.
pub fn signed_in(worker: &Worker, caller: &Caller<'_>, claims: &AccessTokenClaims, now: UnixMillis) {
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
    let duties = Duties::held(&client.scope);
    // To introspect is a duty elsewhere.
    if duties == Duties::NONE || duties == Duties::held(&Duty::Introspect.scope()) {
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
