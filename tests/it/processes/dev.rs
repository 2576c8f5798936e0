//! What `dev` promises a person at a terminal: it refuses clearly, says where everything is, starts
//! again what dies, and leaves nothing behind.

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use serde_json::Value;

use crate::support::local_cluster::{LocalCluster, kill, runs};
use crate::support::wait_for::wait_for;

const SAMPLE: &str = include_str!("../../../manifests/samples/laptop.yaml");

fn vectorsphere(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vectorsphere"));
    command.args(arguments);
    command
}

/// The exit code and what was said on standard error.
fn refused(command: &mut Command) -> (Option<i32>, String) {
    let Output { status, stderr, .. } = command.output().unwrap();
    (status.code(), String::from_utf8(stderr).unwrap())
}

fn dev_with(manifest: &str, folder: &Path) -> (Option<i32>, String) {
    let file = folder.join("cluster.yaml");
    fs_err::write(&file, manifest).unwrap();
    let mut command = vectorsphere(&["dev", "--listen", "127.0.0.1:0", "-f"]);
    refused(
        command
            .arg(&file)
            .arg("--data-dir")
            .arg(folder.join("data")),
    )
}

#[test]
fn a_bad_manifest_is_refused_with_every_fault_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let bad = SAMPLE
        .replace("replicationFactor: 1", "replicationFactor: 2")
        .replace("      size: 10Gi", "      sise: 10Gi")
        .replace("  master:\n    replicas: 1", "  master:\n    replicas: 2");
    let (code, said) = dev_with(&bad, folder.path());
    assert_eq!(code, Some(64), "{said}");
    for path in [
        "spec.sharding.replicationFactor:",
        "spec.worker.storage",
        "spec.master.replicas:",
    ] {
        assert!(said.contains(path), "{path}\n{said}");
    }
    assert!(!folder.path().join("data").try_exists().unwrap());
    let (code, said) = dev_with("just: text", folder.path());
    assert_eq!(code, Some(64), "{said}");
    let mut missing = vectorsphere(&["dev", "-f", "/nowhere/cluster.yaml"]);
    let (code, said) = refused(&mut missing);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("/nowhere/cluster.yaml"), "{said}");
}

#[test]
fn a_manifest_that_is_no_text_is_refused_with_64() {
    let folder = tempfile::tempdir().unwrap();
    let binary = folder.path().join("binary.yaml");
    fs_err::write(&binary, b"\x7fELF\xff\xfe").unwrap();
    for file in [folder.path(), &binary] {
        let (code, said) = refused(vectorsphere(&["dev", "-f"]).arg(file));
        assert_eq!(code, Some(64), "{said}");
        assert!(said.contains(&file.display().to_string()), "{said}");
    }
}

#[test]
fn files_that_no_component_could_use_are_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs_err::write(&path, text).unwrap();
        path.display().to_string()
    };
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let certificate = file("cert.pem", &signed.cert.pem());
    let key = file("key.pem", &signed.signing_key.serialize_pem());
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other_key = file("other.pem", &other.signing_key.serialize_pem());
    let text = file("text.pem", "no certificate");
    let missing = folder.path().join("missing").display().to_string();
    let keys = |lines: &str, problem: &str| {
        let name = format!("keys-{}", lines.len());
        let file = file(&name, lines);
        let said = format!("--api-key-file: {file}{problem}");
        (vec![format!("--api-key-file={file}")], said)
    };
    let tls = |certificate: &str, key: &str, said: &str| {
        let arguments = vec![
            format!("--tls-cert={certificate}"),
            format!("--tls-key={key}"),
        ];
        (arguments, said.to_owned())
    };
    let cases = [
        keys("correct-horse", ", line 1: is not of the form"),
        keys(
            "# ours\nroot: correct-horse",
            ", line 2: the role is neither",
        ),
        keys("admin: short", ", line 1: a key has 8 to 1024"),
        keys("", ": the file holds no key"),
        (vec![format!("--api-key-file={missing}")], missing.clone()),
        tls(&missing, &key, &missing),
        tls(&certificate, &missing, &missing),
        tls(
            &text,
            &key,
            &format!("--tls-cert: certificate or its key in {text}"),
        ),
        tls(
            &certificate,
            &text,
            &format!("--tls-key: certificate or its key in {text}"),
        ),
        tls(
            &certificate,
            &other_key,
            "--tls-cert: certificate or its key",
        ),
    ];
    for (arguments, expected) in cases {
        let mut dev = vectorsphere(&["dev", "--listen", "127.0.0.1:0", "--data-dir"]);
        let (code, said) = refused(dev.arg(&data).args(&arguments));
        assert_eq!(code, Some(64), "{arguments:?}\n{said}");
        assert!(said.contains(&expected), "{expected}\n{said}");
        assert!(!said.contains("horse"), "{said}");
        assert!(!data.try_exists().unwrap());
    }
}

