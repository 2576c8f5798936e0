//! The members of a cluster's etcd: they become more, and one that lost its volume is replaced.

use serde_json::{Value, json};

use crate::acting::living::Living;
use crate::acting::operator_process::calm;
use crate::acting::serving::install;
use crate::kubernetes::Kubernetes;

const GROWN: &str = r"
apiVersion: vectorsphere.io/v1alpha1
kind: VectorCluster
metadata: {name: grown}
spec:
  version: 0.1.0
  sharding: {replicationFactor: 1}
  gateway: {replicas: 1}
  master: {replicas: 1}
  worker: {replicas: 1, storage: {size: 1Gi}}
  etcd: {managed: {replicas: 1}}
";

/// Every member is ready and nothing is under way.
fn is_whole(cluster: &Value) -> bool {
    let status = &cluster["status"];
    let at_rest = status["operations"].as_array().is_none_or(Vec::is_empty);
    status["etcd"]["summary"] == "3/3" && at_rest && status["phase"] == "Running"
}

/// The volumes of the members that were well, as the operator keeps them.
fn volumes(grown: &Living<'_>) -> String {
    let path = r"jsonpath={.metadata.annotations.vectorsphere\.io/volumes}";
    grown.kubectl(&["get", "configmap", "grown-etcd", "-o", path])
}

#[test]
fn etcd_gets_more_members_under_searches_and_one_without_its_volume_is_replaced() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let grown = Living::new(&kubernetes, "grown");
    grown.apply(GROWN);
    grown.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(grown.application(&["write", "c", "1"]), found);
    let first = grown.uid("pod/grown-etcd-0");

    let searches = grown.searches("c");
    grown.patch(r#"{"spec":{"etcd":{"managed":{"replicas":3}}}}"#);
    grown.until("the growth is under way", |cluster| {
        let operations = cluster["status"]["operations"].as_array();
        operations.is_some_and(|all| all.iter().any(|one| one["name"] == "EtcdMembers"))
    });
    let took = grown.until("there are three", is_whole);
    let (asked, failed) = searches.count();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    assert_eq!(grown.uid("pod/grown-etcd-0"), first, "the first stays");
    eprintln!("etcd grew from 1 to 3 members in {took:.1?} under {asked} searches: 0 failed");

    // As when the disk of a node is lost: the claim goes, and the pod that held it.
    let lost = grown.uid("pvc/data-grown-etcd-2");
    assert!(volumes(&grown).contains(&lost));
    let searches = grown.searches("c");
    grown.kubectl(&["delete", "pvc/data-grown-etcd-2", "--wait=false"]);
    grown.kubectl(&["delete", "pod/grown-etcd-2"]);
    let took = grown.until("the member is replaced", |cluster| {
        // It was well on another volume, and not only nobody had looked yet.
        let known = volumes(&grown);
        let is_new = |uid: String| uid != lost && known.contains(&uid);
        is_whole(cluster) && grown.try_uid("pvc/data-grown-etcd-2").is_some_and(is_new)
    });
    let (asked, failed) = searches.count();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    eprintln!(
        "a member without its volume was replaced in {took:.1?} under {asked} searches: 0 failed"
    );

    // It votes: with another one away the two are a quorum.
    grown.kubectl(&["delete", "pod/grown-etcd-0", "--wait=false"]);
    assert_eq!(grown.application(&["write", "d", "1"]), found);
    assert_eq!(grown.application(&["read", "c"]), found);
}
