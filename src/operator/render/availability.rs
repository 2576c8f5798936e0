//! What keeps enough pods running: PodDisruptionBudgets, and the autoscaler of the gateways.
//!
//! A pod that is the only one of its role has no budget: it would stop the drain of its node for ever.
//! Pods that are not ready may always be evicted, for the same reason.

use serde_json::{Value, json};

use super::Render;
use crate::topology::Role;

/// How the workers are, for their budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::operator) struct Workers {
    /// How many there should be.
    pub(in crate::operator) count: u32,
    /// The masters say that every shard is served.
    pub(in crate::operator) all_served: bool,
}

/// The budgets.
pub(super) fn budgets(render: &Render<'_>, workers: Workers) -> Vec<Value> {
    let spec = render.spec;
    let gateway = &spec.gateway;
    let gateways = gateway
        .autoscaling
        .as_ref()
        .map_or(gateway.replicas, |autoscaling| autoscaling.min_replicas);
    let members = spec.etcd.managed.as_ref().map_or(0, |etcd| etcd.replicas);
    let of = [
        (Role::Gateway, gateways),
        (Role::Master, spec.master.replicas),
        (Role::Etcd, members),
    ];
    let many = of.into_iter().filter(|(_role, count)| *count > 1);
    let mut budgets: Vec<Value> = many
        .map(|(role, _count)| budget(render, role, ("maxUnavailable", 1)))
        .collect();
    if workers.count > 1 {
        // One worker more may go, unless shards are not served or nobody knows whether they are.
        let spare = u32::from(workers.all_served);
        let least = workers.count.saturating_sub(spare);
        budgets.push(budget(render, Role::Worker, ("minAvailable", least)));
    }
    budgets
}

fn budget(render: &Render<'_>, role: Role, (bound, pods): (&str, u32)) -> Value {
    let subject = render.subject;
    json!({
        "apiVersion": "policy/v1", "kind": "PodDisruptionBudget",
        "metadata": render.accessory(&subject.of(role), Some(role)),
        "spec": {
            bound: pods, "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": subject.selector(role)},
        },
    })
}

/// The autoscaler of the gateways, if the manifest asks for one.
pub(super) fn autoscaler(render: &Render<'_>) -> Option<Value> {
    let autoscaling = render.spec.gateway.autoscaling.as_ref()?;
    let name = render.subject.of(Role::Gateway);
    Some(json!({
        "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler",
        "metadata": render.accessory(&name, Some(Role::Gateway)),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": autoscaling.min_replicas, "maxReplicas": autoscaling.max_replicas,
            "metrics": [{"type": "Resource", "resource": {
                "name": "cpu",
                "target": {
                    "type": "Utilization", "averageUtilization": autoscaling.target_cpu_percent,
                },
            }}],
        },
    }))
}
