//! Who issues the certificates of a cluster: its own authority, for its processes, and where applications
//! show certificates another, for those. Each lies in a Secret and is changed by the same rules
//! (`src/operator/authority.rs`), at the same demand.
//!
//! Whom gateways trust to name applications lies beside their own certificate, as [`CLIENTS_FILE`], and
//! changes with each step. It is never taken from under gateways that ask for it: not while the authority of
//! applications cannot be told, which stops only what is about applications, and not while a gateway runs
//! that was made when they were asked.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::authority::{self, Authorities, Rules};
use super::certificates::{self, AUTHORITY_LIFE, Authority, CLIENT, Pair, Wanted};
use super::cluster_api::ClusterApi;
use super::credentials::{Maker, bytes, put, secret, text};
use super::names::{ROTATE_AUTHORITY, SINCE, Subject, TRUSTED_SINCE};
use super::observe::Seen;
use super::revisions::Kept;
use crate::crd::v1alpha1::{ClientAuthentication, TlsMode, VectorClusterSpec};
use crate::security::credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::topology::Role;

/// In the Secret of gateways: the authorities of applications, PEM.
pub(super) const CLIENTS_FILE: &str = "clients.crt";

/// The authorities of a cluster.
pub(super) struct Issuers {
    /// Of its processes.
    pub(super) own: Authorities,
    /// Of applications.
    pub(super) clients: Clients,
}

/// What a round knows of the authorities of applications.
pub(super) enum Clients {
    /// No gateway asks applications for certificates.
    Unasked,
    /// These; and of whom the certificate of gateways is, if that could be read.
    Known(Box<Authorities>, Option<Serving>),
    /// What the Secret of gateways holds of them stays: they cannot be told, or only gateways that are about
    /// to go ask by it.
    Kept(String),
    /// They cannot be told, and gateways hold none yet.
    Unknown,
}

/// Of whom the certificate is that gateways show.
pub(super) enum Serving {
    /// The cluster's own authority.
    Own,
    /// This one.
    Given(String),
    /// Somebody else, who does not say: an authority that everybody knows.
    Unsaid,
}

/// What a change of authorities goes by.
#[derive(Clone, Copy)]
pub(super) struct Demand<'a> {
    /// To change them, once for each text.
    pub(super) demand: Option<&'a str>,
    /// When the oldest member of etcd started; absent when none is run for the cluster.
    pub(super) etcd_started: Option<OffsetDateTime>,
    /// Whether a gateway runs that asks applications for certificates, or may be made again.
    pub(super) gateways_ask: bool,
}

impl Issuers {
    /// Who issues a certificate.
    pub(super) fn of(&self, wanted: &Wanted) -> Result<&Pair, Error> {
        match wanted.authority() {
            Authority::Own => Ok(&self.own.current),
            Authority::Clients => match &self.clients {
                Clients::Known(clients, _serving) => Ok(&clients.current),
                Clients::Unasked | Clients::Kept(_) | Clients::Unknown => Err(Error::Incomplete {
                    object: CLIENT.to_owned(),
                    field: "authority",
                }),
            },
        }
    }

