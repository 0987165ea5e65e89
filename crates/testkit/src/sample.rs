//! Sample clients and tokens.

use mintage::api::audit::{ActorKind, Principal};
use mintage::api::authority::Authority;
use mintage::api::client_fields::ClientFields;
use mintage::db::clients::{self, Changed};
use mintage::db::{Conn, DbError};
use mintage::oauth::claims::{AccessTokenClaims, Audience};
use mintage::oauth::client::{AuthMethod, Client, ClientId};
use mintage::oauth::origin::Origin;
use mintage::oauth::scope::Scope;
use mintage::oauth::token_id::TokenId;
use mintage::time::UnixMillis;

/// The current time in these tests: 2026-11-24 00:00 UTC.
pub const NOW: UnixMillis = UnixMillis(1_795_478_400_000);

/// Two values of `keys.encryption_key`.
pub const ENCRYPTION_KEYS: [&str; 2] = [
    "hZAEc8S0kHt0M+iwA+AGCwSzO0nOgalv/c+0rWBQebQ=",
    "Rc/pR2Cknv7JXj9PKjMQT2cpYw/CRsaMPFLCo0PY3eY=",
];

/// A valid client id.
pub fn id(text: &str) -> ClientId {
    ClientId::parse(text).unwrap()
}

/// A client without secrets.
pub fn client(text: &str) -> Client {
    Client {
        id: id(text),
        name: format!("the client {text}"),
        enabled: true,
        scope: Scope::parse("orders:read orders:write").unwrap(),
        default_scope: Scope::parse("orders:read orders:write").unwrap(),
        audiences: Vec::new(),
        introspection_audiences: Vec::new(),
        auth_methods: AuthMethod::ALL.to_vec(),
        ttl_seconds: None,
        alg: None,
        token: Default::default(),
        labels: Default::default(),
        secrets: Vec::new(),
        created_at: NOW,
        updated_at: NOW,
    }
}

/// The claims of the `n`th token of a client. Token ids are ordered by `n`.
pub fn claims(client: &str, n: u32) -> AccessTokenClaims {
    let mut random = [0; 10];
    random[6..].copy_from_slice(&n.to_be_bytes());
    AccessTokenClaims {
        iss: "https://mintage.example".into(),
        sub: client.into(),
        aud: Audience::One("https://orders.example".into()),
        client_id: client.into(),
        scope: Scope::parse("orders:read").unwrap(),
        iat: NOW.seconds(),
        exp: NOW.seconds() + 3600,
        jti: TokenId::new(NOW, random),
        one_time: false,
        secret_id: None,
        form: Default::default(),
    }
}

/// Where the sample tokens were issued to.
pub fn origin() -> Origin {
    Origin {
        secret_id: "first".into(),
        client_ip: Some([192, 0, 2, 7].into()),
    }
}

/// Enables or disables a client; `false` if it does not exist.
pub fn set_enabled(conn: &mut Conn, id: &ClientId, enabled: bool, now: UnixMillis) -> Result<bool, DbError> {
    let fields = ClientFields {
        enabled: Some(enabled),
        ..ClientFields::default()
    };
    let changed = clients::change(conn, id, now, |client| fields.applied_to(client, now))?;
    Ok(matches!(changed, Changed::Done { .. }))
}

/// An operator.
pub fn operator() -> Principal {
    Principal {
        actor: "ops".into(),
        kind: ActorKind::Client,
        source: "127.0.0.1".into(),
        context: serde_json::json!({ "token": "t" }),
        authority: Authority::Machine,
    }
}
