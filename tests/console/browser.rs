//! [`Browser`]: one headless Chromium for the whole binary, spoken to over its debugging pipe.
//!
//! The pipe is JSON with a NUL at the end of each message, on the file descriptors 3 and 4. A shell connects them to two
//! fifos, so that neither a websocket nor `unsafe` is needed. When this process ends, however it does, the pipe closes,
//! Chromium ends too, and the shell removes its folder.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::time::Duration;

use serde_json::{Value, json};

/// How long a browser may take to do anything; it shares the machine with other tests.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Nothing leaves loopback, and nothing is asked for that a page did not ask for.
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
    // Several pages are watched at a time, and each must count as the one that is looked at.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--disable-dev-shm-usage",
    // Tests may be run by root, for whom Chromium's sandbox does not start.
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
    /// Who waits for the answer to a command.
    waiting: Mutex<HashMap<u64, mpsc::Sender<Value>>>,
    /// What happened, by session.
    events: Mutex<HashMap<String, Vec<Value>>>,
}

impl Browser {
    /// The one browser of this process.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Browser> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    fn start() -> Self {
        // The shell removes it: nothing here lives long enough to do so.
        let folder = testkit::folder::temporary().keep();
        let made = Command::new("mkfifo")
            .args([folder.join("commands"), folder.join("answers")])
            .status();
        assert!(made.unwrap().success(), "mkfifo");
        let mut shell = Command::new("sh")
            .args([
                "-c",
                r#"chromium "$@" 3<commands 4>answers >log 2>&1; cd / && rm -rf "$0""#,
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
        // In this order, because opening a fifo waits for the other side.
        let commands = File::options().write(true).open(folder.join("commands")).unwrap();
        let answers = File::open(folder.join("answers")).unwrap();
        let inbox = Arc::new(Inbox::default());
        let reader = inbox.clone();
        std::thread::spawn(move || {
            reader.read(answers);
            shell.wait()
        });
        Self {
            commands: Mutex::new(commands),
            inbox,
            next_id: AtomicU64::new(1),
        }
    }

    /// Gives a command, to a session or to the browser itself, and waits for its answer.
    #[track_caller]
    pub fn command(&self, session: Option<&str>, method: &str, parameters: Value) -> Value {
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = mpsc::channel();
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
        let answer = answer.recv_timeout(PATIENCE);
        let answer = answer.unwrap_or_else(|_| panic!("no answer to {method} within {PATIENCE:?}"));
        assert_eq!(answer.get("error"), None, "{method}");
        answer["result"].clone()
    }

    /// What has happened in a session until now.
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
    fn read(&self, answers: File) {
        for message in BufReader::new(answers).split(0).map_while(Result::ok) {
            let message: Value = serde_json::from_slice(&message).expect("Chromium writes JSON");
            if let Some(id) = message["id"].as_u64() {
                if let Some(waiting) = self.waiting.lock().unwrap().remove(&id) {
                    // Whoever asked may have given up.
                    let _ = waiting.send(message);
                }
            } else if let Some(session) = message["sessionId"].as_str() {
                let mut events = self.events.lock().unwrap();
                events.entry(session.to_owned()).or_default().push(message.clone());
            }
        }
        // Nobody is to wait for a browser that has ended.
        self.waiting.lock().unwrap().clear();
    }
}
