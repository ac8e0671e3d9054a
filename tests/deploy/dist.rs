//! The output of `make dist` is complete, works, and is reproducible.

use super::*;

fn dist() -> Option<PathBuf> {
    let found = std::env::var_os("UNDERSTUDY_DIST").map(PathBuf::from);
    if found.is_none() {
        println!(
            "skipped: the release, since UNDERSTUDY_DIST does not name what scripts/dist made"
        );
    }
    found
}

/// The one file of the release with this suffix.
fn file(dist: &Path, end: &str) -> PathBuf {
    let all = fs::read_dir(dist).expect("the release");
    let mut found = all
        .map(|it| it.expect("a file").path())
        .filter(|it| it.display().to_string().ends_with(end));
    found.next().unwrap_or_else(|| panic!("no {end}"))
}

fn sha256(file: &Path) -> String {
    let said = run(Path::new("sha256sum"), &[&file.display().to_string()], "");
    said.split(' ').next().unwrap_or_default().to_owned()
}

fn unpacked(archive: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let words = [
        "-xf",
        &archive.display().to_string(),
        "-C",
        &folder.path().display().to_string(),
    ];
    run(Path::new("tar"), &words, "");
    folder
}

fn json(file: &Path) -> Value {
    let text =
        fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn the_release_is_whole_and_its_sums_are_right() {
    let Some(dist) = dist() else { return };
    let sums = fs::read_to_string(dist.join("SHA256SUMS")).expect("the sums");
    for line in sums.lines() {
        let (sum, name) = line.split_once("  ").expect("a sum and a name");
        assert_eq!(sha256(&dist.join(name)), sum, "{name}");
    }
    let names: Vec<_> = sums
        .lines()
        .filter_map(|line| line.split_once("  "))
        .collect();
    for end in [".tar.gz", "-image.tar", ".tgz", ".cdx.json"] {
        assert!(
            names.iter().any(|(_, name)| name.ends_with(end)),
            "{end}: {sums}"
        );
    }
    let parts = unpacked(&file(&dist, ".tar.gz"));
    let at = parts
        .path()
        .join(concat!("understudy-", env!("CARGO_PKG_VERSION")));
    for part in [
        "completions/_understudy",
        "man/understudy-run.1",
        "man/understudy-exec.1",
        "understudy.service",
        "LICENSE-MIT",
    ] {
        assert!(at.join(part).exists(), "{part}");
    }
    let said = run(&at.join("understudy"), &["--version"], "");
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
}

/// By the rules of the OCI image layout: a loader goes from digest to digest.
#[test]
fn the_images_archive_leads_from_its_index_to_a_program_that_runs() {
    let Some(dist) = dist() else { return };
    let layout = unpacked(&file(&dist, "-image.tar"));
    let blob = |of: &Value| {
        let digest = of["digest"]
            .as_str()
            .and_then(|it| it.strip_prefix("sha256:"));
        let file = layout
            .path()
            .join("blobs/sha256")
            .join(digest.expect("a digest"));
        assert_eq!(Some(&*sha256(&file)), digest);
        assert_eq!(of["size"], fs::metadata(&file).expect("a blob").len());
        file
    };
    assert_eq!(
        json(&layout.path().join("oci-layout"))["imageLayoutVersion"],
        "1.0.0"
    );
    let top = json(&layout.path().join("index.json"))["manifests"][0].clone();
    assert_eq!(
        top["annotations"]["org.opencontainers.image.ref.name"],
        concat!("understudy:", env!("CARGO_PKG_VERSION"))
    );
    let mut found = json(&blob(&top));
    if found["manifests"].is_array() {
        let ours = if cfg!(target_arch = "x86_64") {
            "amd64"
        } else {
            "arm64"
        };
        let of = list(&found["manifests"])
            .iter()
            .find(|it| it["platform"]["architecture"] == ours);
        found = json(&blob(of.expect("this machine's")));
    }
    let config = json(&blob(&found["config"]));
    let (set, labels) = (&config["config"], &config["config"]["Labels"]);
    assert_eq!(set["User"], "65532:65532");
    assert_eq!(set["Entrypoint"][0], "/understudy");
    assert!(
        list(&set["Env"]).contains(&"UNDERSTUDY_LOG_FORMAT=json".into()),
        "{set}"
    );
    for label in [
        "title",
        "description",
        "licenses",
        "version",
        "revision",
        "created",
    ] {
        assert!(
            labels[format!("org.opencontainers.image.{label}")].is_string(),
            "{label}: {labels}"
        );
    }
    let layer = blob(&found["layers"][0]);
    let plain = Command::new("gzip")
        .args(["-dc"])
        .arg(&layer)
        .output()
        .expect("gzip runs");
    let tar = layout.path().join("layer.tar");
    fs::write(&tar, plain.stdout).expect("a file");
    assert_eq!(
        config["rootfs"]["diff_ids"][0],
        format!("sha256:{}", sha256(&tar))
    );
    let root = unpacked(&tar);
    assert!(
        root.path()
            .join("etc/ssl/certs/ca-certificates.crt")
            .exists()
    );
    let said = run(&root.path().join("understudy"), &["--version"], "");
    assert!(said.contains(env!("CARGO_PKG_VERSION")), "{said}");
}

#[test]
fn the_packed_chart_is_the_chart() {
    let (Some(dist), Some(_)) = (dist(), tool("helm")) else {
        return;
    };
    let packed = helm_says(&file(&dist, ".tgz").display().to_string(), &WITH_MINER);
    assert!(packed.status.success(), "{packed:?}");
    assert_eq!(String::from_utf8_lossy(&packed.stdout), helm(&WITH_MINER));
}

#[test]
fn the_sbom_names_what_is_in_the_program_and_where_it_came_from_only_by_its_sum() {
    let Some(dist) = dist() else { return };
    let sbom = json(&file(&dist, ".cdx.json"));
    assert_eq!(
        (&sbom["bomFormat"], &sbom["specVersion"]),
        (&"CycloneDX".into(), &"1.6".into())
    );
    let components = list(&sbom["components"]);
    let named = |name: &str| components.iter().find(|it| it["name"] == name);
    for inside in ["tokio", "redis", "rustls", "tonic"] {
        let it = named(inside).unwrap_or_else(|| panic!("no {inside}"));
        let whole = it["licenses"].is_array() && it["hashes"].is_array() && it["purl"].is_string();
        assert!(whole, "{it}");
    }
    for outside in ["proptest", "protox", "stage"] {
        assert!(
            named(outside).is_none(),
            "{outside} is no part of the program"
        );
    }
    let known: Vec<&Value> = components.iter().map(|it| &it["bom-ref"]).collect();
    for from in list(&sbom["dependencies"]) {
        assert!(
            list(&from["dependsOn"])
                .iter()
                .all(|it| known.contains(&it)),
            "{from}"
        );
    }
    assert!(!sbom.to_string().contains("://"), "no registry");
}

#[test]
fn what_is_packed_twice_is_the_same_to_the_byte() {
    let (Some(_), Ok(program)) = (dist(), std::env::var("UNDERSTUDY_STATIC_BIN")) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let pack = |name: &str| {
        let at = folder.path().join(name);
        fs::create_dir(&at).expect("a folder");
        let chart = at.join("chart");
        let copied = Command::new("cp")
            .arg("-rL")
            .arg(path("deploy/helm/understudy"))
            .arg(&chart)
            .status();
        assert!(copied.expect("cp runs").success());
        for words in [
            vec!["tar", "all.tar.gz", "x", "chart"],
            vec!["chart", "chart", "."],
            vec!["image", "image.tar", &program, std::env::consts::ARCH],
        ] {
            let done = Command::new(path("scripts/pack"))
                .args(&words)
                .current_dir(&at)
                .envs([
                    ("SOURCE_DATE_EPOCH", "1700000000"),
                    ("VERSION", "0"),
                    ("REVISION", "r"),
                ])
                .output()
                .expect("it runs");
            assert!(done.status.success(), "{done:?}");
        }
        let files = [
            "all.tar.gz",
            "image.tar",
            concat!("understudy-", env!("CARGO_PKG_VERSION"), ".tgz"),
        ];
        files.map(|it| sha256(&at.join(it)))
    };
    assert_eq!(pack("one"), pack("two"));
}
