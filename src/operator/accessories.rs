//! What stands beside the pods of a cluster: accounts, policies, budgets, an autoscaler, certificates of
//! cert-manager, objects of a monitoring stack.
//!
//! Each kind is a step of its own. What is wanted is applied; what carries our labels and is not wanted
//! any more is deleted, this very object and no other of its name. An object of a wanted name that is
//! somebody else's is left alone and told: applying would make it ours, and it would go with the
//! cluster. Kinds whose definitions may be missing are no trouble as long as nobody asks for them.

use kube::core::ObjectMeta;
use serde_json::Value;

use super::Error;
use super::cluster_api::ClusterApi;

/// A kind of accessory.
struct Accessory {
    api_version: &'static str,
    kind: &'static str,
    /// The step, as errors name it.
    step: &'static str,
    /// Its definition is not one of Kubernetes' own.
    optional: bool,
}

const fn accessory(api_version: &'static str, kind: &'static str, step: &'static str) -> Accessory {
    Accessory {
        api_version,
        kind,
        step,
        optional: false,
    }
}

const fn optional(api_version: &'static str, kind: &'static str, step: &'static str) -> Accessory {
    Accessory {
        api_version,
        kind,
        step,
        optional: true,
    }
}

/// Every kind of accessory, also those that no cluster has now: one may have had them before.
const KINDS: &[Accessory] = &[
    accessory("v1", "ServiceAccount", "service account"),
    accessory("networking.k8s.io/v1", "NetworkPolicy", "network policies"),
    accessory("policy/v1", "PodDisruptionBudget", "disruption budgets"),
    accessory("autoscaling/v2", "HorizontalPodAutoscaler", "autoscaler"),
    accessory("v1", "ConfigMap", "dashboard"),
    optional(
        "cert-manager.io/v1",
        "Certificate",
        "certificate of cert-manager",
    ),
    optional("monitoring.coreos.com/v1", "ServiceMonitor", "monitors"),
    optional("monitoring.coreos.com/v1", "PrometheusRule", "alerts"),
];

const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;

/// Makes the accessories as they are wanted and deletes the others; how each step went.
pub(super) async fn settle(
    api: &ClusterApi,
    wanted: &[Value],
) -> Vec<(&'static str, Result<(), Error>)> {
    let mut done = Vec::new();
    for accessory in KINDS {
        let of_kind = |object: &&Value| text(object, "/kind") == accessory.kind;
        let wanted: Vec<&Value> = wanted.iter().filter(of_kind).collect();
        match there(api, accessory, !wanted.is_empty()).await {
            Ok(there) => done.extend(accessory.settle(api, &wanted, &there).await),
            Err(error) => done.push((accessory.step, Err(error))),
        }
    }
    done
}

async fn there(
    api: &ClusterApi,
    accessory: &Accessory,
    wanted: bool,
) -> Result<Vec<ObjectMeta>, Error> {
    let listed = api.accessories(accessory.api_version, accessory.kind).await;
    let Err(Error::Kubernetes(kube::Error::Api(status))) = &listed else {
        return listed;
    };
    // The code: where a kind is not known the answer is a page and no reason.
    match (accessory.optional, wanted, status.code) {
        (true, false, NOT_FOUND | FORBIDDEN) => Ok(Vec::new()),
        (true, true, NOT_FOUND) => Err(Error::UnknownKind(accessory.kind)),
        _ => listed,
    }
}

impl Accessory {
    async fn settle(
        &self,
        api: &ClusterApi,
        wanted: &[&Value],
        there: &[ObjectMeta],
    ) -> Vec<(&'static str, Result<(), Error>)> {
        let mut done = Vec::new();
        for object in wanted {
            let name = text(object, "/metadata/name");
            let ours = there.iter().any(|one| one.name.as_deref() == Some(name));
            done.push((self.step, self.make(api, object, ours).await));
        }
        for object in there {
            let is_wanted =
                |one: &&Value| object.name.as_deref() == Some(text(one, "/metadata/name"));
            if !wanted.iter().any(is_wanted) {
                let deleted = api
                    .delete_accessory(self.api_version, self.kind, object)
                    .await;
                if deleted.is_ok() {
                    tracing::info!(kind = self.kind, name = object.name, "not wanted any more");
                }
                done.push((self.step, deleted));
            }
        }
        done
    }

    async fn make(&self, api: &ClusterApi, object: &Value, ours: bool) -> Result<(), Error> {
        let name = text(object, "/metadata/name");
        if !ours && api.is_there(self.api_version, self.kind, name).await? {
            return Err(Error::NotOurs {
                kind: self.kind,
                name: name.to_owned(),
            });
        }
        api.apply(object).await
    }
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    let text = object.pointer(pointer).and_then(Value::as_str);
    text.unwrap_or_default()
}
