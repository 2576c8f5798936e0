//! What manifests become: files to read, and what must be so whatever a manifest says.

mod golden;
mod monitoring;
mod properties;

use serde_json::{Value, json};

use super::{Images, Render, StartValues, Workers, gateway, master, worker};
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::operator::names::Subject;
use crate::operator::revisions::{Restarts, Template};
use crate::operator::unbuilt;
use crate::topology::{Observation, Role, manifest, plan};

/// The smallest manifest, with more in its spec: YAML or JSON, over what is there.
pub(in crate::operator) fn manifest_with(more: &Value) -> Value {
    let mut manifest = json!({
        "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCluster",
        "metadata": {"name": "demo"},
        "spec": {
            "version": "0.1.0", "gateway": {"replicas": 1}, "master": {"replicas": 1},
            "worker": {"replicas": 1, "storage": {"size": "1Gi"}},
            "etcd": {"managed": {"replicas": 1}},
        },
    });
    super::overlay::lay(&mut manifest, &json!({"spec": more}));
    manifest
}

/// Lays one value over another.
pub(in crate::operator) fn lay(value: &mut Value, more: &Value) {
    super::overlay::lay(value, more);
}

/// A spec that can be carried out.
#[track_caller]
fn spec(more: &Value) -> VectorClusterSpec {
    let text = manifest_with(more).to_string();
    let spec = manifest::check(&text).unwrap().spec;
    assert_eq!(unbuilt::fields(&spec), Vec::<String>::new());
    spec
}

/// Looks at the rendering of a spec.
pub(in crate::operator) fn rendered<T>(
    spec: &VectorClusterSpec,
    look: impl FnOnce(&Render<'_>) -> T,
) -> T {
    let subject = subject();
    let images = Images {
        repository: "images.test/vectorsphere".to_owned(),
        etcd: "images.test/etcd:3.6".to_owned(),
    };
    let owner = json!({
        "apiVersion": "vectorsphere.io/v1alpha1", "kind": "VectorCluster", "name": "demo",
        "uid": subject.uid, "controller": true,
    });
    look(&Render {
        subject: &subject,
        spec,
        images: &images,
        owner: &owner,
        operator_namespace: "vectorsphere-system",
        restarts: &Restarts::new(),
    })
}

/// The cluster that is rendered.
pub(in crate::operator) fn subject() -> Subject {
    Subject {
        name: "demo".to_owned(),
        namespace: "search".to_owned(),
        uid: "8a8b0f5c-0000-4000-8000-000000000000".to_owned(),
    }
}

/// Everything that the operator makes of a spec but Secrets.
pub(in crate::operator) fn objects(spec: &VectorClusterSpec) -> Vec<Value> {
    rendered(spec, |render| objects_of(render, spec))
}

fn objects_of(render: &Render<'_>, spec: &VectorClusterSpec) -> Vec<Value> {
    let plan = plan(spec, "demo", &Observation::default());
    let of = |role: Role| plan.components.iter().filter(move |one| one.role == role);
    let count = |role: Role| u32::try_from(of(role).count()).unwrap();
    let workers = Workers {
        count: count(Role::Worker),
        all_served: true,
    };
    let mut objects = render.accessories(workers);
    objects.extend(render.services());
    let templates = [Role::Etcd, Role::Master, Role::Worker, Role::Gateway].map(|role| {
        let template = render.role_template(role);
        (role, template)
    });
    let template = |role: Role| {
        let (_role, template) = templates
            .iter()
            .find(|(of, _template)| *of == role)
            .unwrap();
        Template {
            template,
            revision: "r".to_owned(),
        }
    };
    let members = count(Role::Etcd);
    let start = StartValues {
        ordinals: (0..members).collect(),
        is_new: true,
        volumes: String::new(),
    };
    objects.extend((members > 0).then(|| render.etcd_start(&start)));
    objects.extend(render.etcd((members, members), &template(Role::Etcd)));
    objects.push(master(render, count(Role::Master), &template(Role::Master)));
    for one in of(Role::Worker) {
        objects.extend([
            render.claim(one),
            worker(render, one, &template(Role::Worker)),
        ]);
    }
    let autoscaled = spec.gateway.autoscaling.is_some();
    let replicas = (!autoscaled).then(|| count(Role::Gateway));
    objects.push(gateway(render, replicas, &template(Role::Gateway)));
    objects
}

/// The metadata and spec of every pod that an object makes.
fn pod(object: &Value) -> Option<&Value> {
    match object["kind"].as_str().unwrap() {
        "Pod" => Some(object),
        "Deployment" | "StatefulSet" => Some(&object["spec"]["template"]),
        _ => None,
    }
}
