//! G5: a one-time token is accepted once across all instances.

use std::sync::Barrier;

use testkit::http::Connection;
use testkit::token::token_request;

use crate::trio::{Trio, validation};

/// Concurrent requests per instance.
const EACH: usize = 8;

#[test]
fn g5_a_one_time_token_used_at_once_on_three_instances_is_accepted_once() {
    let trio = Trio::start();
    let client = trio.client();
    trio.add_route(&client, "/once");
    let one_time = token_request(&client, &[("one_time", "true")]);
    let tokens: Vec<String> = (0..25)
        .map(|_| trio.instances[0].send(&one_time).access_token())
        .collect();
    let start = Barrier::new(3 * EACH);
    let answers: Vec<Vec<u16>> = std::thread::scope(|scope| {
        let race = |address| {
            let (tokens, start) = (&tokens, &start);
            scope.spawn(move || {
                let mut connection = Connection::open(address);
                let mut redeem = |token: &String| {
                    start.wait();
                    connection.ask(&validation(token, "/once")).status
                };
                tokens.iter().map(&mut redeem).collect::<Vec<u16>>()
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
