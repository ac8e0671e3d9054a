//! What is put into a pod beside the miner.

use std::fmt;

use super::edit::Edit;
use super::yaml::{Node, Refused};
use super::{Options, SIDECAR};

/// The container, its volume, and the label of the pod.
const NAME: &str = "understudy";
const ENABLED: &str = "enabled";
const SOCKET_FOLDER: &str = "/run/understudy";
const ADDRESS: (&str, &str) = ("UNDERSTUDY_GRPC_ADDR", "unix:/run/understudy/grpc.sock");
const HTTP_PORT: &str = "9095";
/// The group that both containers are in, so that the miner may open the socket.
const GROUP: [(&str, &str); 2] = [
    ("fsGroup", "65532"),
    ("fsGroupChangePolicy", "OnRootMismatch"),
];

/// A workload that was selected.
pub(super) struct Workload<'a> {
    root: &'a Node,
    kind: &'a str,
    name: &'a str,
    /// The pod, or its template.
    pod: &'a Node,
    spec: &'a Node,
}

impl<'a> Workload<'a> {
    /// `None`: it is not selected, or has no pods.
    pub fn of(root: &'a Node, options: &Options) -> Result<Option<Self>, Refused> {
        let Some(kind) = root.word(&["kind"]) else {
            return Ok(None);
        };
        let name = root.word(&["metadata", "name"]).unwrap_or_default();
        let (key, value) = &options.label;
        let labelled = root.word(&["metadata", "labels", key]) == Some(value);
        let named = options.names.iter().any(|it| it == name);
        let selected = if options.names.is_empty() {
            labelled
        } else {
            named
        };
        if !selected {
            return Ok(None);
        }
        let pod = match kind {
            "Pod" => root,
            "Deployment" | "StatefulSet" => match root.at_path(&["spec", "template"]) {
                Some(template) => template,
                None => return root.refuse(format!("{kind}/{name} has no spec.template")),
            },
            _ if root.at_path(&["spec", "template"]).is_some() || kind == "CronJob" => {
                return root.refuse(format!(
                    "{kind}/{name} is selected: only a Deployment, a StatefulSet or a Pod can have an agent"
                ));
            }
            _ => return Ok(None),
        };
        let Some(spec) = pod.get("spec") else {
            return pod.refuse(format!("{kind}/{name} has no spec of a pod"));
        };
        root.must_be_block()?;
        pod.must_be_block()?;
        spec.must_be_block()?;
        Ok(Some(Self {
            root,
            kind,
            name,
            pod,
            spec,
        }))
    }

    fn containers(&self) -> impl Iterator<Item = &'a Node> {
        let lists = ["initContainers", "containers"].into_iter();
        lists
            .filter_map(|key| self.spec.get(key))
            .flat_map(Node::items)
    }

    fn miner(&self, options: &Options) -> Result<&'a Node, Refused> {
        let Some(list) = self.spec.get("containers").filter(|list| !list.empty()) else {
            return self.spec.refuse(format!("{self} has no containers"));
        };
        let called = |name: &str| {
            list.items()
                .iter()
                .find(|it| it.word(&["name"]) == Some(name))
        };
        let ours = |it: &&Node| it.word(&["name"]) == Some(NAME);
        let mut others = list.items().iter().filter(|it| !ours(it));
        let found = match (&options.container, others.next(), others.next()) {
            (Some(name), ..) => called(name),
            (None, Some(only), None) => Some(only),
            (None, ..) => called("miner"),
        };
        let why = || match &options.container {
            Some(name) => format!("{self} has no container called {name}"),
            None => format!(
                "{self} has several containers and none is called miner: say which with --container"
            ),
        };
        let Some(miner) = found else {
            return list.refuse(why());
        };
        list.must_be_block()?;
        miner.must_be_block()?;
        if miner.word(&["name"]).is_none() {
            return miner.refuse("a container without a name");
        }
        Ok(miner)
    }

    /// What is called as the socket's volume and is none: a volume of another kind, or mounted elsewhere.
    fn foreign(&self) -> Option<&'a Node> {
        let mut volumes = items(self.spec, "volumes").filter(called(NAME));
        let mut mounts = self.containers().flat_map(mounts).filter(called(NAME));
        volumes
            .find(|volume| volume.get("emptyDir").is_none())
            .or_else(|| mounts.find(|mount| !at_the_socket(mount)))
    }

    /// Its selector finds the pods by our label too: without it they are none of its own.
    fn selects_by_label(&self) -> bool {
        let selector = |path: &[&str]| self.root.at_path(&[&["spec", "selector"], path].concat());
        let expressions = selector(&["matchExpressions"]).map(Node::items);
        selector(&["matchLabels", NAME]).is_some()
            || expressions
                .unwrap_or_default()
                .iter()
                .any(|it| it.word(&["key"]) == Some(NAME))
    }
}

