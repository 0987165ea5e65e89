//! G5: a one-time token is accepted once, whichever instances are asked.

use std::sync::Barrier;

use testkit::http::{Connection, Request};
use testkit::token::token_request;

use crate::trio::{Trio, question, route};

/// So many ask each instance at the same moment.
const EACH: usize = 8;

#[test]
fn g5_a_one_time_token_raced_over_three_instances_passes_once() {
    let trio = Trio::start();
    let client = trio.client();
    let add = Request::post("/admin/routes").json(&route("/once"));
    assert_eq!(trio.instances[0].send(&trio.operator(add)).status, 201);
    let usual = trio.token(&client);
    trio.assert_soon("the route is known", &question(&usual, "/once"), |answer| {
        answer.status == 200
    });
    let asked = token_request(&client, &[("one_time", "true")]);
    let tokens: Vec<String> = (0..25).map(|_| trio.instances[0].send(&asked).access_token()).collect();
    let start = Barrier::new(3 * EACH);
    let answers: Vec<Vec<u16>> = std::thread::scope(|scope| {
        let race = |address| {
            let (tokens, start) = (&tokens, &start);
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                let mut use_it = |token: &String| {
                    start.wait();
                    connection.ask(&question(token, "/once")).status
                };
                tokens.iter().map(&mut use_it).collect::<Vec<u16>>()
            })
        };
        let addresses = trio.instances.iter().flat_map(|instance| [instance.address; EACH]);
        let racers: Vec<_> = addresses.map(race).collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).collect()
    });
    for n in 0..tokens.len() {
        let statuses: Vec<u16> = answers.iter().map(|answers| answers[n]).collect();
        let count = |status| statuses.iter().filter(|answer| **answer == status).count();
        assert_eq!((count(200), count(401)), (1, 3 * EACH - 1), "{statuses:?}");
    }
}
