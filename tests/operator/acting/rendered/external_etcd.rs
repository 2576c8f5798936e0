//! Clusters on an etcd that is none of theirs.

use serde_json::{Value, json};

use super::authority::Authority;
use super::{KINDS, OURS, manifest, prepared, small};
use crate::kubernetes::Kubernetes;

/// With certificates on both sides.
const ON_BOTH_SIDES: [&str; 4] = [
    "--cert-file=/tls/tls.crt",
    "--key-file=/tls/tls.key",
    "--trusted-ca-file=/tls/ca.crt",
    "--client-cert-auth=true",
];

/// An etcd and its Service `etcd`, with these arguments, and with the Secret of this name at `/tls`.
pub(super) fn etcd(
    namespace: &str,
    image: &str,
    arguments: &[&str],
    certificates: Option<&str>,
) -> [Value; 2] {
    let scheme = if certificates.is_some() {
        "https"
    } else {
        "http"
    };
    let mut all = vec![
        "--data-dir=/data".to_owned(),
        format!("--listen-client-urls={scheme}://0.0.0.0:2379"),
        format!("--advertise-client-urls={scheme}://etcd.{namespace}.svc:2379"),
    ];
    all.extend(arguments.iter().map(|&one| one.to_owned()));
    let mut mounts = vec![json!({"name": "data", "mountPath": "/data"})];
    let mut volumes = vec![json!({"name": "data", "emptyDir": {}})];
    if let Some(name) = certificates {
        mounts.push(json!({"name": "tls", "mountPath": "/tls"}));
        volumes.push(json!({"name": "tls", "secret": {"secretName": name}}));
    }
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
                "name": "etcd", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["etcd"],
                "args": all,
                "readinessProbe": {"tcpSocket": {"port": 2379}, "periodSeconds": 1},
                "securityContext": {
                    "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": mounts,
            }],
            "volumes": volumes,
        },
    });
    let service = json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "etcd", "namespace": namespace},
        "spec": {"selector": {"app": "etcd"}, "ports": [{"port": 2379}]},
    });
    [pod, service]
}

/// Two clusters of one name in two namespaces on one etcd: each works, and knows nothing of the other.
#[test]
fn two_clusters_of_one_name_on_one_etcd_never_meet() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    let image = std::env::var("VECTORSPHERE_TEST_ETCD_IMAGE").unwrap();
    let namespaces = ["one", "two"].map(|name| prepared(&kubernetes, name));
    let [one, two] = namespaces.each_ref();
    let host = format!("etcd.{}.svc", one.name);
    let authority = Authority::new();
    let client = authority.sign(&["client"]);
    let server = authority.sign(&[&host]);
    kubernetes
        .apply(&server.secret(&one.name, "server"))
        .accepted("a Secret");
    for object in etcd(&one.name, &image, &ON_BOTH_SIDES, Some("server")) {
        kubernetes.apply(&object).accepted("etcd");
    }
    let external = json!({"etcd": {"external": {
        "endpoints": [format!("https://{host}:2379")], "tlsSecret": {"name": "etcd-client"},
    }}});
    let mut manifest: Value = serde_json::from_str(&manifest(&external)).unwrap();
    manifest["spec"]["etcd"]
        .as_object_mut()
        .unwrap()
        .remove("managed");
    let clusters = [one, two].map(|namespace| {
        kubernetes
            .apply(&client.secret(&namespace.name, "etcd-client"))
            .accepted("a Secret");
        let small = small(&kubernetes, namespace);
        small.apply(&manifest.to_string());
        small
    });
    for small in &clusters {
        small.wait("condition=Ready");
    }
    // Each makes a collection of the same name: were they one, the second could not.
    for small in &clusters {
        let found = small.application_trusting("small-gateway-tls", true);
        assert_eq!(found, json!([[99, 98, 97], 100]));
    }
    for small in &clusters {
        let status = &small.get("vectorcluster", "small")["status"];
        assert_eq!(status["etcd"]["summary"], "external");
        let conditions = status["conditions"].as_array().unwrap();
        let etcd = conditions
            .iter()
            .find(|one| one["type"] == "EtcdReady")
            .unwrap();
        assert_eq!(
            (&etcd["status"], &etcd["reason"]),
            (&json!("True"), &json!("Quorate"))
        );
        let list = [
            "get",
            KINDS,
            "-n",
            small.namespace,
            "-l",
            OURS,
            "-o",
            "name",
        ];
        let made = kubernetes.call(&list, "").accepted("children");
        assert!(
            made.contains("small-master") && !made.contains("etcd"),
            "{made}"
        );
    }
}
