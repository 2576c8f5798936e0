//! What a report is put together from: objects, events, logs, the operator's own.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::events::v1::Event;
use kube::ResourceExt;
use kube::api::{Api, DynamicObject, LogParams, TypeMeta};
use kube::core::GroupVersionKind;
use kube::discovery::ApiResource;
use serde_json::Value;

use super::{Bundle, as_value};
use crate::plugin::explain;
use crate::plugin::logs::{Source, sources};
use crate::plugin::look::{bounded, selector, within};

/// Bytes of one container's log.
const LOG_BYTES_MAX: i64 = 1024 * 1024;
/// What an operator's pods carry.
const OPERATOR: &str = "app.kubernetes.io/name=vectorsphere-operator";
/// Kinds that carry the label of their cluster: group, version, kind.
const LABELLED: &[(&str, &str, &str)] = &[
    ("", "v1", "Pod"),
    ("", "v1", "PersistentVolumeClaim"),
    ("", "v1", "Service"),
    ("", "v1", "ServiceAccount"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("apps", "v1", "StatefulSet"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "ReplicaSet"),
    ("apps", "v1", "ControllerRevision"),
    ("discovery.k8s.io", "v1", "EndpointSlice"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("cert-manager.io", "v1", "Certificate"),
    ("monitoring.coreos.com", "v1", "ServiceMonitor"),
    ("monitoring.coreos.com", "v1", "PrometheusRule"),
];
/// Kinds that name their cluster in their spec.
const NAMING: &[(&str, &str, &str)] = &[
    ("vectorsphere.io", "v1alpha1", "VectorCollection"),
    ("vectorsphere.io", "v1alpha1", "VectorOpsTask"),
    ("vectorsphere.io", "v1alpha1", "VectorBackup"),
    ("vectorsphere.io", "v1alpha1", "VectorBackupSchedule"),
    ("vectorsphere.io", "v1alpha1", "VectorRestore"),
];

/// A kind as it is asked for.
fn resource((group, version, kind): (&str, &str, &str)) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind))
}

/// An object of a list, which does not say its own kind.
fn whole(mut object: DynamicObject, resource: &ApiResource) -> Value {
    object.types = Some(TypeMeta {
        api_version: resource.api_version.clone(),
        kind: resource.kind.clone(),
    });
    as_value(&object)
}

impl Bundle<'_> {
    /// Everything that belongs to the cluster, a file for each kind.
    pub(super) async fn objects(&mut self) {
        let labelled = bounded().labels(&selector(self.name));
        for kind in LABELLED {
            self.kind(resource(*kind), &labelled, |_object| true).await;
        }
        let name = self.name.to_owned();
        let names =
            |object: &Value| object.pointer("/spec/cluster").and_then(Value::as_str) == Some(&name);
        for kind in NAMING {
            self.kind(resource(*kind), &bounded(), names).await;
        }
    }

    async fn kind(
        &mut self,
        resource: ApiResource,
        which: &kube::api::ListParams,
        ours: impl Fn(&Value) -> bool,
    ) {
        let client = self.access.client.clone();
        let api: Api<DynamicObject> =
            Api::namespaced_with(client, &self.access.namespace, &resource);
        let found = match within(api.list(which)).await {
            Ok(list) => list.items,
            // A kind that is not installed has no objects.
            Err(error) if error.is_not_found() => return,
            Err(error) => return self.miss(&resource.plural, &error),
        };
        let all = found.into_iter().map(|object| whole(object, &resource));
        let all: Vec<Value> = all.filter(ours).collect();
        if !all.is_empty() {
            self.put_objects(&format!("objects/{}.yaml", resource.plural), all);
        }
    }

    /// The events about the cluster and what belongs to it.
    pub(super) async fn events(&mut self) {
        let events = match within(self.access.of::<Event>().list(&bounded())).await {
            Ok(list) => list.items,
            Err(error) => return self.miss("events", &error),
        };
        let about = events
            .iter()
            .filter(|event| explain::is_about(event, self.name));
        let about = about.map(as_value).collect();
        self.put_objects("events.yaml", about);
    }

    /// The last lines of every container of these pods.
    pub(super) async fn logs(&mut self, pods: &[Pod]) {
        let api = self.access.of::<Pod>();
        for pod in pods {
            self.logs_of(&api, pod, "logs").await;
        }
    }

    async fn logs_of(&mut self, api: &Api<Pod>, pod: &Pod, folder: &str) {
        for source in sources(pod) {
            self.log(api, &source, folder, false).await;
            if source.restarts > 0 {
                self.log(api, &source, folder, true).await;
            }
        }
    }

    async fn log(&mut self, api: &Api<Pod>, source: &Source, folder: &str, previous: bool) {
        let end = if previous { ".previous.log" } else { ".log" };
        let path = format!("{folder}/{}/{}{end}", source.pod, source.container);
        if self.log_bytes_left == 0 {
            self.missing
                .push(format!("{path}: the logs before it are large enough"));
            return;
        }
        let parameters = LogParams {
            container: Some(source.container.clone()),
            tail_lines: Some(self.lines),
            limit_bytes: Some(LOG_BYTES_MAX),
            previous,
            timestamps: true,
            ..LogParams::default()
        };
        match within(api.logs(&source.pod, &parameters)).await {
            Ok(text) => {
                self.log_bytes_left = self.log_bytes_left.saturating_sub(text.len());
                self.put(&path, text);
            },
            Err(error) => self.miss(&path, &error),
        }
    }

    /// The operator's pods, wherever they may be seen, and what they say.
    pub(super) async fn operator(&mut self) {
        let which = bounded().labels(OPERATOR);
        let client = self.access.client.clone();
        let everywhere = within(Api::<Pod>::all(client.clone()).list(&which)).await;
        let pods = match everywhere {
            Ok(list) => list.items,
            Err(error) => {
                self.miss("the operator's pods in all namespaces", &error);
                // It may be one for this namespace only.
                let here = within(self.access.of::<Pod>().list(&which)).await;
                here.map_or_else(|_error| Vec::new(), |list| list.items)
            },
        };
        if pods.is_empty() {
            self.missing
                .push("the operator: no pod of it is seen".to_owned());
        }
        let pod_kind = resource(("", "v1", "Pod"));
        let values = pods.iter().filter_map(|pod| {
            let object: DynamicObject = serde_json::from_value(as_value(pod)).ok()?;
            Some(whole(object, &pod_kind))
        });
        let values = values.collect();
        self.put_objects("operator/pods.yaml", values);
        for pod in &pods {
            let namespace = pod.namespace().unwrap_or_default();
            let api = Api::namespaced(client.clone(), &namespace);
            self.logs_of(&api, pod, "operator/logs").await;
        }
    }
}
