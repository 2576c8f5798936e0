//! Which manifest is carried out: the one that there is, or, while that cannot be carried out, the last
//! one that could.
//!
//! What was accepted is kept in a ConfigMap of the cluster, and beside it the version that every pod came to
//! be of last: versions are judged by both, for data was written by what ran and not by what was asked for.
//! So a word too many in a manifest does not take a cluster that serves out of care: pods that die are made
//! again and certificates renewed, by what was asked for before. A cluster that never was accepted is not
//! made.
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
    /// The version that every pod came to be of last; none while the cluster is made.
    settled: Option<String>,
}

/// What is known of a manifest.
#[derive(Debug)]
pub(super) struct Judged {
    /// What is wrong with it, if anything is.
    pub(super) refused: Option<Refused>,
    /// Whether one is kept.
    is_kept: bool,
    /// The version that stands beside it.
    settled: Option<String>,
}

impl Judged {
    /// Whether there is a manifest to carry out.
    pub(super) fn goes_on(&self) -> bool {
        let refused = self.refused.as_ref();
        refused.is_none_or(|refused| refused.instead.is_some())
    }
}

/// Judges the manifest, and puts the last accepted one in its place when it is refused.
pub(super) async fn judge(cluster: &mut VectorCluster, api: &ClusterApi) -> Result<Judged, Error> {
    let name = config_map_name(&api.subject);
    let there = api.config_map(&name).await?;
    let kept = there.as_ref().and_then(read);
    if there.is_some() && kept.is_none() {
        // As good as none; the next manifest that is accepted replaces it.
        tracing::warn!(config_map = name, "the accepted manifest cannot be read");
    }
    let (is_kept, settled) = (
        there.is_some(),
        kept.as_ref().and_then(|kept| kept.settled.clone()),
    );
    let refused = fault(&cluster.spec, kept.as_ref()).map(|(reason, why)| {
        let instead = kept.map(|kept| {
            let asked = std::mem::replace(&mut cluster.spec, kept.spec);
            cluster.spec.paused = asked.paused;
            cluster.spec.deletion_policy = asked.deletion_policy;
            cluster.spec.deletion_protection = asked.deletion_protection;
            kept.generation
        });
        Refused {
            reason,
            why,
            instead,
        }
    });
    Ok(Judged {
        refused,
        is_kept,
        settled,
    })
}

/// Why a manifest is not carried out: a reason and all faults of that kind.
fn fault(spec: &VectorClusterSpec, kept: Option<&Accepted>) -> Option<(&'static str, String)> {
    let not_built = unbuilt::fields(spec);
    if !not_built.is_empty() {
        return Some(("NotBuilt", not_built.join("; ")));
    }
    // A cluster that never was of one version has nothing to lose.
    let settled = kept.and_then(|kept| kept.settled.as_deref());
    let accepted = settled.and(kept).map(|kept| kept.spec.version.as_str());
    let mut versions = settled.into_iter().chain(accepted);
    versions.find_map(|from| version_fault(from, &spec.version))
}

