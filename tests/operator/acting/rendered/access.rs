//! Who is let in: applications that show certificates, and a cluster that logs in at an etcd of others.

use serde_json::{Value, json};

use super::{manifest, prepared, small, until};
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

/// An etcd without certificates, which asks for users.
fn etcd(namespace: &str, image: &str) -> [Value; 2] {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "etcd", "namespace": namespace, "labels": {"app": "etcd"}},
        "spec": {
            "automountServiceAccountToken": false,
            "securityContext": {
                "runAsNonRoot": true, "runAsUser": 10001, "fsGroup": 10001,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "etcd", "image": image, "imagePullPolicy": "IfNotPresent",
                "args": [
                    "--data-dir=/data", "--listen-client-urls=http://0.0.0.0:2379",
                    format!("--advertise-client-urls=http://etcd.{namespace}.svc:2379"),
                    "--auth-token-ttl=2",
                ],
                "readinessProbe": {"tcpSocket": {"port": 2379}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "data", "mountPath": "/data"}],
            }],
            "volumes": [{"name": "data", "emptyDir": {}}],
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "etcd", "namespace": namespace},
        "spec": {"selector": {"app": "etcd"}, "ports": [{"port": 2379}]},
    });
    [pod, service]
}

fn user(namespace: &str, password: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "etcd-user", "namespace": namespace},
        "stringData": {"username": "search", "password": password},
    })
}

/// The etcd asks for users and lets one into the range of the cluster only. A Secret that is not there and a
/// password that is wrong are told; the right one is taken while the pods run, and its change later on too.
#[test]
fn a_cluster_logs_in_at_an_etcd_that_asks_for_users() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let image = std::env::var("VECTORSPHERE_TEST_ETCD_IMAGE").unwrap();
    let namespace = prepared(&kubernetes, "users");
    let _calm = calm();
    let name = namespace.name.as_str();
    for object in etcd(name, &image) {
        kubernetes.apply(&object).accepted("etcd");
    }
    let small = small(&kubernetes, &namespace);
    let ready = [
        "wait",
        "pod/etcd",
        "--for=condition=Ready",
        "--timeout=120s",
    ];
    let ready = [&ready[..], &["-n", name]].concat();
    kubernetes.call(&ready, "").accepted("etcd");
    let range = format!("/vectorsphere/{name}/small/");
    let etcdctl = |arguments: &[&str]| {
        let start = [
            "exec",
            "etcd",
            "-n",
            name,
            "--",
            "/usr/local/bin/etcd",
            "ctl",
        ];
        let all = [&start[..], arguments].concat();
        kubernetes.call(&all, "").accepted(&arguments.join(" "));
    };
    etcdctl(&["role", "add", "root"]);
    etcdctl(&["user", "add", "root:first-password"]);
    etcdctl(&["user", "grant-role", "root", "root"]);
    etcdctl(&["role", "add", "searches"]);
    etcdctl(&[
        "role",
        "grant-permission",
        "searches",
        "--prefix=true",
        "readwrite",
        &range,
    ]);
    etcdctl(&["user", "add", "search:first-password"]);
    etcdctl(&["user", "grant-role", "search", "searches"]);
    etcdctl(&["auth", "enable"]);

    let external = json!({"etcd": {"external": {
        "endpoints": [format!("http://etcd.{name}.svc:2379")], "authSecret": {"name": "etcd-user"},
    }}});
    let mut manifest: Value = serde_json::from_str(&manifest(&external)).unwrap();
    let fields = manifest["spec"]["etcd"].as_object_mut().unwrap();
    fields.remove("managed");
    small.apply(&manifest.to_string());
    let missing = "Secret etcd-user is not there; spec.etcd.external.authSecret asks for it";
    until(missing, || small.errors().contains(missing).then_some(()));
    kubernetes
        .apply(&user(name, "wrong-password"))
        .accepted("a Secret");
    until("it is told that etcd refuses", || {
        let status = &small.get("vectorcluster", "small")["status"];
        let conditions = status["conditions"].as_array()?.clone();
        let etcd = conditions.iter().find(|one| one["type"] == "EtcdReady")?;
        let message = etcd["message"].as_str()?;
        assert!(!message.contains("wrong-password"), "{message}");
        let is_told = etcd["reason"] == "Refused" && message.contains("etcd refuses user");
        is_told.then_some(())
    });
    kubernetes
        .apply(&user(name, "first-password"))
        .accepted("a Secret");
    small.wait("condition=Ready");
    let found = small.application_trusting("small-gateway-tls", true);
    assert_eq!(found, json!([[99, 98, 97], 100]));
    let restarts =
        small.get("pod", "small-worker-0")["status"]["containerStatuses"][0]["restartCount"]
            .clone();
    assert_eq!(
        restarts, 0,
        "it waited for the password and was not started again"
    );

    let root = "--user=root:first-password";
    etcdctl(&[root, "user", "add", "another:second-password"]);
    etcdctl(&[root, "user", "grant-role", "another", "searches"]);
    let mut another = user(name, "second-password");
    another["stringData"]["username"] = json!("another");
    kubernetes.apply(&another).accepted("a Secret");
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
