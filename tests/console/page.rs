//! [`Page`]: a page in a context of its own, used as a person does: by what is written on it, by mouse and by keyboard.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{Browser, PATIENCE};

/// Finds things by their words, in the dialog that is open or else on the page.
const FINDER: &str = r#"
window.finder = {
  place: () => [...document.querySelectorAll('dialog[open]')].at(-1) ?? document,
  seen: (found) => found.getClientRects().length > 0,
  words: (found) => (found.getAttribute('aria-label') ?? found.textContent).trim().replace(/\s+/g, ' '),
  named: (selector, name) => [...finder.place().querySelectorAll(selector)]
    .find((found) => finder.seen(found) && finder.words(found) === name),
  button: (name) => finder.named('button, a, summary', name),
  field: (name) => {
    const label = [...finder.place().querySelectorAll('label')]
      .find((found) => finder.seen(found) && found.textContent.trim().startsWith(name));
    return label?.control;
  },
  row: (text) => [...finder.place().querySelectorAll('tbody tr')].find((found) => found.textContent.includes(text)),
};
window.violations = [];
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI, sourceFile }) =>
  window.violations.push(`${violatedDirective} ${blockedURI} ${sourceFile}`));
"#;

/// A page. Closed when dropped.
pub struct Page {
    session: String,
    context: String,
    origin: String,
}

/// How a page is looked at.
#[derive(Clone, Copy)]
pub struct Look {
    pub width: u32,
    pub height: u32,
    pub phone: bool,
    pub dark: bool,
}

pub const DESKTOP: Look = Look {
    width: 1280,
    height: 900,
    phone: false,
    dark: false,
};

pub const PHONE: Look = Look {
    width: 360,
    height: 740,
    phone: true,
    dark: false,
};

