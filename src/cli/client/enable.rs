//! `mintage client enable` and `disable`: whether a client may obtain tokens.

use super::label_changes::LabelChanges;
use super::named::Named;
use super::show::show_client;
use super::update::change;
use super::{Context, Failure, print};
use crate::api::client_fields::ClientFields;

pub fn run(context: &Context, named: &Named, enabled: bool) -> Result<(), Failure> {
    let fields = ClientFields {
        enabled: Some(enabled),
        ..ClientFields::default()
    };
    let client = change(context, named, &fields, &LabelChanges::default())?.after;
    match named.json {
        true => show_client(&client, true),
        false => print(&format!(
            "client {} {}",
            client.id,
            if enabled { "enabled" } else { "disabled" }
        )),
    }
    Ok(())
}
