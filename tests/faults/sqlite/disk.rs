//! A full disk: a small file system, filled and freed again.

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

/// A small file system in memory.
///
/// The keeper process reads a pipe whose other end only this process holds. However the tests end,
/// the pipe closes and the keeper unmounts the file system.
struct SmallDisk {
    keeper: Child,
    folder: TempDir,
}

impl SmallDisk {
    /// `None` where mounting is not permitted.
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
        let mut ready = [0; 6];
        let mounted = keeper.stdout.as_mut().unwrap().read_exact(&mut ready).is_ok();
        if !mounted {
            keeper.wait().unwrap();
        }
        mounted.then_some(Self { keeper, folder })
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Fills the file system to the last byte.
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
        println!("a file system cannot be mounted here: instead, every write fails as on a full disk");
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
    // The WAL file can still use the space that it has allocated already.
    eventually("token requests fail", Duration::from_secs(30), || {
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
    let failed = receipts.iter().filter(|receipt| receipt.status != 200);
    assert!(failed.clone().count() > 0);
    assert!(
        failed
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
fn records_stay_pending_while_the_disk_is_full() {
    disk_full("async");
}

#[test]
fn g3_with_group_durability_a_full_disk_issues_no_token_and_loses_none() {
    disk_full("group");
}
