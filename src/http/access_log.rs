//! The access log: who used which secret from where, for which token. At `debug`, because an info
//! line per token would be most of the log: `RUST_LOG=info,mintage::http::access_log=debug`.

use super::auth::attempt::Authenticated;
use super::caller::Caller;
use crate::oauth::token_id::TokenId;

/// What a client did.
#[derive(Clone, Copy, Debug)]
pub enum Access {
    /// It got a token.
    Issued,
    /// It introspected a token that is active and that it may introspect.
    Introspected,
    /// It revoked a token of its own.
    Revoked,
}

/// Writes a line, if the log has this level.
pub fn note(access: Access, caller: &Caller<'_>, by: &Authenticated, jti: &TokenId) {
    if log::log_enabled!(log::Level::Debug) {
        write(access, caller, by, jti);
    }
}

#[cold]
fn write(access: Access, caller: &Caller<'_>, by: &Authenticated, jti: &TokenId) {
    let (client, secret_id) = (by.client.id.as_str(), &*by.secret_id);
    let (client_ip, request_id) = (caller.address(), caller.request_id_text());
    match access {
        Access::Issued => log::debug!(client, secret_id, client_ip:%, jti:%, request_id; "token issued"),
        Access::Introspected => log::debug!(client, secret_id, client_ip:%, jti:%, request_id; "token introspected"),
        Access::Revoked => log::debug!(client, secret_id, client_ip:%, jti:%, request_id; "token revoked"),
    }
}