impl fmt::Display for Workload<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

/// Whether there is room for the agent. Asked of the text as it came, so that the lines are those of the file.
pub(super) fn must_fit(to: &Workload, options: &Options) -> Result<(), Refused> {
    let miner = to.miner(options)?;
    let others = to.containers().filter(|it| !called(NAME)(it));
    for port in others.flat_map(|it| items(it, "ports")) {
        if port.word(&["containerPort"]) == Some(HTTP_PORT) {
            return port.refuse(format!(
                "{to} uses port {HTTP_PORT} itself, which the agent needs"
            ));
        }
    }
    if let Some(foreign) = to.foreign() {
        return foreign.refuse(format!(
            "{NAME} is the name of the agent's own volume, at {SOCKET_FOLDER}: call this one something else"
        ));
    }
    let mut mounts = mounts(miner).filter(|it| !called(NAME)(it));
    if let Some(mount) = mounts.find(|it| at_the_socket(it)) {
        return mount.refuse(format!(
            "{SOCKET_FOLDER} is where the agent's socket is mounted: mount this one elsewhere"
        ));
    }
    let (variable, address) = ADDRESS;
    let mut others = items(miner, "env").filter(called(variable));
    if let Some(other) = others.find(|it| it.word(&["value"]) != Some(address)) {
        return other.refuse(format!(
            "{variable} leads elsewhere, and the agent will listen at {address} only: take it out"
        ));
    }
    if let Some(label) = to.pod.at_path(&["metadata", "labels", NAME])
        && label.text() != Some(ENABLED)
    {
        return label.refuse(format!(
            "the pod's label {NAME} must be {ENABLED}, by which NetworkPolicy, PodDisruptionBudget and PodMonitor find it"
        ));
    }
    Ok(())
}

pub(super) fn put_in(edit: &mut Edit, to: &Workload, options: &Options) -> Result<(), Refused> {
    let miner = to.miner(options)?;
    let spec = to.spec;
    let sidecar = sidecar(options);
    if options.classic {
        edit.add_item(spec, "containers", &sidecar)?;
    } else {
        edit.add_first_item(spec, "initContainers", "containers", &sidecar)?;
    }
    let set = [
        format!("name: {}", ADDRESS.0),
        format!("value: {}", ADDRESS.1),
    ];
    edit.add_item(miner, "env", &set)?;
    let mount = [
        format!("name: {NAME}"),
        format!("mountPath: {SOCKET_FOLDER}"),
    ];
    edit.add_item(miner, "volumeMounts", &mount)?;
    let volume = [
        format!("name: {NAME}"),
        "emptyDir:".into(),
        "  medium: Memory".into(),
        "  sizeLimit: 1Mi".into(),
    ];
    edit.add_item(spec, "volumes", &volume)?;
    if spec.word(&["securityContext", "fsGroup"]).is_none() {
        let [(group, number), (policy, when)] = GROUP;
        let context = spec.entry("securityContext").filter(|(_, it)| !it.empty());
        if let Some((_, context)) = context {
            edit.add_entry(context, group, &[number.into()])?;
            if context.get(policy).is_none() {
                edit.add_entry(context, policy, &[when.into()])?;
            }
        } else {
            let both = [format!("{group}: {number}"), format!("{policy}: {when}")];
            edit.add_mapping(spec, "securityContext", &both)?;
        }
    }
    if to.pod.word(&["metadata", "labels", NAME]).is_none() {
        let metadata = to.pod.get("metadata").filter(|it| !it.empty());
        if let Some(metadata) = metadata {
            edit.add_entry_below(metadata, "labels", NAME, &[ENABLED.into()])?;
        } else {
            let labels = ["labels:".into(), format!("  {NAME}: {ENABLED}")];
            edit.add_mapping(to.pod, "metadata", &labels)?;
        }
    }
    Ok(())
}

