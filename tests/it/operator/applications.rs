//! The Secrets of a cluster whose applications show certificates, when something is wrong with them.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use serde_json::{Value, json};

use super::double::State;
use super::double::verbs::Deletion;
use super::scene::{
    CLUSTER, LIMIT, NAMESPACE, Scene, call, cluster_key, create, key, manifest, server_with,
};

/// What a Secret holds, by its files; nothing when it is not there.
fn held(state: &State, name: &str) -> BTreeMap<String, String> {
    let secret = state.store.get(&key("", "secrets", name));
    let data = secret.map(|secret| secret["data"].clone());
    let data = data.and_then(|data| data.as_object().cloned());
    let texts = data.into_iter().flatten().map(|(file, bytes)| {
        let bytes: ByteString = serde_json::from_value(bytes).unwrap();
        (file, String::from_utf8(bytes.0).unwrap())
    });
    texts.collect()
}

fn secret(name: &str, files: &[(&str, &str)]) -> Value {
    let files: BTreeMap<&str, &str> = files.iter().copied().collect();
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": NAMESPACE},
        "stringData": files,
    })
}

fn of(scene: &Scene, name: &str) -> BTreeMap<String, String> {
    scene.double.with(|state| held(state, name))
}

/// Waits until the last errors name this.
async fn until_told(scene: &Scene, what: &'static str) {
    let told = scene.double.until("that is told", LIMIT, move |state| {
        let cluster = state.store.get(&cluster_key(CLUSTER))?;
        let errors = cluster["status"]["lastErrors"].to_string();
        errors.contains(what).then_some(())
    });
    told.await;
}

/// Waits until a Secret holds what is looked for.
async fn until_held(
    scene: &Scene,
    name: &'static str,
    is: impl Fn(&BTreeMap<String, String>) -> bool,
) {
    let found = scene
        .double
        .until(name, LIMIT, |state| is(&held(state, name)).then_some(()));
    found.await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_with_the_authority_of_applications_stops_no_other_certificate() {
    let change = json!({"tls": {"clientAuth": "Required"}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &change)]));
    let theirs = secret("small-client-authority", &[("a", "b")]);
    scene.double.with(|state| create(state, &theirs));
    let _operator = scene.operator("first").await;
    until_told(&scene, "Secret small-client-authority is there and not of").await;
    for role in ["master", "worker", "operator", "etcd"] {
        let name: &'static str = format!("small-{role}-tls").leak();
        until_held(&scene, name, |files| files.contains_key("tls.crt")).await;
    }
    // With nobody to trust gateways would turn every application away.
    assert!(of(&scene, "small-gateway-tls").is_empty());
    assert!(of(&scene, "small-client-tls").is_empty());
    scene.double.with(|state| {
        let call = call(state, &key("", "secrets", "small-client-authority"));
        call.delete(&mut state.store, &Deletion::default()).unwrap();
    });
    scene.until_done().await;
    let (gateway, client) = (
        of(&scene, "small-gateway-tls"),
        of(&scene, "small-client-tls"),
    );
    assert!(gateway.contains_key("clients.crt") && client.contains_key("tls.key"));

    let authority = key("", "secrets", "small-client-authority");
    scene.merge(&authority, &json!({"data": {"tls.key": null}}));
    let demand = json!({"metadata": {"annotations": {"vectorsphere.io/rotate-certificates": "a"}}});
    scene.change(&demand);
    until_told(&scene, "small-client-authority has no tls.key").await;
    let other = |files: &BTreeMap<String, String>| files["tls.crt"] != gateway["tls.crt"];
    until_held(&scene, "small-gateway-tls", other).await;
    let after = of(&scene, "small-gateway-tls");
    assert_eq!(after["clients.crt"], gateway["clients.crt"]);
    scene.round().await;
    assert_eq!(of(&scene, "small-client-tls"), client);
}

/// Whether a gateway runs that was told to ask.
fn one_asks(state: &State) -> bool {
    let pods = state.store.list("", "pods", NAMESPACE);
    let mut gateways = pods
        .iter()
        .filter(|(key, _)| key.name.starts_with("small-gateway"));
    gateways.any(|(_, pod)| pod["spec"].to_string().contains("clients.crt"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_gateways_trusted_is_forgotten_when_none_asks_any_more_and_not_before() {
    let change = json!({"tls": {"clientAuth": "Required"}});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &change)]));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    assert!(of(&scene, "small-gateway-tls").contains_key("clients.crt"));
    // Of what an earlier operator wrote as text nobody owns the data.
    scene.double.with(|state| {
        let gateway = key("", "secrets", "small-gateway-tls");
        let mut secret = Value::clone(&state.store.get(&gateway).unwrap());
        secret["metadata"]["managedFields"] = json!([]);
        state.store.put(&gateway, secret);
        assert!(one_asks(state));
    });
    scene.change(&json!({"spec": {"tls": {"clientAuth": "Disabled"}}}));
    let forgotten = scene.double.until("it is forgotten", LIMIT, |state| {
        let there = held(state, "small-gateway-tls").contains_key("clients.crt");
        assert!(there || !one_asks(state), "a gateway still asks");
        (!there).then_some(())
    });
    forgotten.await;
    scene.until_done().await;
    assert!(of(&scene, "small-gateway-tls").contains_key("tls.key"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_application_is_not_told_a_wrong_authority_and_keeps_its_key() {
    let change = json!({"tls": {
        "clientAuth": "Optional", "mode": "Secret", "secretName": "web",
    }});
    let scene = Scene::of(&server_with(&[manifest(CLUSTER, &change)]));
    let files = [("tls.crt", "c"), ("tls.key", "k"), ("ca.crt", "web")];
    scene
        .double
        .with(|state| create(state, &secret("web", &files)));
    let _operator = scene.operator("first").await;
    scene.until_done().await;
    let first = of(&scene, "small-client-tls");
    assert_eq!(first["ca.crt"], "web");
    let web = key("", "secrets", "web");
    scene.merge(&web, &json!({"data": {"ca.crt": null}}));
    scene.round().await;
    until_held(&scene, "small-client-tls", |files| {
        !files.contains_key("ca.crt")
    })
    .await;
    let again = ByteString(b"web".to_vec());
    scene.merge(&web, &json!({"data": {"ca.crt": again}}));
    scene.round().await;
    until_held(&scene, "small-client-tls", |files| files == &first).await;
}
