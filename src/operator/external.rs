//! An etcd that others run, asked by the operator itself when no master leads, and where users log in.
//!
//! Masters say that it is there by leading. When none does the reason may be that etcd does not let them in,
//! and processes that wait for it answer nobody yet: so the operator tries the same, by the same
//! certificates and the same user, and its condition says what came of it. Processes that are in go on by
//! what they got before a Secret was changed to what etcd refuses: that has to be told while all is well
//! still. The operator reads one key and changes nothing. Where it does not reach that etcd and the masters
//! do, nothing is wrong.

use std::sync::Arc;
use std::time::Duration;

use super::Error;
use super::cluster_api::ClusterApi;
use super::credentials::Maker;
use super::situation::Situation;
use crate::coordination::{self, Etcd, Keys};
use crate::crd::v1alpha1::{ExternalEtcd, Power};
use crate::fault::chain;

/// How long etcd has to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same while a master leads: a round that goes well is not to wait long for what it may not reach.
const TIMEOUT_LED: Duration = Duration::from_secs(2);

/// What came of asking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Asked {
    /// It answers.
    Answers,
    /// It does not let the user in, or to the keys of the cluster; in its words.
    Refuses(String),
    /// The operator has no answer.
    Silent(String),
}

/// Asks, if there is such an etcd, and something may be wrong that masters do not say.
pub(super) async fn asked(
    api: &ClusterApi,
    maker: &Maker,
    situation: &Situation<'_>,
) -> Option<Asked> {
    let external = situation.spec.etcd.external.as_ref()?;
    let logs_in = external.auth_secret.is_some();
    let led = situation.leader().is_some();
    if led && !logs_in || situation.spec.power == Power::Hibernated {
        return None;
    }
    let limit = if led { TIMEOUT_LED } else { TIMEOUT };
    let looking = tokio::time::timeout(limit, look(api, maker, external));
    Some(match looking.await {
        Ok(Ok(())) => Asked::Answers,
        Ok(Err(error)) if is_refusal(&error) => Asked::Refuses(chain(&error)),
        Ok(Err(error)) => Asked::Silent(chain(&error)),
        Err(_elapsed) => Asked::Silent(format!("nothing within {limit:?}")),
    })
}

fn is_refusal(error: &Error) -> bool {
    use coordination::Error as Etcd;
    matches!(
        error,
        Error::Etcd(Etcd::LoginRefused { .. } | Etcd::Refused { .. })
    )
}

async fn look(api: &ClusterApi, maker: &Maker, external: &ExternalEtcd) -> Result<(), Error> {
    let (credentials, login) = Maker::for_external(api, external).await?;
    let endpoints = external.endpoints.iter().map(|one| one.0.clone()).collect();
    let etcd = Etcd::connect(&endpoints, &credentials, Arc::clone(&maker.entropy)).await?;
    let etcd = etcd.logging_in(&login, Arc::clone(&maker.clock));
    let subject = &api.subject;
    let keys = Keys::new(&external.prefix, &subject.namespace, &subject.name);
    etcd.get(&keys.meta()).await?;
    Ok(())
}
