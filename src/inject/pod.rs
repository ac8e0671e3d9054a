//! Puts the agent into a pod beside the miner, and takes it out again.

use super::Options;
use super::plan::Plan;
use super::sidecar::{self, sidecar};
use super::text::Source;
use super::value::{Data, Step, Value};
use super::workload::Workload;
use super::yaml::Refused;

/// The container and its volume.
pub(super) const NAME: &str = "understudy";
/// The label of the pod, and its value.
pub(super) const LABEL: &str = "understudy/agent";
pub(super) const ENABLED: &str = "enabled";
const SOCKET_FOLDER: &str = "/run/understudy";
const ADDRESS: (&str, &str) = ("UNDERSTUDY_GRPC_ADDR", "unix:/run/understudy/grpc.sock");
const LISTS: [&str; 2] = ["initContainers", "containers"];

/// Plans the work on one workload. Line numbers are those of the input.
pub(super) fn work(
    source: &Source,
    plan: &mut Plan,
    on: &Workload,
    options: &Options,
) -> Result<(), Refused> {
    let work = Work {
        source,
        plan,
        on,
        options,
    };
    if options.uninject {
        work.take_out();
        return Ok(());
    }
    work.put_in()
}

pub(super) struct Work<'a> {
    source: &'a Source<'a>,
    pub plan: &'a mut Plan,
    pub on: &'a Workload,
    pub options: &'a Options,
}