/// Why a version cannot follow another.
fn version_fault(from: &str, to: &str) -> Option<(&'static str, String)> {
    let (old, new) = (parts(from)?, parts(to)?);
    let (major, minor) = new;
    if major < old.0 || (major == old.0 && minor.saturating_add(1) < old.1) {
        let why = format!(
            "spec.version: {to} may not know what {from} has written; one minor version is the most \
             that a cluster goes back"
        );
        return Some(("Downgrade", why));
    }
    let next_major = major == old.0.saturating_add(1) && minor == 0;
    let next_minor = major == old.0 && minor <= old.1.saturating_add(1);
    if major > old.0 && !next_major || major == old.0 && !next_minor {
        let why = format!(
            "spec.version: from {from} to {to} a version is left out; update to each minor version in \
             turn, and let each update end"
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

/// Keeps a manifest that is carried out.
///
/// # Errors
/// [`Error::NotOurs`] when somebody else has a ConfigMap of that name: it is left alone.
pub(super) async fn keep(
    api: &ClusterApi,
    cluster: &VectorCluster,
    judged: &Judged,
    owner: &Value,
) -> Result<(), Error> {
    let name = config_map_name(&api.subject);
    if !judged.is_kept && api.is_there("v1", "ConfigMap", &name).await? {
        return Err(Error::NotOurs {
            kind: "ConfigMap",
            name,
        });
    }
    let settled = settled(cluster).or(judged.settled.as_deref());
    api.apply(&kept(&api.subject, cluster, settled, owner))
        .await
}

/// The version that every pod is of, if the status says so of this manifest.
fn settled(cluster: &VectorCluster) -> Option<&str> {
    let status = cluster.status.as_ref()?;
    let generation = cluster.metadata.generation;
    let is_up_to_date = status.conditions.iter().any(|one| {
        one.type_ == "RunningDesiredVersion"
            && one.status == "True"
            && one.observed_generation == generation
    });
    is_up_to_date.then_some(cluster.spec.version.as_str())
}

/// The ConfigMap that keeps a manifest.
fn kept(subject: &Subject, cluster: &VectorCluster, settled: Option<&str>, owner: &Value) -> Value {
    let generation = cluster.metadata.generation.unwrap_or(0);
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": config_map_name(subject), "namespace": subject.namespace,
            "labels": subject.labels(), "ownerReferences": [owner],
        },
        "data": {
            "generation": generation.to_string(),
            "settledVersion": settled.unwrap_or_default(),
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
        settled: data
            .get("settledVersion")
            .filter(|one| !one.is_empty())
            .cloned(),
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

    fn accepted(version: &str, settled: Option<&str>) -> Accepted {
        Accepted {
            generation: 1,
            spec: spec(version),
            settled: settled.map(ToOwned::to_owned),
        }
    }

    #[test]
    fn versions_go_on_one_minor_at_a_time_and_back_no_further() {
        let reason = |from: &str, to: &str| {
            let kept = accepted(from, Some(from));
            fault(&spec(to), Some(&kept)).map(|(reason, _)| reason)
        };
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
    fn an_update_that_has_not_ended_counts_with_what_ran_before_it() {
        let reason = |accepted: &Accepted, to: &str| {
            fault(&spec(to), Some(accepted)).map(|(reason, _)| reason)
        };
        let waits = accepted("0.2.0", Some("0.1.0"));
        assert_eq!(reason(&waits, "0.3.0"), Some("VersionSkip"));
        assert_eq!(reason(&waits, "0.1.0"), None);
        let goes_back = accepted("0.2.0", Some("0.3.0"));
        assert_eq!(reason(&goes_back, "0.1.0"), Some("Downgrade"));
        let is_made = accepted("0.1.0", None);
        assert_eq!(reason(&is_made, "0.9.0"), None);
    }

    #[test]
    fn what_is_kept_is_read_again_and_a_version_settles_when_every_pod_is_of_it() {
        let subject = Subject {
            name: "a".to_owned(),
            namespace: "n".to_owned(),
            uid: "u".to_owned(),
        };
        let mut cluster = VectorCluster::new("a", spec("0.4.0"));
        cluster.metadata.generation = Some(7);
        let up_to_date = |generation: i64| {
            serde_json::from_value(json!({"conditions": [{
                "type": "RunningDesiredVersion", "status": "True", "reason": "UpToDate",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
                "observedGeneration": generation,
            }]}))
            .unwrap()
        };
        assert_eq!(settled(&cluster), None);
        cluster.status = Some(up_to_date(6));
        assert_eq!(settled(&cluster), None, "it speaks of what was before");
        cluster.status = Some(up_to_date(7));
        assert_eq!(settled(&cluster), Some("0.4.0"));
        for settled in [None, Some("0.3.0")] {
            let kept = kept(&subject, &cluster, settled, &json!({}));
            assert_eq!(kept["metadata"]["name"], "a-accepted");
            let read = read(&serde_json::from_value(kept).unwrap()).unwrap();
            assert_eq!((read.generation, &read.spec), (7, &cluster.spec));
            assert_eq!(read.settled.as_deref(), settled);
        }
    }
}
