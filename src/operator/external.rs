//! An etcd that others run, asked by the operator itself when no master leads, and where users log in.
//!
//! Masters say that it is there by leading. When none does the reason may be that etcd does not let them in,
//! and processes that wait for it answer nobody yet: so the operator tries the same, by the same
//! certificates and the same user, and its condition says what came of it. Processes that are in go on by
//! what they got before a Secret was changed to what etcd refuses: that has to be told while all is well
//! still. The operator reads one key and changes nothing. Each time costs that etcd a login: an answer stands
//! for a while as long as a master leads and no Secret is changed. Where it does not reach that etcd and the
//! masters do, nothing is wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Error;
use super::cluster_api::ClusterApi;
use super::credentials::{Maker, Means};
use super::situation::Situation;
use crate::clock::Moment;
use crate::coordination::{self, Etcd, Keys};
use crate::crd::v1alpha1::{ExternalEtcd, Power};
use crate::fault::chain;

/// How long etcd has to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The same while a master leads: a round that goes well is not to wait long for what it may not reach.
const TIMEOUT_LED: Duration = Duration::from_secs(2);
/// How long an answer stands while a master leads.
const EVERY: Duration = Duration::from_secs(30);

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

/// What it was asked with.
#[derive(Debug, Clone, PartialEq)]
struct With {
    external: ExternalEtcd,
    /// The resource versions of the Secrets.
    versions: Vec<String>,
}

/// An answer, and when and to what it was given.
#[derive(Debug)]
struct Answer {
    at: Moment,
    with: With,
    asked: Asked,
}

/// The last answers, by the UID of the cluster; none is older than [`EVERY`], so that those of clusters that
/// are gone go too.
#[derive(Debug, Clone, Default)]
pub(super) struct Answers(Arc<Mutex<HashMap<String, Answer>>>);

impl Answers {
    /// The last answer, if it is young and to the same question.
    fn last(&self, uid: &str, with: &With, now: Moment) -> Option<Asked> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = all.get(uid)?;
        let stands = now.since(last.at) < EVERY && last.with == *with;
        stands.then(|| last.asked.clone())
    }

    fn keep(&self, uid: &str, answer: Answer) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_uid, old| answer.at.since(old.at) < EVERY);
        all.insert(uid.to_owned(), answer);
    }
}

/// Asks, if there is such an etcd, and something may be wrong that masters do not say.
pub(super) async fn asked(
    api: &ClusterApi,
    (maker, answers): (&Maker, &Answers),
    situation: &Situation<'_>,
) -> Option<Asked> {
    let external = situation.spec.etcd.external.as_ref()?;
    let logs_in = external.auth_secret.is_some();
    let led = situation.leader().is_some();
    if led && !logs_in || situation.spec.power == Power::Hibernated {
        return None;
    }
    let means = match Maker::for_external(api, external).await {
        Ok(means) => means,
        Err(error) => return Some(Asked::Silent(chain(&error))),
    };
    let with = With {
        external: external.clone(),
        versions: means.versions.clone(),
    };
    let (uid, now) = (&api.subject.uid, maker.clock.now());
    if let Some(last) = answers.last(uid, &with, now).filter(|_last| led) {
        return Some(last);
    }
    let limit = if led { TIMEOUT_LED } else { TIMEOUT };
    let looking = tokio::time::timeout(limit, look(api, maker, external, &means));
    let asked = match looking.await {
        Ok(Ok(())) => Asked::Answers,
        Ok(Err(error)) if is_refusal(&error) => Asked::Refuses(chain(&error)),
        Ok(Err(error)) => Asked::Silent(chain(&error)),
        Err(_elapsed) => Asked::Silent(format!("nothing within {limit:?}")),
    };
    // What was wrong when none led may be over as soon as one does.
    if led {
        let answer = Answer {
            at: now,
            with,
            asked: asked.clone(),
        };
        answers.keep(uid, answer);
    }
    Some(asked)
}

fn is_refusal(error: &Error) -> bool {
    use coordination::Error as Etcd;
    matches!(
        error,
        Error::Etcd(Etcd::LoginRefused { .. } | Etcd::Refused { .. })
    )
}

async fn look(
    api: &ClusterApi,
    maker: &Maker,
    external: &ExternalEtcd,
    means: &Means,
) -> Result<(), Error> {
    let endpoints = external.endpoints.iter().map(|one| one.0.clone()).collect();
    let entropy = Arc::clone(&maker.entropy);
    let etcd = Etcd::connect(&endpoints, &means.credentials, entropy).await?;
    let etcd = etcd.logging_in(&means.login, Arc::clone(&maker.clock));
    let subject = &api.subject;
    let keys = Keys::new(&external.prefix, &subject.namespace, &subject.name);
    etcd.get(&keys.meta()).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crd::v1alpha1::Endpoint;

    fn with(version: &str, endpoint: &str) -> With {
        With {
            external: ExternalEtcd {
                endpoints: vec![Endpoint(endpoint.to_owned())],
                prefix: "/searches".to_owned(),
                tls_secret: None,
                auth_secret: None,
            },
            versions: vec![version.to_owned()],
        }
    }

    fn at(second: u64) -> Moment {
        Moment::from_boot(Duration::from_secs(second))
    }

    #[test]
    fn an_answer_stands_for_a_while_and_to_the_same_question_only() {
        let answers = Answers::default();
        let (same, here) = (with("1", "http://here:1"), "one");
        let refused = Asked::Refuses("no".to_owned());
        assert_eq!(answers.last(here, &same, at(100)), None);
        answers.keep(
            here,
            Answer {
                at: at(100),
                with: same.clone(),
                asked: refused.clone(),
            },
        );
        assert_eq!(answers.last(here, &same, at(129)), Some(refused));
        assert_eq!(answers.last(here, &same, at(130)), None);
        assert_eq!(answers.last("another", &same, at(101)), None);
        for other in [with("2", "http://here:1"), with("1", "http://there:1")] {
            assert_eq!(answers.last(here, &other, at(101)), None);
        }
        // What is old goes when something new comes.
        answers.keep(
            "another",
            Answer {
                at: at(130),
                with: same,
                asked: Asked::Answers,
            },
        );
        let all = answers.0.lock().unwrap();
        assert_eq!(all.keys().collect::<Vec<_>>(), ["another"]);
    }
}
