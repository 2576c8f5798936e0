//! Who issues the certificates of a cluster: its own authority, for its processes, and where applications
//! show certificates another, for those. Each lies in a Secret and is changed by the same rules
//! (`src/operator/authority.rs`), at the same demand.
//!
//! Whom gateways trust to name applications lies beside their own certificate, as [`CLIENTS_FILE`], and
//! changes with each step.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use xxhash_rust::xxh3::xxh3_64;

use super::Error;
use super::authority::{Authorities, Rules};
use super::certificates::{self, AUTHORITY_LIFE, Authority, CLIENT, Pair, Wanted};
use super::cluster_api::ClusterApi;
use super::credentials::{Maker, put, secret, text};
use super::names::{ROTATE_AUTHORITY, SINCE, Subject, TRUSTED_SINCE};
use crate::crd::v1alpha1::{ClientAuthentication, TlsMode, VectorClusterSpec};
use crate::security::credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::topology::Role;

/// In the Secret of gateways: the authorities of applications, PEM.
pub(super) const CLIENTS_FILE: &str = "clients.crt";

/// The authorities of a cluster.
pub(super) struct Issuers {
    /// Of its processes.
    pub(super) own: Authorities,
    /// Of applications, where they show certificates.
    pub(super) clients: Option<Authorities>,
    /// Of the certificate that gateways show, where that is of somebody else.
    pub(super) serving: Option<String>,
}

/// What a change of authorities goes by.
#[derive(Clone, Copy)]
pub(super) struct Demand<'a> {
    /// To change them, once for each text.
    pub(super) demand: Option<&'a str>,
    /// When the oldest member of etcd started; absent when none is run for the cluster.
    pub(super) etcd_started: Option<OffsetDateTime>,
}

impl Issuers {
    /// Who issues a certificate.
    pub(super) fn of(&self, wanted: &Wanted) -> Result<&Pair, Error> {
        match wanted.authority() {
            Authority::Own => Ok(&self.own.current),
            Authority::Clients => {
                let clients = self.clients.as_ref().map(|clients| &clients.current);
                clients.ok_or_else(|| Error::Incomplete {
                    object: CLIENT.to_owned(),
                    field: "authority",
                })
            },
        }
    }

    /// The authorities that lie beside the certificate of a role, by their files.
    pub(super) fn trusted(&self, role: &str) -> BTreeMap<&'static str, String> {
        let own = self.own.trusted();
        if role == CLIENT {
            // An application wants to know of whom the certificate of gateways is.
            let serving = self.serving.clone().unwrap_or(own);
            return BTreeMap::from([(AUTHORITY_FILE, serving)]);
        }
        let mut files = BTreeMap::from([(AUTHORITY_FILE, own)]);
        if let Some(clients) = self
            .clients
            .as_ref()
            .filter(|_all| role == Role::Gateway.as_str())
        {
            files.insert(CLIENTS_FILE, clients.trusted());
        }
        files
    }

    /// What tells whether a role's certificate stands beside these.
    pub(super) fn mark(&self, role: &str) -> String {
        let own = self.own.mark();
        let Some(clients) = &self.clients else {
            return own;
        };
        let serving = self.serving.as_deref().unwrap_or_default();
        let mut mark = match role {
            CLIENT => format!("{own} {} {serving}", clients.mark()),
            role if role == Role::Gateway.as_str() => format!("{own} {}", clients.mark()),
            _ => return own,
        };
        mark = format!("{:016x}", xxh3_64(mark.as_bytes()));
        mark.truncate(10);
        mark
    }

    /// What is under way with them, for people.
    pub(super) fn under_way(&self) -> Option<String> {
        let clients = self.clients.as_ref().and_then(Authorities::under_way);
        let clients = clients.map(|text| format!("of applications: {text}"));
        let all: Vec<String> = self.own.under_way().into_iter().chain(clients).collect();
        (!all.is_empty()).then(|| all.join("; "))
    }
}

impl Maker {
    /// The authorities of a cluster, after the step of their change that is due.
    pub(super) async fn issuers(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
        demand: Demand<'_>,
    ) -> Result<Issuers, Error> {
        let own = self.authorities(api, owner, Authority::Own, demand).await?;
        if spec.tls.client_auth == ClientAuthentication::Disabled {
            return Ok(Issuers {
                own,
                clients: None,
                serving: None,
            });
        }
        let clients = Demand {
            // etcd does not trust it.
            etcd_started: None,
            ..demand
        };
        let clients = self.authorities(api, owner, Authority::Clients, clients);
        Ok(Issuers {
            own,
            clients: Some(clients.await?),
            serving: serving(api, spec).await?,
        })
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

/// The authority of the certificate that gateways show, where somebody else makes that and says of whom.
async fn serving(api: &ClusterApi, spec: &VectorClusterSpec) -> Result<Option<String>, Error> {
    let name = match (spec.tls.mode, &spec.tls.secret_name) {
        (TlsMode::Secret, Some(name)) => name.clone(),
        (TlsMode::CertManager, _) => api.subject.serving(),
        (TlsMode::Secret | TlsMode::SelfSigned | TlsMode::Disabled, _) => return Ok(None),
    };
    let found = api.secret(&name).await?;
    Ok(found.and_then(|found| text(&found, AUTHORITY_FILE).ok()))
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
    let bytes = |text: &str| ByteString(text.as_bytes().to_vec());
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

    fn issuers(clients: Option<&str>, serving: Option<&str>) -> Issuers {
        Issuers {
            own: authorities("own"),
            clients: clients.map(authorities),
            serving: serving.map(str::to_owned),
        }
    }

    #[test]
    fn only_gateways_learn_whom_applications_are_of_and_applications_whom_gateways_are_of() {
        let plain = issuers(None, None);
        assert_eq!(plain.mark("gateway"), plain.mark("worker"));
        assert_eq!(plain.trusted("gateway"), plain.trusted("worker"));
        let asking = issuers(Some("apps"), None);
        assert_eq!(asking.mark("worker"), plain.mark("worker"));
        assert_eq!(asking.trusted("etcd"), plain.trusted("etcd"));
        assert_ne!(asking.mark("gateway"), plain.mark("gateway"));
        assert_eq!(asking.trusted("gateway")[CLIENTS_FILE], "apps\n");
        assert_eq!(asking.trusted("gateway")[AUTHORITY_FILE], "own\n");
        assert_eq!(asking.trusted(CLIENT)[AUTHORITY_FILE], "own\n");
        let foreign = issuers(Some("apps"), Some("web"));
        assert_eq!(foreign.trusted(CLIENT)[AUTHORITY_FILE], "web");
        assert_ne!(foreign.mark(CLIENT), asking.mark(CLIENT));
        assert_eq!(foreign.mark("gateway"), asking.mark("gateway"));
    }
}
