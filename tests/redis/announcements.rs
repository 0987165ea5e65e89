//! Announcements of the change log's last number: the other instances poll immediately.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use testkit::redis::{Redis, command};
use testkit::{Server, TestClient, eventually};

use crate::site::{POLL_TIMEOUT, Site, await_redis, count, is_active, revoke, start, token, token_status};

/// The median time from the response to a revocation on the first instance until the second one
/// knows.
fn median_lag(instances: &[Server], client: &TestClient) -> Duration {
    let mut lags: Vec<Duration> = (0..31)
        .map(|_| {
            let revoked_token = token(&instances[0], client).access_token();
            assert!(is_active(&instances[1], client, &revoked_token));
            // Otherwise, the requested poll would be delayed by the minimum interval between polls.
            std::thread::sleep(Duration::from_millis(30));
            revoke(&instances[0], client, &revoked_token);
            let revoked = Instant::now();
            while is_active(&instances[1], client, &revoked_token) {
                assert!(revoked.elapsed() < POLL_TIMEOUT, "the second instance does not know");
                std::thread::sleep(Duration::from_millis(1));
            }
            revoked.elapsed()
        })
        .collect();
    lags.sort();
    lags[lags.len() / 2]
}

#[test]
fn a_change_reaches_other_instances_before_their_next_poll() {
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
        "a revocation is known on another instance after {with:?} with Redis, {without:?} without; a token takes {answer:?}"
    );
    // Polls are 250 ms apart, so about 125 ms is expected without Redis; compared, not absolute,
    // because the machine may be slow.
    assert!(with < without / 2, "{with:?} with Redis, {without:?} without");
}

#[test]
fn a_change_by_the_command_line_is_announced_by_the_first_instance_that_reads_it() {
    let site = Site::of(2, &[]);
    let published = || -> u64 {
        let of = |instance| count(instance, "mintage_redis_published_total");
        site.instances.iter().map(of).sum()
    };
    let before = published();
    let client = site.client();
    eventually("the change is announced", POLL_TIMEOUT, || {
        (published() > before).then_some(())
    });
    assert_eq!(token_status(&site.instances[1], &client), 200);
}

#[test]
fn a_flood_of_announcements_causes_few_polls_and_does_not_stop_announcements() {
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
    eventually("the instance has received all of them", POLL_TIMEOUT, || {
        (received() >= 10_000).then_some(())
    });
    // At most fifty requested polls and four regular ones per second; other statements are few.
    let polls = began.elapsed().as_millis() as u64 / 20 + began.elapsed().as_millis() as u64 / 200;
    let executed = statements() - before;
    assert!(executed <= polls + 10, "{executed} statements for {polls} polls");
    // The instance still announces changes.
    let client = site.client();
    let published = count(flooded, "mintage_redis_published_total");
    let revoked_token = token(flooded, &client).access_token();
    revoke(flooded, &client, &revoked_token);
    eventually("the instance announces the revocation", POLL_TIMEOUT, || {
        (count(flooded, "mintage_redis_published_total") > published).then_some(())
    });
}

#[test]
fn an_announcement_that_is_not_a_number_is_ignored() {
    let site = Site::of(1, &[]);
    let channel = site.redis.say(&["PUBSUB", "CHANNELS"]);
    let channel = channel.lines().last().unwrap();
    let client = site.client();
    let received = || count(&site.instances[0], "mintage_redis_received_total");
    eventually("the client is announced", POLL_TIMEOUT, || {
        (received() > 0).then_some(())
    });
    let before = received();
    for text in ["", "one", "9223372036854775808", "7 "] {
        site.redis.say(&["PUBLISH", channel, text]);
    }
    site.redis.say(&["PUBLISH", channel, "1"]);
    eventually("the number is received", POLL_TIMEOUT, || {
        (received() > before).then_some(())
    });
    assert_eq!(received(), before + 1);
    assert_eq!(token_status(&site.instances[0], &client), 200);
}

#[test]
fn two_deployments_on_one_redis_do_not_receive_each_others_announcements() {
    let site = Site::of(1, &[]);
    let other = Site::on(Redis::start());
    let other_instance = start(&other.database, &site.redis.url(), &[]);
    await_redis(&other_instance);
    let channels = || site.redis.say(&["PUBSUB", "CHANNELS"]);
    eventually("both are subscribed", POLL_TIMEOUT, || {
        channels().starts_with("*2").then_some(())
    });
    let client = site.shared_clients(1).remove(0);
    let received = || count(&site.instances[0], "mintage_redis_received_total");
    eventually("the deployment receives its own", POLL_TIMEOUT, || {
        (received() > 0).then_some(())
    });
    assert_eq!(count(&other_instance, "mintage_redis_received_total"), 0);
    assert_eq!(token_status(&other_instance, &client), 401);
    assert_eq!(count(&other_instance, "mintage_redis_cache_hits_total"), 0);
}
