//! What becomes of a cluster that is changed: updated, taken back, scaled, put to sleep, deleted.

use serde_json::json;
use vectorsphere::clock::{Clock, SystemClock};

use crate::acting::living::Living;
use crate::acting::operator_process::{alone, calm};
use crate::acting::serving::install;
use crate::kubernetes::Kubernetes;

/// Several of what is replaced without a gap; one worker, since there is one copy of each shard.
const DOUBLE: &str = r"
apiVersion: vectorsphere.io/v1alpha1
kind: VectorCluster
metadata: {name: double}
spec:
  version: 0.1.0
  sharding: {replicationFactor: 1}
  gateway: {replicas: 2}
  master: {replicas: 3}
  worker: {replicas: 1, storage: {size: 1Gi}}
  etcd: {managed: {replicas: 1}}
  updates: {progressDeadlineSeconds: 60}
";

fn single(name: &str) -> String {
    format!(
        "{{apiVersion: vectorsphere.io/v1alpha1, kind: VectorCluster, metadata: {{name: {name}}}, spec: \
         {{version: 0.1.0, sharding: {{replicationFactor: 1}}, gateway: {{replicas: 1}}, \
         master: {{replicas: 1}}, worker: {{replicas: 1, storage: {{size: 1Gi}}}}, \
         etcd: {{managed: {{replicas: 1}}}}}}}}"
    )
}

fn has_all(events: &[String], expected: &[&str]) -> bool {
    expected
        .iter()
        .all(|reason| events.iter().any(|one| one == reason))
}

#[test]
fn gateways_and_masters_are_updated_under_searches_a_bad_image_is_taken_back_and_an_operator_restarts_nothing()
 {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    // It starts the operators anew.
    let _alone = alone();
    let double = Living::new(&kubernetes, "double");
    double.apply(DOUBLE);
    double.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(double.application(&["write", "c", "1"]), found);

    update_under_searches(&double);
    take_back_under_searches(&double);
    assert_eq!(double.application(&["read", "c"]), found);
    restart_the_operator(&kubernetes, &double);
    restart_the_worker(&double);
    assert_eq!(double.application(&["read", "c"]), found);
    let events = double.events();
    let expected = [
        "Created",
        "UpdateStarted",
        "UpdateFinished",
        "PodReplaced",
        "UpdateRolledBack",
    ];
    assert!(has_all(&events, &expected), "{events:?}");
}

/// The pods whose templates do not change with those of masters and gateways.
const UNTOUCHED: [&str; 2] = ["pod/double-worker-0", "pod/double-etcd-0"];

fn untouched(double: &Living<'_>) -> Vec<String> {
    UNTOUCHED.map(|pod| double.uid(pod)).to_vec()
}

/// Masters and gateways get other templates, the worker does not.
fn update_under_searches(double: &Living<'_>) {
    let before = untouched(double);
    let searches = double.searches("c");
    double.patch(
        r#"{"spec":{"gateway":{"resources":{"requests":{"cpu":"11m"}}},
                    "master":{"resources":{"requests":{"cpu":"11m"}}}}}"#,
    );
    let took = double.until("updated", |cluster| {
        let revision = &cluster["status"]["revision"];
        revision["current"] == revision["target"]
            && revision["previous"].is_string()
            && cluster["status"]["phase"] == "Running"
    });
    let (asked, failed) = searches.count();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    assert_eq!(untouched(double), before);
    eprintln!("3 masters and 2 gateways updated in {took:.1?} under {asked} searches: 0 failed");
}

