//! `mintage health`: asks a server whether it is ready, for images without another program that
//! can.

use std::net::SocketAddr;
use std::time::Duration;

use super::stats::{Target, reachable};
use super::{Context, Failure, print};

/// The time for the whole request. A server that is ready answers within a millisecond.
const TIMEOUT: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub struct Arguments {
    /// URL of the server [default: server.listen of the configuration]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub fn run(context: &Context, arguments: &Arguments) -> Result<(), Failure> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => own(&context.config()?.server.listen),
    };
    let target = Target::parse(&url)?;
    // The request may not end, for example while a name is resolved.
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || sender.send(target.readiness(TIMEOUT)));
    let waited = TIMEOUT + Duration::from_millis(200);
    match receiver.recv_timeout(waited) {
        Ok(ready) => ready.map_err(Failure::Failed)?,
        Err(_) => return Err(Failure::Failed(format!("{url} does not answer within 2 s"))),
    }
    print("ready");
    Ok(())
}

/// The URL of the server on this machine that listens there.
fn own(listen: &str) -> String {
    match listen.parse::<SocketAddr>() {
        Ok(address) => format!("http://{}", reachable(address)),
        Err(_) => format!("http://{listen}"),
    }
}
