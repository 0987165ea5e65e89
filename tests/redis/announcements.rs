//! "The log has come as far as this number": what one instance writes, the others read at once.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::redis::{Redis, command};
use testkit::{Server, TestClient, eventually};

use crate::site::{PATIENCE, Site, await_redis, count, is_active, revoke, start, token, token_status};

/// How long after the answer to a revocation at the first instance the second one knows of it, in the middle of many.
fn median_lag(instances: &[Server], client: &TestClient) -> Duration {
    let mut lags: Vec<Duration> = (0..31)
        .map(|_| {
            let taken = token(&instances[0], client).access_token();
            assert!(is_active(&instances[1], client, &taken));
            // Or the poll that is asked for would have to keep its distance from the last one.
            std::thread::sleep(Duration::from_millis(30));
            revoke(&instances[0], client, &taken);
            let revoked = Instant::now();
            while is_active(&instances[1], client, &taken) {
                assert!(revoked.elapsed() < PATIENCE, "the other one does not know");
                std::thread::sleep(Duration::from_millis(1));
            }
            revoked.elapsed()
        })
        .collect();
    lags.sort();
    lags[lags.len() / 2]
}

#[test]
fn what_one_instance_writes_the_others_know_sooner_than_their_next_poll() {
    let site = Site::of(2, &[]);
    let client = site.instances[0].client("orders:read", &["--introspection-audience", "http://127.0.0.1:8080"]);
    let with = median_lag(&site.instances, &client);
    assert!(count(&site.instances[1], "mintage_redis_received_total") >= 31);
    site.redis.stop();
    let without = median_lag(&site.instances, &client);
    let asked = Instant::now();
    (0..32).for_each(|_| assert_eq!(token_status(&site.instances[1], &client), 200));
    let answer = asked.elapsed() / 32;
    println!(
        "a revocation is known elsewhere after {with:?} with Redis, {without:?} without; a token takes {answer:?}"
    );
    // Polls are 250 ms apart, so that about 125 ms would be usual; compared, because the machine may be slow.
    assert!(with < without / 2, "{with:?} with Redis, {without:?} without");
}

#[test]
fn what_the_command_line_writes_is_announced_by_whoever_reads_it_first() {
    let site = Site::of(2, &[]);
    let published = || -> u64 {
        let of = |instance| count(instance, "mintage_redis_published_total");
        site.instances.iter().map(of).sum()
    };
    let before = published();
    let client = site.client();
    eventually("it is announced", PATIENCE, || (published() > before).then_some(()));
    assert_eq!(token_status(&site.instances[1], &client), 200);
}

#[test]
fn a_flood_of_announcements_makes_few_polls_and_silences_nobody() {
    let site = Site::of(2, &[]);
    let flooded = &site.instances[1];
    let channel = site.redis.say(&["PUBSUB", "CHANNELS"]);
    let channel = channel.lines().last().unwrap();
    let statements = || count(flooded, "mintage_db_statements_total");
    let (before, began) = (statements(), Instant::now());
    let message = command(&[b"PUBLISH", channel.as_bytes(), i64::MAX.to_string().as_bytes()]);
    let mut stream = TcpStream::connect(site.redis.address()).unwrap();
    for _ in 0..200 {
        stream.write_all(&message.repeat(50)).unwrap();
        std::thread::sleep(Duration::from_millis(10));
    }
    let received = || count(flooded, "mintage_redis_received_total");
    eventually("it has heard them all", PATIENCE, || {
        (received() >= 10_000).then_some(())
    });
    // Fifty polls a second, and the four that are made in any case; what else the server asks is little.
    let polls = began.elapsed().as_millis() as u64 / 20 + began.elapsed().as_millis() as u64 / 200;
    let made = statements() - before;
    assert!(made <= polls + 10, "{made} statements for {polls} polls");
    // And it still tells what it reads.
    let client = site.client();
    let published = count(flooded, "mintage_redis_published_total");
    let taken = token(flooded, &client).access_token();
    revoke(flooded, &client, &taken);
    eventually("it announces", PATIENCE, || {
        (count(flooded, "mintage_redis_published_total") > published).then_some(())
    });
}

#[test]
fn what_is_no_number_is_not_heard() {
    let site = Site::of(1, &[]);
    let channel = site.redis.say(&["PUBSUB", "CHANNELS"]);
    let channel = channel.lines().last().unwrap();
    let client = site.client();
    let received = || count(&site.instances[0], "mintage_redis_received_total");
    eventually("the client is announced", PATIENCE, || (received() > 0).then_some(()));
    let before = received();
    for text in ["", "one", "9223372036854775808", "7 "] {
        site.redis.say(&["PUBLISH", channel, text]);
    }
    site.redis.say(&["PUBLISH", channel, "1"]);
    eventually("the number is heard", PATIENCE, || (received() > before).then_some(()));
    assert_eq!(received(), before + 1);
    assert_eq!(token_status(&site.instances[0], &client), 200);
}

#[test]
fn two_deployments_on_one_redis_hear_nothing_of_each_other() {
    let site = Site::of(1, &[]);
    let other = Site::on(Redis::start());
    let stranger = start(&other.database, &site.redis.url(), &[]);
    await_redis(&stranger);
    let channels = || site.redis.say(&["PUBSUB", "CHANNELS"]);
    eventually("both listen", PATIENCE, || channels().starts_with("*2").then_some(()));
    let client = site.shared_clients(1).remove(0);
    let heard = || count(&site.instances[0], "mintage_redis_received_total");
    eventually("its own are heard", PATIENCE, || (heard() > 0).then_some(()));
    assert_eq!(count(&stranger, "mintage_redis_received_total"), 0);
    assert_eq!(token_status(&stranger, &client), 401);
    assert_eq!(count(&stranger, "mintage_redis_cache_hits_total"), 0);
}