    /// The authorities that lie beside the certificate of a role, by their files; none when that is not known,
    /// and its Secret stays as it is.
    pub(super) fn beside(&self, role: &str) -> Option<BTreeMap<&'static str, String>> {
        let own = self.own.trusted();
        if role == CLIENT {
            let Clients::Known(_authorities, Some(serving)) = &self.clients else {
                return None;
            };
            // An application wants to know of whom the certificate of gateways is.
            let serving = match serving {
                Serving::Own => Some(own),
                Serving::Given(authority) => Some(authority.clone()),
                Serving::Unsaid => None,
            };
            let file = serving.map(|text| (AUTHORITY_FILE, text));
            return Some(file.into_iter().collect());
        }
        let mut files = BTreeMap::from([(AUTHORITY_FILE, own)]);
        if role == Role::Gateway.as_str() {
            match &self.clients {
                Clients::Unasked => {},
                // Without them gateways would turn every application away.
                Clients::Unknown => return None,
                Clients::Known(clients, _serving) => {
                    files.insert(CLIENTS_FILE, clients.trusted());
                },
                Clients::Kept(clients) => {
                    files.insert(CLIENTS_FILE, clients.clone());
                },
            }
        }
        Some(files)
    }

    /// What tells whether a role's certificate stands beside these. Of whom gateways are is no reason to give
    /// an application another key.
    pub(super) fn mark(&self, role: &str) -> String {
        let own = self.own.mark();
        let clients = match &self.clients {
            Clients::Known(clients, _serving) => clients.mark(),
            Clients::Kept(clients) => authority::mark(clients),
            Clients::Unasked | Clients::Unknown => return own,
        };
        match role {
            CLIENT => clients,
            role if role == Role::Gateway.as_str() => authority::mark(&format!("{own} {clients}")),
            _ => own,
        }
    }

    /// What is under way with them, for people.
    pub(super) fn under_way(&self) -> Option<String> {
        let clients = match &self.clients {
            Clients::Known(clients, _serving) => clients.under_way(),
            Clients::Unasked | Clients::Kept(_) | Clients::Unknown => None,
        };
        let clients = clients.map(|text| format!("of applications: {text}"));
        let all: Vec<String> = self.own.under_way().into_iter().chain(clients).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Maker {
    /// The authorities of a cluster, after the step of their change that is due, and why those of applications
    /// cannot be told.
    pub(super) async fn issuers(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
        demand: Demand<'_>,
    ) -> Result<(Issuers, Result<(), Error>), Error> {
        let own = self.authorities(api, owner, Authority::Own, demand).await?;
        let (clients, told) = if spec.tls.client_auth != ClientAuthentication::Disabled {
            self.clients(api, spec, owner, demand).await
        } else if demand.gateways_ask {
            let kept = kept(api).await?;
            (kept.map_or(Clients::Unasked, Clients::Kept), Ok(()))
        } else {
            (Clients::Unasked, Ok(()))
        };
        Ok((Issuers { own, clients }, told))
    }

    /// Those of applications. What is wrong with them keeps no process of the cluster from its certificate.
    async fn clients(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
        demand: Demand<'_>,
    ) -> (Clients, Result<(), Error>) {
        let demand = Demand {
            // etcd does not trust it.
            etcd_started: None,
            ..demand
        };
        let found = self.authorities(api, owner, Authority::Clients, demand);
        match found.await {
            Ok(found) => {
                let (serving, told) = match serving(api, spec).await {
                    Ok(serving) => (Some(serving), Ok(())),
                    Err(error) => (None, Err(error)),
                };
                (Clients::Known(Box::new(found), serving), told)
            },
            Err(error) => {
                let kept = kept(api).await.ok().flatten();
                (kept.map_or(Clients::Unknown, Clients::Kept), Err(error))
            },
        }
    }

    /// Those of one kind: the first is made once; a change of them goes on by a step when one is due.
    async fn authorities(
        &self,
        api: &ClusterApi,
        owner: &Value,
        of: Authority,
        Demand {
            demand,
            etcd_started,
            gateways_ask: _,
        }: Demand<'_>,
    ) -> Result<Authorities, Error> {
        let name = secret_of(&api.subject, of);
        let make = || certificates::authority(&api.subject, of, self.now());
        let Some(found) = api.own_secret(&name).await? else {
            let mut first = Authorities::first(make()?);
            // Certificates of one that is lost are in use: it is trusted until all have new ones, and
            // etcd, which reads whom it trusts when it starts, is started again.
            if let Some(lost) = last_authority(api, of).await? {
                tracing::warn!(secret = name, "the authority is gone and made anew");
                first.previous = Some(lost);
                first.since = Some(self.now());
                first.trusted_since = Some(self.now());
            }
            if of == Authority::Clients {
                api.may_write_secret(&name).await?;
                // What was demanded before was not about this one.
                first.demand = demand.map(str::to_owned);
            }
            write_authorities(api, owner, (&name, &first)).await?;
            return Ok(first);
        };
        let held = read_authorities(&found)?;
        let made = held.trusted_since.or_else(|| {
            let created = found.creation_timestamp()?.0.as_second();
            OffsetDateTime::from_unix_timestamp(created).ok()
        });
        let rules = Rules {
            now: self.now(),
            overlap: self.overlap,
            demand,
            ends: made.map(|made| made + AUTHORITY_LIFE),
            etcd_started,
        };
        let Some(next) = held.stepped(rules, make)? else {
            return Ok(held);
        };
        write_authorities(api, owner, (&name, &next)).await?;
        let under_way = next.under_way().unwrap_or_else(|| "it is over".to_owned());
        tracing::info!(
            secret = name,
            under_way,
            "the change of an authority goes on"
        );
        Ok(next)
    }
}

/// Whether a gateway runs that asks applications for certificates, or may be made again. One made from what
/// nobody knows any more may ask.
pub(super) fn gateways_ask(seen: &Seen, current: Option<&str>) -> bool {
    let asks = |kept: &Kept| {
        let template = kept.held.of(Role::Gateway);
        template.is_some_and(|of| of.template.to_string().contains(CLIENTS_FILE))
    };
    let made_from = |revision: &str| {
        let mut all = seen.revisions.iter();
        all.find(|kept| kept.held.revision_of(Role::Gateway) == revision)
    };
    let mut pods = seen.of(Role::Gateway);
    let current = current.and_then(|hash| seen.revision(hash));
    current.is_some_and(asks)
        || pods.any(|pod| {
            let revision = pod.revision.as_deref().unwrap_or_default();
            made_from(revision).is_none_or(asks)
        })
}

fn secret_of(subject: &Subject, of: Authority) -> String {
    match of {
        Authority::Own => subject.authority(),
        Authority::Clients => subject.client_authority(),
    }
}

/// The certificates of the authorities that were trusted when the Secrets beside them were written last.
async fn last_authority(api: &ClusterApi, of: Authority) -> Result<Option<String>, Error> {
    let (role, file) = match of {
        Authority::Own => ("operator", AUTHORITY_FILE),
        Authority::Clients => (Role::Gateway.as_str(), CLIENTS_FILE),
    };
    let found = api.own_secret(&api.subject.certificate_of(role)).await?;
    let Some(found) = found else {
        return Ok(None);
    };
    match (of, text(&found, file)) {
        // Gateways that never had any trust none.
        (Authority::Clients, Err(Error::Incomplete { .. })) => Ok(None),
        (_, read) => read.map(Some),
    }
}

/// Whom gateways trust to name applications, as their Secret says.
async fn kept(api: &ClusterApi) -> Result<Option<String>, Error> {
    let name = api.subject.certificate_of(Role::Gateway.as_str());
    let found = api.own_secret(&name).await?;
    Ok(found.and_then(|found| said(&found, CLIENTS_FILE)))
}

/// The authority of the certificate that gateways show.
async fn serving(api: &ClusterApi, spec: &VectorClusterSpec) -> Result<Serving, Error> {
    let name = match (spec.tls.mode, &spec.tls.secret_name) {
        (TlsMode::Secret, Some(name)) => name.clone(),
        (TlsMode::CertManager, _) => api.subject.serving(),
        (TlsMode::Secret | TlsMode::SelfSigned | TlsMode::Disabled, _) => {
            return Ok(Serving::Own);
        },
    };
    let found = api.secret(&name).await?;
    let found = found.and_then(|found| said(&found, AUTHORITY_FILE));
    Ok(found.map_or(Serving::Unsaid, Serving::Given))
}

/// What a Secret holds under a key, if that is anything.
fn said(secret: &Secret, key: &'static str) -> Option<String> {
    let found = text(secret, key).ok();
    found.filter(|text| !text.trim().is_empty())
}

/// The key that issues next, its certificate, and the certificate that issued before.
const NEXT_KEY: &str = "next.key";
const NEXT_CERTIFICATE: &str = "next.crt";
const PREVIOUS_CERTIFICATE: &str = "previous.crt";

fn read_authorities(secret: &Secret) -> Result<Authorities, Error> {
    let has = |key: &str| {
        secret
            .data
            .as_ref()
            .is_some_and(|data| data.contains_key(key))
    };
    let time = |annotation: &str| {
        let text = secret.annotations().get(annotation)?;
        OffsetDateTime::parse(text, &Rfc3339).ok()
    };
    let next = if has(NEXT_KEY) {
        Some(Pair {
            certificate: text(secret, NEXT_CERTIFICATE)?,
            key: text(secret, NEXT_KEY)?,
        })
    } else {
        None
    };
    let previous = if has(PREVIOUS_CERTIFICATE) {
        Some(text(secret, PREVIOUS_CERTIFICATE)?)
    } else {
        None
    };
    Ok(Authorities {
        current: Pair {
            certificate: text(secret, CERTIFICATE_FILE)?,
            key: text(secret, KEY_FILE)?,
        },
        next,
        previous,
        since: time(SINCE),
        trusted_since: time(TRUSTED_SINCE),
        demand: secret.annotations().get(ROTATE_AUTHORITY).cloned(),
    })
}

/// All at once, so that no step is ever half there.
async fn write_authorities(
    api: &ClusterApi,
    owner: &Value,
    (name, authorities): (&str, &Authorities),
) -> Result<(), Error> {
    let mut data = BTreeMap::from([
        (CERTIFICATE_FILE, bytes(&authorities.current.certificate)),
        (KEY_FILE, bytes(&authorities.current.key)),
    ]);
    if let Some(next) = &authorities.next {
        data.insert(NEXT_CERTIFICATE, bytes(&next.certificate));
        data.insert(NEXT_KEY, bytes(&next.key));
    }
    if let Some(previous) = &authorities.previous {
        data.insert(PREVIOUS_CERTIFICATE, bytes(previous));
    }
    let time = |time: Option<OffsetDateTime>| time.and_then(|time| time.format(&Rfc3339).ok());
    let annotations: BTreeMap<&str, String> = [
        (SINCE, time(authorities.since)),
        (TRUSTED_SINCE, time(authorities.trusted_since)),
        (ROTATE_AUTHORITY, authorities.demand.clone()),
    ]
    .into_iter()
    .filter_map(|(name, text)| Some((name, text?)))
    .collect();
    let mut object = secret(api, name, owner);
    put(&mut object, "/metadata", "annotations", json!(annotations));
    // As data and not as text: a field that is left out is taken away.
    put(&mut object, "", "data", json!(data));
    api.apply(&object).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn authorities(name: &str) -> Authorities {
        Authorities::first(Pair {
            certificate: name.to_owned(),
            key: String::new(),
        })
    }

    fn issuers(clients: Clients) -> Issuers {
        Issuers {
            own: authorities("own"),
            clients,
        }
    }

    fn known(serving: Option<Serving>) -> Issuers {
        issuers(Clients::Known(Box::new(authorities("apps")), serving))
    }

    fn beside(issuers: &Issuers, role: &str) -> Vec<(&'static str, String)> {
        issuers.beside(role).unwrap().into_iter().collect()
    }

    fn file(name: &'static str, text: &str) -> (&'static str, String) {
        (name, text.to_owned())
    }

    #[test]
    fn only_gateways_learn_whom_applications_are_of_and_applications_whom_gateways_are_of() {
        let plain = issuers(Clients::Unasked);
        assert_eq!(plain.mark("gateway"), plain.mark("worker"));
        assert_eq!(plain.beside("gateway"), plain.beside("worker"));
        let asking = known(Some(Serving::Own));
        assert_eq!(asking.mark("worker"), plain.mark("worker"));
        assert_eq!(asking.beside("etcd"), plain.beside("etcd"));
        assert_ne!(asking.mark("gateway"), plain.mark("gateway"));
        let of_gateways = [file(AUTHORITY_FILE, "own\n"), file(CLIENTS_FILE, "apps\n")];
        assert_eq!(beside(&asking, "gateway"), of_gateways);
        assert_eq!(beside(&asking, CLIENT), [file(AUTHORITY_FILE, "own\n")]);
        let foreign = known(Some(Serving::Given("web".to_owned())));
        assert_eq!(beside(&foreign, CLIENT), [file(AUTHORITY_FILE, "web")]);
        // The cluster's own would be the wrong one.
        let everybodys = known(Some(Serving::Unsaid));
        assert_eq!(beside(&everybodys, CLIENT), []);
        for other in [&foreign, &everybodys] {
            assert_eq!(other.mark(CLIENT), asking.mark(CLIENT), "the key stays");
            assert_eq!(other.mark("gateway"), asking.mark("gateway"));
        }
    }

    #[test]
    fn what_cannot_be_told_of_applications_changes_nothing_of_theirs_and_stops_nothing_else() {
        let asking = known(Some(Serving::Own));
        let unread = known(None);
        assert_eq!(unread.beside(CLIENT), None);
        assert_eq!(unread.beside("gateway"), asking.beside("gateway"));
        let kept = issuers(Clients::Kept("apps\n".to_owned()));
        assert_eq!(kept.beside(CLIENT), None);
        assert_eq!(kept.beside("gateway"), asking.beside("gateway"));
        assert_eq!(kept.mark("gateway"), asking.mark("gateway"));
        let unknown = issuers(Clients::Unknown);
        assert_eq!(unknown.beside(CLIENT), None);
        assert_eq!(unknown.beside("gateway"), None);
        for role in ["etcd", "master", "worker", "operator"] {
            for other in [&unread, &kept, &unknown] {
                assert_eq!(other.beside(role), asking.beside(role), "{role}");
                assert_eq!(other.mark(role), asking.mark(role), "{role}");
            }
        }
    }
}
