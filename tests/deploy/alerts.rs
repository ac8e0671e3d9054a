//! Alerts, dashboard and runbooks.

use std::time::Duration;

use super::*;
use stage::{Agent, Redis, wait_for};

const SOON: Duration = Duration::from_secs(10);

/// Every reason that `status` shows is in a runbook.
#[test]
fn the_runbooks_know_every_reason() {
    let proto = read("proto/understudy/v1/election.proto");
    let reasons: Vec<_> = proto
        .lines()
        .filter_map(|line| line.trim().strip_prefix("REASON_")?.split_once(" = "))
        .map(|(name, _)| name.to_lowercase())
        .filter(|name| name != "unspecified" && name != "elected")
        .collect();
    assert!(reasons.len() >= 25, "{reasons:?}");
    let knows = |runbook: &str, reason: &String| {
        let text = read(&format!("docs/runbooks/{runbook}.md"));
        let mut rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.any(|row| row.contains(&format!("`{reason}`")))
    };
    for reason in &reasons {
        assert!(knows("UnderstudyNoLeader", reason), "{reason}");
        let of_redis = reason.starts_with("redis_") || reason == "eviction_policy";
        assert!(
            !of_redis || knows("UnderstudyTakeoverNotReady", reason),
            "{reason}"
        );
    }
}

#[test]
fn every_alert_is_tested_and_has_a_runbook() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    run(
        &promtool,
        &["check", "rules", "deploy/prometheus/rules.yaml"],
        "",
    );
    run(
        &promtool,
        &["test", "rules", "deploy/prometheus/rules_test.yaml"],
        "",
    );
    run(
        &promtool,
        &[
            "check",
            "config",
            "--syntax-only",
            "deploy/prometheus/prometheus.yml",
        ],
        "",
    );
    let rules = documents(&read("deploy/prometheus/rules.yaml")).remove(0);
    let tests = documents(&read("deploy/prometheus/rules_test.yaml")).remove(0);
    let cases: Vec<&Value> = list(&tests["tests"])
        .iter()
        .flat_map(|test| list(&test["alert_rule_test"]))
        .collect();
    let mut alerts = 0;
    for rule in list(&rules["groups"])
        .iter()
        .flat_map(|group| list(&group["rules"]))
    {
        let Some(name) = rule["alert"].as_str() else {
            continue;
        };
        alerts += 1;
        let expects = |fires: bool| {
            let is_it = |case: &&&Value| {
                case["alertname"] == name && list(&case["exp_alerts"]).is_empty() != fires
            };
            cases.iter().any(|case| is_it(&case))
        };
        assert!(
            expects(true) && expects(false),
            "{name} is tested both ways"
        );
        let runbook = read(&format!("docs/runbooks/{name}.md"));
        for part in ["means", "look", "do"] {
            assert!(runbook.to_lowercase().contains(part), "{name}: {part}");
        }
        let link = rule["annotations"]["runbook"].as_str().unwrap_or_default();
        assert!(
            link.ends_with(&format!("docs/runbooks/{name}.md")),
            "{name}: {link}"
        );
    }
    assert!(alerts >= 10, "{alerts}");
    // The mission's own three alerts, word for word.
    let spec = [
        "increase(ha_miner_leader_acquisition_failures_total{reason=\"redis_oom\"}[5m]) > 0",
        "ha_miner_redis_memory_usage_ratio > 0.9",
        "max(ha_miner_leader_status) == 0",
    ];
    for expression in spec {
        let mut all = list(&rules["groups"])
            .iter()
            .flat_map(|group| list(&group["rules"]));
        assert!(
            all.any(|rule| rule["expr"].as_str().map(str::trim) == Some(expression)),
            "{expression}"
        );
    }
    let resource = documents(&read("deploy/prometheus/prometheusrule.yaml")).remove(0);
    assert_eq!(
        resource["spec"]["groups"], rules["groups"],
        "one set of rules"
    );
    let chart = documents(&helm(&WITH_MINER));
    assert_eq!(
        find(&chart, "PrometheusRule", OF_RELEASE)["spec"]["groups"],
        rules["groups"]
    );
}

/// Alertmanager and Grafana show a link only for a whole URL, and only the user knows where the copy is.
#[test]
fn every_alert_gets_the_url_of_its_runbook_where_there_is_one() {
    if tool("helm").is_none() {
        return;
    }
    let readme = read("deploy/README.md");
    let typed = readme
        .lines()
        .find_map(|line| line.strip_prefix("sed -E '"))
        .and_then(|line| line.split_once("' "));
    let (script, rest) = typed.expect("the README adds it to a rules file");
    let file = rest.split(' ').next().unwrap_or_default();
    let by_sed = run(Path::new("sed"), &["-E", script, file], "");
    let base = "https://YOUR-FORGE/understudy/docs/runbooks";
    let set = format!("prometheusRule.runbooks={base}/");
    let by_chart = documents(&helm(&["prometheusRule.enabled=true", &set]));
    let resource = find(&by_chart, "PrometheusRule", "understudy");
    assert_eq!(
        documents(&by_sed)[0]["groups"],
        resource["spec"]["groups"],
        "by either way"
    );
    let mut pages = Vec::new();
    texts(resource, "runbook", &mut pages);
    let mut urls = Vec::new();
    texts(resource, "runbook_url", &mut urls);
    let expected = pages.iter().map(|page| page.replace("docs/runbooks", base));
    assert_eq!(urls, expected.collect::<Vec<_>>());
    assert!(urls.len() >= 10, "{urls:?}");
}

