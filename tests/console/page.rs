//! [`Page`]: a page in a separate browser context, used as a person does: by visible text, mouse
//! and keyboard.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::browser::{BROWSER_TIMEOUT, Browser};

/// Finds elements by their text, in the open dialog or else on the page.
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

/// Viewport and color scheme of a page.
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
    /// Opens the console of a server, at its sign-in form.
    pub fn console(origin: &str, look: Look) -> Self {
        let browser = Browser::shared();
        let created = browser.command(None, "Target.createBrowserContext", json!({}));
        let context = text(&created["browserContextId"]);
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

    /// Navigates to a path of the same server.
    pub fn open(&self, path: &str) {
        let url = format!("{}{path}", self.origin);
        self.command("Page.navigate", json!({ "url": url }));
        self.until("document.readyState === 'complete' && !document.getElementById('sign-in')?.hidden");
    }

    /// Leaves the page.
    pub fn leave(&self) {
        self.command("Page.navigate", json!({ "url": "about:blank" }));
    }

    /// Roles and names of the accessibility tree, as a screen reader presents them.
    pub fn controls(&self) -> Vec<(String, String)> {
        let tree = self.command("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("a tree has nodes");
        let seen = nodes.iter().filter(|node| node["ignored"] == false);
        let controls = seen.map(|node| {
            let part = |name: &str| node[name]["value"].as_str().unwrap_or_default().to_owned();
            (part("role"), part("name"))
        });
        controls.collect()
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

    /// Emulates a media feature, such as a preference of the user.
    pub fn media(&self, feature: &str, value: &str) {
        let features = json!({ "features": [{ "name": feature, "value": value }] });
        self.command("Emulation.setEmulatedMedia", features);
    }

    #[track_caller]
    fn command(&self, method: &str, parameters: Value) -> Value {
        Browser::shared().command(Some(&self.session), method, parameters)
    }

    /// Evaluates a JavaScript expression.
    #[track_caller]
    pub fn value(&self, expression: &str) -> Value {
        let parameters = json!({
            "expression": expression, "returnByValue": true, "awaitPromise": true,
            // The content security policy also applies to expressions of the test.
            "allowUnsafeEvalBlockedByCSP": false,
        });
        let response = self.command("Runtime.evaluate", parameters);
        let thrown = response.get("exceptionDetails");
        assert_eq!(thrown, None, "{expression}");
        response["result"]["value"].clone()
    }

    /// Waits until an expression is true.
    #[track_caller]
    pub fn until(&self, expression: &str) {
        let deadline = Instant::now() + BROWSER_TIMEOUT / 2;
        let guarded = format!("(() => {{ try {{ return Boolean({expression}); }} catch {{ return false; }} }})()");
        while self.value(&guarded) != true {
            if Instant::now() > deadline {
                self.screenshot("failure");
                panic!("never true: {expression}\ntext of the page:\n{}", self.visible_text());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The visible text of the page.
    pub fn visible_text(&self) -> String {
        text(&self.value("document.body.innerText"))
    }

    /// Waits until a text is visible.
    #[track_caller]
    pub fn reads(&self, words: &str) {
        self.until(&format!("document.body.innerText.includes({})", json!(words)));
    }

    /// The text of the element that matches a selector.
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

    /// Clicks in the middle of an element, once it is visible and enabled.
    #[track_caller]
    pub fn click(&self, element: &str) {
        self.until(&format!("finder.seen({element}) && {element}.ariaDisabled !== 'true'"));
        // Waits until the element has not moved for three frames, so that the click hits it.
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

    /// Replaces the content of a field, which is found by its label.
    #[track_caller]
    pub fn fill(&self, label: &str, words: &str) {
        let field = format!("finder.field({})", json!(label));
        self.until(&field);
        self.value(&format!("{field}.focus(), {field}.select?.()"));
        self.write(words);
    }

    /// Selects an option by its words.
    #[track_caller]
    pub fn select(&self, label: &str, option: &str) {
        let field = format!("finder.field({})", json!(label));
        let option = format!(
            "[...{field}.options].find((found) => found.textContent === {})",
            json!(option)
        );
        self.until(&option);
        self.value(&format!(
            "{option}.selected = true, {field}.dispatchEvent(new Event('change', {{ bubbles: true }}))"
        ));
    }

    /// Types into the focused element.
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
            other => panic!("unknown key: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({ "type": kind, "key": key, "code": code, "windowsVirtualKeyCode": number });
            if kind == "keyDown" && !typed.is_empty() {
                event["text"] = typed.into();
            }
            self.command("Input.dispatchKeyEvent", event);
        }
    }

    /// Presses Tab until an element has the focus.
    #[track_caller]
    pub fn tab_to(&self, element: &str) {
        self.until(element);
        for _ in 0..60 {
            if self.value(&format!("document.activeElement === {element}")) == true {
                return;
            }
            self.key("Tab");
        }
        panic!("Tab does not reach {element}");
    }

    /// Grants the page access to the clipboard.
    pub fn allow_clipboard(&self) {
        let grant = json!({
            "browserContextId": self.context, "origin": self.origin,
            "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
        });
        Browser::shared().command(None, "Browser.grantPermissions", grant);
        self.command("Page.bringToFront", json!({}));
    }

    /// Fills in the sign-in form and submits it.
    #[track_caller]
    pub fn sign_in(&self, id: &str, secret: &str) {
        self.fill("Client id", id);
        self.fill("Client secret", secret);
        self.press("Sign in");
    }

    /// Opens a view of the console by its tab.
    #[track_caller]
    pub fn go_to(&self, part: &str) {
        let tab = format!(
            "[...document.querySelectorAll('.tabs a')].find((a) => a.textContent === {})",
            json!(part)
        );
        self.click(&tab);
        self.until(&format!("{tab}.getAttribute('aria-current') === 'page'"));
    }

    /// Asserts that the page threw no exceptions, logged only the `expected` error statuses,
    /// connected only to its own server and never violated its content security policy. Chromium
    /// logs a line for each response with an error status.
    #[track_caller]
    pub fn assert_clean(&self, expected: &[u16]) {
        for event in Browser::shared().events(&self.session) {
            let parameters = &event["params"];
            match event["method"].as_str().unwrap_or_default() {
                "Runtime.exceptionThrown" | "Runtime.consoleAPICalled" => panic!("{parameters}"),
                "Log.entryAdded" => {
                    let message = text(&parameters["entry"]["text"]);
                    let is_expected = expected
                        .iter()
                        .any(|status| message.contains(&format!("a status of {status} ")));
                    assert!(is_expected, "{parameters}");
                }
                "Network.requestWillBeSent" => {
                    let url = text(&parameters["request"]["url"]);
                    let own = url.strip_prefix(&self.origin).is_some_and(|path| path.starts_with('/'));
                    assert!(own || url == "about:blank", "request to {url}");
                }
                _ => {}
            }
        }
        assert_eq!(self.value("window.violations"), json!([]));
    }

    /// The URLs that the page has requested.
    pub fn requests(&self) -> Vec<String> {
        let sent = Browser::shared().events(&self.session);
        let sent = sent
            .iter()
            .filter(|event| event["method"] == "Network.requestWillBeSent");
        sent.map(|event| text(&event["params"]["request"]["url"])).collect()
    }

    /// All state of the page in which a secret could remain: markup, fields, URL, cookies, storage.
    pub fn remains(&self) -> String {
        let all = "JSON.stringify([document.documentElement.outerHTML, \
                   [...document.querySelectorAll('input, textarea')].map((field) => field.value), location.href, document.cookie, \
                   {...localStorage}, {...sessionStorage}, history.state, window.name, \
                   performance.getEntriesByType('resource').map((entry) => entry.name)])";
        text(&self.value(all))
    }

    /// Writes a screenshot to the folder `$CONSOLE_SCREENSHOTS`, if it is set.
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

    /// Like [`Page::screenshot`], but of the whole page.
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
    value
        .as_str()
        .unwrap_or_else(|| panic!("not a string: {value}"))
        .to_owned()
}
