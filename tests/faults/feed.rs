//! G2: an instance that has not received recent revocations answers 503 instead of guessing whether
//! a token is active.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::json;
use testkit::gateway::forwarded;
use testkit::http::{Connection, Response};
use testkit::proxy::Conduct;
use testkit::token::about_token;
use testkit::{TestClient, eventually};

use crate::scene::Scene;

/// The maximum age of the change log for answers about tokens.
const LAG: Duration = Duration::from_secs(5);

/// A token that an instance reports as active, and the clients that ask about it.
struct ObservedToken {
    scene: Scene,
    client: TestClient,
    observer: TestClient,
    token: String,
    /// Pinned to one worker: once the instance is cut off, its other workers could not authenticate
    /// the observer.
    connection: Connection,
}

impl ObservedToken {
    fn prepare() -> Self {
        let scene = Scene::new(&[]);
        let route = ["route", "add", "--path", "/orders", "--scope", "orders:read"];
        scene.server.run_json(&route);
        let client = scene.client();
        let mut observed = Self {
            observer: scene.server.client_at(&scene.direct_url(), "mintage:introspect", &[]),
            token: scene.token(&client),
            connection: Connection::open(scene.server.address),
            client,
            scene,
        };
        eventually("the token is active", Duration::from_secs(5), || {
            let (introspection, validation) = observed.check();
            (introspection.json()["active"] == true && validation.status == 200).then_some(())
        });
        observed
    }

    /// The responses of `/introspect` and `/validate` for the token.
    fn check(&mut self) -> (Response, Response) {
        let request = about_token("/introspect", &self.observer, &self.token);
        let introspection = self.connection.ask(&request);
        (
            introspection,
            self.connection.ask(&forwarded("GET", "/orders").bearer(&self.token)),
        )
    }

    /// The token has been revoked where the instance cannot see it. The instance may call it active
    /// until its change log is older than the maximum, and must answer 503 afterwards.
    fn assert_unavailable_once_stale(&mut self) {
        let began = Instant::now();
        // The rest allows for a poll that began before the cut.
        while began.elapsed() < LAG + Duration::from_secs(2) {
            // Taken before the requests: an answer given in time may arrive late.
            let asked = began.elapsed();
            let (introspection, validation) = self.check();
            if asked > LAG + Duration::from_millis(100) {
                introspection.assert_unavailable();
                validation.assert_unavailable();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// The instance is connected again: its first answer already knows the revocation.
    fn assert_inactive_once_available(&mut self) {
        eventually("the instance answers again", Duration::from_secs(15), || {
            let (introspection, validation) = self.check();
            if introspection.status == 503 || validation.status == 503 {
                return None;
            }
            assert_eq!(introspection.json(), json!({"active": false}));
            assert_eq!(validation.status, 401);
            Some(())
        });
    }
}

#[test]
fn g2_an_instance_cut_off_from_the_database_answers_503_instead_of_guessing() {
    let mut observed = ObservedToken::prepare();
    let other = testkit::program!().on(&observed.scene.direct_url(), &[]).serve(&[]);
    observed.scene.proxy.set(Conduct::Hold);
    let revocation = about_token("/revoke", &observed.client, &observed.token);
    assert_eq!(other.send(&revocation).status, 200);
    observed.assert_unavailable_once_stale();
    observed.scene.proxy.set(Conduct::Pass);
    observed.assert_inactive_once_available();
}

#[test]
fn g2_an_instance_that_cannot_load_a_changed_client_answers_503_instead_of_guessing() {
    let mut observed = ObservedToken::prepare();
    let mut lock_holder = observed.scene.cluster.connect();
    lock_holder
        .batch_execute("BEGIN; LOCK TABLE not_before IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let disable = ["client", "disable", &observed.client.id];
    observed.scene.server.run_json(&disable);
    observed.assert_unavailable_once_stale();
    lock_holder.batch_execute("ROLLBACK").unwrap();
    observed.assert_inactive_once_available();
}
