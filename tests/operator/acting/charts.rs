//! The charts, by Helm: installed where only restricted pods may run, tested, upgraded and uninstalled.

use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::operator_process::{PATIENCE, SYSTEM, alone, fetch, until, wait_ready};
use crate::acting::serving::install;
use crate::kubernetes::{Answer, Kubernetes};

const OPERATOR: &str = "charts/vectorsphere-operator";
const CLUSTER: &str = "charts/vectorsphere-cluster";
const DEFINITIONS: &str = "charts/vectorsphere-crds";
/// Who may see metrics.
const METRICS_KEY: &str = "a-key-for-metrics";

/// Helm, for one namespace.
struct Helm {
    program: PathBuf,
    namespace: String,
}

impl Helm {
    fn new(namespace: &str) -> Self {
        Self {
            program: std::env::var_os("VECTORSPHERE_TEST_HELM").unwrap().into(),
            namespace: namespace.to_owned(),
        }
    }

    fn call(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(&self.program)
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .unwrap();
        Answer {
            ok: output.status.success(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// A call that succeeds without a warning.
    #[track_caller]
    fn done(&self, arguments: &[&str]) -> String {
        let answer = self.call(arguments);
        let said = answer.stderr.to_lowercase();
        assert!(
            answer.ok && !said.contains("warn"),
            "{arguments:?}: {answer:?}"
        );
        answer.stdout
    }

    /// A call that is refused with these words.
    #[track_caller]
    fn refused(&self, arguments: &[&str], words: &str) {
        let answer = self.call(arguments);
        assert!(
            !answer.ok && answer.stderr.contains(words),
            "{arguments:?}: {answer:?}"
        );
    }
}

fn image(variable: &str) -> String {
    std::env::var(format!("VECTORSPHERE_TEST_{variable}")).unwrap()
}

/// The values of an operator for one namespace with the images of this run.
fn operator_values() -> Vec<String> {
    let image = image("IMAGE");
    let (repository, tag) = image.rsplit_once(':').unwrap();
    let values = [
        format!("image.repository={repository}"),
        format!("image.tag={tag}"),
        format!("etcdImage={}", self::image("ETCD_IMAGE")),
        "scope=namespaces".to_owned(),
        "metrics.keySecret=metrics".to_owned(),
    ];
    values
        .into_iter()
        .flat_map(|value| ["--set".to_owned(), value])
        .collect()
}

/// The values of the smallest cluster.
fn cluster_values(protected: bool) -> Vec<String> {
    let values = [
        "spec.gateway.replicas=1".to_owned(),
        "spec.master.replicas=1".to_owned(),
        "spec.worker.replicas=1".to_owned(),
        "spec.worker.storage.size=1Gi".to_owned(),
        "spec.etcd.managed.replicas=1".to_owned(),
        format!("spec.deletionProtection={protected}"),
        format!("test.image={}", image("IMAGE")),
    ];
    values
        .into_iter()
        .flat_map(|value| ["--set".to_owned(), value])
        .collect()
}

fn with<'a>(start: &[&'a str], values: &'a [String]) -> Vec<&'a str> {
    let values = values.iter().map(String::as_str);
    start.iter().copied().chain(values).collect()
}

/// The operator of all namespaces is not there while this is.
struct Away<'a>(&'a Kubernetes);

impl<'a> Away<'a> {
    fn new(kubernetes: &'a Kubernetes) -> Self {
        Self::scale(kubernetes, 0);
        wait_ready(kubernetes, SYSTEM, 0);
        Self(kubernetes)
    }

    fn scale(kubernetes: &Kubernetes, replicas: u32) -> Answer {
        let replicas = format!("--replicas={replicas}");
        let scale = [
            "scale",
            "-n",
            SYSTEM,
            "deployment/vectorsphere-operator",
            &replicas,
        ];
        kubernetes.call(&scale, "")
    }
}

impl Drop for Away<'_> {
    fn drop(&mut self) {
        let answer = Self::scale(self.0, 2);
        if !answer.ok {
            eprintln!("{}", answer.stderr);
        }
    }
}

/// What must not change whatever becomes of the releases: the cluster, its worker, its volume.
fn kept(kubernetes: &Kubernetes, namespace: &str) -> [Value; 3] {
    let objects = [
        ("vectorcluster", "small"),
        ("pod", "small-worker-0"),
        ("persistentvolumeclaim", "data-small-worker-0"),
    ];
    objects.map(|(kind, name)| kubernetes.get(namespace, kind, name)["metadata"]["uid"].clone())
}

