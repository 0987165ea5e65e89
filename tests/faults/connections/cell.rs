//! [`Cell`]: a connection in one state, what is done to keep it there, and how it must end.

use std::fmt::Write;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use testkit::Server;
use testkit::http::{RESPONSE_TIMEOUT, Response};
use testkit::poll::until;
use testkit::raw::{End, RawConnection};

use super::{LATE, LIVEZ};

/// Between two bytes of a sender that wants to look busy.
const DRIP_PAUSE: Duration = Duration::from_millis(100);

/// Between two looks at all connections.
const PAUSE: Duration = Duration::from_millis(20);

/// Between two looks at the processor time of the server.
const WORK_INTERVAL: Duration = Duration::from_millis(500);

/// The deadlines of the server.
#[derive(Clone, Copy)]
pub struct Deadlines {
    pub request: Duration,
    pub idle: Duration,
}

/// What a client does to keep a connection in its state.
#[derive(Clone)]
pub enum Then {
    Nothing,
    /// Sends these bytes, one now and then, and begins again with the first.
    Drip(Vec<u8>),
    /// Sends these bytes, if any, over and over as fast as they are taken, and never reads.
    FloodUnread(Vec<u8>),
}

/// How the connection must end.
#[derive(Clone, Copy, Debug)]
pub enum Ending {
    /// With 408 and `Connection: close`, once `request_timeout` has passed.
    TimedOut,
    /// The same, unless the server finds a mistake in the request before.
    TimedOutOrBad,
    /// With one of these statuses and `Connection: close`, within `request_timeout`.
    Answered(&'static [u16]),
    /// Without a response, once `keep_alive` has passed.
    Idle,
    /// Aborted within `request_timeout` without progress.
    Aborted,
    /// In any way, within `request_timeout`.
    Any,
}

/// A connection in one state.
pub struct Cell {
    pub name: String,
    /// Whether another request was answered on this connection before.
    later: bool,
    begin: Vec<u8>,
    then: Then,
    /// How many complete answers, all 200, come before the end.
    answers: usize,
    ending: Ending,
}

impl Cell {
    /// A state that begins when these bytes are sent.
    pub fn new(name: impl Into<String>, begin: impl Into<Vec<u8>>, ending: Ending) -> Self {
        Self {
            name: name.into(),
            later: false,
            begin: begin.into(),
            then: Then::Nothing,
            answers: 0,
            ending,
        }
    }

    pub fn drip(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            then: Then::Drip(bytes.into()),
            ..self
        }
    }

    pub fn flood_unread(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self {
            then: Then::FloodUnread(bytes.into()),
            ..self
        }
    }

    /// Sends nothing more, and never reads.
    pub fn unread(self) -> Self {
        self.flood_unread("")
    }

    pub fn after_answers(self, answers: usize) -> Self {
        Self { answers, ..self }
    }

    /// On a connection on which another request was answered before.
    pub fn later(self) -> Self {
        Self {
            name: format!("later: {}", self.name),
            later: true,
            ..self
        }
    }

    /// The state as the first and as a later one.
    pub fn twice(&self) -> [Self; 2] {
        let again = |begin: &Vec<u8>| Self {
            name: self.name.clone(),
            later: false,
            begin: begin.clone(),
            then: self.then.clone(),
            ..*self
        };
        [again(&self.begin), again(&self.begin).later()]
    }
}

/// A cell under way.
struct Running<'a> {
    cell: &'a Cell,
    connection: RawConnection,
    /// When the state began. For a flood: when the server last took bytes.
    since: Instant,
    drips: usize,
    next_drip: Instant,
    flooded: usize,
    ended_after: Option<Duration>,
}