#[test]
fn a_folder_of_another_cluster_or_of_nobody_is_refused_and_stays_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let entries = || {
        let names = fs_err::read_dir(&data).unwrap();
        names
            .map(|entry| entry.unwrap().file_name())
            .collect::<Vec<_>>()
    };
    fs_err::create_dir_all(data.join("letters")).unwrap();
    let (code, said) = dev_with(SAMPLE, folder.path());
    assert_eq!(code, Some(64), "{said}");
    assert!(
        said.contains("letters") && said.contains(&data.display().to_string()),
        "{said}"
    );
    assert_eq!(entries(), ["letters"]);
    fs_err::rename(data.join("letters"), data.join("notes-worker-0")).unwrap();
    let (code, said) = dev_with(SAMPLE, folder.path());
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("the cluster notes, not to laptop"), "{said}");
    assert_eq!(entries(), ["notes-worker-0"]);
}

#[test]
fn bad_settings_are_refused_together_with_64() {
    let mut worker = vectorsphere(&["worker", "--etcd", "nowhere", "--listen", "10.1.2.3:1"]);
    worker.env("VECTORSPHERE_SEARCHES_MAX", "0");
    let (code, said) = refused(&mut worker);
    assert_eq!(code, Some(64), "{said}");
    let faults = [
        "--name: is needed",
        "--data-dir: is needed",
        "--etcd:",
        "--cluster: is needed",
        "--api-key-file: is needed",
        "--tls-cert: is needed",
        "--searches-max:",
    ];
    for fault in faults {
        assert!(said.contains(fault), "{fault}\n{said}");
    }
    let mut misspelled = vectorsphere(&["crdgen"]);
    misspelled.env("VECTORSPHERE_ETDC", "http://127.0.0.1:1");
    assert_eq!(
        refused(&mut misspelled),
        (
            Some(64),
            "vectorsphere: VECTORSPHERE_ETDC: is not a setting\n".to_owned()
        )
    );
    assert_eq!(
        refused(&mut vectorsphere(&["dev", "--listne", "x"])).0,
        Some(64)
    );
    assert_eq!(refused(&mut vectorsphere(&["--version"])).0, Some(0));
}

#[test]
fn a_process_whose_parent_is_gone_touches_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let mut orphan = vectorsphere(&["worker", "--name=w", "--etcd=http://127.0.0.1:1"]);
    orphan
        .args(["--cluster=c", "--end-with-parent=1"])
        .arg("--data-dir")
        .arg(&data_dir);
    let (code, said) = refused(&mut orphan);
    assert_eq!(code, Some(1));
    assert!(said.contains("the parent process is gone"), "{said}");
    assert!(!data_dir.try_exists().unwrap());
}

#[test]
fn a_taken_port_is_said_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut dev = vectorsphere(&["dev", "--listen", &address, "--data-dir"]);
    let (code, said) = refused(dev.arg(folder.path()));
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains(&format!("listen on {address}")), "{said}");
}

