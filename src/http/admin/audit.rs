//! `/admin/audit`: who changed what, when and from where.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LINK, VARY};
use actix_web::{HttpRequest, HttpResponse};

use super::page::{AskedPage, PageParameters, Query};
use super::schemas::OperatorFailures;
use super::{document, not_done};
use crate::api::audit::AuditDocument;
use crate::api::page::Page;
use crate::db::audit;
use crate::http::auth::bearer::{Right, require};
use crate::http::error::{ApiError, no_store};
use crate::http::state::Worker;

/// Named, because the name of a generic type is not what the document calls it.
type AuditPage = Page<AuditDocument>;

/// One JSON object a line.
pub const JSON_LINES: &str = "application/x-ndjson";

/// `GET /admin/audit`, the newest first.
#[utoipa::path(
    get,
    path = "/admin/audit",
    operation_id = "listAudit",
    summary = "Who changed what, newest first",
    params(PageParameters),
    responses((status = 200, content((AuditPage = "application/json"), (String = "application/x-ndjson"))), OperatorFailures),
    security(("bearer" = ["mintage:read"])),
)]
pub async fn list_audit(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    require(&request, Right::Read).await?;
    let query = Query::of_list(&request, &[])?;
    let asked = AskedPage::read(&query, "audit".into(), |id| id.parse::<i64>().ok())?;
    let (before, most) = (asked.after, asked.look_for());
    let found = Worker::of(&request)
        .shared
        .db
        .read(move |conn| audit::list(conn, before, most))
        .await
        .map_err(|error| not_done(&error))?;
    let page = asked.of(found, |line| line.id, |line| line);
    let mut answer = match wants_lines(&request) {
        true => lines(&page, asked.limit),
        false => document(&page),
    };
    answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

/// The page as JSON lines, which have no place for a cursor: the next page is in `Link` (RFC 8288).
fn lines(page: &Page<AuditDocument>, limit: usize) -> HttpResponse {
    let mut text = String::new();
    for line in &page.items {
        text.push_str(&serde_json::to_string(line).expect("an audit line is made of strings and numbers"));
        text.push('\n');
    }
    let mut builder = HttpResponse::Ok();
    no_store(&mut builder).insert_header((CONTENT_TYPE, HeaderValue::from_static(JSON_LINES)));
    if let Some(cursor) = &page.next_cursor {
        builder.insert_header((
            LINK,
            format!("</admin/audit?limit={limit}&cursor={cursor}>; rel=\"next\""),
        ));
    }
    builder.body(text)
}

/// Whether `Accept` names JSON lines, and does not rather have JSON (RFC 9110 §12.5.1).
fn wants_lines(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all(ACCEPT);
    let lists: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
    let weight = |media: &str| {
        let ranges = lists.iter().flat_map(|list| list.split(','));
        ranges.filter_map(|range| weight_of(range, media)).fold(0.0, f32::max)
    };
    let lines = weight(JSON_LINES);
    lines > 0.0 && lines >= weight("application/json")
}

/// The weight of a media range, if it names `media`.
fn weight_of(range: &str, media: &str) -> Option<f32> {
    let mut parts = range.split(';').map(str::trim);
    if !parts.next()?.eq_ignore_ascii_case(media) {
        return None;
    }
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    weight.map_or(Some(1.0), |text| text.parse().ok())
}
