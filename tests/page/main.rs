//! The page at `/`, in a real browser: it follows what happens, is accessible, leaks nothing and loads nothing.

mod browser;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use browser::Browser;
use rustix::process::Signal;
use stage::{Agent, Redis, wait_for};

const SOON: Duration = Duration::from_secs(10);
const FLAGS: [&str; 6] = [
    "--miner-liveness",
    "always",
    "--lease-ttl",
    "3s",
    "--memory-every",
    "1s",
];

struct Stage {
    redis: Redis,
    leader: Agent,
    standby: Agent,
}

fn stage() -> Stage {
    let redis = Redis::with(&["--requirepass", "hunter2"]);
    let url = format!("redis://:hunter2@127.0.0.1:{}", redis.port);
    let start = |name| {
        let flags = [&["--redis-url", &url][..], &FLAGS].concat();
        let agent = Agent::spawn(name, &flags);
        agent.wait_until_up();
        agent
    };
    let leader = start("miner-0");
    leader.wait_until_leading(SOON);
    let standby = start("miner-1");
    standby.wait_for_reason("held_by_other", SOON);
    Stage {
        redis,
        leader,
        standby,
    }
}

fn page(of: &Agent) -> String {
    format!("http://127.0.0.1:{}/", of.http)
}

#[test]
fn the_page_follows_a_failover_out_of_memory_and_a_restart() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let mut stage = stage();
    browser.open(&page(&stage.standby));
    browser.wait_for_text("link", "live", SOON);
    browser.wait_for_text("why", "and this instance stands by", SOON);
    browser.wait_for_text("candidates", "ready", SOON);
    browser.wait_for_text("known", "knows of nothing before", SOON);
    stage.redis.fill();
    browser.wait_for_text("redis", "out of memory", SOON);
    // At once, because the agent releases the lock.
    stage.leader.signal(Signal::TERM);
    browser.wait_for_text("role", "leader (elected)", SOON);
    browser.wait_for_text("why", "This instance has led since", SOON);
    browser.wait_for_text("lease", "s left", SOON);
    browser.wait_for_text("candidates", "leads, version", SOON);
    wait_for(
        "the timeline shows both leaders and the lack of memory",
        SOON,
        || {
            let drawn = |class: &str| {
                browser.eval(&format!(
                    "document.querySelectorAll('svg .{class}').length > 0"
                ))
            };
            ["own", "other", "oom", "used", "limit"]
                .iter()
                .all(|it| drawn(it) == true)
                .then_some(())
        },
    );
    let loaded = browser.eval("performance.getEntriesByType('resource').map(it => it.name).filter(it => !it.startsWith(location.origin)).join()");
    assert_eq!(loaded, "", "it loads from elsewhere");
    assert_eq!(browser.console("SEVERE"), [""; 0]);

    // A stopped agent closes nothing and says nothing.
    stage.standby.signal(Signal::STOP);
    browser.wait_for_text("link", "does not answer", SOON);
    stage.standby.signal(Signal::CONT);
    browser.wait_for_text("link", "live", SOON);
    stage.standby.kill();
    browser.wait_for_text("link", "gone", Duration::from_secs(2));
    stage.redis.relieve();
    stage.standby.start_again();
    browser.wait_for_text("link", "live", SOON);
    browser.wait_for_text("role", "leader (elected)", Duration::from_secs(15));
    browser.wait_for_text("redis", "takes writes", SOON);
    let shown = browser.eval("document.documentElement.outerHTML");
    assert!(!shown.as_str().expect("text").contains("hunter2"));
}

/// So many watch that there is no stream left for it.
#[test]
fn a_page_without_a_stream_asks_instead_and_does_not_call_the_agent_gone() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let stage = stage();
    let others: Vec<_> = (0..16)
        .map(|_| {
            let mut stream = TcpStream::connect(("127.0.0.1", stage.standby.http)).expect("served");
            write!(stream, "GET /events HTTP/1.1\r\nHost: a\r\n\r\n").expect("written");
            stream.read_exact(&mut [0; 12]).expect("a place");
            stream
        })
        .collect();
    browser.open(&page(&stage.standby));
    browser.wait_for_text("link", "16 others watch", SOON);
    browser.wait_for_text("why", "and this instance stands by", SOON);
    stage.leader.signal(Signal::TERM);
    browser.wait_for_text("why", "This instance has led since", SOON);
    drop(others);
    wait_for("it has a stream", SOON, || {
        let said = browser.eval("document.getElementById('link').textContent");
        (said == "live").then_some(())
    });
}

#[test]
fn the_page_is_there_for_everybody() {
    let Some(browser) = Browser::start() else {
        return;
    };
    let stage = stage();
    for (agent, width, scheme) in [
        (&stage.leader, 1100, "light"),
        (&stage.standby, 1100, "dark"),
        (&stage.leader, 360, "dark"),
        (&stage.standby, 360, "light"),
    ] {
        browser.show_as("screen", scheme, width);
        browser.open(&page(agent));
        browser.wait_for_text("link", "live", SOON);
        browser.wait_for_text("known", "knows of nothing before", SOON);
        browser.eval("document.querySelector('details').open = true");
        let overflows = browser.eval("document.documentElement.scrollWidth > innerWidth");
        assert_eq!(overflows, false, "{width} px are not enough");
        let found = browser.axe();
        assert!(found.is_empty(), "{width} {scheme}: {found:#?}");
        assert_eq!(browser.console("SEVERE"), [""; 0]);
    }
    // The table and the link can be reached by keyboard, with a visible focus.
    let mut reached = Vec::new();
    for _ in 0..4 {
        browser.press_tab();
        reached.push(browser.eval("document.activeElement.tagName").to_string());
    }
    for tag in ["SUMMARY", "DIV", "A"] {
        assert!(
            reached.iter().any(|it| it.contains(tag)),
            "{tag}: {reached:?}"
        );
    }
    browser.show_as("print", "dark", 800);
    let paper = browser.eval("getComputedStyle(document.body).backgroundColor");
    assert_eq!(paper, "rgb(255, 255, 255)");
}

/// `make pictures`: takes the two pictures in docs/.
#[test]
#[ignore = "writes into docs/"]
fn pictures() {
    let browser = Browser::start().expect("scripts/browser");
    let mut stage = stage();
    let to = |name: &str| {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("docs/pictures")
            .join(name)
    };
    std::fs::create_dir_all(to("")).expect("a folder");
    let seconds = |it| std::thread::sleep(Duration::from_secs(it));
    stage.redis.fill_to(0.8);
    seconds(30);
    stage.redis.fill_to(1.02);
    seconds(10);
    stage.leader.kill();
    stage.standby.wait_until_leading(SOON);
    seconds(10);
    browser.show_as("screen", "light", 1000);
    browser.open(&page(&stage.standby));
    browser.wait_for_text("redis", "out of memory", SOON);
    browser.wait_for_text("known", "knows", SOON);
    browser.picture(&to("page-out-of-memory.png"));
    stage
        .redis
        .tell(&["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]);
    browser.show_as("screen", "dark", 1000);
    browser.wait_for_text("why", "Nobody has led", Duration::from_secs(30));
    seconds(3);
    browser.picture(&to("page-nobody-leads.png"));
}
