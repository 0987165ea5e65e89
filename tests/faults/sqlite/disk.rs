//! The disk is full: a small file system, filled up and freed again.

use std::fs::File;
use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use testkit::eventually;
use testkit::http::Request;
use testkit::load::Load;

use super::site::Site;
use super::sync::disk_fails;

/// A file system in memory that holds little.
///
/// Its keeper reads a pipe whose other end only this process holds: however the tests end, killed included, the pipe closes,
/// and the keeper takes the file system away.
struct SmallDisk {
    keeper: Child,
    folder: TempDir,
}

impl SmallDisk {
    /// `None` where nobody lets us mount one.
    fn mount() -> Option<Self> {
        let folder = testkit::folder::temporary();
        let keeper = "mount -t tmpfs -o size=6m tmpfs \"$0\" && echo ready && { cat; umount -l \"$0\"; }";
        let mut keeper = Command::new("sh")
            .args(["-c", keeper])
            .arg(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut said = [0; 6];
        let mounted = keeper.stdout.as_mut().unwrap().read_exact(&mut said).is_ok();
        if !mounted {
            keeper.wait().unwrap();
        }
        mounted.then_some(Self { keeper, folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves no byte on it.
    fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).unwrap();
        for piece in [64 << 10, 4 << 10, 1] {
            while ballast.write_all(&vec![0; piece]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path().join("ballast")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

const MAX_PENDING: u64 = 1500;

fn disk_full(durability: &str) {
    let Some(disk) = SmallDisk::mount() else {
        println!("a file system cannot be mounted here: instead, every write is refused as on a full one");
        return disk_fails(durability == "group", "pwrite64,ftruncate,fallocate:error=ENOSPC");
    };
    let site = Site::in_folder(
        disk.path(),
        &[
            ("MINTAGE_WRITER__DURABILITY", durability),
            ("MINTAGE_WRITER__MAX_PENDING", &MAX_PENDING.to_string()),
            ("MINTAGE_DATABASE__QUERY_TIMEOUT", "1s"),
        ],
    );
    let mut server = site.start();
    let operator = site.operator(&server);
    let token = site.token(&server);
    let clients = [site.client.clone()];
    let load = Load::start(server.address, &clients, 4, Duration::from_millis(2));
    eventually("some are written", Duration::from_secs(10), || {
        (site.recorded().len() > 50).then_some(())
    });

    disk.fill();
    let issued = load.issued();
    // The WAL file has some room left in what it has taken already.
    eventually("tokens are refused", Duration::from_secs(30), || {
        let answer = server.send(&site.token_request(&[]));
        (answer.status == 503).then(|| answer.assert_unavailable())
    });
    assert!(operator.writer("flush_failures_total") > 0);
    match durability {
        "group" => assert!(operator.writer("pending") < MAX_PENDING),
        _ => assert!(
            load.issued() as u64 >= issued as u64 + MAX_PENDING / 2,
            "until the queue is full"
        ),
    }
    site.revoke(&server, &token).assert_unavailable();
    assert_eq!(server.send(&Request::get("/livez")).status, 200);

    disk.free();
    let freed = Instant::now();
    eventually("tokens are issued again", Duration::from_secs(15), || {
        (server.send(&site.token_request(&[])).status == 200).then_some(())
    });
    let receipts = load.stop();
    let left = Duration::from_secs(15).saturating_sub(freed.elapsed());
    operator.wait_until_all_is_written(left);
    site.assert_all_recorded(&receipts);
    let refused = receipts.iter().filter(|receipt| receipt.status != 200);
    assert!(refused.clone().count() > 0);
    assert!(
        refused
            .clone()
            .all(|receipt| receipt.status == 503 && receipt.retry_after)
    );
    eventually("the token can be revoked", Duration::from_secs(10), || {
        (site.revoke(&server, &token).status == 200).then_some(())
    });
    server.kill();
    site.assert_intact();
    let server = site.start();
    site.assert_all_recorded(&receipts);
    site.assert_inactive(&server, &token);
}

#[test]
fn a_full_disk_keeps_the_records_until_there_is_room() {
    disk_full("async");
}

#[test]
fn g3_with_group_durability_a_full_disk_gives_out_nothing_and_loses_nothing() {
    disk_full("group");
}
