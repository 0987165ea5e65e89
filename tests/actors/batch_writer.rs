//! BatchWriter: when it writes, when it acknowledges, and what happens to a record that cannot be
//! written.

use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use actix::Arbiter;
use futures_util::future::{join, join_all};
use mintage::actors::batch_writer::{BatchWriterHandle, ExitSignal, Recorder, WriterStats};
use mintage::breaker::BreakerState;
use mintage::clock::Clock;
use mintage::config::{self, Durability, WriterMode};
use mintage::db::tokens::{self, TokenRecord};
use mintage::db::{Db, DbError};
use mintage::records::flush::{Sink, table_sink};
use mintage::records::queue::NotRecorded;
use testkit::sample::{NOW, claims, origin};
use testkit::sqlite::Sqlite;
use testkit::time::{Time, about};
use tokio::time::Instant;

use crate::{migrated, open};

/// A fake table of token records that a test can make slow, rejecting or unavailable.
#[derive(Clone, Default)]
struct Table(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rows: Vec<TokenRecord>,
    /// The size of each batch, or part of one, that was committed.
    commits: Vec<usize>,
    /// When each attempt started, and its number of records.
    tries: Vec<(Instant, usize)>,
    in_progress: usize,
    max_concurrent: usize,
    takes: Duration,
    down: bool,
    rejects_all: bool,
}

impl Table {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The numbers of the written records, in order.
    fn numbers(&self) -> Vec<u32> {
        self.state().rows.iter().map(number).collect()
    }

    fn sink(self) -> Sink {
        Rc::new(move |records, part| Box::pin(self.clone().write(records, part)))
    }

    async fn write(self, records: Arc<Vec<TokenRecord>>, part: Range<usize>) -> Result<(), DbError> {
        let takes = self.begin(part.len());
        if takes > Duration::ZERO {
            tokio::time::sleep(takes).await;
        }
        let mut state = self.state();
        state.in_progress -= 1;
        if state.down {
            return Err(DbError::Unavailable("caused by the test".into()));
        }
        let poisoned = records[part.clone()]
            .iter()
            .any(|record| &*record.client_id == "poison");
        if poisoned || state.rejects_all {
            return Err(DbError::Query("caused by the test".into()));
        }
        state.commits.push(part.len());
        state.rows.extend_from_slice(&records[part]);
        Ok(())
    }

    fn begin(&self, size: usize) -> Duration {
        let mut state = self.state();
        state.tries.push((Instant::now(), size));
        state.in_progress += 1;
        state.max_concurrent = state.max_concurrent.max(state.in_progress);
        state.takes
    }
}

/// The number from which the record was created.
fn number(record: &TokenRecord) -> u32 {
    u32::from_str_radix(&record.jti.to_string()[28..], 16).unwrap()
}

/// A writer with a fake table, and the recorder of one worker.
struct Subject {
    time: Time,
    table: Table,
    writer: BatchWriterHandle,
    recorder: Recorder,
    db: Db,
    exit_signal: ExitSignal,
    _sqlite: Sqlite,
}

/// Batches of 4, an interval of 250 ms, at most 100 pending; then modified by `change`.
fn settings(change: impl Fn(&mut config::Writer)) -> config::Writer {
    let mut settings = config::Writer {
        max_batch: 4,
        flush_interval: config::Duration::millis(250),
        max_pending: 100,
        ..Default::default()
    };
    change(&mut settings);
    settings
}

fn subject(change: impl Fn(&mut config::Writer)) -> Subject {
    let table = Table::default();
    let sink_table = table.clone();
    subject_over(table, Sqlite::empty(), |_| move || sink_table.sink(), change)
}

/// A writer with the real table.
fn subject_on_sqlite(change: impl Fn(&mut config::Writer)) -> Subject {
    subject_over(Table::default(), migrated(), |db| || table_sink(db), change)
}

fn subject_over<S: FnOnce() -> Sink + Send + 'static>(
    table: Table,
    sqlite: Sqlite,
    sink: impl FnOnce(Db) -> S,
    change: impl Fn(&mut config::Writer),
) -> Subject {
    let time = Time::paused();
    let db = open(&sqlite);
    let sink = sink(db.clone());
    let clock = time.clock.clone();
    let (writer, exit_signal) = BatchWriterHandle::start(&Arbiter::current(), &settings(change), clock, 2, sink);
    Subject {
        recorder: writer.recorder(db.clone()),
        time,
        table,
        writer,
        db,
        exit_signal,
        _sqlite: sqlite,
    }
}