fn endpoints(folder: &Path) -> Value {
    let text = fs_err::read(folder.join("endpoints.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

/// The same once all three components are in it: the gateway may be ready before another has said where
/// it is.
async fn whole_endpoints(folder: &Path) -> Value {
    wait_for(
        "all components are in endpoints.json",
        Duration::from_secs(30),
        || async {
            let all = endpoints(folder);
            (all["components"].as_array().unwrap().len() == 3).then_some(all)
        },
    )
    .await
}

async fn status(cluster: &LocalCluster, address: &Value, path: &str) -> u16 {
    let address = address.as_str().unwrap();
    let request = cluster.http.get(&format!("http://{address}{path}"));
    request.send().await.unwrap().status
}

#[tokio::test]
async fn what_dies_comes_back_where_it_was_and_everybody_can_be_asked() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let first = whole_endpoints(folder.path()).await;
    assert_eq!(first["cluster"], "laptop");
    for component in first["components"].as_array().unwrap() {
        for path in ["/livez", "/readyz", "/metrics"] {
            let what = format!("{component} {path}");
            wait_for(&what, Duration::from_secs(10), || async {
                let status = status(&cluster, &component["http_address"], path).await;
                (status == 200).then_some(())
            })
            .await;
        }
        let log = folder
            .path()
            .join("logs")
            .join(format!("{}.log", component["name"].as_str().unwrap()));
        assert!(fs_err::metadata(log).unwrap().len() > 0);
    }
    for role in ["gateway", "master", "worker"] {
        let before = cluster.pids(role)[0];
        kill(before);
        cluster.replaced(role, before).await;
    }
    wait_for(
        "the gateway is ready again",
        Duration::from_secs(30),
        || async {
            let answer = cluster
                .http
                .get(&format!("{}/readyz", cluster.url))
                .send()
                .await;
            answer
                .is_ok_and(|answer| answer.status == 200)
                .then_some(())
        },
    )
    .await;
    let second = whole_endpoints(folder.path()).await;
    assert_eq!(second["etcd"], first["etcd"]);
    let node = |all: &Value| all["components"][1]["node"].clone();
    assert_eq!(node(&first), node(&second));
}

#[tokio::test]
async fn a_stop_leaves_nothing_and_the_next_run_finds_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = LocalCluster::start(folder.path(), None);
    let before = whole_endpoints(folder.path()).await;
    let pids: Vec<i32> = ["gateway", "master", "worker"]
        .into_iter()
        .flat_map(|role| cluster.pids(role))
        .collect();
    let http_addresses = cluster.components();
    let http_addresses = http_addresses
        .iter()
        .map(|card| card["http_address"].clone());
    for address in http_addresses {
        let mut ctl = vectorsphere(&["ctl", "status", "--master", address.as_str().unwrap()]);
        let (code, said) = refused(&mut ctl);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains("not the gRPC address of a master"), "{said}");
    }
    assert_eq!(cluster.terminate(), Some(0));
    assert!(pids.iter().all(|pid| !runs(*pid)));
    for name in ["laptop-gateway-0", "laptop-master-0", "laptop-worker-0"] {
        let log = folder.path().join(format!("logs/{name}.log"));
        let log = fs_err::read_to_string(log).unwrap();
        let (_before, stop) = log.rsplit_once(": stopping").unwrap();
        assert!(
            !stop.contains(" WARN ") && !stop.contains(" ERROR "),
            "{name}\n{stop}"
        );
    }
    assert!(!folder.path().join("endpoints.json").try_exists().unwrap());
    let again = LocalCluster::start(folder.path(), None);
    let after = whole_endpoints(folder.path()).await;
    assert_eq!(after["etcd"], before["etcd"], "etcd keeps its port");
    for (before, after) in (0..3).map(|at| (&before["components"][at], &after["components"][at])) {
        assert_eq!(before["node"], after["node"]);
    }
    assert_eq!(again.terminate(), Some(0));
}

#[test]
fn dev_tells_what_has_no_effect_and_warns_of_an_etcd_that_is_not_used() {
    let folder = tempfile::tempdir().unwrap();
    let hibernated = format!("{SAMPLE}  power: Hibernated\n  deletionProtection: true\n");
    let file = folder.path().join("cluster.yaml");
    fs_err::write(&file, hibernated).unwrap();
    let data = folder.path().join("data");
    let mut dev = vectorsphere(&["dev", "--listen", "127.0.0.1:0", "-f"]);
    let output = dev
        .arg(&file)
        .arg("--data-dir")
        .arg(&data)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    for line in [
        "no effect on one machine: spec.deletionProtection",
        "nothing runs: spec.power is Hibernated",
    ] {
        assert!(said.lines().any(|there| there == line), "{line}\n{said}");
    }
    let external = SAMPLE.replace(
        "managed:\n      replicas: 1",
        "external:\n      endpoints: ['http://etcd:2379']",
    );
    fs_err::write(&file, format!("{external}  power: Hibernated\n")).unwrap();
    let mut dev = vectorsphere(&["dev", "--listen", "127.0.0.1:0", "-f"]);
    let (code, said) = refused(dev.arg(&file).arg("--data-dir").arg(&data));
    assert_eq!(code, Some(0), "{said}");
    assert!(
        said.contains(" WARN ") && said.contains("http://etcd:2379"),
        "{said}"
    );
}
