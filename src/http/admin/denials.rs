//! `/admin/denials`: who is denied, and how often.

use actix_web::{HttpRequest, HttpResponse};

use super::document;
use super::schemas::OperatorFailures;
use crate::api::denial::{DenialDocument, DenialsDocument, OtherDenialsDocument};
use crate::http::auth::operator::{Right, require};
use crate::http::error::ApiError;
use crate::http::state::Worker;
use crate::oauth::denial::Denial;
use crate::oauth::duty::Duty;
use crate::throttle::BudgetedCaller;

/// `GET /admin/denials`: the denials that this instance has counted, the most frequent first. Their
/// number is bounded, so there are no pages.
#[utoipa::path(
    get,
    path = "/admin/denials",
    operation_id = "listDenials",
    summary = "Who was denied by this instance since its start, most frequent first",
    responses((status = 200, body = DenialsDocument), OperatorFailures),
    security(("bearer" = ["mintage:audit"]), ("bearer" = ["mintage:read"])),
)]
pub async fn list_denials(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    let worker = Worker::of(&request);
    require(worker, &worker.caller(&request), Right::ReadOf(Duty::Audit)).await?;
    let (since, mut counted) = worker.shared.denials.totals();
    counted.sort_by_key(|counted| (std::cmp::Reverse(counted.count), std::cmp::Reverse(counted.last_at)));
    let mut items = Vec::new();
    let mut others = [0; Denial::ALL.len()];
    for counted in counted {
        let Some(caller) = counted.caller else {
            others[counted.reason as usize] += counted.count;
            continue;
        };
        items.push(DenialDocument {
            reason: counted.reason.name(),
            client_id: match caller {
                BudgetedCaller::Client(client) => Some(client.to_string()),
                BudgetedCaller::Network(_) => None,
            },
            client_ip: counted.last_ip.map(|address| address.to_string()),
            count: counted.count,
            last_at: counted.last_at.to_string(),
        });
    }
    let others = Denial::ALL.into_iter().zip(others).filter(|(_, count)| *count > 0);
    Ok(document(&DenialsDocument {
        since: since.to_string(),
        items,
        others: others
            .map(|(denial, count)| OtherDenialsDocument {
                reason: denial.name(),
                count,
            })
            .collect(),
    }))
}