#[test]
fn three_charts_install_answer_and_keep_what_is_whose() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _alone = alone();
    let _away = Away::new(&kubernetes);
    let namespace = kubernetes.namespace("charts");
    for mode in ["enforce", "warn"] {
        let label = format!("pod-security.kubernetes.io/{mode}=restricted");
        let arguments = ["label", "namespace", &namespace.name, &label];
        kubernetes.call(&arguments, "").accepted("label");
    }
    let key = format!("--from-literal=readonly={METRICS_KEY}");
    let secret = [
        "create",
        "secret",
        "generic",
        "metrics",
        "-n",
        &namespace.name,
        &key,
    ];
    kubernetes.call(&secret, "").accepted("secret");
    let helm = Helm::new(&namespace.name);
    installs_and_answers(&helm);
    answers_who_shows_a_certificate(&kubernetes, &helm);
    sees_metrics(&kubernetes, &namespace.name);
    is_protected(&kubernetes, &helm);
    outlives_releases(&kubernetes, &helm);
    leaves_its_volume(&kubernetes, &helm);
}

fn install_operator(helm: &Helm) {
    let install = ["install", "operator", OPERATOR, "--wait", "--timeout=120s"];
    helm.done(&with(&install, &operator_values()));
}

fn installs_and_answers(helm: &Helm) {
    let began = SystemClock.now();
    helm.done(&["install", "definitions", DEFINITIONS, "--take-ownership"]);
    install_operator(helm);
    let notes = helm.done(&with(&["install", "small", CLUSTER], &cluster_values(true)));
    assert!(
        notes.contains("small-gateway-tls") && notes.contains("small-auth"),
        "{notes}"
    );
    let tested = helm.done(&["test", "small", "--timeout=240s"]);
    assert!(tested.contains("Succeeded"), "{tested}");
    eprintln!(
        "three charts installed and `helm test` green after {:.1?}",
        SystemClock.now().since(began)
    );
}

/// The same where gateways let in only who shows a certificate.
fn answers_who_shows_a_certificate(kubernetes: &Kubernetes, helm: &Helm) {
    let demand = vec!["--set=spec.tls.clientAuth=Required".to_owned()];
    let values = [cluster_values(true), demand].concat();
    let notes = helm.done(&with(&["upgrade", "small", CLUSTER], &values));
    assert!(notes.contains("small-client-tls"), "{notes}");
    let port = "{.spec.template.spec.containers[0].readinessProbe.httpGet.port}";
    let wait = [
        "wait",
        "deployment/small-gateway",
        &format!("--for=jsonpath={port}=6336"),
        "--timeout=120s",
        "-n",
        &helm.namespace,
    ];
    kubernetes.call(&wait, "").accepted("gateways that demand");
    kubernetes.until_rolled_out(&helm.namespace, "deployment/small-gateway");
    let tested = helm.done(&["test", "small", "--timeout=240s"]);
    assert!(tested.contains("Succeeded"), "{tested}");
}

/// Nothing of the cluster goes with an upgrade, or with the releases of others.
fn outlives_releases(kubernetes: &Kubernetes, helm: &Helm) {
    let before = kept(kubernetes, &helm.namespace);
    let upgrade = ["upgrade", "operator", OPERATOR, "--wait", "--timeout=120s"];
    let one = [operator_values(), vec!["--set=replicas=1".to_owned()]].concat();
    helm.done(&with(&upgrade, &one));
    helm.done(&["upgrade", "definitions", DEFINITIONS]);
    helm.done(&with(&["upgrade", "small", CLUSTER], &cluster_values(true)));
    assert_eq!(kept(kubernetes, &helm.namespace), before);
    helm.done(&["uninstall", "operator", "--wait"]);
    helm.done(&["uninstall", "definitions", "--wait"]);
    assert_eq!(kept(kubernetes, &helm.namespace), before);
    let definition = kubernetes.get("default", "crd", "vectorclusters.vectorsphere.io");
    assert!(definition["metadata"]["deletionTimestamp"].is_null());
}

/// Once the cluster may be deleted it goes, and its volume stays.
fn leaves_its_volume(kubernetes: &Kubernetes, helm: &Helm) {
    let [_, _, volume] = kept(kubernetes, &helm.namespace);
    install_operator(helm);
    helm.done(&with(
        &["upgrade", "small", CLUSTER],
        &cluster_values(false),
    ));
    helm.done(&["uninstall", "small", "--wait"]);
    let gone = ["get", "-n", &helm.namespace, "vectorcluster", "small"];
    assert!(!kubernetes.call(&gone, "").ok);
    let kind = "persistentvolumeclaim";
    let claim = kubernetes.get(&helm.namespace, kind, "data-small-worker-0");
    assert_eq!(claim["metadata"]["uid"], volume);
    assert!(claim["metadata"]["deletionTimestamp"].is_null());
    helm.done(&["uninstall", "operator", "--wait"]);
}