/// An image that does not exist stops at one pod, and what was before is put back.
fn take_back_under_searches(double: &Living<'_>) {
    let searches = double.searches("c");
    double.patch(r#"{"spec":{"image":{"tag":"nowhere"}}}"#);
    let took = double.until("taken back", |cluster| {
        let rolled_back = ("False".to_owned(), "RolledBack".to_owned());
        Living::condition(cluster, "Progressing") == rolled_back
            && Living::condition(cluster, "Ready").0 == "True"
    });
    let (asked, failed) = searches.count();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    eprintln!(
        "an image that does not exist was taken back after {took:.1?} under {asked} searches: 0 failed"
    );
    double.patch(r#"{"spec":{"image":{"tag":null}}}"#);
    double.until_phase("Running");
}

/// Another process of the operator changes nothing.
fn restart_the_operator(kubernetes: &Kubernetes, double: &Living<'_>) {
    let all = "pods,statefulsets,deployments,persistentvolumeclaims";
    let before = double.uids(all);
    let system = [
        "-n",
        "vectorsphere-system",
        "deployment/vectorsphere-operator",
    ];
    kubernetes
        .call(&[&["rollout", "restart"][..], &system].concat(), "")
        .accepted("restart");
    kubernetes.until_rolled_out("vectorsphere-system", "deployment/vectorsphere-operator");
    // Another generation of the same pods: that its status tells of it shows that the new process looked.
    double.patch(r#"{"spec":{"updates":{"progressDeadlineSeconds":61}}}"#);
    double.until("the new process looked", |cluster| {
        cluster["status"]["observedGeneration"] == cluster["metadata"]["generation"]
            && cluster["status"]["phase"] == "Running"
    });
    assert_eq!(double.uids(all), before);
}

/// A worker comes back on its volume, when a person asks for it.
fn restart_the_worker(double: &Living<'_>) {
    let before = double.uid("pod/double-worker-0");
    let time = "vectorsphere.io/restart-worker=2026-01-01T00:00:00Z";
    double.kubectl(&["annotate", "vectorcluster/double", time]);
    double.until("the worker is new", |cluster| {
        double
            .try_uid("pod/double-worker-0")
            .is_some_and(|uid| uid != before)
            && cluster["status"]["phase"] == "Running"
    });
}

/// Long: a cluster of its own, whose shards lie on two workers.
#[test]
fn long_while_a_worker_restarts_only_searches_that_need_it_fail_and_say_so() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let halves = Living::new(&kubernetes, "halves");
    halves.apply(&single("halves").replace(
        "worker: {replicas: 1, storage",
        "worker: {replicas: 2, storage",
    ));
    halves.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    for collection in ["one", "other"] {
        assert_eq!(halves.application(&["write", collection, "1"]), found);
    }
    halves.until("each worker holds one", |cluster| {
        let workers = cluster["status"]["workers"].as_array().unwrap();
        let shards = workers.iter().map(|worker| worker["shards"].as_u64());
        shards.eq([Some(1), Some(1)])
    });
    // Which of the two the restarting worker holds is for the masters to choose: one of them has no failure.
    let searches = ["one", "other"].map(|collection| halves.searches(collection));
    let before = halves.uid("pod/halves-worker-0");
    halves.kubectl(&["delete", "pod/halves-worker-0", "--wait=false"]);
    let took = halves.until("the worker is new", |cluster| {
        halves
            .try_uid("pod/halves-worker-0")
            .is_some_and(|uid| uid != before)
            && cluster["status"]["phase"] == "Running"
    });
    let counts = searches.map(|searches| searches.count());
    let told = |failed: &[String]| failed.iter().all(|why| why.contains("on halves-worker-0"));
    assert!(
        counts.iter().any(|(_, failed)| failed.is_empty()),
        "{counts:?}"
    );
    assert!(counts.iter().all(|(_, failed)| told(failed)), "{counts:?}");
    for collection in ["one", "other"] {
        assert_eq!(halves.application(&["read", collection]), found);
    }
    eprintln!(
        "a worker restarted in {took:.1?}: {:?} searches of the two collections failed, each by its name",
        counts.map(|(asked, failed)| format!("{} of {asked}", failed.len()))
    );
    // With its whole namespace it goes too, though etcd is gone before the operator can ask it.
    let namespace = halves.namespace();
    let began = SystemClock.now();
    let whole = ["delete", "namespace", namespace, "--timeout=120s"];
    kubernetes.call(&whole, "").accepted("the namespace");
    let took = SystemClock.now().since(began);
    eprintln!("a cluster was gone with its whole namespace after {took:.1?}");
}

#[test]
fn a_worker_with_shards_stays_until_they_are_gone_and_its_number_is_not_used_again() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let scaled = Living::new(&kubernetes, "scaled");
    scaled.apply(&single("scaled"));
    scaled.until_phase("Running");
    let scale = |to: &str| {
        scaled.kubectl(&["scale", "vectorcluster/scaled", &format!("--replicas={to}")]);
    };
    scale("2");
    scaled.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(scaled.application(&["write", "c", "2"]), found);

    scale("1");
    scaled.until("it waits", |cluster| {
        let operation = &cluster["status"]["operations"][0];
        operation["name"] == "ScaleIn" && operation["blockedBy"] == "NoShards"
    });
    // It still serves what it holds, and gets nothing new.
    assert_eq!(scaled.application(&["read", "c"]), found);
    assert_eq!(scaled.application(&["write", "d", "2"]), found);
    scaled.until("the new shards are elsewhere", |cluster| {
        let workers = cluster["status"]["workers"].as_array().unwrap();
        let shards = workers.iter().map(|worker| worker["shards"].as_u64());
        shards.eq([Some(3), Some(1)])
    });
    let cluster = scaled.cluster();
    let message = cluster["status"]["operations"][0]["message"]
        .as_str()
        .unwrap();
    assert!(message.contains("scaled-worker-1 holds c/"), "{message}");

    // When its last shard is gone it goes, and its volume with it.
    scaled.application(&["drop", "c"]);
    scaled.until_phase("Running");
    scaled.until_gone("pvc/data-scaled-worker-1");
    assert_eq!(scaled.application(&["read", "d"]), found);
    scale("2");
    scaled.until_phase("Running");
    let names: Vec<String> = scaled
        .uids("pods")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert!(names.contains(&"scaled-worker-2".to_owned()), "{names:?}");
    assert!(!names.contains(&"scaled-worker-1".to_owned()), "{names:?}");
    let events = scaled.events();
    let expected = [
        "WorkerJoined",
        "DrainStarted",
        "DrainFinished",
        "WorkerRemoved",
    ];
    assert!(has_all(&events, &expected), "{events:?}");
}

#[test]
fn a_cluster_sleeps_and_wakes_and_its_volumes_outlive_it_until_they_are_taken_over_or_told_to_go() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    let _calm = calm();
    let kept = Living::new(&kubernetes, "kept");
    kept.apply(&single("kept"));
    kept.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(kept.application(&["write", "c", "1"]), found);

    kept.patch(r#"{"spec":{"power":"Hibernated"}}"#);
    kept.until_phase("Hibernated");
    assert_eq!(kept.uids("pods"), []);
    kept.patch(r#"{"spec":{"power":"Running"}}"#);
    kept.until_phase("Running");
    assert_eq!(kept.application(&["read", "c"]), found);
    let events = kept.events();
    assert!(has_all(&events, &["Hibernated", "Woken"]), "{events:?}");

    // Volumes grow where they are.
    kept.patch(
        r#"{"spec":{"worker":{"storage":{"size":"2Gi"}},
                    "etcd":{"managed":{"storage":{"size":"9Gi"}}}}}"#,
    );
    kept.until("grown", |cluster| {
        let volume = &cluster["status"]["workers"][0]["volume"];
        volume["capacity"] == "2Gi" && cluster["status"]["phase"] == "Running"
    });
    assert_eq!(kept.application(&["read", "c"]), found);

    // Retain is the default: the volumes stay, and no cluster of the name takes them over by itself.
    let uid = kept.cluster()["metadata"]["uid"]
        .as_str()
        .unwrap()
        .to_owned();
    let volumes = kept.uids("pvc");
    kept.kubectl(&["delete", "vectorcluster/kept", "--timeout=120s"]);
    kept.until_gone("pods --all");
    assert_eq!(kept.uids("pvc"), volumes);
    let grown = single("kept").replace("size: 1Gi", "size: 2Gi");
    kept.apply(&grown);
    kept.until("it is refused", |cluster| {
        cluster["status"]["lastErrors"][0]["code"] == "operator.foreign_volume"
    });
    kept.kubectl(&[
        "annotate",
        "vectorcluster/kept",
        &format!("vectorsphere.io/adopt={uid}"),
    ]);
    kept.until_phase("Running");
    assert_eq!(kept.application(&["read", "c"]), found);
    // Those very volumes, and no other: what could not be had was waited for.
    assert_eq!(kept.uids("pvc"), volumes);
    assert_eq!(kept.cluster()["status"]["nextWorkerOrdinal"], 1);

    // The API server refuses to delete what is protected; then the policy decides.
    kept.patch(r#"{"spec":{"deletionPolicy":"Delete","deletionProtection":true}}"#);
    kept.until_phase("Running");
    let refused = kept.try_kubectl(&["delete", "vectorcluster/kept"]);
    assert!(
        !refused.ok && refused.stderr.contains("deletionProtection"),
        "{refused:?}"
    );
    kept.patch(r#"{"spec":{"deletionProtection":false}}"#);
    kept.kubectl(&["delete", "vectorcluster/kept", "--wait=false"]);
    kept.until_gone("vectorcluster/kept");
    assert_eq!(kept.uids("pvc"), []);
}

/// Long: each of two steps has to last until kubelets have brought the Secrets everywhere.
#[test]
fn long_an_authority_is_changed_under_searches_on_ever_new_connections() {
    let Some(kubernetes) = Kubernetes::of_this_run() else {
        return;
    };
    install(&kubernetes);
    // It starts the operators anew.
    let _alone = alone();
    let overlap = |setting: &str| {
        let system = "vectorsphere-system";
        let operator = "deployment/vectorsphere-operator";
        let setting = format!("VECTORSPHERE_AUTHORITY_OVERLAP_SECONDS{setting}");
        kubernetes
            .call(&["set", "env", "-n", system, operator, &setting], "")
            .accepted("overlap");
        kubernetes.until_rolled_out(system, operator);
    };
    overlap("=100");
    let renewed = Living::new(&kubernetes, "double");
    // etcd's members are replaced one by one; one alone would be away meanwhile.
    renewed.apply(&DOUBLE.replace("managed: {replicas: 1}", "managed: {replicas: 3}"));
    renewed.until_phase("Running");
    let found = json!([[99, 98, 97], 100]);
    assert_eq!(renewed.application(&["write", "c", "1"]), found);
    let authority = || {
        let data = "jsonpath={.data.tls\\.crt}";
        renewed.kubectl(&["get", "secret", "double-ca", "-o", data])
    };
    let before = authority();
    let searches = renewed.searches_by_fresh_authorities("c");
    let demand = "vectorsphere.io/rotate-authority=once";
    renewed.kubectl(&["annotate", "vectorcluster/double", demand]);
    let changing = |cluster: &serde_json::Value| {
        let operations = cluster["status"]["operations"].as_array();
        let mut operations = operations.into_iter().flatten();
        operations.any(|one| one["name"] == "RotateCertificates")
    };
    renewed.until("it begins", changing);
    let took = renewed.until("it is over", |cluster| {
        !changing(cluster) && cluster["status"]["phase"] == "Running"
    });
    let (asked, failed) = searches.count();
    assert_eq!(failed, Vec::<String>::new(), "of {asked}");
    assert_ne!(authority(), before);
    // Only the new one is trusted, and all processes still find each other.
    assert_eq!(renewed.application(&["write", "d", "1"]), found);
    eprintln!("an authority was changed in {took:.0?} under {asked} searches: 0 failed");
    overlap("-");
}