pub(super) fn take_out(edit: &mut Edit, of: &Workload, _: &Options) -> Result<(), Refused> {
    for key in ["initContainers", "containers"] {
        edit.remove_items(of.spec, key, |item| called(NAME)(&item))?;
    }
    let ours = of.foreign().is_none();
    let named = |it: &&Node| it.word(&["name"]).is_some_and(|name| name != NAME);
    for container in of.containers().filter(named) {
        let address = |item: &Node| {
            item.word(&["name"]) == Some(ADDRESS.0) && item.word(&["value"]) == Some(ADDRESS.1)
        };
        edit.remove_items(container, "env", address)?;
        edit.remove_items(container, "volumeMounts", |item| {
            ours && called(NAME)(&item)
        })?;
    }
    edit.remove_items(of.spec, "volumes", |item| ours && called(NAME)(&item))?;
    // Without our group the policy is somebody else's.
    let [(group, number), _] = GROUP;
    if of.spec.word(&["securityContext", group]) == Some(number) {
        edit.remove_entries(of.spec, &["securityContext"], &GROUP)?;
    }
    // A pod may have been labelled by hand, to be selected.
    if of.kind != "Pod" && !of.selects_by_label() {
        edit.remove_entries(of.pod, &["metadata", "labels"], &[(NAME, ENABLED)])?;
    }
    Ok(())
}

fn called(name: &str) -> impl Fn(&&Node) -> bool {
    move |item| item.word(&["name"]) == Some(name)
}

fn items<'a>(of: &'a Node, list: &str) -> impl Iterator<Item = &'a Node> {
    of.get(list).map(Node::items).unwrap_or_default().iter()
}

fn mounts(container: &Node) -> impl Iterator<Item = &Node> {
    items(container, "volumeMounts")
}

fn at_the_socket(mount: &Node) -> bool {
    let path = mount.word(&["mountPath"]).unwrap_or_default();
    path.trim_end_matches('/') == SOCKET_FOLDER
}

/// The settings that the container has of its own: later ones win, so others of these names would do nothing.
pub fn fixed() -> impl Iterator<Item = &'static str> {
    let names = SIDECAR
        .lines()
        .filter_map(|line| line.strip_prefix("  - name: "));
    names.filter(|name| name.starts_with("UNDERSTUDY_"))
}

/// The container's lines, as these options want it.
fn sidecar(options: &Options) -> Vec<String> {
    let mut lines = Vec::new();
    for line in SIDECAR
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
    {
        match &options.image {
            Some(image) if line.starts_with("image: ") => lines.push(format!("image: {image}")),
            _ if options.classic && line.starts_with("restartPolicy: ") => {}
            _ => lines.push(line.to_owned()),
        }
        if line == "env:" {
            for (name, value) in &options.env {
                lines.push(format!("  - name: {name}"));
                // A string of JSON is one of YAML.
                lines.push(format!(
                    "    value: {}",
                    serde_json::Value::from(value.as_str())
                ));
            }
        }
    }
    lines
}
