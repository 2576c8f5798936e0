//! What a drain of a node may take: evictions, as `kubectl drain` asks for them, pod by pod.

use serde_json::{Value, json};

use crate::acting::living::Living;
use crate::acting::operator_process::calm;
use crate::acting::serving::install;
use crate::kubernetes::Kubernetes;

const EVICTED: &str = r"
apiVersion: vectorsphere.io/v1alpha1
kind: VectorCluster
metadata: {name: evicted}
spec:
  version: 0.1.0
  sharding: {replicationFactor: 1}
  gateway: {replicas: 2}
  master: {replicas: 1}
  worker: {replicas: 2, storage: {size: 1Gi}}
  etcd: {managed: {replicas: 1}}
  updates: {type: OnDelete}
";

/// Asks for the eviction of a pod; whether it was granted, and what the server said.
fn evict(kubernetes: &Kubernetes, evicted: &Living<'_>, pod: &str) -> (bool, String) {
    let namespace = evicted.namespace();
    let path = format!("/api/v1/namespaces/{namespace}/pods/{pod}/eviction");
    let body = json!({
        "apiVersion": "policy/v1", "kind": "Eviction",
        "metadata": {"name": pod, "namespace": namespace},
    });
    let answer = kubernetes.call(&["create", "--raw", &path, "-f", "-"], &body.to_string());
    (answer.ok, answer.stdout + &answer.stderr)
}

/// Waits until the workers' budget lets so many go.
fn until_may_go(evicted: &Living<'_>, count: u32) {
    let condition = format!("--for=jsonpath={{.status.disruptionsAllowed}}={count}");
    evicted.kubectl(&["wait", &condition, "--timeout=120s", "pdb/evicted-worker"]);
}

fn is_served(cluster: &Value) -> bool {
    Living::condition(cluster, "ShardsFullyReplicated").0 == "True"
}

#[test]
fn no_worker_is_evicted_while_a_shard_is_not_served_and_a_broken_pod_always() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let evicted = Living::new(&kubernetes, "evicted");
    evicted.apply(EVICTED);
    evicted.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(evicted.application(&["write", "c", "2"]), found);

    // One worker may go; it comes back as the manifest has it now, and cannot start.
    evicted.patch(r#"{"spec":{"image":{"tag":"no-such"}}}"#);
    evicted.until("the update waits for somebody", |cluster| {
        let operations = cluster["status"]["operations"].as_array();
        operations.is_some_and(|all| all.iter().any(|one| one["name"] == "Update"))
    });
    until_may_go(&evicted, 1);
    let first = evicted.uid("pod/evicted-worker-0");
    let (granted, said) = evict(&kubernetes, &evicted, "evicted-worker-0");
    assert!(granted, "{said}");
    evicted.until("its shard is away", |cluster| !is_served(cluster));
    until_may_go(&evicted, 0);
    let (granted, said) = evict(&kubernetes, &evicted, "evicted-worker-1");
    assert!(!granted && said.contains("disruption budget"), "{said}");

    // With the right image the broken one goes, and comes back with its points.
    evicted.patch(r#"{"spec":{"image":null}}"#);
    evicted.until("the manifest is in force again", |cluster| {
        let status = &cluster["status"];
        status["revision"]["target"] == status["revision"]["current"]
    });
    assert_ne!(evicted.uid("pod/evicted-worker-0"), first);
    let (granted, said) = evict(&kubernetes, &evicted, "evicted-worker-0");
    assert!(granted, "{said}");
    evicted.until("every shard is served", is_served);
    assert_eq!(evicted.application(&["read", "c"]), found);
    until_may_go(&evicted, 1);
    let (granted, said) = evict(&kubernetes, &evicted, "evicted-worker-1");
    assert!(granted, "{said}");
    evicted.until("its shard is away", |cluster| !is_served(cluster));
    evicted.until("every shard is served again", is_served);
    assert_eq!(evicted.application(&["read", "c"]), found);
}
