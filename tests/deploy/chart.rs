//! What the chart's values do, and which it refuses.

use super::*;

#[test]
fn the_network_policy_opens_other_ports_only_if_it_may() {
    if tool("helm").is_none() {
        return;
    }
    let ports = |sets: &[&str]| {
        let all = documents(&helm(sets));
        let rules = &find(&all, "NetworkPolicy", "understudy")["spec"]["ingress"];
        let from = |rule: &Value| (rule["from"].is_array(), list(&rule["ports"]).len());
        list(rules).iter().map(from).collect::<Vec<_>>()
    };
    assert_eq!(ports(&[]), [(true, 1), (false, 4)]);
    assert_eq!(ports(&["networkPolicy.otherPorts=false"]), [(true, 1)]);
}
