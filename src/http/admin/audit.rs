//! `/admin/audit`: the audit log, as pages of JSON or as JSON lines.

use actix_web::http::header::{ACCEPT, CONTENT_TYPE, HeaderValue, LINK, VARY};
use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::page::{PageParameters, PageRequest, Query};
use super::schemas::OperatorFailures;
use crate::api::audit::AuditDocument;
use crate::api::page::Page;
use crate::http::auth::operator::{Right, require};
use crate::http::error::{ApiError, no_store};
use crate::http::state::Worker;
use crate::oauth::duty::Duty;

/// An alias, because the OpenAPI document names the schema after the type named at the handler.
type AuditPage = Page<AuditDocument>;

/// The media type of JSON lines: one JSON object per line.
pub const JSON_LINES: &str = "application/x-ndjson";

/// `GET /admin/audit`: the events, newest first.
#[utoipa::path(
    get,
    path = "/admin/audit",
    operation_id = "listAudit",
    summary = "Who changed what, newest first",
    params(PageParameters),
    responses((status = 200, content((AuditPage = "application/json"), (String = "application/x-ndjson"))), OperatorFailures),
    security(("bearer" = ["mintage:audit"]), ("bearer" = ["mintage:read"])),
)]
pub async fn list_audit(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Audit)).await?;
    let query = Query::of_list(request.query_string(), &[])?;
    let page = PageRequest::read(&query, "audit".into(), |id| id.parse::<i64>().ok())?;
    let admin = &worker.shared.admin;
    let found = admin.list_audit(page.after, page.fetch_limit()).await?;
    let limit = page.limit;
    let page = page.of(found, |event| event.id, |event| event);
    let mut response = match prefers_lines(&request) {
        true => lines(&page, limit),
        false => document(&page),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// The page as JSON lines. These have no member for a cursor, so `Link` names the next page (RFC
/// 8288).
fn lines(page: &Page<AuditDocument>, limit: usize) -> HttpResponse {
    let mut text = String::new();
    for event in &page.items {
        text.push_str(&serde_json::to_string(event).expect("an audit event consists of strings and numbers"));
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

/// Whether `Accept` names JSON lines and does not prefer JSON (RFC 9110 §12.5.1).
fn prefers_lines(request: &HttpRequest) -> bool {
    let headers = request.headers().get_all(ACCEPT);
    let lists: Vec<&str> = headers.filter_map(|value| value.to_str().ok()).collect();
    let weight = |media: &str| {
        let ranges = lists.iter().flat_map(|list| list.split(','));
        ranges.filter_map(|range| weight_of(range, media)).fold(0.0, f32::max)
    };
    let of_lines = weight(JSON_LINES);
    of_lines > 0.0 && of_lines >= weight("application/json")
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
