//! [`Browser`]: one headless Chromium for the whole binary, controlled over its debugging pipe.
//!
//! The pipe carries NUL-terminated JSON messages on the file descriptors 3 and 4. A shell connects
//! them to two FIFOs, so that neither a websocket nor `unsafe` is needed. However this process
//! ends, the pipe closes, Chromium exits, and the shell removes its folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

/// How long the browser may take for a command; it shares the machine with other tests.
pub const BROWSER_TIMEOUT: Duration = Duration::from_secs(60);

/// No connection leaves loopback, and the browser sends no requests of its own.
const FLAGS: [&str; 16] = [
    "--headless=new",
    "--remote-debugging-pipe",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-default-browser-check",
    "--no-first-run",
    "--disable-features=OptimizationHints,MediaRouter,Translate",
    // Several pages are open at a time, and none may be throttled as a background page.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-dev-shm-usage",
    // Tests may run as root, and Chromium's sandbox does not start as root.
    "--no-sandbox",
];

/// A running browser.
pub struct Browser {
    commands: Mutex<File>,
    inbox: Arc<Inbox>,
    next_id: AtomicU64,
}

#[derive(Default)]
struct Inbox {
    /// The senders for responses to pending commands, by command id.
    waiting: Mutex<HashMap<u64, mpsc::Sender<Value>>>,
    /// The events, by session.
    events: Mutex<HashMap<String, Vec<Value>>>,
}

impl Browser {
    /// The one browser of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Browser> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        // The shell removes it, because it outlives this process.
        let folder = testkit::folder::temporary().keep();
        let created = Command::new("mkfifo")
            .args([folder.join("commands"), folder.join("responses")])
            .status();
        assert!(created.unwrap().success(), "mkfifo");
        let mut shell = Command::new("sh")
            .args([
                "-c",
                r#"chromium "$@" 3<commands 4>responses >log 2>&1; cd / && rm -rf "$0""#,
            ])
            .arg(&folder)
            .args(FLAGS)
            .arg(format!("--user-data-dir={}", folder.join("profile").display()))
            .arg("about:blank")
            .current_dir(&folder)
            .env("HOME", &folder)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        // In this order, because opening a FIFO blocks until the other side opens it.
        let commands = File::options().write(true).open(folder.join("commands")).unwrap();
        let responses = File::open(folder.join("responses")).unwrap();
        let inbox = Arc::new(Inbox::default());
        let reader = inbox.clone();
        std::thread::spawn(move || {
            reader.read(responses);
            shell.wait()
        });
        Self {
            commands: Mutex::new(commands),
            inbox,
            next_id: AtomicU64::new(1),
        }
    }

    /// Sends a command to a session or to the browser itself, and waits for its response.
    #[track_caller]
    pub fn command(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, response) = mpsc::channel();
        self.inbox.waiting.lock().unwrap().insert(id, sender);
        let mut message = json!({ "id": id, "method": method, "params": parameters });
        if let Some(session) = session {
            message["sessionId"] = session.into();
        }
        let written = self
            .commands
            .lock()
            .unwrap()
            .write_all(format!("{message}\0").as_bytes());
        written.expect("Chromium runs; is it installed?");
        let response = response.recv_timeout(BROWSER_TIMEOUT);
        let response = response.unwrap_or_else(|_| panic!("no response to {method} within {BROWSER_TIMEOUT:?}"));
        assert_eq!(response.get("error"), None, "{method}");
        response["result"].clone()
    }

    /// The events of a session so far.
    pub fn events(&self, session: &str) -> Vec<Value> {
        self.inbox
            .events
            .lock()
            .unwrap()
            .get(session)
            .cloned()
            .unwrap_or_default()
    }
}

impl Inbox {
    fn read(&self, responses: File) {
        for message in BufReader::new(responses).split(0).map_while(Result::ok) {
            let message: Value = serde_json::from_slice(&message).expect("Chromium writes JSON");
            if let Some(id) = message["id"].as_u64() {
                if let Some(waiting) = self.waiting.lock().unwrap().remove(&id) {
                    // The caller may have timed out.
                    let _ = waiting.send(message);
                }
            } else if let Some(session) = message["sessionId"].as_str() {
                let mut events = self.events.lock().unwrap();
                events.entry(session.to_owned()).or_default().push(message.clone());
            }
        }
        // The browser has exited: pending commands fail immediately instead of timing out.
        self.waiting.lock().unwrap().clear();
    }
}
