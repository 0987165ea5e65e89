//! The audit log: who changed what, when and from where.
//!
//! An event describes a change with the names of the admin API. It contains no secret, only the id
//! of one.

use serde::Serialize;
use serde_json::{Value, json};
use strum::{EnumString, IntoStaticStr};
use utoipa::ToSchema;

use super::authority::Authority;
use crate::time::UnixMillis;

/// The actor of an event and its source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// A client id, a user of the machine, or `mintage` itself; empty if no one has proved who it is.
    pub actor: String,
    /// The name space of `actor`: a client may be called like a user.
    pub kind: ActorKind,
    /// An address, or `command line`.
    pub source: String,
    /// An object of what else is known about the actor.
    pub context: Value,
    /// Why the actor may change something. It is no part of the event.
    pub authority: Authority,
}

impl Principal {
    /// The server itself, because of the setting or step `source`.
    pub fn server(source: &str) -> Self {
        Self {
            actor: "mintage".into(),
            kind: ActorKind::Server,
            source: source.into(),
            context: json!({}),
            authority: Authority::Machine,
        }
    }
}

/// What an actor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, IntoStaticStr, Serialize, ToSchema)]
#[strum(serialize_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub enum ActorKind {
    /// A client, authenticated by its token.
    Client,
    /// The user of the operating system that runs a command.
    User,
    /// The server.
    Server,
    /// No one has proved who it is.
    Anonymous,
}

impl ActorKind {
    /// The value in the database.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The audited actions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
pub enum Action {
    /// A client was created.
    #[strum(serialize = "client.create")]
    ClientCreate,
    /// A client was changed, enabled or disabled.
    #[strum(serialize = "client.update")]
    ClientUpdate,
    /// A client was deleted.
    #[strum(serialize = "client.delete")]
    ClientDelete,
    /// A client was imported.
    #[strum(serialize = "client.import")]
    ClientImport,
    /// All tokens of a client were revoked.
    #[strum(serialize = "client.revoke_tokens")]
    ClientRevokeTokens,
    /// A secret was added to a client.
    #[strum(serialize = "secret.add")]
    SecretAdd,
    /// A secret was revoked.
    #[strum(serialize = "secret.revoke")]
    SecretRevoke,
    /// A signing key was published.
    #[strum(serialize = "key.rotate")]
    KeyRotate,
    /// The signing keys were encrypted with another encryption key.
    #[strum(serialize = "key.re_encrypt")]
    KeyReEncrypt,
    /// A route was added.
    #[strum(serialize = "route.add")]
    RouteAdd,
    /// A route was removed.
    #[strum(serialize = "route.remove")]
    RouteRemove,
    /// An operator revoked a token.
    #[strum(serialize = "token.revoke")]
    TokenRevoke,
    /// The server found lines without a hash at its start, and covers them.
    #[strum(serialize = "audit.begin")]
    AuditBegin,
    /// A token for the admin API was issued.
    #[strum(serialize = "operator.sign_in")]
    OperatorSignIn,
    /// The authentication of an operator was denied.
    #[strum(serialize = "operator.sign_in_failed")]
    OperatorSignInFailed,
    /// A call of the admin API was denied.
    #[strum(serialize = "admin.denied")]
    AdminDenied,
    /// An operator's change failed, or any authorized or undecided call failed for the server's
    /// reasons.
    #[strum(serialize = "admin.failed")]
    AdminFailed,
    /// An operator read something.
    #[strum(serialize = "admin.read")]
    AdminRead,
    /// An operator cleared the client caches.
    #[strum(serialize = "cache.clear")]
    CacheClear,
}

impl Action {
    /// The name in the audit log.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// An event with its actor and time, to be written later.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditNote {
    /// Who.
    pub by: Principal,
    /// When.
    pub at: UnixMillis,
    /// What.
    pub event: AuditEvent,
}

/// An event of the audit log.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditEvent {
    /// The action.
    pub action: Action,
    /// The id of the changed object.
    pub subject: String,
    /// The values before and after, or other details of the action.
    pub detail: Value,
}

/// An audit event; it contains no secret.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[schema(as = AuditLine)]
pub struct AuditDocument {
    /// Increases with time.
    pub id: i64,
    /// RFC 3339.
    #[schema(format = DateTime)]
    pub at: String,
    /// The client id, the user of the machine with its uid, or `mintage` itself. Empty if no one has
    /// proved who it is.
    pub actor: String,
    /// What `actor` is: a client may be called like a user.
    pub actor_kind: ActorKind,
    /// An address, `command line` and the host, or the setting that caused it.
    pub source: String,
    /// The action, such as `client.create`.
    pub action: String,
    /// The id of what was changed, or the method and the path of the call.
    pub subject: String,
    /// The changed members, before and after; or `status` and `reason`; or the `count` of further
    /// events of the same kind.
    #[schema(value_type = Object)]
    pub detail: Value,
    /// What else is known about the actor: `token`, the `jti` of its token, and `secret_id`, the
    /// secret that obtained it; on the command line
    /// `login_uid`, and `sudo_user` and `sudo_uid` as the environment claims them.
    #[schema(value_type = Object)]
    pub context: Value,
    /// Over this line and the hash of the line before: 64 hexadecimal digits. `null` in lines that
    /// version 0.1 wrote.
    pub hash: Option<String>,
}

/// The members that differ between two documents, each with its value before and after.
pub fn difference(before: &impl Serialize, after: &impl Serialize) -> Value {
    let (Ok(Value::Object(before)), Ok(Value::Object(after))) =
        (serde_json::to_value(before), serde_json::to_value(after))
    else {
        return Value::Null;
    };
    let changed = after.into_iter().filter_map(|(name, now)| {
        let was = before.get(&name).cloned().unwrap_or(Value::Null);
        (was != now).then(|| (name, serde_json::json!({ "before": was, "after": now })))
    });
    Value::Object(changed.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_contains_the_changed_members_only() {
        let before = serde_json::json!({ "name": "a", "enabled": true });
        let after = serde_json::json!({ "name": "a", "enabled": false });
        assert_eq!(
            difference(&before, &after),
            serde_json::json!({ "enabled": { "before": true, "after": false } })
        );
    }
}
