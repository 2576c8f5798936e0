//! The Secrets of a cluster: its authority, the certificates of its roles, its API keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::authority::{Authorities, Rules};
use super::certificates::{self, AUTHORITY_LIFE, Due, Held, Pair, Wanted};
use super::cluster_api::ClusterApi;
use super::names::{
    AUTHORITIES, CERTIFICATE_NAMES, NOT_AFTER, ROTATE_AUTHORITY, ROTATED, SINCE, Subject,
    TRUSTED_SINCE,
};
use crate::clock::Clock;
use crate::crd::v1alpha1::{TlsMode, VectorClusterSpec};
use crate::entropy::Entropy;
use crate::security::credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::security::{Credentials, Peers};

/// What Secrets are made with.
#[derive(Clone)]
pub(super) struct Maker {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<Entropy>,
    /// How long each step of a change of authorities lasts at least: what a Secret takes to reach every
    /// process, and more.
    pub(super) overlap: Duration,
}

impl Maker {
    fn now(&self) -> OffsetDateTime {
        let seconds = i64::try_from(self.clock.wall_ms() / 1_000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Makes sure of every certificate; when each ends, by the name of its Secret.
    pub(super) async fn certificates(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
        (authorities, rotate): (&Authorities, Option<&str>),
    ) -> Result<Vec<(String, String)>, Error> {
        let life = certificates::duration(&spec.tls.duration)?;
        let mark = authorities.mark();
        let due = Due {
            now: self.now(),
            renew_before: certificates::duration(&spec.tls.renew_before)?,
            rotate,
            authorities: &mark,
        };
        let (mut ends, mut failed) = (Vec::new(), None);
        for wanted in certificates::wanted(&api.subject, spec) {
            let name = api.subject.certificate_of(wanted.role);
            match self
                .certificate(api, owner, (authorities, life), (&wanted, due))
                .await
            {
                Ok(end) => ends.push((name, end)),
                // One that cannot be issued keeps no other from it.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(ends), Err)
    }

    /// Makes sure of one certificate; when it ends.
    async fn certificate(
        &self,
        api: &ClusterApi,
        owner: &Value,
        (authorities, life): (&Authorities, Duration),
        (wanted, due): (&Wanted, Due<'_>),
    ) -> Result<String, Error> {
        let name = api.subject.certificate_of(wanted.role);
        let held = held(api.own_secret(&name).await?.as_ref());
        if !wanted.is_due(&held, due) {
            return Ok(held.not_after.unwrap_or_default());
        }
        let (now, issuer) = (self.now(), &authorities.current);
        let (pair, end) = certificates::issue(&api.subject, issuer, wanted, now, life)?;
        let mut object = secret(api, &name, owner);
        let mut annotations = BTreeMap::from([
            (NOT_AFTER, end.clone()),
            (CERTIFICATE_NAMES, wanted.joined()),
            (AUTHORITIES, due.authorities.to_owned()),
        ]);
        if let Some(met) = due.rotate.map(str::to_owned).or(held.rotated) {
            annotations.insert(ROTATED, met);
        }
        put(&mut object, "/metadata", "annotations", json!(annotations));
        let data = json!({
            CERTIFICATE_FILE: pair.certificate, KEY_FILE: pair.key,
            AUTHORITY_FILE: authorities.trusted(),
        });
        put(&mut object, "", "stringData", data);
        api.apply(&object).await?;
        tracing::info!(secret = name, ends = end, "a certificate was issued");
        Ok(end)
    }

    /// The authorities of a cluster: the first is made once; a change of them goes on by a step when one is
    /// due.
    pub(super) async fn authorities(
        &self,
        api: &ClusterApi,
        owner: &Value,
        (demand, etcd_started): (Option<&str>, Option<OffsetDateTime>),
    ) -> Result<Authorities, Error> {
        let name = api.subject.authority();
        let make = || certificates::authority(&api.subject, self.now());
        let Some(found) = api.own_secret(&name).await? else {
            let mut first = Authorities::first(make()?);
            // Certificates of one that is lost are in use: it is trusted until all have new ones, and
            // etcd, which reads whom it trusts when it starts, is started again.
            if let Some(lost) = last_authority(api).await? {
                tracing::warn!(secret = name, "the authority is gone and made anew");
                first.previous = Some(lost);
                first.since = Some(self.now());
                first.trusted_since = Some(self.now());
            }
            write_authorities(api, owner, &first).await?;
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
        write_authorities(api, owner, &next).await?;
        let under_way = next.under_way().unwrap_or_else(|| "it is over".to_owned());
        tracing::info!(
            secret = name,
            under_way,
            "the change of an authority goes on"
        );
        Ok(next)
    }

    /// The API keys: made once, unless the manifest names a Secret.
    pub(super) async fn keys(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
    ) -> Result<(), Error> {
        let name = api.subject.keys();
        if spec.auth.secret.is_some() || api.secret(&name).await?.is_some() {
            return Ok(());
        }
        let key = || {
            let (one, two) = (self.entropy.uuid(), self.entropy.uuid());
            format!("{}{}", one.simple(), two.simple())
        };
        let mut object = secret(api, &name, owner);
        put(
            &mut object,
            "",
            "stringData",
            json!({"admin": key(), "readonly": key()}),
        );
        api.apply(&object).await
    }

    /// Looks whether the Secrets are there that others make, and hold what pods will read.
    ///
    /// # Errors
    /// [`Error::SecretMissing`], [`Error::Incomplete`]: pods that are made anyway wait for them.
    pub(super) async fn given(api: &ClusterApi, spec: &VectorClusterSpec) -> Result<(), Error> {
        for (name, field, keys) in others(&api.subject, spec) {
            let found = api.secret(&name).await?;
            let found = found.ok_or(Error::SecretMissing { name, field })?;
            for key in keys {
                text(&found, key)?;
            }
        }
        Ok(())
    }

    /// The operator as one of the processes of a cluster.
    pub(super) async fn peers(&self, api: &ClusterApi) -> Result<Peers, Error> {
        let subject = &api.subject;
        let credentials = Self::own(api).await?;
        Ok(Peers::new(credentials, &subject.name, &subject.namespace))
    }

    /// The operator's own certificate of a cluster.
    pub(super) async fn own(api: &ClusterApi) -> Result<Credentials, Error> {
        let name = api.subject.certificate_of("operator");
        let found = api.secret(&name).await?;
        let found = found.ok_or(Error::Incomplete {
            object: name,
            field: "data",
        })?;
        Ok(Credentials::from_pem(
            text(&found, CERTIFICATE_FILE)?.as_bytes(),
            text(&found, KEY_FILE)?.as_bytes(),
            text(&found, AUTHORITY_FILE)?.as_bytes(),
        )?)
    }
}

/// The certificates of the authorities that the operator's own certificate in a cluster was issued under.
async fn last_authority(api: &ClusterApi) -> Result<Option<String>, Error> {
    let name = api.subject.certificate_of("operator");
    let found = api.own_secret(&name).await?;
    found.map(|found| text(&found, AUTHORITY_FILE)).transpose()
}

/// Secrets that others make: name, who asks for it, and what must be in it.
type Other = (String, &'static str, &'static [&'static str]);

fn others(subject: &Subject, spec: &VectorClusterSpec) -> Vec<Other> {
    const PAIR: &[&str] = &[CERTIFICATE_FILE, KEY_FILE];
    const ALL: &[&str] = &[CERTIFICATE_FILE, KEY_FILE, AUTHORITY_FILE];
    let mut others: Vec<Other> = Vec::new();
    match (spec.tls.mode, &spec.tls.secret_name) {
        (TlsMode::Secret, Some(name)) => others.push((name.clone(), "spec.tls.secretName", ALL)),
        (TlsMode::CertManager, _) => {
            others.push((subject.serving(), "spec.tls.issuerRef", PAIR));
        },
        (TlsMode::Secret | TlsMode::SelfSigned | TlsMode::Disabled, _) => {},
    }
    if let Some(keys) = &spec.auth.secret {
        others.push((keys.name.clone(), "spec.auth.secret", &[]));
    }
    let external = spec.etcd.external.as_ref();
    if let Some(secret) = external.and_then(|etcd| etcd.tls_secret.as_ref()) {
        others.push((secret.name.clone(), "spec.etcd.external.tlsSecret", ALL));
    }
    others
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
    authorities: &Authorities,
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
    let mut object = secret(api, &api.subject.authority(), owner);
    put(&mut object, "/metadata", "annotations", json!(annotations));
    // As data and not as text: a field that is left out is taken away.
    put(&mut object, "", "data", json!(data));
    api.apply(&object).await
}

fn held(secret: Option<&Secret>) -> Held {
    let annotation = |name: &str| secret.and_then(|secret| secret.annotations().get(name).cloned());
    Held {
        not_after: annotation(NOT_AFTER),
        names: annotation(CERTIFICATE_NAMES),
        rotated: annotation(ROTATED),
        authorities: annotation(AUTHORITIES),
    }
}

fn secret(api: &ClusterApi, name: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": name, "namespace": api.subject.namespace, "labels": api.subject.labels(),
            "ownerReferences": [owner],
        },
    })
}

fn put(object: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(Value::Object(fields)) = object.pointer_mut(pointer) {
        fields.insert(key.to_owned(), value);
    }
}

fn text(secret: &Secret, key: &'static str) -> Result<String, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    text.ok_or_else(|| Error::Incomplete {
        object: secret.name_any(),
        field: key,
    })
}
