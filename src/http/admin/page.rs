//! Pages of a list: `?cursor=&limit=`, and `next_cursor`, which is `null` on the last page.
//!
//! The query of a list is parsed strictly: if a misspelled filter were ignored, the response would
//! list everything.

use std::fmt::Display;

use base64::Engine;
use utoipa::IntoParams;

use super::error::{bad_request, malformed, quoted};
use crate::api::page::Page;
use crate::encoding::URL_SAFE_NO_PAD;
use crate::http::error::ApiError;
use crate::oauth::form;

/// Items on a page if the request has no `limit`.
pub const DEFAULT_LIMIT: usize = 100;

/// The highest `limit`. A whole page is held in memory.
pub const MAX_LIMIT: usize = 500;

/// The parameters of every paged list, as the OpenAPI document describes them.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only the description of its members is read")]
pub struct PageParameters {
    /// The maximum number of items on the page
    #[param(required = false, minimum = 1, maximum = 500, default = 100)]
    limit: usize,
    /// `next_cursor` of the previous page
    #[param(required = false)]
    cursor: String,
}

/// The parameters of a query.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Reads `cursor`, `limit` and the parameters in `others`.
    ///
    /// # Errors
    /// 400 for any other parameter, a repeated one, or malformed form encoding.
    pub fn of_list(query: &str, others: &[&str]) -> Result<Self, ApiError> {
        Self::with_repeatable(query, others, &[])
    }

    /// As [`Query::of_list`], and parameters that may be repeated.
    ///
    /// # Errors
    /// As [`Query::of_list`].
    pub fn with_repeatable(query: &str, others: &[&str], repeatable: &[&str]) -> Result<Self, ApiError> {
        let mut known: Vec<(String, String)> = Vec::new();
        for (name, value) in form::pairs(query.as_bytes()) {
            let name = form::decode(name).map_err(|_| bad_request("the query is not well encoded"))?;
            let may_repeat = repeatable.contains(&&*name);
            if !may_repeat && !["cursor", "limit"].contains(&&*name) && !others.contains(&&*name) {
                return Err(malformed(format!("{} is not a parameter here", quoted(&name))));
            }
            if !may_repeat && known.iter().any(|(other, _)| *other == *name) {
                return Err(malformed(format!("{name} is repeated")));
            }
            let value = form::decode(value).map_err(|_| malformed(format!("{name} is not well encoded")))?;
            known.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self(known))
    }

    /// The value of a parameter; `None` also for an empty value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.given(name).filter(|value| !value.is_empty())
    }

    /// Every value of a parameter that may be repeated, except empty ones.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let values = self.0.iter().filter(move |(known, _)| known == name);
        values
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn given(&self, name: &str) -> Option<&str> {
        let value = self.0.iter().find(|(known, _)| known == name);
        value.map(|(_, value)| value.as_str())
    }
}

/// A request for one page of a list whose items have positions of type `P`.
pub struct PageRequest<P> {
    list: String,
    /// The most items on the page.
    pub limit: usize,
    /// The position after which the page begins; `None`: the beginning of the list.
    pub after: Option<P>,
}

impl<P: Display> PageRequest<P> {
    /// Reads `cursor` and `limit`. `list` names the list and its filter, without a newline;
    /// `position` parses a position.
    ///
    /// # Errors
    /// 400 for a cursor that this list cannot have returned, or a limit out of range.
    pub fn read(query: &Query, list: String, position: impl Fn(&str) -> Option<P>) -> Result<Self, ApiError> {
        let limit = match query.given("limit") {
            None => DEFAULT_LIMIT,
            Some(text) => limit(text).ok_or_else(|| bad_request("limit must be a number from 1 to 500"))?,
        };
        let after = query.get("cursor").map(|cursor| {
            const FOREIGN: &str = "the cursor does not belong to this list";
            decode(&list, cursor, &position).ok_or_else(|| bad_request(FOREIGN))
        });
        let after = after.transpose()?;
        Ok(Self { list, limit, after })
    }

    /// How many items to fetch: one more than the page holds, to know whether there is another
    /// page.
    pub fn fetch_limit(&self) -> i64 {
        self.limit as i64 + 1
    }