/// Whoever has the key sees who leads and how the cluster is; by the Service, which leads to one of two.
fn sees_metrics(kubernetes: &Kubernetes, namespace: &str) {
    let service = "service/operator-vectorsphere-operator-metrics";
    let ready = "vectorsphere_cluster_condition{namespace=\"NAMESPACE\",cluster=\"small\",type=\"Ready\",status=\"True\"} 1";
    let ready = ready.replace("NAMESPACE", namespace);
    for pod in wait_ready(kubernetes, namespace, 2) {
        let name = pod["metadata"]["name"].as_str().unwrap();
        until("metrics", PATIENCE, || {
            let text = read_metrics(kubernetes, namespace, &format!("pod/{name}"))?;
            let says = |start: &str| text.lines().any(|line| line.starts_with(start));
            let leads = says("vectorsphere_operator_is_leader 1");
            let tells = says(&ready);
            let counts = says("vectorsphere_operator_reconcile_total{result=\"done\"}");
            // Who stands by knows nothing of clusters.
            if leads == tells && leads == counts {
                Ok(())
            } else {
                Err(text)
            }
        });
    }
    until("metrics by the Service", PATIENCE, || {
        read_metrics(kubernetes, namespace, service)
    });
}

fn read_metrics(kubernetes: &Kubernetes, namespace: &str, of: &str) -> Result<String, String> {
    let answered = fetch(kubernetes, (namespace, of), "/metrics", Some(METRICS_KEY))?;
    if answered.0 == 200 {
        Ok(answered.1)
    } else {
        Err(format!("{answered:?}"))
    }
}

/// The API server itself refuses to delete it, whoever asks and however.
fn is_protected(kubernetes: &Kubernetes, helm: &Helm) {
    let words = "spec.deletionProtection is true";
    for what in [["vectorcluster", "small"], ["vectorclusters", "--all"]] {
        let delete = [&["delete", "-n", &helm.namespace][..], &what].concat();
        until("a refusal", PATIENCE, || {
            // A policy takes a moment until every API server knows it: a dry run harms nothing.
            let dry = [&delete[..], &["--dry-run=server"]].concat();
            let answer = kubernetes.call(&dry, "");
            if answer.ok {
                Err(answer.stdout)
            } else {
                Ok(())
            }
        });
        let answer = kubernetes.call(&delete, "");
        assert!(!answer.ok && answer.stderr.contains(words), "{answer:?}");
    }
    let cluster = kubernetes.get(&helm.namespace, "vectorcluster", "small");
    assert!(cluster["metadata"]["deletionTimestamp"].is_null());
}

#[test]
fn charts_lint_and_refuse_what_they_do_not_know() {
    if Kubernetes::of_this_run().is_none() {
        return;
    }
    let helm = Helm::new("default");
    let operator = operator_values();
    helm.done(&with(&["lint", "--strict", OPERATOR], &operator));
    helm.done(&["lint", "--strict", CLUSTER]);
    helm.done(&["lint", "--strict", DEFINITIONS]);

    let template = ["template", "x", OPERATOR];
    helm.refused(&template, "image.repository: give the name of the image");
    let one = ["template", "x", OPERATOR, "--set=image.repository=i"];
    helm.refused(&one, "etcdImage: give the name of an image");
    for (value, words) in [
        ("--set=replica=2", "replica"),
        ("--set=image.repo=x", "repo"),
        ("--set=scope=everything", "scope"),
        ("--set=replicas=two", "replicas"),
        ("--set=metrics.serviceMonitor.enabled=true", ""),
    ] {
        let mut refused = with(&template, &operator);
        refused.push(value);
        if words.is_empty() {
            // Allowed where there is a key, and only there.
            helm.done(&refused);
            refused.push("--set=metrics.keySecret=");
            helm.refused(&refused, "metrics.keySecret: a ServiceMonitor needs a key");
        } else {
            helm.refused(&refused, words);
        }
    }
    for (value, words) in [
        ("--set=spec.workers=2", "workers"),
        ("--set=spec.worker.replicas=0", "replicas"),
        ("--set=unknown=2", "unknown"),
        ("--set=spec.worker.storage.size=null", "size"),
    ] {
        helm.refused(&["template", "x", CLUSTER, value], words);
    }
    helm.refused(&["template", "x", DEFINITIONS, "--set=keep=false"], "keep");
    let old = ["template", "x", DEFINITIONS, "--kube-version=1.31.9"];
    helm.refused(&old, "1.32");
}

/// `manifests/` is what the charts render to; `UPDATE_GENERATED` writes it anew.
#[test]
fn the_committed_manifests_are_what_the_charts_render_to() {
    if Kubernetes::of_this_run().is_none() {
        return;
    }
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let made = tempfile::tempdir().unwrap();
    let rendered = Command::new(root.join("scripts/render-manifests"))
        .arg(made.path())
        .env("HELM", std::env::var_os("VECTORSPHERE_TEST_HELM").unwrap())
        .output()
        .unwrap();
    assert!(
        rendered.status.success(),
        "{}",
        String::from_utf8_lossy(&rendered.stderr)
    );
    for file in ["operator.yaml", "install.yaml"] {
        let new = fs_err::read_to_string(made.path().join(file)).unwrap();
        let committed = root.join("manifests").join(file);
        if std::env::var_os("UPDATE_GENERATED").is_some() {
            fs_err::write(&committed, &new).unwrap();
        }
        let old = fs_err::read_to_string(committed).unwrap();
        assert!(
            old == new,
            "manifests/{file} is not what the charts say: run scripts/render-manifests"
        );
    }
}
