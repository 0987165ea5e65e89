//! The labels of clients: a column of their own, which only administration reads and writes.

use std::collections::HashMap;

use diesel::prelude::*;

use super::conn::Conn;
use super::error::DbError;
use super::schema::client_labels;
use crate::oauth::client::{Client, ClientId};
use crate::oauth::labels::Labels;

/// Reads the labels of clients that were just loaded.
///
/// # Errors
/// The database cannot be reached, or labels are malformed.
pub(super) fn read(conn: &mut Conn, clients: &mut [Client]) -> Result<(), DbError> {
    let ids: Vec<&str> = clients.iter().map(|client| client.id.as_str()).collect();
    let labels: Vec<(String, Option<String>)> = client_labels::table
        .filter(client_labels::client_id.eq_any(ids))
        .filter(client_labels::labels.is_not_null())
        .load(conn)?;
    let mut labels: HashMap<String, String> = labels.into_iter().filter_map(|(id, text)| Some((id, text?))).collect();
    for client in clients {
        let text = labels.remove(client.id.as_str());
        let malformed = |_| DbError::Inconsistent(format!("client {:?} has malformed labels", client.id));
        let read = text.map(|text| Labels::parse(&text)).transpose();
        client.labels = read.map_err(malformed)?.unwrap_or_default();
    }
    Ok(())
}

/// Sets the labels of a client that exists.
///
/// # Errors
/// The database rejects the statement or cannot be reached.
pub(super) fn write(conn: &mut Conn, id: &ClientId, labels: &Labels) -> Result<(), DbError> {
    diesel::update(client_labels::table.filter(client_labels::client_id.eq(id.as_str())))
        .set(client_labels::labels.eq(labels.object()))
        .execute(conn)?;
    Ok(())
}

/// Sets the labels of new clients.
///
/// # Errors
/// As [`write`].
pub(super) fn write_new(conn: &mut Conn, clients: &[&Client]) -> Result<(), DbError> {
    for client in clients.iter().filter(|client| !client.labels.is_empty()) {
        write(conn, &client.id, &client.labels)?;
    }
    Ok(())
}