fn group(settings: &mut config::Writer) {
    settings.durability = Durability::Group;
    // No test with group commits may depend on it.
    settings.flush_interval = config::Duration::seconds(3600);
}

impl Subject {
    async fn record(&self, n: u32) -> Result<(), NotRecorded> {
        self.recorder
            .record(&claims("demo", n), origin(), self.time.clock.now())
            .await
    }

    async fn record_all(&self, numbers: impl IntoIterator<Item = u32>) {
        for n in numbers {
            self.record(n).await.unwrap();
        }
    }

    async fn record_poison(&self, n: u32) -> Result<(), NotRecorded> {
        self.recorder
            .record(&claims("poison", n), origin(), self.time.clock.now())
            .await
    }

    async fn flush(&self) {
        flush(&self.writer).await;
    }

    async fn stats(&self) -> WriterStats {
        self.writer.stats().await.unwrap()
    }

    async fn rows(&self) -> i64 {
        self.db.run(tokens::count).await.unwrap()
    }
}

/// Flushes with a timeout: a writer that cannot write never returns, and the test must fail instead
/// of hang.
async fn flush(writer: &BatchWriterHandle) {
    let flushed = tokio::time::timeout(Duration::from_secs(60), writer.flush()).await;
    assert_eq!(flushed, Ok(Ok(())));
}

#[actix::test]
async fn a_batch_is_written_when_it_is_full() {
    let subject = subject(|_| {});
    subject.record_all(1..=3).await;
    subject.time.passes(100).await;
    assert!(subject.table.numbers().is_empty());
    subject.record(4).await.unwrap();
    subject.time.passes(1).await;
    assert_eq!(subject.table.numbers(), [1, 2, 3, 4]);
    assert_eq!(subject.table.state().commits, [4]);
}

#[actix::test]
async fn a_batch_is_written_when_the_interval_has_passed_since_its_first_record() {
    let subject = subject(|_| {});
    subject.record(1).await.unwrap();
    subject.time.passes(200).await;
    subject.record(2).await.unwrap();
    subject.time.passes(48).await;
    assert!(subject.table.numbers().is_empty());
    subject.time.passes(4).await;
    assert_eq!(subject.table.numbers(), [1, 2]);
}

#[actix::test]
async fn each_batch_has_an_interval_of_its_own() {
    let subject = subject(|_| {});
    subject.record(1).await.unwrap();
    subject.time.passes(100).await;
    subject.flush().await;
    subject.record(2).await.unwrap();
    subject.time.passes(248).await;
    assert_eq!(
        subject.table.numbers(),
        [1],
        "the timer of the first batch does not flush the second"
    );
    subject.time.passes(4).await;
    assert_eq!(subject.table.numbers(), [1, 2]);
}

