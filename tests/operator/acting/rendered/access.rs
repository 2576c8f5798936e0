//! Who is let in: applications that show certificates, and a cluster that logs in at an etcd of others.

use serde_json::{Value, json};

use super::external_etcd::etcd;
use super::{Small, manifest, prepared, small, until};
use crate::acting::operator_process::calm;
use crate::kubernetes::Kubernetes;

/// The official client, with a certificate out of a folder, or with none.
const SHOWN: &str = r#"
import json, ssl, sys
from qdrant_client import QdrantClient
url, key, authority, folder = sys.argv[1:]
context = ssl.create_default_context(cafile=authority)
if folder:
    context.load_cert_chain(folder + "/tls.crt", folder + "/tls.key")
client = QdrantClient(url=url, api_key=key, verify=context, timeout=30)
try:
    print(json.dumps(len(client.get_collections().collections)))
except Exception as error:
    print(json.dumps(f"{type(error).__name__}: {error}"))
"#;

/// Gateways that demand certificates get ready although kubelets have none, let in the one that the operator
/// issues, and nobody without; what they are for internally is refused them. It goes away by an update.
#[test]
fn gateways_demand_certificates_of_applications() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let namespace = prepared(&kubernetes, "demanding");
    let _calm = calm();
    let small = small(&kubernetes, &namespace);
    small.apply(&manifest(&json!({"tls": {"clientAuth": "Required"}})));
    small.wait("condition=Ready");
    let gateway = small.get("deployment", "small-gateway");
    let pod = &gateway["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(pod["readinessProbe"]["httpGet"]["port"], 6336);
    let ports = &small.get("service", "small-gateway")["spec"]["ports"];
    assert_eq!(ports.as_array().unwrap().len(), 1, "{ports}");
    let policy = small.get("networkpolicy", "small-gateway").to_string();
    assert!(!policy.contains("6336"), "{policy}");

    let folder = tempfile::tempdir().unwrap();
    for key in ["tls.crt", "tls.key"] {
        let text = small.secret("small-client-tls", key);
        fs_err::write(folder.path().join(key), text).unwrap();
    }
    let asked = |folder: &str| small.python(SHOWN, folder);
    assert_eq!(asked(folder.path().to_str().unwrap()), json!(0));
    let refused = asked("");
    assert!(refused.is_string(), "{refused}");
    let own = small.secret("small-client-tls", "ca.crt");
    assert_eq!(own, small.secret("small-gateway-tls", "ca.crt"));
    let clients = small.secret("small-gateway-tls", "clients.crt");
    assert_ne!(clients, own, "applications have an authority of their own");
    assert!(small.secret("small-worker-tls", "ca.crt") == own);

    small.patch(&json!({"tls": {"clientAuth": "Disabled"}}));
    until("gateways ask nobody", || {
        (asked("") == json!(0)).then_some(())
    });
}

fn account(namespace: &str, user: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "etcd-user", "namespace": namespace},
        "stringData": {"username": user, "password": password},
    })
}

/// Makes the etcd ask: `root`, and `search` and `another`, who may read and write one range.
fn begins_to_ask(kubernetes: &Kubernetes, namespace: &str) {
    let ready = [
        "wait",
        "pod/etcd",
        "--for=condition=Ready",
        "--timeout=120s",
    ];
    let ready = [&ready[..], &["-n", namespace]].concat();
    kubernetes.call(&ready, "").accepted("etcd");
    let range = format!("/vectorsphere/{namespace}/small/");
    let grant = ["role", "grant-permission", "searches", "--prefix=true"];
    for arguments in [
        &["role", "add", "root"][..],
        &["user", "add", "root:first-password"],
        &["user", "grant-role", "root", "root"],
        &["role", "add", "searches"],
        &[&grant[..], &["readwrite", &range]].concat(),
        &["user", "add", "search:first-password"],
        &["user", "grant-role", "search", "searches"],
        &["user", "add", "another:second-password"],
        &["user", "grant-role", "another", "searches"],
        &["auth", "enable"],
    ] {
        let program = ["exec", "etcd", "-n", namespace, "--", "/usr/local/bin/etcd"];
        let all = [&program[..], &["ctl"], arguments].concat();
        kubernetes.call(&all, "").accepted(&arguments.join(" "));
    }
}

/// The small cluster on that etcd.
fn on_that_etcd(namespace: &str) -> String {
    let external = json!({"etcd": {"external": {
        "endpoints": [format!("http://etcd.{namespace}.svc:2379")],
        "authSecret": {"name": "etcd-user"},
    }}});
    let mut manifest: Value = serde_json::from_str(&manifest(&external)).unwrap();
    let fields = manifest["spec"]["etcd"].as_object_mut().unwrap();
    fields.remove("managed");
    manifest.to_string()
}

/// Waits until the operator says that etcd refuses, and never the password.
fn is_told(small: &Small<'_>) {
    until("it is told that etcd refuses", || {
        let status = &small.get("vectorcluster", "small")["status"];
        assert!(!status.to_string().contains("-password"), "{status}");
        let conditions = status["conditions"].as_array()?;
        let etcd = conditions.iter().find(|one| one["type"] == "EtcdReady")?;
        let says = etcd["message"].as_str()?.contains("etcd refuses user");
        (etcd["reason"] == "Refused" && says).then_some(())
    });
}

/// The etcd asks for users and lets one into the range of the cluster only. A Secret that is not there and a
/// password that is wrong are told; the right one is taken while the pods run, and another user later on too.
#[test]
fn a_cluster_logs_in_at_an_etcd_that_asks_for_users() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let image = std::env::var("VECTORSPHERE_TEST_ETCD_IMAGE").unwrap();
    let namespace = prepared(&kubernetes, "users");
    let _calm = calm();
    let name = namespace.name.as_str();
    // Without certificates; it asks for users, and forgets their tokens soon.
    for object in etcd(name, &image, &["--auth-token-ttl=2"], None) {
        kubernetes.apply(&object).accepted("etcd");
    }
    begins_to_ask(&kubernetes, name);
    let small = small(&kubernetes, &namespace);
    small.apply(&on_that_etcd(name));
    let missing = "Secret etcd-user is not there; spec.etcd.external.authSecret asks for it";
    until(missing, || small.errors().contains(missing).then_some(()));
    let lay = |user: &str, password: &str| {
        let secret = account(name, user, password);
        kubernetes.apply(&secret).accepted("a Secret");
    };
    lay("search", "wrong-password");
    is_told(&small);
    lay("search", "first-password");
    small.wait("condition=Ready");
    let found = small.application_trusting("small-gateway-tls", true);
    assert_eq!(found, json!([[99, 98, 97], 100]));
    let worker = small.get("pod", "small-worker-0");
    let restarts = &worker["status"]["containerStatuses"][0]["restartCount"];
    assert_eq!(*restarts, 0, "it waits, and is not started again");

    lay("another", "second-password");
    until("the worker takes another user", || {
        let log = ["logs", "small-worker-0", "-n", name];
        let log = kubernetes.call(&log, "").accepted("logs");
        assert!(!log.contains("-password"), "{log}");
        log.contains("another user or password for etcd is in use")
            .then_some(())
    });
    small.wait("condition=Ready");
    assert_eq!(
        small.application_trusting("small-gateway-tls", false),
        found
    );
}
