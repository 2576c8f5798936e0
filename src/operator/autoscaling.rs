//! Who says how many gateways there are: the manifest, or an autoscaler.
//!
//! A field that nobody owns goes back to its default, one gateway, at the moment its last owner lets go
//! of it. So the number is given to a manager of its own before the operator stops to write it; that
//! manager never writes another, and loses the field to the autoscaler at its first step.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;

use super::Error;
use super::cluster_api::ClusterApi;
use super::names::MANAGER;
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::topology::Role;

/// How many gateways to ask for; none: that is the autoscaler's. It leaves a Deployment without pods
/// alone, so one that is not there yet, or wakes, begins with what is planned; so does sleep.
pub(super) async fn replicas(
    api: &ClusterApi,
    spec: &VectorClusterSpec,
    planned: u32,
) -> Result<Option<u32>, Error> {
    if spec.gateway.autoscaling.is_none() || planned == 0 {
        return Ok(Some(planned));
    }
    let name = api.subject.of(Role::Gateway);
    let Some(there) = api.deployment(&name).await? else {
        return Ok(Some(planned));
    };
    let replicas = number(&there).unwrap_or(0);
    if replicas == 0 {
        return Ok(Some(planned));
    }
    if there.managed_fields().iter().any(we_own_replicas) {
        api.give_replicas_away(&name, replicas).await?;
    }
    Ok(None)
}

fn number(deployment: &Deployment) -> Option<i32> {
    deployment.spec.as_ref()?.replicas
}

fn we_own_replicas(entry: &ManagedFieldsEntry) -> bool {
    let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
    let spec = fields.and_then(|fields| fields.get("f:spec"));
    entry.manager.as_deref() == Some(MANAGER)
        && spec.is_some_and(|spec| spec.get("f:replicas").is_some())
}