#[actix::test]
async fn flush_writes_waiting_records_immediately() {
    let subject = subject(|_| {});
    subject.record_all(1..=2).await;
    let began = Instant::now();
    subject.flush().await;
    assert_eq!(subject.table.numbers(), [1, 2]);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[actix::test]
async fn flush_with_nothing_to_write_returns_immediately() {
    let subject = subject(|_| {});
    subject.flush().await;
    assert!(subject.table.state().tries.is_empty());
}

#[actix::test]
async fn flush_returns_when_every_record_accepted_before_is_written() {
    let subject = subject(|settings| settings.max_batch = 1);
    let other = subject.writer.recorder(subject.db.clone());
    subject.table.state().takes = Duration::from_millis(10);
    subject.record(1).await.unwrap();
    subject.time.passes(1).await;
    other.record(&claims("demo", 2), origin(), NOW).await.unwrap();
    let later = async {
        // In a queue that is collected before the other one.
        tokio::time::sleep(Duration::from_millis(1)).await;
        subject.record_all(3..=5).await;
    };
    let flush = async {
        subject.flush().await;
        subject.table.numbers()
    };
    let (written, ()) = join(flush, later).await;
    assert!(written.starts_with(&[1, 2]), "{written:?}");
}

#[actix::test]
async fn flushes_are_serialized_and_records_that_arrive_meanwhile_form_the_next_batch() {
    let subject = subject(|_| {});
    subject.table.state().takes = Duration::from_millis(100);
    subject.record_all(1..=4).await;
    subject.time.passes(10).await;
    subject.record_all(5..=14).await;
    subject.time.passes(1000).await;
    assert_eq!(subject.table.numbers(), (1..=14).collect::<Vec<_>>());
    let state = subject.table.state();
    assert_eq!((&state.commits[..], state.max_concurrent), (&[4, 4, 4, 2][..], 1));
}

#[actix::test]
async fn a_timer_that_fires_as_the_batch_becomes_full_starts_no_second_flush() {
    let subject = subject(|_| {});
    subject.table.state().takes = Duration::from_millis(10);
    subject.record(1).await.unwrap();
    // When this returns, the writer has set its timer; the sleep starts at the same moment.
    subject.stats().await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    subject.record_all(2..=8).await;
    subject.time.passes(100).await;
    assert_eq!(subject.table.numbers(), (1..=8).collect::<Vec<_>>());
    assert_eq!(subject.table.state().max_concurrent, 1);
}

#[actix::test]
async fn async_a_response_does_not_wait_for_the_flush() {
    let subject = subject(|settings| settings.max_batch = 1);
    subject.table.state().takes = Duration::from_secs(1);
    let began = Instant::now();
    subject.record_all(1..=3).await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(subject.table.numbers().is_empty());
    assert_eq!(subject.writer.pending(), 3);
}

#[actix::test]
async fn group_a_response_waits_for_the_commit() {
    let subject = subject(group);
    subject.table.state().takes = Duration::from_millis(20);
    let began = Instant::now();
    subject.record(1).await.unwrap();
    assert_eq!(subject.table.numbers(), [1]);
    assert!(about(began.elapsed(), 20), "{:?}", began.elapsed());
}

#[actix::test]
async fn group_batches_form_without_a_timer() {
    let subject = subject(|settings| {
        group(settings);
        settings.max_batch = 100;
    });
    subject.table.state().takes = Duration::from_millis(20);
    let first = subject.record(1);
    let others = async {
        tokio::time::sleep(Duration::from_millis(5)).await;
        join_all((2..=10).map(|n| subject.record(n))).await
    };
    let began = Instant::now();
    let (first, others) = join(first, others).await;
    assert!(first.is_ok() && others.iter().all(Result::is_ok));
    assert!(about(began.elapsed(), 40), "{:?}", began.elapsed());
    assert_eq!(subject.table.state().commits, [1, 9]);
}

#[actix::test]
async fn group_without_a_database_a_record_is_unavailable_after_the_query_timeout() {
    let subject = subject(group);
    subject.table.state().down = true;
    let began = Instant::now();
    assert_eq!(subject.record(1).await, Err(NotRecorded::Unavailable));
    assert!(about(began.elapsed(), 2000), "{:?}", began.elapsed());
}

#[actix::test]
async fn group_a_record_whose_caller_has_timed_out_is_dropped() {
    let subject = subject(group);
    subject.table.state().down = true;
    assert!(subject.record(1).await.is_err());
    subject.time.passes(2000).await;
    subject.table.state().down = false;
    subject.time.passes(2000).await;
    assert_eq!(subject.writer.pending(), 0);
    assert!(subject.table.numbers().is_empty());
}

#[actix::test]
async fn group_with_an_open_breaker_a_record_is_unavailable_immediately() {
    let subject = subject(group);
    while subject.db.breaker_state() != BreakerState::Open {
        let outage = |_: &mut _| Err::<(), _>(DbError::Unavailable("caused by the test".into()));
        subject.db.run(outage).await.unwrap_err();
    }
    let began = Instant::now();
    assert_eq!(subject.record(1).await, Err(NotRecorded::Unavailable));
    assert_eq!((began.elapsed(), subject.writer.pending()), (Duration::ZERO, 0));
}

#[actix::test]
async fn a_failed_flush_keeps_its_records_in_order() {
    let subject = subject(|_| {});
    subject.table.state().down = true;
    subject.record_all(1..=6).await;
    subject.time.passes(5000).await;
    subject.record_all(7..=9).await;
    assert_eq!(subject.writer.pending(), 9);
    subject.table.state().down = false;
    subject.time.passes(3000).await;
    assert_eq!(subject.table.numbers(), (1..=9).collect::<Vec<_>>());
    let stats = subject.stats().await;
    assert!(stats.flush_failures_total > 3);
    assert_eq!(
        (stats.pending, stats.flushed_total, stats.dead_lettered_total),
        (0, 9, 0)
    );
}

#[actix::test]
async fn retry_pauses_increase_up_to_two_seconds() {
    let subject = subject(|_| {});
    subject.table.state().down = true;
    subject.record_all(1..=4).await;
    subject.time.passes(15_000).await;
    let tries: Vec<Instant> = subject.table.state().tries.iter().map(|(at, _)| *at).collect();
    let pauses: Vec<u128> = tries.windows(2).map(|two| (two[1] - two[0]).as_millis()).collect();
    assert!(pauses.len() >= 9, "{pauses:?}");
    for (pause, most) in pauses.iter().zip([100, 200, 400, 800, 1600, 2000, 2000, 2000, 2000]) {
        assert!((most * 3 / 4..=most + 2).contains(pause), "{pauses:?}");
    }
}

#[actix::test]
async fn after_a_recovery_retry_pauses_start_short_again() {
    let subject = subject(|_| {});
    subject.table.state().down = true;
    subject.record_all(1..=4).await;
    subject.time.passes(5000).await;
    subject.table.state().down = false;
    subject.time.passes(3000).await;
    subject.table.state().down = true;
    subject.table.state().tries.clear();
    subject.record_all(5..=8).await;
    subject.time.passes(110).await;
    assert_eq!(subject.table.state().tries.len(), 2);
}

#[actix::test]
async fn flush_retries_immediately_and_returns_when_it_succeeds() {
    let subject = subject(|_| {});
    subject.table.state().down = true;
    subject.record_all(1..=4).await;
    subject.time.passes(10_000).await;
    subject.table.state().down = false;
    let began = Instant::now();
    subject.flush().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(subject.table.numbers(), [1, 2, 3, 4]);
}

#[actix::test]
async fn flush_waits_while_the_database_is_unavailable() {
    let subject = subject(|_| {});
    subject.table.state().down = true;
    subject.record(1).await.unwrap();
    let waiting = tokio::time::timeout(Duration::from_secs(10), subject.writer.flush());
    assert!(waiting.await.is_err());
}

#[actix::test]
async fn a_rejected_record_does_not_delay_the_others() {
    let subject = subject(|settings| settings.max_batch = 10);
    subject.record_all(1..=3).await;
    subject.record_poison(4).await.unwrap();
    subject.record_all(5..=10).await;
    subject.time.passes(1).await;
    assert_eq!(subject.table.numbers(), [1, 2, 3, 5, 6, 7, 8, 9, 10]);
    let stats = subject.stats().await;
    assert_eq!(
        (stats.dead_lettered_total, stats.flushed_total, stats.pending),
        (1, 9, 0)
    );
    subject.record(11).await.unwrap();
    subject.flush().await;
    assert_eq!(subject.table.numbers().last(), Some(&11));
}

#[actix::test]
async fn group_only_the_caller_of_a_rejected_record_gets_an_error() {
    let subject = subject(|settings| {
        group(settings);
        settings.max_batch = 10;
    });
    let (good, poison) = join(join_all((1..=5).map(|n| subject.record(n))), subject.record_poison(6)).await;
    assert!(good.iter().all(Result::is_ok));
    assert_eq!(poison, Err(NotRecorded::Unavailable));
    assert_eq!(subject.stats().await.dead_lettered_total, 1);
}

#[actix::test]
async fn a_batch_without_a_written_record_is_kept() {
    let subject = subject(|settings| settings.max_batch = 50);
    subject.table.state().rejects_all = true;
    subject.record_all(1..=50).await;
    subject.time.passes(10_000).await;
    let stats = subject.stats().await;
    assert_eq!((stats.pending, stats.dead_lettered_total), (50, 0));
    subject.table.state().rejects_all = false;
    subject.time.passes(3000).await;
    // Rejected records are retried after the others and must not delay them.
    let mut numbers = subject.table.numbers();
    numbers.sort();
    assert_eq!(numbers, (1..=50).collect::<Vec<_>>());
}

#[actix::test]
async fn many_rejected_records_at_the_front_do_not_delay_the_others() {
    let subject = subject(|settings| settings.max_batch = 20);
    for number in 1..=20 {
        subject.record_poison(number).await.unwrap();
    }
    subject.record_all(21..=40).await;
    subject.time.passes(10_000).await;
    let mut numbers = subject.table.numbers();
    numbers.sort();
    assert_eq!(numbers, (21..=40).collect::<Vec<_>>());
}

#[actix::test]
async fn a_rejected_record_is_kept_until_another_one_is_written() {
    let subject = subject(|_| {});
    subject.record_poison(1).await.unwrap();
    subject.time.passes(5000).await;
    assert_eq!(
        (subject.writer.pending(), subject.stats().await.dead_lettered_total),
        (1, 0)
    );
    subject.record(2).await.unwrap();
    subject.time.passes(3000).await;
    assert_eq!(subject.table.numbers(), [2]);
    assert_eq!(
        (subject.writer.pending(), subject.stats().await.dead_lettered_total),
        (0, 1)
    );
}

#[actix::test]
async fn beyond_max_pending_records_are_rejected_immediately_and_none_is_lost() {
    let subject = subject(|settings| settings.max_pending = 6);
    subject.table.state().down = true;
    subject.record_all(1..=6).await;
    let began = Instant::now();
    assert_eq!(subject.record(7).await, Err(NotRecorded::QueueFull));
    assert_eq!(began.elapsed(), Duration::ZERO);
    let stats = subject.stats().await;
    assert_eq!((stats.pending, stats.max_pending, stats.rejected_total), (6, 6, 1));
    subject.table.state().down = false;
    subject.time.passes(3000).await;
    subject.record(8).await.unwrap();
    subject.flush().await;
    assert_eq!(subject.table.numbers(), [1, 2, 3, 4, 5, 6, 8]);
}

#[actix::test]
async fn records_of_a_running_flush_are_pending() {
    let subject = subject(|settings| (settings.max_batch, settings.max_pending) = (2, 2));
    subject.table.state().takes = Duration::from_millis(100);
    subject.record_all(1..=2).await;
    subject.time.passes(50).await;
    assert_eq!(subject.record(3).await, Err(NotRecorded::QueueFull));
    subject.time.passes(60).await;
    assert_eq!(subject.record(4).await, Ok(()));
}

#[actix::test]
async fn a_duplicate_record_is_written_once() {
    let subject = subject_on_sqlite(|_| {});
    for n in [1, 2, 1, 1] {
        subject.record(n).await.unwrap();
    }
    subject.flush().await;
    subject.record(2).await.unwrap();
    subject.flush().await;
    assert_eq!((subject.rows().await, subject.writer.pending()), (2, 0));
}

#[actix::test]
async fn a_flush_whose_commit_confirmation_was_lost_is_repeated_without_harm() {
    let lossy = |db: Db| {
        || -> Sink {
            let (first, table) = (std::cell::Cell::new(true), table_sink(db));
            Rc::new(move |records, part| {
                let (lost, writing) = (first.replace(false), table(records, part));
                Box::pin(async move {
                    writing.await?;
                    match lost {
                        true => Err(DbError::Unavailable("the confirmation was lost".into())),
                        false => Ok(()),
                    }
                })
            })
        }
    };
    let subject = subject_over(Table::default(), migrated(), lossy, |_| {});
    subject.record_all(1..=3).await;
    subject.flush().await;
    assert_eq!(
        (subject.rows().await, subject.stats().await.flush_failures_total),
        (3, 1)
    );
}

#[actix::test]
async fn stats_contain_the_age_of_the_oldest_record() {
    let subject = subject(|_| {});
    assert_eq!(subject.stats().await.oldest_unflushed_seconds, 0.0);
    subject.record(1).await.unwrap();
    subject.time.passes(200).await;
    subject.record(2).await.unwrap();
    assert_eq!(subject.stats().await.oldest_unflushed_seconds, 0.2);
    subject.table.state().takes = Duration::from_millis(500);
    subject.time.passes(300).await;
    assert_eq!(
        subject.stats().await.oldest_unflushed_seconds,
        0.5,
        "the flush is running"
    );
    subject.time.passes(300).await;
    let stats = subject.stats().await;
    assert_eq!((stats.oldest_unflushed_seconds, stats.pending), (0.0, 0));
}

#[actix::test]
async fn stats_contain_batches_and_the_last_flush() {
    let subject = subject(|_| {});
    subject.table.state().takes = Duration::from_millis(20);
    subject.record_all(1..=7).await;
    subject.flush().await;
    let stats = subject.stats().await;
    assert_eq!(
        (stats.flushed_total, stats.batches_total, stats.last_flush.rows),
        (7, 2, 3)
    );
    assert!(about(Duration::from_secs_f64(stats.last_flush.seconds), 20));
    assert_eq!((stats.mode, stats.durability), (WriterMode::Batch, Durability::Async));
}

#[actix::test]
async fn a_new_batch_size_applies_to_waiting_records() {
    let subject = subject(|_| {});
    subject.record_all(1..=3).await;
    subject.time.passes(1).await;
    subject.writer.tune(&settings(|settings| settings.max_batch = 3)).await;
    subject.time.passes(1).await;
    assert_eq!(subject.table.numbers(), [1, 2, 3]);
}

#[actix::test]
async fn a_new_interval_applies_to_waiting_records() {
    let subject = subject(|_| {});
    subject.record(1).await.unwrap();
    subject.time.passes(20).await;
    let shorter = settings(|settings| settings.flush_interval = config::Duration::millis(50));
    subject.writer.tune(&shorter).await;
    subject.time.passes(32).await;
    assert_eq!(subject.table.numbers(), [1]);
}

#[actix::test]
async fn sync_a_record_is_written_before_the_response() {
    let subject = subject_on_sqlite(|settings| settings.mode = WriterMode::Sync);
    for n in 1..=3 {
        subject.record(n).await.unwrap();
        assert_eq!(subject.rows().await, i64::from(n));
    }
    let stats = subject.stats().await;
    assert_eq!((stats.flushed_total, stats.batches_total, stats.pending), (3, 3, 0));
}

#[actix::test]
async fn sync_without_a_database_a_record_is_unavailable() {
    let subject = subject_over(
        Table::default(),
        Sqlite::empty(),
        |db| || table_sink(db),
        |settings| settings.mode = WriterMode::Sync,
    );
    assert_eq!(subject.record(1).await, Err(NotRecorded::Unavailable));
    assert_eq!(subject.stats().await.flushed_total, 0);
}

#[actix::test]
async fn a_writer_that_dies_sends_the_exit_signal() {
    let arbiter = Arbiter::new();
    let dying = || -> Sink { Rc::new(|_, _| panic!("caused by the test")) };
    let (writer, exit_signal) = BatchWriterHandle::start(&arbiter.handle(), &settings(group), Clock::System, 1, dying);
    let sqlite = Sqlite::empty();
    let recorder = writer.recorder(open(&sqlite));
    assert_eq!(
        recorder.record(&claims("demo", 1), origin(), NOW).await,
        Err(NotRecorded::Unavailable)
    );
    let exited = tokio::time::timeout(Duration::from_secs(10), exit_signal).await;
    assert_eq!(exited, Ok(Ok(())));
    assert_eq!(writer.flush().await, Err(NotRecorded::Unavailable));
    assert_eq!(writer.stats().await, None);
    arbiter.stop();
}

#[actix::test]
async fn a_stopped_writer_sends_no_exit_signal() {
    let subject = subject(|_| {});
    subject.record(1).await.unwrap();
    subject.writer.stop().await;
    assert!(subject.exit_signal.await.is_err());
    assert_eq!(subject.writer.flush().await, Err(NotRecorded::Unavailable));
    assert_eq!(
        subject.writer.pending(),
        1,
        "records that were not flushed are still pending"
    );
}

/// In real time and with several threads, which paused time cannot test.
#[actix::test]
async fn many_threads_lose_nothing_and_keep_their_order() {
    const THREADS: u32 = 4;
    const EACH: u32 = 5_000;
    let (arbiter, table, sqlite) = (Arbiter::new(), Table::default(), Sqlite::empty());
    let busy = settings(|settings| {
        (settings.max_batch, settings.max_pending) = (64, 1_000_000);
        settings.flush_interval = config::Duration::millis(1);
    });
    let sink_table = table.clone();
    let (writer, _death) =
        BatchWriterHandle::start(&arbiter.handle(), &busy, Clock::System, 3, move || sink_table.sink());
    let threads = (0..THREADS).map(|thread| {
        let recorder = writer.recorder(open(&sqlite));
        tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(async {
                for n in thread * EACH..(thread + 1) * EACH {
                    recorder
                        .record(&claims("demo", n), origin(), Clock::System.now())
                        .await
                        .unwrap();
                }
            });
        })
    });
    assert!(join_all(threads).await.iter().all(Result::is_ok));
    flush(&writer).await;
    let written = table.numbers();
    assert_eq!((written.len() as u32, writer.pending()), (THREADS * EACH, 0));
    for thread in 0..THREADS {
        let own = written.iter().copied().filter(|n| n / EACH == thread);
        assert!(own.eq(thread * EACH..(thread + 1) * EACH), "thread {thread}");
    }
    arbiter.stop();
}
