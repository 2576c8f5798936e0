//! Which manifest is carried out: the one that there is, or, while that cannot be carried out, the last
//! one that could.
//!
//! What was accepted is kept in a ConfigMap of the cluster. So a word too many in a manifest does not take a
//! cluster that serves out of care: pods that die are made again and certificates renewed, by what was
//! asked for before. A cluster that never was accepted is not made.
//!
//! What a person says about pausing, deleting and protecting is taken from the new manifest in any case.

use k8s_openapi::api::core::v1::ConfigMap;
use serde_json::{Value, json};

use super::Error;
use super::cluster_api::ClusterApi;
use super::names::Subject;
use super::unbuilt;
use crate::crd::v1alpha1::{VectorCluster, VectorClusterSpec};

/// What is wrong with a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// The reason of `SpecValid`.
    pub(super) reason: &'static str,
    /// Each fault in a sentence.
    pub(super) why: String,
    /// The generation that is carried out in its place.
    pub(super) instead: Option<i64>,
}

/// A manifest that was accepted.
struct Accepted {
    generation: i64,
    spec: VectorClusterSpec,
}

/// Judges the manifest, and puts the last accepted one in its place when it is refused.
pub(super) async fn judge(
    cluster: &mut VectorCluster,
    api: &ClusterApi,
) -> Result<Option<Refused>, Error> {
    let name = config_map_name(&api.subject);
    let there = api.config_map(&name).await?;
    let kept = there.as_ref().and_then(read);
    if there.is_some() && kept.is_none() {
        // As good as none; the next manifest that is accepted replaces it.
        tracing::warn!(config_map = name, "the accepted manifest cannot be read");
    }
    let running = kept.as_ref().map(|kept| kept.spec.version.as_str());
    let Some((reason, why)) = fault(&cluster.spec, running) else {
        return Ok(None);
    };
    let instead = kept.map(|kept| {
        let asked = std::mem::replace(&mut cluster.spec, kept.spec);
        cluster.spec.paused = asked.paused;
        cluster.spec.deletion_policy = asked.deletion_policy;
        cluster.spec.deletion_protection = asked.deletion_protection;
        kept.generation
    });
    Ok(Some(Refused {
        reason,
        why,
        instead,
    }))
}

/// Why a manifest is not carried out: a reason and all faults of that kind.
fn fault(spec: &VectorClusterSpec, running: Option<&str>) -> Option<(&'static str, String)> {
    let not_built = unbuilt::fields(spec);
    if !not_built.is_empty() {
        return Some(("NotBuilt", not_built.join("; ")));
    }
    let wanted = spec.version.as_str();
    let (from, to) = (parts(running?)?, parts(wanted)?);
    let running = running.unwrap_or_default();
    let (major, minor) = to;
    if major < from.0 || (major == from.0 && minor.saturating_add(1) < from.1) {
        let why = format!(
            "spec.version: {wanted} may not know what {running} has written; one minor version is the \
             most that a cluster goes back"
        );
        return Some(("Downgrade", why));
    }
    let next_major = major == from.0.saturating_add(1) && minor == 0;
    let next_minor = major == from.0 && minor <= from.1.saturating_add(1);
    if major > from.0 && !next_major || major == from.0 && !next_minor {
        let why = format!(
            "spec.version: from {running} to {wanted} a version is left out; update to each minor \
             version in turn"
        );
        return Some(("VersionSkip", why));
    }
    None
}

/// Major and minor of a version.
fn parts(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.split('.');
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?))
}

fn config_map_name(subject: &Subject) -> String {
    format!("{}-accepted", subject.name)
}

/// The ConfigMap that keeps a manifest.
pub(super) fn kept(subject: &Subject, cluster: &VectorCluster, owner: &Value) -> Value {
    let generation = cluster.metadata.generation.unwrap_or(0);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(subject), "namespace": subject.namespace,
            "labels": subject.labels(), "ownerReferences": [owner],
        },
        "data": {
            "generation": generation.to_string(),
            "spec": serde_json::to_string(&cluster.spec).unwrap_or_default(),
        },
    })
}

/// None when it is not one that this operator can read.
fn read(kept: &ConfigMap) -> Option<Accepted> {
    let data = kept.data.as_ref()?;
    Some(Accepted {
        generation: data.get("generation")?.parse().ok()?,
        spec: serde_json::from_str(data.get("spec")?).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::{LAPTOP_SAMPLE, manifest};

    fn spec(version: &str) -> VectorClusterSpec {
        let mut spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        version.clone_into(&mut spec.version);
        spec
    }

    #[test]
    fn versions_go_on_one_minor_at_a_time_and_back_no_further() {
        let reason = |from: &str, to: &str| fault(&spec(to), Some(from)).map(|(reason, _)| reason);
        for (from, to) in [
            ("0.1.0", "0.1.0"),
            ("0.1.9", "0.2.0"),
            ("0.2.0", "0.1.0"),
            ("0.2.0", "0.2.7-rc.1"),
            ("0.9.0", "1.0.0"),
        ] {
            assert_eq!(reason(from, to), None, "{from} to {to}");
        }
        assert_eq!(reason("0.1.0", "0.3.0"), Some("VersionSkip"));
        assert_eq!(reason("0.9.0", "1.1.0"), Some("VersionSkip"));
        assert_eq!(reason("0.9.0", "2.0.0"), Some("VersionSkip"));
        assert_eq!(reason("0.3.0", "0.1.0"), Some("Downgrade"));
        assert_eq!(reason("1.0.0", "0.9.0"), Some("Downgrade"));
        assert_eq!(fault(&spec("0.9.0"), None), None, "one that is made");
    }

    #[test]
    fn what_is_kept_is_read_again() {
        let subject = Subject {
            name: "a".to_owned(),
            namespace: "n".to_owned(),
            uid: "u".to_owned(),
        };
        let mut cluster = VectorCluster::new("a", spec("0.4.0"));
        cluster.metadata.generation = Some(7);
        let kept = kept(&subject, &cluster, &json!({}));
        assert_eq!(kept["metadata"]["name"], "a-accepted");
        let read = read(&serde_json::from_value(kept).unwrap()).unwrap();
        assert_eq!((read.generation, read.spec), (7, cluster.spec));
    }
}