impl Page {
    /// Opens the console of a server, on its sign-in form.
    pub fn console(origin: &str, look: Look) -> Self {
        let browser = Browser::shared();
        let made = browser.command(None, "Target.createBrowserContext", json!({}));
        let context = text(&made["browserContextId"]);
        let target = json!({ "url": "about:blank", "browserContextId": context });
        let target = browser.command(None, "Target.createTarget", target);
        let attach = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.command(None, "Target.attachToTarget", attach);
        let page = Self {
            session: text(&session["sessionId"]),
            context,
            origin: origin.to_owned(),
        };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.command(&format!("{domain}.enable"), json!({}));
        }
        page.command("Page.addScriptToEvaluateOnNewDocument", json!({ "source": FINDER }));
        page.look(look);
        page.open("/console");
        page
    }

    /// Goes to a path of the same server.
    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.command("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && !document.getElementById('sign-in')?.hidden");
    }

    /// Goes away from it.
    pub fn leave(&self) {
        self.command("Page.navigate", json!({ "url": "about:blank" }));
    }

    /// What somebody who works with a screen reader comes upon, and what it is called: roles and names.
    pub fn controls(&self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree has nodes");
        let seen = nodes.iter().filter(|node| node["ignored"] == false);
        let told = seen.map(|node| {
            let part = |name: &str| node[name]["value"].as_str().unwrap_or_default().to_owned();
            (part("role"), part("name"))
        });
        told.collect()
    }

    pub fn look(&self, look: Look) {
        let metrics = json!({
            "width": look.width, "height": look.height, "mobile": look.phone,
            "deviceScaleFactor": if look.phone { 2 } else { 1 },
        });
        self.command("Emulation.setDeviceMetricsOverride", metrics);
        self.command("Emulation.setTouchEmulationEnabled", json!({ "enabled": look.phone }));
        let scheme = if look.dark { "dark" } else { "light" };
        self.media("prefers-color-scheme", scheme);
    }

    /// Says what the person who looks prefers.
    pub fn media(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.command("Emulation.setEmulatedMedia", features);
    }

    #[track_caller]
    fn command(&self, method: &str, parameters: Value) -> Value {
        Browser::shared().command(Some(&self.session), method, parameters)
    }

    /// What an expression comes to.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let asked = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            // What a test does counts as what the page does.
            "allowUnsafeEvalBlockedByCSP": false,
        });
        let answer = self.command("Runtime.evaluate", asked);
        let thrown = answer.get("exceptionDetails");
        assert_eq!(thrown, None, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        let deadline = Instant::now() + PATIENCE / 2;
        let guarded = format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        while self.value(&guarded) != true {
            if Instant::now() > deadline {
                self.screenshot("failure");
                panic!("never true: {expression}\nthe page says:\n{}", self.words());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// All that can be read on it.
    pub fn words(&self) -> String {
        text(&self.value("document.body.innerText"))
    }

    /// Waits until something can be read on it.
    #[track_caller]
    pub fn reads(&self, words: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(words)));
    }

    /// The text of what a selector finds.
    #[track_caller]
    pub fn text_of(&self, selector: &str) -> String {
        let selector = json!(selector);
        self.until(&format!("document.querySelector({selector})"));
        text(&self.value(&format!("document.querySelector({selector}).textContent")))
    }

    /// Presses a button, or follows a link, by its name.
    #[track_caller]
    pub fn press(&self, name: &str) {
        self.click(&format!("finder.button({})", json!(name)));
    }

    /// Presses a button in the row of a table that has this text.
    #[track_caller]
    pub fn press_in_row(&self, row: &str) {
        self.click(&format!("finder.row({})?.querySelector('button')", json!(row)));
    }

    /// Clicks with the mouse in the middle of an element, once it is there and may be clicked.
    #[track_caller]
    pub fn click(&self, element: &str) {
        self.until(&format!("finder.seen({element}) && {element}.ariaDisabled !== 'true'"));
        // When it has stood still for some frames: nobody hits a button that moves.
        let middle = format!(
            "(async () => {{ let last = ''; for (let still = 0; still < 3;) {{ const found = {element}; \
             found.scrollIntoView({{ block: 'center' }}); await new Promise(requestAnimationFrame); \
             const box = found.getClientRects()[0] ?? {{}}; const place = [box.x + box.width / 2, box.y + box.height / 2]; \
             still = String(place) === last ? still + 1 : 0; last = String(place); if (still === 3) return place; }} }})()"
        );
        let middle = self.value(&middle);
        for (kind, buttons) in [("mouseMoved", 0), ("mousePressed", 1), ("mouseReleased", 0)] {
            let event = json!({
                "type": kind, "x": middle[0], "y": middle[1], "buttons": buttons,
                "button": if kind == "mouseMoved" { "none" } else { "left" }, "clickCount": u8::from(kind != "mouseMoved"),
            });
            self.command("Input.dispatchMouseEvent", event);
        }
    }

    /// Writes into a field that is named by its label, in the place of what is there.
    #[track_caller]
    pub fn fill(&self, label: &str, words: &str) {
        let field = format!("finder.field({})", json!(label));
        self.until(&field);
        self.value(&format!("{field}.focus(), {field}.select?.()"));
        self.write(words);
    }

    /// Writes where the focus is.
    pub fn write(&self, words: &str) {
        self.command("Input.insertText", json!({ "text": words }));
    }

    /// Presses a key.
    #[track_caller]
    pub fn key(&self, key: &str) {
        let (code, number, typed) = match key {
            "Tab" => ("Tab", 9, ""),
            "Enter" => ("Enter", 13, "\r"),
            "Escape" => ("Escape", 27, ""),
            "ArrowLeft" => ("ArrowLeft", 37, ""),
            " " => ("Space", 32, " "),
            other => panic!("no such key here: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !typed.is_empty() {
                event["text"] = typed.into();
            }
            self.command("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses Tab until the focus is on an element, as somebody without a mouse does.
    #[track_caller]
    pub fn tab_to(&self, element: &str) {
        self.until(element);
        for _ in 0..60 {
            if self.value(&format!("document.activeElement === {element}")) == true {
                return;
            }
            self.key("Tab");
        }
        panic!("Tab does not come to {element}");
    }

    /// Lets the page use the clipboard without asking.
    pub fn allow_clipboard(&self) {
        let grant = json!({
            "browserContextId": self.context, "origin": self.origin,
            "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
        });
        Browser::shared().command(None, "Browser.grantPermissions", grant);
        self.command("Page.bringToFront", json!({}));
    }

    /// Fills in the sign-in form and sends it.
    #[track_caller]
    pub fn sign_in(&self, id: &str, secret: &str) {
        self.fill("Client id", id);
        self.fill("Client secret", secret);
        self.press("Sign in");
    }

    /// Goes to a part of the console by its tab.
    #[track_caller]
    pub fn go_to(&self, part: &str) {
        let tab = format!(
            "[...document.querySelectorAll('.tabs a')].find((a) => a.textContent === {})",
            json!(part)
        );
        self.click(&tab);
        self.until(&format!("{tab}.getAttribute('aria-current') === 'page'"));
    }

    /// That nothing went wrong in it which no test has asked for, and that it spoke to its own server only. Of answers that
    /// are no success, Chromium makes a line for each; those with these statuses were asked for.
    #[track_caller]
    pub fn assert_clean(&self, refusals: &[u16]) {
        for event in Browser::shared().events(&self.session) {
            let parameters = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => panic!("{parameters}"),
                "Log.entryAdded" => {
                    let said = text(&parameters["entry"]["text"]);
                    let expected = refusals
                        .iter()
                        .any(|status| said.contains(&format!("a status of {status} ")));
                    assert!(expected, "{parameters}");
                }
                "Network.requestWillBeSent" => {
                    let url = text(&parameters["request"]["url"]);
                    let own = url.strip_prefix(&self.origin).is_some_and(|path| path.starts_with('/'));
                    assert!(own || url == "about:blank", "it asked {url}");
                }
                _ => {}
            }
        }
        assert_eq!(self.value("window.violations"), json!([]));
    }

    /// The URLs that it has asked for, with the bodies that it sent.
    pub fn requests(&self) -> Vec<String> {
        let sent = Browser::shared().events(&self.session);
        let sent = sent
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| text(&event["params"]["request"]["url"])).collect()
    }

    /// Everything of the page that somebody who comes by could find: markup, fields, address, stores.
    pub fn remains(&self) -> String {
        let all = "JSON.stringify([document.documentElement.outerHTML, \
                   [...document.querySelectorAll('input, textarea')].map((field) => field.value), location.href, document.cookie, \
                   {...localStorage}, {...sessionStorage}, history.state, window.name, \
                   performance.getEntriesByType('resource').map((entry) => entry.name)])";
        text(&self.value(all))
    }

    /// Writes what is seen to the folder that `$CONSOLE_SCREENSHOTS` names, for people to judge.
    pub fn screenshot(&self, name: &str) {
        let Some(folder) = std::env::var_os("CONSOLE_SCREENSHOTS") else {
            return;
        };
        use base64::Engine;
        let shot = self.command("Page.captureScreenshot", json!({ "format": "png" }));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text(&shot["data"]))
            .unwrap();
        let file = std::path::Path::new(&folder).join(format!("{name}.png"));
        std::fs::write(file, bytes).unwrap();
    }

    /// The same of the whole page, however long it is.
    pub fn whole_screenshot(&self, name: &str, look: Look) {
        if std::env::var_os("CONSOLE_SCREENSHOTS").is_some() {
            let height = self.value("document.documentElement.scrollHeight").as_u64().unwrap() as u32;
            self.look(Look {
                height: height.max(look.height),
                ..look
            });
            self.screenshot(name);
            self.look(look);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let context = json!({ "browserContextId": self.context });
            Browser::shared().command(None, "Target.disposeBrowserContext", context);
        }
    }
}

#[track_caller]
fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