    /// The page, from the items that were found with [`PageRequest::fetch_limit`]. `position`
    /// returns the position of an item.
    pub fn of<T, D>(&self, mut found: Vec<T>, position: impl Fn(&T) -> P, document: impl Fn(T) -> D) -> Page<D> {
        let more = found.len() > self.limit;
        found.truncate(self.limit);
        let last = found.last().filter(|_| more).map(position);
        Page {
            items: found.into_iter().map(document).collect(),
            next_cursor: last.map(|position| self.cursor(&position)),
        }
    }

    /// The cursor of the page that begins after a position.
    pub fn cursor(&self, position: &P) -> String {
        encode(&self.list, position)
    }
}

/// A cursor: base64url of the list and the position. The caller may read the whole list anyway, so
/// a forged cursor gains nothing, and the cursor needs no signature.
pub fn encode(list: &str, position: &impl Display) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{position}"))
}

/// The position in a cursor; `None` unless [`encode`] writes exactly this cursor for it.
pub fn decode<P: Display>(list: &str, cursor: &str, parse: impl Fn(&str) -> Option<P>) -> Option<P> {
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
    let position = parse(text.strip_prefix(list)?.strip_prefix('\n')?)?;
    (encode(list, &position) == cursor).then_some(position)
}

fn limit(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = text.parse().ok().filter(|_| digits)?;
    (1..=MAX_LIMIT).contains(&limit).then_some(limit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_tells_the_bounds_of_a_limit() {
        let parameters = PageParameters::into_params(|| None);
        let limit = serde_json::to_value(&parameters[0]).unwrap();
        let bounds = ["minimum", "maximum", "default"].map(|bound| limit["schema"][bound].as_u64().unwrap() as usize);
        assert_eq!(bounds, [1, MAX_LIMIT, DEFAULT_LIMIT]);
    }

    fn number(text: &str) -> Option<i64> {
        text.parse().ok()
    }

    fn cursor_of(text: &str) -> String {
        URL_SAFE_NO_PAD.encode(text)
    }

    #[test]
    fn a_cursor_is_read_by_its_own_list_only() {
        let cursor = encode("tokens a", &7);
        assert_eq!(decode("tokens a", &cursor, number), Some(7));
        for other in ["", "tokens", "tokens ", "tokens b", "tokens ab", "audit", "tokens a\n"] {
            assert_eq!(decode(other, &cursor, number), None, "{other:?}");
        }
    }

    #[test]
    fn a_changed_cursor_is_rejected_or_is_another_position_of_the_same_list() {
        let cursor = encode("audit", &123_456);
        for at in 0..cursor.len() {
            for byte in "AQghz09-_=+ \n".chars() {
                let changed = format!("{}{byte}{}", &cursor[..at], &cursor[at + 1..]);
                if let Some(position) = decode("audit", &changed, number) {
                    assert_eq!(encode("audit", &position), changed);
                }
            }
            assert_eq!(decode("audit", &cursor[1 + at..], number), None, "{at}");
        }
    }

    #[test]
    fn a_position_has_one_spelling() {
        for position in ["+5", "05", " 5", "5 ", "5\n", "", "x", "9223372036854775808", "٥"] {
            assert_eq!(
                decode("audit", &cursor_of(&format!("audit\n{position}")), number),
                None,
                "{position:?}"
            );
        }
        assert_eq!(decode("audit", &cursor_of("audit\n-5"), number), Some(-5));
    }

    #[test]
    fn what_is_no_base64url_is_rejected() {
        let cursor = encode("audit", &12);
        let not_canonical = format!("{}1", &cursor[..cursor.len() - 1]);
        for other in [
            "x",
            "%",
            "=",
            &format!("{cursor}="),
            &format!("{cursor}A"),
            &not_canonical,
            &"_".repeat(12),
        ] {
            assert_eq!(decode("audit", other, number), None, "{other}");
        }
        assert_eq!(decode("audit", &URL_SAFE_NO_PAD.encode(b"audit\n1\xff"), number), None);
    }
}
