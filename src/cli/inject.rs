//! `understudy inject`

use std::fs;
use std::io::{self, Read, Write};
use std::path::Path;

use super::{Exit, fail};
use crate::config::{Unknown, must_be_read};
use crate::inject::{Done, Id, Name, Options, Part, fixed, inject, join, kinds, quantity};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: understudy inject -f deployment.yaml --name miner | kubectl apply -f -"
)]
pub(super) struct Args {
    /// A manifest, a folder of manifests, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    filename: Vec<String>,
    /// The workload: a Deployment, StatefulSet, DaemonSet, ReplicaSet, Pod, Job or CronJob; may be repeated. Without it the
    /// label decides
    #[arg(long, value_name = "[KIND/]NAME")]
    name: Vec<String>,
    /// The label of the workloads that get an agent
    #[arg(
        long,
        value_name = "KEY=VALUE",
        default_value = "understudy/agent=enabled"
    )]
    selector: String,
    /// The miner's container [default: the one called miner, or the only one]
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// The agent's image [default: understudy of this version]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A setting of the agent, such as UNDERSTUDY_REDIS_URL=redis://redis:6379; may be repeated. All other settings come from
    /// the ConfigMap and the Secret called understudy; with UNDERSTUDY_REDIS_URL set here the ConfigMap need not exist
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// The agent's port for HTTP [default: 9095]
    #[arg(long, value_name = "PORT")]
    http_port: Option<String>,
    /// Leave out the readiness probe, which fails while Redis refuses writes: for a rollout while Redis is out of memory, or for
    /// pods behind a Service that must keep its endpoints
    #[arg(long)]
    no_readiness_probe: bool,
    /// The agent's CPU, as request and limit [default: 10m requested; in a Guaranteed pod 100m]
    #[arg(long, value_name = "QUANTITY")]
    cpu: Option<String>,
    /// The agent's memory, as request and limit [default: 16Mi requested, limit 64Mi; in a Guaranteed pod 64Mi]
    #[arg(long, value_name = "QUANTITY")]
    memory: Option<String>,
    /// The user that the agent runs as; none if the platform assigns one, as OpenShift does [default: 65532]
    #[arg(long, value_name = "ID|none")]
    run_as_user: Option<String>,
    /// The group of the pod's volumes; none if the platform assigns one [default: 65532, or the pod's own]
    #[arg(long, value_name = "ID|none")]
    fs_group: Option<String>,
    /// Add an ordinary container, for Kubernetes before 1.29
    #[arg(long)]
    classic: bool,
    /// Take the agent out again
    #[arg(long)]
    uninject: bool,
}

pub(super) fn run(args: &Args) -> Exit {
    let options = match options(args) {
        Ok(options) => options,
        Err(bad) => return fail(Exit::BadFlags, bad),
    };
    let texts = match texts(&args.filename) {
        Ok(texts) => texts,
        Err(error) => return fail(Exit::CouldNotAsk, error),
    };
    let mut parts = Vec::new();
    let mut found = Vec::new();
    for Part { name, text } in texts {
        match inject(&text, &options) {
            Ok(Done { text, selected }) => {
                found.extend(selected.into_iter().map(|it| (name.clone(), it)));
                parts.push(Part { name, text });
            }
            Err(refused) => return fail(Exit::No, format_args!("{name}: {refused}")),
        }
    }
    let is_there = |name: &&Name| found.iter().any(|(_, workload)| name.means(workload));
    let missing = options.names.iter().filter(|name| !is_there(name));
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if found.is_empty() || !missing.is_empty() {
        let sought = if options.names.is_empty() {
            format!(
                "with the label {}: give it to the workload, or use --name",
                args.selector
            )
        } else {
            format!("called {}", missing.join(" or "))
        };
        return fail(Exit::No, format_args!("no {} {sought}", kinds_or()));
    }
    let all = match join(&parts) {
        Ok(all) => all,
        Err((name, refused)) => return fail(Exit::No, format_args!("{name}: {refused}")),
    };
    for (name, workload) in found {
        let done = if args.uninject {
            "no longer has an agent"
        } else {
            "has an agent"
        };
        eprintln!("{name}: {workload} {done}");
    }
    // Byte for byte: one more line end might become part of a value. The reader may be gone.
    let mut output = io::stdout().lock();
    let _ = output
        .write_all(all.as_bytes())
        .and_then(|()| output.flush());
    Exit::Yes
}