impl Work<'_> {
    fn put_in(mut self) -> Result<(), Refused> {
        self.must_fit()?;
        let sidecar = sidecar(self.options, self.others_are_guaranteed())?;
        self.agent(&sidecar)?;
        let miner = self.miner()?;
        for container in self.others().into_iter().filter(|it| *it != miner) {
            self.clean(&container);
        }
        let address = Value::mapping([
            ("name", Value::string(ADDRESS.0)),
            ("value", Value::string(ADDRESS.1)),
        ]);
        self.have(&below(&miner, "env"), address)?;
        let mount = [
            ("name", Value::string(NAME)),
            ("mountPath", Value::string(SOCKET_FOLDER)),
        ];
        let there = self
            .plan
            .at(&miner)
            .is_some_and(|it| items(it, "volumeMounts").any(|it| called(NAME)(&it)));
        if !there {
            self.have(&below(&miner, "volumeMounts"), Value::mapping(mount))?;
        }
        let folder = [
            ("medium", Value::string("Memory")),
            ("sizeLimit", Value::string("1Mi")),
        ];
        let volume = Value::mapping([
            ("name", Value::string(NAME)),
            ("emptyDir", Value::mapping(folder)),
        ]);
        self.have(&self.on.spec(&["volumes"]), volume)?;
        self.group()?;
        self.label()
    }

    fn take_out(mut self) {
        let ours = self.foreign().is_none();
        for list in LISTS {
            self.remove_items(&self.on.spec(&[list]), |item| called(NAME)(&item));
        }
        for container in self.others() {
            self.clean(&container);
        }
        if ours {
            self.remove_items(&self.on.spec(&["volumes"]), |item| called(NAME)(&item));
        }
        if self.group_is_ours() {
            self.remove_group();
        }
        let label = self.on.in_pod(&["metadata", "labels", LABEL]);
        let is_ours = self.plan.at(&label).and_then(Value::text) == Some(ENABLED);
        // The user may have labelled the pod, to select it.
        if is_ours && self.on.kind.name != "Pod" && !self.on.selects_by_label(&self.plan.value) {
            self.plan.remove(&label);
        }
    }

    /// Checks that nothing in the pod collides with the agent.
    fn must_fit(&self) -> Result<(), Refused> {
        let to = self.on;
        let spec = to.spec(&[]);
        if self.plan.at(&spec).is_none() {
            return self.refuse(&spec, format!("{to} has no {}", to.spec_name()));
        }
        if to.kind.completes && self.options.classic {
            return self.refuse(&to.root, format!(
                "an ordinary container that goes on running keeps {to} from completing: leave out --classic, for a native sidecar ends with it"
            ));
        }
        let miner = self.miner()?;
        let port = sidecar::http_port(self.options);
        let others = self.others();
        let others = others.iter().filter_map(|it| self.plan.at(it));
        let mut ports = others.flat_map(|it| items(it, "ports"));
        if let Some(its) = ports.find(|it| it.word(&["containerPort"]) == Some(&port)) {
            return self.refuse_at(its, format!("{to} uses port {port} itself, which the agent needs: give the agent another with --http-port"));
        }
        if let Some(foreign) = self.foreign() {
            return self.refuse_at(foreign, format!(
                "{NAME} is the name of the agent's own volume, at {SOCKET_FOLDER}: call this one something else"
            ));
        }
        let Some(miner) = self.plan.at(&miner) else {
            return Ok(());
        };
        let mut mounts = items(miner, "volumeMounts").filter(|it| !called(NAME)(it));
        if let Some(mount) = mounts.find(|it| at_the_socket(it)) {
            return self.refuse_at(mount, format!(
                "{SOCKET_FOLDER} is where the agent's socket is mounted: mount this one elsewhere"
            ));
        }
        let (variable, address) = ADDRESS;
        let mut others = items(miner, "env").filter(called(variable));
        if let Some(other) = others.find(|it| it.word(&["value"]) != Some(address)) {
            return self.refuse_at(other, format!(
                "{variable} leads elsewhere, and the agent will listen at {address} only: take it out"
            ));
        }
        let label = self.plan.at(&to.in_pod(&["metadata", "labels", LABEL]));
        if let Some(label) = label.filter(|it| it.text() != Some(ENABLED)) {
            return self.refuse_at(label, format!(
                "the pod's label {LABEL} must be {ENABLED}, by which NetworkPolicy, PodDisruptionBudget and PodMonitor find it"
            ));
        }
        Ok(())
    }

    /// The way to the miner's container.
    fn miner(&self) -> Result<Vec<Step>, Refused> {
        let on = self.on;
        let path = on.spec(&["containers"]);
        let Some(list) = self.plan.at(&path).filter(|it| !it.items().is_empty()) else {
            return self.refuse(&path, format!("{on} has no containers"));
        };
        let numbered = || list.items().iter().enumerate();
        let named = |name: &str| numbered().find(|(_, it)| called(name)(it));
        let mut others = numbered().filter(|(_, it)| !called(NAME)(it));
        let found = match (&self.options.container, others.next(), others.next()) {
            (Some(name), ..) => named(name),
            (None, Some(only), None) => Some(only),
            (None, ..) => named("miner"),
        };
        let Some((index, miner)) = found else {
            return self.refuse(&path, match &self.options.container {
                Some(name) => format!("{on} has no container called {name}"),
                None => format!("{on} has several containers and none is called miner: say which with --container"),
            });
        };
        if miner.word(&["name"]).is_none() {
            return self.refuse_at(miner, "a container without a name");
        }
        Ok([&path[..], &[Step::Item(index)]].concat())
    }

    /// Puts the agent's container into the list where it belongs and removes it from the other. An existing one keeps its place.
    fn agent(&mut self, sidecar: &Value) -> Result<(), Refused> {
        let [init, main] = LISTS.map(|list| self.on.spec(&[list]));
        let (home, other) = if self.options.classic {
            (main, init)
        } else {
            (init, main)
        };
        self.remove_items(&other, |item| called(NAME)(&item));
        let is_there = self
            .plan
            .at(&home)
            .is_some_and(|it| it.items().iter().any(|it| called(NAME)(&it)));
        if is_there || self.options.classic {
            return self.have(&home, sidecar.clone());
        }
        match self.list(&home)? {
            Some(_) => self
                .plan
                .insert(&[&home[..], &[Step::Item(0)]].concat(), sidecar.clone()),
            None => self
                .plan
                .put_before(&home, Value::list(vec![sidecar.clone()]), "containers"),
        }
        Ok(())
    }

    /// Removes our entries from every container that is not the miner's.
    fn clean(&mut self, container: &[Step]) {
        let ours = self.foreign().is_none();
        self.remove_items(&below(container, "env"), |item| {
            item.word(&["name"]) == Some(ADDRESS.0) && item.word(&["value"]) == Some(ADDRESS.1)
        });
        self.remove_items(&below(container, "volumeMounts"), |item| {
            ours && called(NAME)(&item)
        });
    }

    /// Whether every container and init container of the pod, except the agent, has limits equal to its requests.
    fn others_are_guaranteed(&self) -> bool {
        let others = self.others();
        let mut others = others.iter().filter_map(|it| self.plan.at(it));
        others.all(sidecar::is_guaranteed)
    }

    /// The ways to all containers and init containers except the agent's.
    fn others(&self) -> Vec<Vec<Step>> {
        let lists = LISTS.map(|list| self.on.spec(&[list]));
        let all = lists.iter().flat_map(|list| {
            let items = self.plan.at(list).map(Value::items).unwrap_or_default();
            let numbered = items.iter().enumerate();
            let others = numbered.filter(|(_, it)| !called(NAME)(it));
            others.map(|(at, _)| [&list[..], &[Step::Item(at)]].concat())
        });
        all.collect()
    }

    /// A volume with the name of the socket's that is another: of another kind, or mounted elsewhere.
    fn foreign(&self) -> Option<&Value> {
        let spec = self.plan.at(&self.on.spec(&[]))?;
        let mut volumes = items(spec, "volumes").filter(called(NAME));
        let containers = LISTS.into_iter().flat_map(|list| items(spec, list));
        let mut mounts = containers
            .flat_map(|it| items(it, "volumeMounts"))
            .filter(called(NAME));
        volumes
            .find(|volume| volume.get("emptyDir").is_none())
            .or_else(|| mounts.find(|mount| !at_the_socket(mount)))
    }

    /// `None` if the entry is missing or empty.
    fn list(&self, path: &[Step]) -> Result<Option<usize>, Refused> {
        match self.plan.at(path) {
            Some(Value {
                data: Data::Sequence(items),
                ..
            }) => Ok(Some(items.len())),
            Some(value) if !value.is_null() => self.refuse_at(value, "expected a list"),
            _ => Ok(None),
        }
    }

    /// Puts an item into a list: in place of the one with the same name, or at the end.
    fn have(&mut self, path: &[Step], item: Value) -> Result<(), Refused> {
        let Some(count) = self.list(path)? else {
            self.plan.put(path, Value::list(vec![item]));
            return Ok(());
        };
        let list = self.plan.at(path).map(Value::items).unwrap_or_default();
        let name = item.word(&["name"]).unwrap_or_default();
        let found = list.iter().position(|it| called(name)(&it));
        if found.is_some_and(|at| list.get(at) == Some(&item)) {
            return Ok(());
        }
        let at = [path, &[Step::Item(found.unwrap_or(count))]].concat();
        // Append first, so that the list never becomes empty and disappears.
        self.plan.insert(&at, item);
        if let Some(old) = found {
            self.plan.remove(&[path, &[Step::Item(old + 1)]].concat());
        }
        Ok(())
    }

    /// Sets an entry of one of the pod's mappings, and creates the mapping if it is missing.
    pub(super) fn set(
        &mut self,
        path: &[&'static str],
        key: &'static str,
        value: Value,
    ) -> Result<(), Refused> {
        let way = self.on.in_pod(path);
        match (self.plan.at(&way), path.split_last()) {
            (
                Some(Value {
                    data: Data::Mapping(_),
                    ..
                }),
                _,
            ) => self.plan.put(&below(&way, key), value),
            (Some(other), _) if !other.is_null() => {
                return self.refuse_at(other, "expected a mapping");
            }
            (None, Some((last, parent)))
                if !parent.is_empty()
                    && self
                        .plan
                        .at(&self.on.in_pod(parent))
                        .is_none_or(Value::is_null) =>
            {
                return self.set(parent, last, Value::mapping([(key, value)]));
            }
            _ => self.plan.put(&way, Value::mapping([(key, value)])),
        }
        Ok(())
    }

    fn remove_items(&mut self, list: &[Step], ours: impl Fn(&Value) -> bool) {
        let items = self.plan.at(list).map(Value::items).unwrap_or_default();
        let found = items.iter().enumerate().filter(|(_, it)| ours(it));
        let found: Vec<usize> = found.map(|(at, _)| at).collect();
        for at in found.into_iter().rev() {
            self.plan.remove(&[list, &[Step::Item(at)]].concat());
        }
    }

    /// Points an error at as much of the way as exists.
    pub(super) fn refuse<T>(&self, path: &[Step], why: impl Into<String>) -> Result<T, Refused> {
        let there = (0..=path.len())
            .rev()
            .find_map(|length| self.plan.at(path.get(..length)?));
        match there {
            Some(value) => self.refuse_at(value, why),
            None => self.refuse_at(&self.plan.value, why),
        }
    }

    fn refuse_at<T>(&self, value: &Value, why: impl Into<String>) -> Result<T, Refused> {
        let line = value.origin.map_or(1, |at| self.source.line_of(at) + 1);
        Err(Refused {
            line,
            why: why.into(),
        })
    }
}

fn below(path: &[Step], key: &str) -> Vec<Step> {
    [path, &[Step::from(key)]].concat()
}

fn called(name: &str) -> impl Fn(&&Value) -> bool {
    move |item| item.word(&["name"]) == Some(name)
}

fn items<'a>(of: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> {
    of.get(list).map(Value::items).unwrap_or_default().iter()
}

fn at_the_socket(mount: &Value) -> bool {
    let path = mount.word(&["mountPath"]).unwrap_or_default();
    path.trim_end_matches('/') == SOCKET_FOLDER
}
