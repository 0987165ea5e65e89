//! Tokens: list the records, revoke one token or all tokens of a client.

use super::error::failed;
use super::{Administration, OperationError};
use crate::api::audit::Principal;
use crate::api::token::TokenDocument;
use crate::db::tokens::{self, TokenRecord, Wanted};
use crate::db::{Conn, DbError, transactions};
use crate::oauth::activity::{InvalidatedToken, RevocationCheck};
use crate::oauth::client::{ClientId, TTL_SECONDS};
use crate::oauth::token_id::TokenId;
use crate::time::UnixMillis;

/// How far in the future the time of issue in an id may be, in milliseconds: two hours, which
/// exceeds the clock skew between instances. The revocation of a later id would be kept until the
/// token would expire.
const MAX_CLOCK_SKEW: i64 = 2 * 3600 * 1000;

/// Some of the tokens that were issued to a client.
pub struct TokenList {
    /// The newest first.
    pub tokens: Vec<TokenDocument>,
    /// Where the search continues; `None`: it has reached the oldest record.
    pub next: Option<TokenId>,
}

impl Administration {
    /// At most `limit` tokens of a client, the newest first: those before `before`, or the newest
    /// of all. With `secret_id`, only those that were issued for this secret.
    ///
    /// One call examines a bounded number of records, most of them other clients', so it may find
    /// fewer than `limit` and still not be at the end.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list_tokens(
        &self,
        client_id: ClientId,
        secret_id: Option<String>,
        before: Option<TokenId>,
        limit: usize,
    ) -> Result<TokenList, OperationError> {
        let wanted = Wanted { client_id, secret_id };
        let search = move |conn: &mut Conn| tokens::of_client(conn, &wanted, before, limit, tokens::WALK);
        let found = self.db.read(search).await.map_err(failed)?;
        let now = self.clock.now();
        Ok(TokenList {
            tokens: found.records.iter().map(|record| self.describe(record, now)).collect(),
            next: found.next,
        })
    }

    fn describe(&self, record: &TokenRecord, now: UnixMillis) -> TokenDocument {
        let not_before = self.revocations.client_status(&record.client_id).not_before;
        let too_early = not_before.is_some_and(|moment| record.jti.issued_at() < moment);
        let revoked = match too_early || self.revocations.is_invalidated(&record.jti) {
            true => Some(true),
            // The revocation of an expired token may have been forgotten.
            false => (now.seconds() < record.expires_at).then_some(false),
        };
        TokenDocument {
            jti: record.jti.to_string(),
            client_id: record.client_id.to_string(),
            scope: record.scope.to_string(),
            audience: record.audience.to_string(),
            issued_at: UnixMillis::from_seconds(record.issued_at).to_string(),
            expires_at: UnixMillis::from_seconds(record.expires_at).to_string(),
            one_time: record.one_time,
            secret_id: record.secret_id.as_deref().map(str::to_owned),
            client_ip: record.client_ip.map(|address| address.to_string()),
            revoked,
        }
    }

    /// Revokes a token, also one that is revoked or whose record is not written yet.
    ///
    /// # Errors
    /// [`OperationError::TokenNotFound`] for an id that no instance can have issued yet, or when
    /// the database fails: the token must be considered not revoked then.
    pub async fn revoke_token(&self, by: Principal, jti: TokenId) -> Result<(), OperationError> {
        let now = self.clock.now();
        if jti.issued_at().0 > now.0 + MAX_CLOCK_SKEW {
            return Err(OperationError::TokenNotFound);
        }
        let recorded = self.db.run_repeatable(move |conn| tokens::expiry(conn, jti)).await;
        // Without a record, the token expires when the longest-lived token of its moment does, at
        // the latest.
        let latest = jti.issued_at().seconds() + TTL_SECONDS.end();
        let token = InvalidatedToken {
            jti,
            expires_at: recorded.map_err(failed)?.unwrap_or(latest),
        };
        let now = self.clock.now();
        let work = move |conn: &mut Conn| transactions::revoke_token(conn, &by, token, now);
        self.db.run_repeatable(work).await.map_err(not_revoked)?;
        self.revocations.invalidate(token);
        self.db.has_written();
        Ok(())
    }

    /// Revokes every token that was issued to a client until now.
    ///
    /// # Errors
    /// [`OperationError::ClientNotFound`], or when the database fails: the tokens must be
    /// considered not revoked then.
    pub async fn revoke_client_tokens(&self, by: Principal, id: ClientId) -> Result<(), OperationError> {
        let (subject, now) = (id.clone(), self.clock.now());
        let work = move |conn: &mut Conn| transactions::revoke_client_tokens(conn, &by, &subject, now);
        let revoked = self.db.run_repeatable(work).await.map_err(not_revoked)?;
        let not_before = revoked.ok_or(OperationError::ClientNotFound)?;
        self.revocations.set_not_before(&id, not_before);
        self.db.has_written();
        Ok(())
    }
}

/// Whatever the cause, the operator has to try again, unless it may not do this any more.
fn not_revoked(error: DbError) -> OperationError {
    match error {
        DbError::NotAuthorized(_) => failed(error),
        error => {
            log::warn!(error:%; "revocation not written");
            OperationError::Unavailable
        }
    }
}