/// `Deployment, StatefulSet, … or CronJob`.
fn kinds_or() -> String {
    let all: Vec<_> = kinds().collect();
    match all.split_last() {
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

fn options(args: &Args) -> Result<Options, String> {
    let pair = |flag: &str, text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("--{flag}={text}: expected KEY=VALUE")),
    };
    let env = args.env.iter().map(|text| {
        let (name, value) = pair("env", text)?;
        let plain = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
        if !name.starts_with("UNDERSTUDY_") || !name.chars().all(plain) {
            return Err(format!("--env={name}=…: expected the environment twin of a flag of `run`, UNDERSTUDY_…"));
        }
        if name.contains("PASSWORD") && !name.ends_with("_FILE") {
            return Err(format!("--env={name}=…: a manifest is no place for it: put it into the Secret called understudy"));
        }
        if fixed().any(|it| it == name) {
            return Err(format!("--env={name}=…: the manifest sets it itself: expected any other setting"));
        }
        must_be_read(&name).map_err(|Unknown { name, similar }| {
            let meant = similar.map(|it| format!(", such as {it}"));
            let meant = meant.unwrap_or_default();
            format!("--env={name}=…: expected the environment twin of a flag of `run`{meant}")
        })?;
        Ok((name, value))
    });
    let names = args.name.iter().map(|text| {
        Name::parse(text).ok_or_else(|| {
            format!(
                "--name={text}: expected NAME or KIND/NAME, where KIND is {}",
                kinds_or()
            )
        })
    });
    let port = |text: &String| match text.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => Err(format!(
            "--http-port={text}: expected a port from 1 to 65535"
        )),
    };
    Ok(Options {
        names: names.collect::<Result<_, _>>()?,
        label: pair("selector", &args.selector)?,
        container: args.container.clone(),
        image: args.image.clone(),
        env: env.collect::<Result<_, _>>()?,
        http_port: args.http_port.as_ref().map(port).transpose()?,
        readiness_probe: !args.no_readiness_probe,
        cpu: amount("cpu", args.cpu.as_ref(), &["", "m"], "100m or 0.5")?,
        memory: amount(
            "memory",
            args.memory.as_ref(),
            &["", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti"],
            "64Mi",
        )?,
        run_as_user: id("run-as-user", args.run_as_user.as_ref(), 1)?,
        fs_group: id("fs-group", args.fs_group.as_ref(), 0)?,
        classic: args.classic,
        uninject: args.uninject,
    })
}

/// Checks that a quantity is in one of these units.
fn amount(
    flag: &str,
    text: Option<&String>,
    units: &[&str],
    such_as: &str,
) -> Result<Option<String>, String> {
    let Some(text) = text else {
        return Ok(None);
    };
    let unit = text.trim_start_matches(|it: char| it.is_ascii_digit() || it == '.');
    if units.contains(&unit) && quantity(text).is_some_and(|it| it > 0.0) {
        return Ok(Some(text.clone()));
    }
    Err(format!(
        "--{flag}={text}: expected a quantity such as {such_as}"
    ))
}

/// A user or group id that Kubernetes accepts.
fn id(flag: &str, text: Option<&String>, least: u32) -> Result<Id, String> {
    const MAX_ID: u32 = i32::MAX as u32;
    match text.map(String::as_str) {
        None => Ok(Id::Ours),
        Some("none") => Ok(Id::None),
        Some(text) => match text.parse() {
            Ok(id) if (least..=MAX_ID).contains(&id) => Ok(Id::Number(id)),
            _ => Err(format!(
                "--{flag}={text}: expected none or a number from {least} to {MAX_ID}"
            )),
        },
    }
}

/// The files, in order, each with its name.
fn texts(names: &[String]) -> io::Result<Vec<Part>> {
    let named =
        |name: &str, error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let mut texts = Vec::new();
    for name in names {
        if name == "-" {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| named("standard input", error))?;
            let name = "standard input".to_owned();
            texts.push(Part { name, text });
            continue;
        }
        for file in files(name).map_err(|error| named(name, error))? {
            let text = fs::read_to_string(&file).map_err(|error| named(&file, error))?;
            texts.push(Part { name: file, text });
        }
    }
    Ok(texts)
}

fn files(name: &str) -> io::Result<Vec<String>> {
    if !Path::new(name).is_dir() {
        return Ok(vec![name.to_owned()]);
    }
    let mut files = Vec::new();
    for entry in fs::read_dir(name)? {
        let path = entry?.path();
        let manifest = path
            .extension()
            .is_some_and(|it| it == "yaml" || it == "yml");
        if manifest && path.is_file() {
            files.push(path.display().to_string());
        }
    }
    files.sort();
    Ok(files)
}