/// Brings all connections into their states at once and looks how they end. Panics with the list of
/// those that end in another way than they must.
#[track_caller]
pub fn run(server: &Server, deadlines: Deadlines, cells: &[Cell]) {
    let mut running: Vec<Running> = cells.iter().map(|cell| Running::start(server.address, cell)).collect();
    let mut work = Work::of(server);
    let last = deadlines.request.max(deadlines.idle) + LATE;
    // One in a state that has no deadline would otherwise be waited for without end.
    let most = Instant::now() + 3 * last;
    while Instant::now() < most {
        let mut open = 0;
        let works = work.goes_on();
        for one in &mut running {
            if works {
                one.server_works();
            }
            open += usize::from(one.ended_after.is_none() && one.since.elapsed() < last);
            one.proceed();
        }
        if open == 0 {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    let mut report = String::new();
    let mut failures = 0;
    for one in &running {
        if let Err(why) = one.judge(deadlines) {
            failures += 1;
            let _ = writeln!(report, "{}: {why}", one.cell.name);
        }
    }
    assert!(failures == 0, "{failures} of {} end otherwise:\n{report}", cells.len());
}

/// Whether the server is busy.
struct Work<'a> {
    server: &'a Server,
    looked: Instant,
    used: Duration,
}

impl<'a> Work<'a> {
    fn of(server: &'a Server) -> Self {
        Self {
            server,
            looked: Instant::now(),
            used: server.processor_time(),
        }
    }

    /// Whether it has used a processor for more than a moment since the last look; `false` between
    /// two looks.
    fn goes_on(&mut self) -> bool {
        let elapsed = self.looked.elapsed();
        if elapsed < WORK_INTERVAL {
            return false;
        }
        let used = self.server.processor_time();
        let worked = used - std::mem::replace(&mut self.used, used);
        self.looked = Instant::now();
        worked > elapsed / 10
    }
}

impl<'a> Running<'a> {
    fn start(server: SocketAddr, cell: &'a Cell) -> Self {
        let mut connection = match cell.then {
            Then::FloodUnread(_) => RawConnection::open_narrow(server),
            _ => RawConnection::open(server),
        };
        if cell.later {
            connection.send(LIVEZ);
            until("the first answer", RESPONSE_TIMEOUT, || {
                connection.receive();
                connection
                    .responses()
                    .iter()
                    .any(|answer| answer.status == 200 && answer.is_whole())
            });
            connection.received.clear();
        }
        let now = Instant::now();
        let sent = connection.send(&cell.begin);
        assert_eq!(sent, cell.begin.len(), "{}", cell.name);
        Self {
            cell,
            connection,
            since: now,
            drips: 0,
            next_drip: now + DRIP_PAUSE,
            flooded: 0,
            ended_after: None,
        }
    }

    /// The server may still be answering what it has read. No one sees whether it makes progress,
    /// because the answers wait in its own send buffer.
    fn server_works(&mut self) {
        if matches!(self.cell.then, Then::FloodUnread(_)) {
            self.since = Instant::now();
        }
    }

    fn proceed(&mut self) {
        if self.ended_after.is_some() {
            return;
        }
        let ended = match &self.cell.then {
            Then::FloodUnread(bytes) => {
                let sent = self.connection.send(&bytes[self.flooded..]);
                self.flooded = (self.flooded + sent) % bytes.len().max(1);
                let ended = self.connection.is_reset();
                if sent > 0 && !ended {
                    self.since = Instant::now();
                }
                ended
            }
            then => {
                if let Then::Drip(bytes) = then
                    && Instant::now() >= self.next_drip
                {
                    self.connection.send(&bytes[self.drips % bytes.len()..][..1]);
                    self.drips += 1;
                    self.next_drip = Instant::now() + DRIP_PAUSE;
                }
                self.connection.receive();
                self.connection.end().is_some()
            }
        };
        if ended {
            self.ended_after = Some(self.since.elapsed());
        }
    }

    /// Says what is wrong with how the connection ended.
    fn judge(&self, deadlines: Deadlines) -> Result<(), String> {
        let all = self.connection.responses();
        let shown = |one: &Response| format!("{}{}", one.status, if one.closes() { " close" } else { "" });
        let shown: Vec<String> = all.iter().rev().take(3).rev().map(shown).collect();
        let shown = format!("{} answers, the last {shown:?}", all.len());
        let Some(after) = self.ended_after else {
            return Err(format!("open after {:.1?}, {shown}", self.since.elapsed()));
        };
        // 100 (Continue) is no answer yet.
        let finals: Vec<&Response> = all.iter().filter(|one| one.status >= 200).collect();
        let seen = format!("ended after {after:.1?} ({:?}), {shown}", self.connection.end());
        let is = |right: bool, what: &str| if right { Ok(()) } else { Err(format!("{what}: {seen}")) };
        let answered = finals.iter().take(self.cell.answers);
        is(
            answered.filter(|one| one.status == 200 && one.is_whole()).count() == self.cell.answers,
            "not all that was asked before is answered",
        )?;
        let rest = &finals[self.cell.answers..];
        let within = |limit: Duration| is(after < limit + LATE, "late");
        let not_before = |limit: Duration| is(after >= limit * 3 / 4, "early");
        let closing = |statuses: &[u16]| {
            is(rest.len() == 1, "not exactly one answer")?;
            is(statuses.contains(&rest[0].status), "another status")?;
            is(rest[0].is_whole(), "a part of an answer")?;
            is(rest[0].closes(), "no Connection: close")
        };
        match self.cell.ending {
            Ending::TimedOut => {
                closing(&[408])?;
                not_before(deadlines.request)?;
                within(deadlines.request)
            }
            Ending::TimedOutOrBad => {
                closing(&[408, 400])?;
                within(deadlines.request)
            }
            Ending::Answered(statuses) => {
                closing(statuses)?;
                within(deadlines.request)
            }
            Ending::Idle => {
                is(rest.is_empty(), "a response without a request")?;
                is(
                    self.connection.end() == Some(End::Closed),
                    "not closed in an orderly way",
                )?;
                not_before(deadlines.idle)?;
                within(deadlines.idle)
            }
            Ending::Aborted | Ending::Any => within(deadlines.request),
        }
    }
}
