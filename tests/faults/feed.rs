//! G2: an instance that does not hear what others took back does not guess whether a token is active.

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use serde_json::json;
use testkit::gateway::forwarded;
use testkit::http::{Connection, Response};
use testkit::proxy::Conduct;
use testkit::token::about_token;
use testkit::{TestClient, eventually};

use crate::scene::Scene;

/// The oldest change log by which tokens are judged.
const LAG: Duration = Duration::from_secs(5);

/// A token that an instance calls active, and who asks about it.
struct Question {
    scene: Scene,
    client: TestClient,
    observer: TestClient,
    token: String,
    /// To one worker: once the instance is cut off, the others could not find out who asks.
    connection: Connection,
}

impl Question {
    fn prepare() -> Self {
        let scene = Scene::new(&[]);
        let route = ["route", "add", "--path", "/orders", "--scope", "orders:read"];
        scene.server.run_json(&route);
        let client = scene.client();
        let mut question = Self {
            observer: scene.server.client_at(&scene.direct_url(), "mintage:introspect", &[]),
            token: scene.token(&client),
            connection: Connection::open(scene.server.address),
            client,
            scene,
        };
        eventually("the token is active", Duration::from_secs(5), || {
            let (told, let_through) = question.ask();
            (told.json()["active"] == true && let_through.status == 200).then_some(())
        });
        question
    }

    /// What `/introspect` and `/validate` say of the token.
    fn ask(&mut self) -> (Response, Response) {
        let introspection = about_token("/introspect", &self.observer, &self.token);
        let told = self.connection.ask(&introspection);
        (
            told,
            self.connection.ask(&forwarded("GET", "/orders").bearer(&self.token)),
        )
    }

    /// The token has been taken back where the instance cannot see it: it may not know for as long as its change log may
    /// be old, and then it must say that it does not.
    fn assert_not_guessed(&mut self) {
        let began = Instant::now();
        // As much again as a poll may take that began before.
        while began.elapsed() < LAG + Duration::from_secs(2) {
            let (told, let_through) = self.ask();
            if began.elapsed() > LAG + Duration::from_millis(100) {
                told.assert_unavailable();
                let_through.assert_unavailable();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// It can see it again: when it answers again, it knows.
    fn assert_known(&mut self) {
        eventually("it judges again", Duration::from_secs(15), || {
            let (told, let_through) = self.ask();
            if told.status == 503 || let_through.status == 503 {
                return None;
            }
            assert_eq!(told.json(), json!({"active": false}));
            assert_eq!(let_through.status, 401);
            Some(())
        });
    }
}

#[test]
fn g2_cut_off_from_the_database_it_does_not_guess() {
    let mut question = Question::prepare();
    let other = testkit::program!().on(&question.scene.direct_url(), &[]).serve(&[]);
    question.scene.proxy.set(Conduct::Hold);
    let revocation = about_token("/revoke", &question.client, &question.token);
    assert_eq!(other.send(&revocation).status, 200);
    question.assert_not_guessed();
    question.scene.proxy.set(Conduct::Pass);
    question.assert_known();
}

#[test]
fn g2_told_that_a_client_changed_but_not_how_it_does_not_guess() {
    let mut question = Question::prepare();
    let mut holder = question.scene.cluster.connect();
    holder
        .batch_execute("BEGIN; LOCK TABLE not_before IN ACCESS EXCLUSIVE MODE")
        .unwrap();
    let disable = ["client", "disable", &question.client.id];
    question.scene.server.run_json(&disable);
    question.assert_not_guessed();
    holder.batch_execute("ROLLBACK").unwrap();
    question.assert_known();
}
