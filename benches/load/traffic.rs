//! What is sent: requests as bytes, the same in turn, or made for one client of many.

use std::cell::RefCell;
use std::rc::Rc;

/// Writes the next request into a buffer; one for all connections of a load.
#[derive(Clone)]
pub struct Traffic(Rc<RefCell<Write>>);

type Write = dyn FnMut(&mut Vec<u8>);

/// The body of a token request.
pub const BODY: &str = "grant_type=client_credentials&scope=orders%3Aread";

impl Traffic {
    fn new(write: impl FnMut(&mut Vec<u8>) + 'static) -> Self {
        Self(Rc::new(RefCell::new(write)))
    }

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
    pub fn of(client: &(String, String)) -> Self {
        Self::in_turn(vec![token_request(&client.0, &client.1, BODY)])
    }

    /// Token requests of the clients that [`super::fill::clients`] made, drawn by `draw`.
    pub fn of_many(mut draw: Draw) -> Self {
        Self::new(move |buffer| {
            let (id, secret) = super::fill::credentials(draw.next());
            *buffer = token_request(&id, &secret, BODY);
        })
    }

    /// The next request.
    pub fn next(&self, buffer: &mut Vec<u8>) {
        (self.0.borrow_mut())(buffer);
    }
}

/// Which client comes next, as a number from 0.
pub enum Draw {
    /// One after the other.
    InTurn {
        /// How many there are.
        of: u64,
        /// Whose turn it is.
        next: u64,
    },
    /// Each as likely as any other.
    Uniform {
        /// How many there are.
        of: u64,
        /// The state of the random numbers.
        random: Random,
    },
    /// Few ask often and many seldom: the client of rank k with a weight of 1/k.
    Zipf {
        /// The sums of the weights up to each rank.
        sums: Vec<f64>,
        /// The state of the random numbers.
        random: Random,
    },
    /// The first `known` clients, once in turn and then at random, and with a share of `misses` one that has not come for
    /// long.
    Mixed {
        /// Few enough for any cache.
        known: u64,
        /// Those that come in turn; far more than fit a cache.
        strangers: u64,
        /// From 0 to 1.
        misses: f64,
        /// How many of the known have had their first turn.
        seen: u64,
        /// Whose turn it is of the strangers.
        next: u64,
        /// The state of the random numbers.
        random: Random,
    },
}

impl Draw {
    /// One after the other.
    pub fn in_turn(of: u64) -> Self {
        Self::InTurn { of, next: 0 }
    }

    /// Each as likely as any other.
    pub fn uniform(of: u64) -> Self {
        let random = Random(1);
        Self::Uniform { of, random }
    }

    /// By Zipf's law.
    pub fn zipf(of: u64) -> Self {
        let mut sum = 0.0;
        let sums = (1..=of).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self::Zipf {
            sums: sums.collect(),
            random: Random(2),
        }
    }

    /// `misses` of the requests, 0 to 1, come from clients that no cache can know.
    pub fn mixed(known: u64, strangers: u64, misses: f64) -> Self {
        Self::Mixed {
            known,
            strangers,
            misses,
            // Where all are strangers, nobody is to be known.
            seen: if misses < 1.0 { 0 } else { known },
            next: 0,
            random: Random(3),
        }
    }

    fn next(&mut self) -> u64 {
        match self {
            Self::InTurn { of, next } => {
                *next += 1;
                (*next - 1) % *of
            }
            Self::Uniform { of, random } => random.below(*of),
            Self::Zipf { sums, random } => {
                let all = sums.last().copied().unwrap_or(0.0);
                let at = random.share() * all;
                let rank = sums.partition_point(|sum| *sum < at).min(sums.len() - 1);
                // Spread over the table, or the clients asked for most would lie on the same pages.
                (rank as u64).wrapping_mul(7_919) % sums.len() as u64
            }
            Self::Mixed {
                known,
                strangers,
                misses,
                seen,
                next,
                random,
            } => {
                if *seen < *known {
                    *seen += 1;
                    return *seen - 1;
                }
                if random.share() >= *misses {
                    return random.below(*known);
                }
                *next += 1;
                *known + (*next - 1) % *strangers
            }
        }
    }
}

/// SplitMix64: the same numbers in every run.
pub struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut value = self.0;
        value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        value ^ (value >> 31)
    }

    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, bound: u64) -> u64 {
        (self.share() * bound as f64) as u64
    }
}

/// A token request as bytes, with HTTP Basic credentials.
pub fn token_request(id: &str, secret: &str, body: &str) -> Vec<u8> {
    form_request("/token", id, secret, body)
}

/// A form as bytes, with HTTP Basic credentials.
pub fn form_request(path: &str, id: &str, secret: &str, body: &str) -> Vec<u8> {
    use base64::Engine;
    let credentials = base64::engine::general_purpose::STANDARD.encode(format!("{id}:{secret}"));
    format!(
        "POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Basic {credentials}\r\n\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}
