//! Pages of a list: `?cursor=&limit=`, and `next_cursor`, which is `null` on the last page.
//!
//! The query of a list is read strictly: a filter that is misspelt and ignored would list everything.

use actix_web::HttpRequest;
use actix_web::http::StatusCode;

use crate::api::page::Page;
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::keys::PageKeys;
use crate::oauth::form;

/// Items on a page, unless `limit` says otherwise.
pub const DEFAULT_LIMIT: usize = 100;

/// The most that `limit` may ask for; a page is in memory as a whole.
pub const MAX_LIMIT: usize = 500;

/// The parameters of a query.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `cursor`, `limit` and these others.
    ///
    /// # Errors
    /// 400 for any other parameter, for one that comes twice, and for what is not well encoded.
    pub fn of_list(request: &HttpRequest, others: &[&str]) -> Result<Self, ApiError> {
        let mut known: Vec<(String, String)> = Vec::new();
        for (name, value) in form::pairs(request.query_string().as_bytes()) {
            let decoded = form::decode(name).and_then(|name| Ok((name, form::decode(value)?)));
            let (name, value) = decoded.map_err(|_| bad_request("the query is not well encoded"))?;
            if !["cursor", "limit"].contains(&&*name) && !others.contains(&&*name) {
                return Err(bad_request("the query has a parameter that this list does not know"));
            }
            if known.iter().any(|(other, _)| *other == *name) {
                return Err(bad_request("a parameter is repeated"));
            }
            known.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(known))
    }

    /// The value of a parameter; an empty one counts as left out.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    fn given(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name);
        value.map(|(_, value)| value.as_str())
    }
}

/// A page as it was asked for.
pub struct AskedPage {
    keys: PageKeys,
    list: String,
    /// Items on it, at most.
    pub limit: usize,
    /// The position behind which it begins; `None`: at the beginning.
    pub after: Option<String>,
}

impl AskedPage {
    /// Reads what a query asks of a list; `list` names it together with what it is filtered by.
    ///
    /// # Errors
    /// 400 for a cursor that this list did not give out, or a limit outside of its bounds.
    pub fn read(request: &HttpRequest, query: &Query, list: String) -> Result<Self, ApiError> {
        let worker = Worker::of(request);
        let ring = worker.shared.keys.ring();
        let keys = ring.and_then(|ring| PageKeys::of(&ring, worker.now()));
        let keys = keys.ok_or(ApiError::Unavailable)?;
        let limit = match query.given("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => limit(text).ok_or_else(|| bad_request("limit must be a number from 1 to 500"))?,
        };
        let open = |cursor| {
            const FOREIGN: &str = "the cursor is not one that this list has given out";
            keys.open(&list, cursor).ok_or_else(|| bad_request(FOREIGN))
        };
        let after = query.get("cursor").map(open).transpose()?;
        Ok(Self {
            keys,
            list,
            limit,
            after,
        })
    }

    /// How many items to look for: one more than fit tells that there is another page.
    pub fn look_for(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// The page, of what was found when [`AskedPage::look_for`] were looked for; `position` is where an item stands.
    pub fn of<T, D>(&self, mut found: Vec<T>, position: impl Fn(&T) -> String, document: impl Fn(T) -> D) -> Page<D> {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| more).map(position);
        Page {
            items: found.into_iter().map(document).collect(),
            next_cursor: last.map(|position| self.cursor(&position)),
        }
    }

    /// The cursor for what comes after a position.
    pub fn cursor(&self, position: &str) -> String {
        self.keys.seal(&self.list, position)
    }
}

fn limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| digits)?;
    (1..=MAX_LIMIT).contains(&limit).then_some(limit)
}

/// 400, and why.
pub fn bad_request(why: &'static str) -> ApiError {
    ApiError::Problem(StatusCode::BAD_REQUEST, why)
}
