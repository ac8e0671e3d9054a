//! `understudy inject`

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use super::{Exit, fail, say};
use crate::inject::{Done, Options, fixed, inject};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Example: understudy inject -f deployment.yaml --name miner | kubectl apply -f -"
)]
pub(super) struct Args {
    /// A manifest, a folder of manifests, or - for standard input; may be repeated
    #[arg(short, long, value_name = "FILE", default_value = "-")]
    filename: Vec<String>,
    /// The name of a Deployment, StatefulSet or Pod; may be repeated. Without it the label decides
    #[arg(long, value_name = "NAME")]
    name: Vec<String>,
    /// The label of the workloads that get an agent
    #[arg(long, value_name = "KEY=VALUE", default_value = "understudy=enabled")]
    selector: String,
    /// The miner's container [default: the one called miner, or the only one]
    #[arg(long, value_name = "NAME")]
    container: Option<String>,
    /// The agent's image [default: understudy of this version]
    #[arg(long, value_name = "IMAGE")]
    image: Option<String>,
    /// A setting of the agent, such as UNDERSTUDY_REDIS_URL=redis://redis:6379; may be repeated. Without it: the ConfigMap and
    /// the Secret called understudy
    #[arg(long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// As an ordinary container, for Kubernetes before 1.29
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
    let mut all = String::new();
    let mut found = Vec::new();
    for (name, text) in texts {
        match inject(&text, &options) {
            Ok(Done { text, selected }) => {
                if !all.is_empty() && !text.is_empty() && !text.starts_with("---") {
                    all.push_str("---\n");
                }
                all.push_str(&text);
                found.extend(
                    selected
                        .into_iter()
                        .map(|workload| (name.clone(), workload)),
                );
            }
            Err(refused) => return fail(Exit::No, format_args!("{name}: {refused}")),
        }
    }
    let is_there = |name: &&String| {
        found
            .iter()
            .any(|(_, workload)| workload.split('/').nth(1) == Some(name))
    };
    let missing: Vec<&str> = args
        .name
        .iter()
        .filter(|name| !is_there(name))
        .map(String::as_str)
        .collect();
    if found.is_empty() || !missing.is_empty() {
        let sought = if args.name.is_empty() {
            format!(
                "with the label {}: give it to the workload, or use --name",
                args.selector
            )
        } else {
            format!("called {}", missing.join(" or "))
        };
        return fail(
            Exit::No,
            format_args!("no Deployment, StatefulSet or Pod {sought}"),
        );
    }
    for (name, workload) in found {
        let done = if args.uninject {
            "has no agent any more"
        } else {
            "has an agent"
        };
        eprintln!("{name}: {workload} {done}");
    }
    say(all.trim_end());
    Exit::Yes
}

fn options(args: &Args) -> Result<Options, String> {
    let pair = |flag: &str, text: &str| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("--{flag}={text}: allowed is KEY=VALUE")),
    };
    let env = args.env.iter().map(|text| {
        let (name, value) = pair("env", text)?;
        let plain = |it: char| it.is_ascii_uppercase() || it.is_ascii_digit() || it == '_';
        if !name.starts_with("UNDERSTUDY_") || !name.chars().all(plain) {
            return Err(format!("--env={name}=…: allowed is the environment twin of a flag of `run`, UNDERSTUDY_…"));
        }
        if name.contains("PASSWORD") && !name.ends_with("_FILE") {
            return Err(format!("--env={name}=…: a manifest is no place for it: put it into the Secret called understudy"));
        }
        if fixed().any(|it| it == name) {
            return Err(format!("--env={name}=…: the manifest sets it itself: allowed is any other setting"));
        }
        Ok((name, value))
    });
    Ok(Options {
        names: args.name.clone(),
        label: pair("selector", &args.selector)?,
        container: args.container.clone(),
        image: args.image.clone(),
        env: env.collect::<Result<_, _>>()?,
        classic: args.classic,
        uninject: args.uninject,
    })
}

/// The files, in order, each with its name.
fn texts(names: &[String]) -> io::Result<Vec<(String, String)>> {
    let named =
        |name: &str, error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
    let mut texts = Vec::new();
    for name in names {
        if name == "-" {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|error| named("standard input", error))?;
            texts.push(("standard input".to_owned(), text));
            continue;
        }
        for file in files(name).map_err(|error| named(name, error))? {
            let text = fs::read_to_string(&file).map_err(|error| named(&file, error))?;
            texts.push((file, text));
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
