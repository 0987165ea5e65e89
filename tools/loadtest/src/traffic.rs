//! Requests as bytes: the same ones in turn, or those of one client out of many.

use std::cell::RefCell;
use std::rc::Rc;

use testkit::TestClient;
use testkit::token::token_request;

/// The requested scope of token requests.
pub const SCOPE: &str = "orders:read";

/// Writes the next request into a buffer; shared by all connections of a load.
#[derive(Clone)]
pub struct Traffic(Rc<RefCell<Write>>);

type Write = dyn FnMut(&mut Vec<u8>);

impl Traffic {
    /// These requests, in turn.
    pub fn in_turn(requests: Vec<Vec<u8>>) -> Self {
        let mut number = 0;
        Self::new(move |buffer| {
            buffer.clear();
            buffer.extend_from_slice(&requests[number % requests.len()]);
            number += 1;
        })
    }

    /// Token requests of one client.
    pub fn of(client: &TestClient) -> Self {
        Self::in_turn(vec![token_bytes(client)])
    }

    /// Token requests of `count` clients, with equal probability and the same sequence in every
    /// run.
    pub fn of_many(count: u64, client: fn(u64) -> TestClient) -> Self {
        let mut state = 1;
        Self::new(move |buffer| *buffer = token_bytes(&client(split_mix(&mut state) % count)))
    }

    fn new(write: impl FnMut(&mut Vec<u8>) + 'static) -> Self {
        Self(Rc::new(RefCell::new(write)))
    }

    /// The next request.
    pub fn next(&self, buffer: &mut Vec<u8>) {
        (self.0.borrow_mut())(buffer);
    }
}

/// A token request with Basic credentials (RFC 6749 §4.4).
pub fn token_bytes(client: &TestClient) -> Vec<u8> {
    token_request(client, &[("scope", SCOPE)]).bytes()
}

/// SplitMix64, so that every run draws the same numbers.
fn split_mix(state: &mut u64) -> u64 {
    *state = u64::wrapping_add(*state, 0x9e37_79b9_7f4a_7c15);
    let mut value = *state;
    value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}
