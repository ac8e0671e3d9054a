//! A real browser without a window, driven by WebDriver.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use stage::{free_port, wait_for};

const SOON: Duration = Duration::from_secs(20);

pub struct Browser {
    driver: Child,
    port: u16,
    session: String,
    axe: String,
}

impl Browser {
    /// `None`, with a message, if `scripts/browser` has not been run.
    pub fn start() -> Option<Self> {
        let Some(folder) = std::env::var_os("UNDERSTUDY_TEST_BROWSER") else {
            println!(
                "skipped: UNDERSTUDY_TEST_BROWSER does not name the folder of scripts/browser"
            );
            return None;
        };
        let folder = PathBuf::from(folder);
        let port = free_port();
        let driver = Command::new(folder.join("chromedriver"))
            .arg(format!("--port={port}"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let axe = std::fs::read_to_string(folder.join("axe.min.js")).expect("axe");
        let mut browser = Self {
            driver,
            port,
            session: String::new(),
            axe,
        };
        wait_for("the driver answers", SOON, || {
            browser.call("GET", "/status", &Value::Null).ok()
        });
        let options = json!({
            "binary": folder.join("chromium"),
            // Root has no sandbox, and a container little shared memory.
            "args": ["--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1100,900"],
        });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL" },
        }}});
        let session = browser
            .call("POST", "/session", &wanted)
            .expect("a session");
        browser.session = session["sessionId"].as_str().expect("its id").to_owned();
        Some(browser)
    }

    pub fn open(&self, url: &str) {
        self.tell("/url", &json!({ "url": url }));
    }

    /// The value of an expression in the page.
    pub fn eval(&self, expression: &str) -> Value {
        let script = format!("return {expression}");
        self.tell("/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// The text of an element, by its id.
    pub fn text(&self, id: &str) -> String {
        let text = self.eval(&format!("document.getElementById('{id}').textContent"));
        text.as_str().unwrap_or_default().to_owned()
    }

    pub fn wait_for_text(&self, id: &str, part: &str, deadline: Duration) {
        wait_for(&format!("#{id} says {part:?}"), deadline, || {
            self.text(id).contains(part).then_some(())
        });
    }

    /// The console's messages since the last call, by level.
    pub fn console(&self, level: &str) -> Vec<String> {
        let log = self.tell("/se/log", &json!({ "type": "browser" }));
        let entries = log.as_array().expect("a list").iter();
        let wanted = entries.filter(|it| it["level"] == level);
        wanted
            .map(|it| it["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The accessibility violations that axe finds.
    pub fn axe(&self) -> Vec<String> {
        let run = format!(
            "{}; const done = arguments[0]; axe.run().then(it => done(it.violations.map(v => v.id + ': ' + \
             v.nodes.map(n => n.html + ' ' + n.failureSummary).join('; '))), error => done([String(error)]))",
            self.axe
        );
        let found = self.tell("/execute/async", &json!({ "script": run, "args": [] }));
        let found = found.as_array().expect("a list").iter();
        found
            .map(|it| it.as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// `media`: `screen` or `print`; `scheme`: `light` or `dark`.
    pub fn show_as(&self, media: &str, scheme: &str, width: u32) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.devtools(
            "Emulation.setEmulatedMedia",
            &json!({ "media": media, "features": features }),
        );
        let metrics =
            json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        self.devtools("Emulation.setDeviceMetricsOverride", &metrics);
    }

    pub fn press_tab(&self) {
        let keys = json!([{ "type": "keyDown", "value": "\u{E004}" }, { "type": "keyUp", "value": "\u{E004}" }]);
        self.tell(
            "/actions",
            &json!({ "actions": [{ "type": "key", "id": "keys", "actions": keys }] }),
        );
    }

    /// A picture of the whole page.
    pub fn picture(&self, to: &Path) {
        let shot = json!({ "format": "png", "captureBeyondViewport": true });
        let data = self.devtools("Page.captureScreenshot", &shot);
        let data = data["data"].as_str().expect("a picture").to_owned();
        let mut decode = Command::new("base64")
            .arg("-d")
            .stdin(Stdio::piped())
            .stdout(std::fs::File::create(to).expect("a file"))
            .spawn()
            .expect("base64 runs");
        decode
            .stdin
            .take()
            .expect("piped")
            .write_all(data.as_bytes())
            .expect("written");
        assert!(decode.wait().expect("it ends").success());
    }

    fn devtools(&self, command: &str, parameters: &Value) -> Value {
        self.tell(
            "/goog/cdp/execute",
            &json!({ "cmd": command, "params": parameters }),
        )
    }

    #[track_caller]
    fn tell(&self, path: &str, body: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.call("POST", &path, body).expect("the driver answers")
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Result<Value, String> {
        let told = |error: std::io::Error| error.to_string();
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).map_err(told)?;
        stream
            .set_read_timeout(Some(Duration::from_secs(60)))
            .map_err(told)?;
        let body = if body.is_null() {
            String::new()
        } else {
            body.to_string()
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n",
            self.port,
            body.len()
        );
        stream.write_all(head.as_bytes()).map_err(told)?;
        stream.write_all(body.as_bytes()).map_err(told)?;
        // The driver keeps its connections open, even if asked to close them.
        let mut lines = BufReader::new(stream);
        let (mut head, mut long) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            let from = head.len();
            if lines.read_line(&mut head).map_err(told)? == 0 {
                return Err(format!("no answer: {head}"));
            }
            let line = head[from..].to_lowercase();
            if let Some(it) = line.strip_prefix("content-length:") {
                long = it
                    .trim()
                    .parse()
                    .map_err(|error| format!("{error}: {line}"))?;
            }
        }
        let mut body = vec![0; long];
        lines.read_exact(&mut body).map_err(told)?;
        let value: Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
        if head.starts_with("HTTP/1.1 200") {
            Ok(value["value"].clone())
        } else {
            Err(value.to_string())
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // This ends the browser; killing only the driver would leave it running.
        let session = format!("/session/{}", self.session);
        let _ = self.call("DELETE", &session, &Value::Null);
        let _ = (self.driver.kill(), self.driver.wait());
    }
}