/// Every text under a key, however deep.
fn texts(value: &Value, key: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(entries) => {
            for (name, value) in entries {
                match value.as_str() {
                    Some(text) if name == key => found.push(text.into()),
                    _ => texts(value, key, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, key, found)),
        _ => {}
    }
}

/// Every query of a page; a line that begins with a space continues the one above.
fn queries(page: &str) -> Vec<String> {
    let blocks = page.split("```promql\n").skip(1);
    let mut queries: Vec<String> = Vec::new();
    for line in blocks.flat_map(|block| block.split("```").next().unwrap_or_default().lines()) {
        let code = line.split('#').next().unwrap_or_default();
        match queries.last_mut() {
            Some(query) if code.starts_with(' ') => *query += code,
            _ if code.is_empty() => {}
            _ => queries.push(code.to_owned()),
        }
    }
    queries
}

/// In the dashboard, in the rules and in the runbooks.
#[test]
fn every_expression_parses_and_names_metrics_that_exist() {
    let Some(promtool) = tool("promtool") else {
        return;
    };
    let dashboard: Value =
        serde_json::from_str(&read("deploy/grafana/dashboard.json")).expect("JSON");
    let mut expressions = Vec::new();
    texts(&dashboard, "expr", &mut expressions);
    assert!(expressions.len() > 10, "{}", expressions.len());
    for query in [
        "ha_miner_redis_memory_usage_ratio",
        "ha_miner_leader_status",
        "rate(ha_miner_leader_acquisition_failures_total",
    ] {
        assert!(
            expressions.iter().any(|it| it.contains(query)),
            "the combined view has {query}"
        );
    }
    // The rules depend on no job name, and define time without a leader as the alerts do.
    for expression in &expressions {
        assert!(!expression.contains("job="), "{expression}");
        let own = expression.contains("min by") && expression.contains("leaderless_seconds");
        assert!(!own, "{expression}");
    }
    let pages = fs::read_dir(path("docs/runbooks")).expect("the runbooks");
    let asked: Vec<String> = pages
        .map(|page| fs::read_to_string(page.expect("a page").path()).expect("text"))
        .flat_map(|page| queries(&page))
        .collect();
    assert!(asked.len() > 30, "{}", asked.len());
    expressions.extend(asked);
    let rules = documents(&read("deploy/prometheus/rules.yaml")).remove(0);
    let mut recorded = Vec::new();
    texts(&rules, "record", &mut recorded);
    let plain: Vec<String> = expressions
        .iter()
        .map(|it| {
            it.replace("$__rate_interval", "5m")
                .replace("$__range", "1h")
                .replace("$__interval", "1m")
                .replace("$namespace", ".*")
        })
        .collect();
    let as_rules: Vec<Value> = plain
        .iter()
        .enumerate()
        .map(|(index, expr)| serde_json::json!({"record": format!("dashboard:{index}"), "expr": expr}))
        .collect();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let group = serde_json::json!({"groups": [{"name": "dashboard", "rules": as_rules}]});
    fs::write(file.path(), group.to_string()).expect("a file");
    run(
        &promtool,
        &["check", "rules", &file.path().display().to_string()],
        "",
    );
    // An agent that has seen all: its metrics.
    let redis = Redis::start();
    let agent = Agent::start(
        "a",
        &redis,
        &[
            "--memory-every",
            "200ms",
            "--lease-ttl",
            "1s",
            "--miner-liveness",
            "always",
        ],
    );
    agent.wait_until_up();
    agent.wait_until_leading(SOON);
    wait_for("all metrics", SOON, || {
        agent.metric("ha_miner_redis_max_memory_bytes")
    });
    let (_, exported) = agent.get("/metrics").expect("the agent answers");
    texts(&rules, "expr", &mut expressions);
    for expression in &expressions {
        let words =
            expression.split(|it: char| !it.is_ascii_alphanumeric() && it != '_' && it != ':');
        for word in
            words.filter(|word| word.starts_with("ha_miner_") || word.starts_with("process_"))
        {
            let known = exported.contains(word) || recorded.iter().any(|it| it == word);
            assert!(known, "{word} is not exported: {expression}");
        }
    }
}
