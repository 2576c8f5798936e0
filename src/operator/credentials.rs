//! The Secrets of a cluster: the certificates of its roles and of its applications, its API keys, and those
//! that others make. Its authorities: `src/operator/issuers.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Error;
use super::certificates::{self, Authority, Due, Held, Pair, Wanted};
use super::cluster_api::ClusterApi;
use super::issuers::{CLIENTS_FILE, Issuers};
use super::names::{AUTHORITIES, CERTIFICATE_NAMES, NOT_AFTER, ROTATED, Subject};
use crate::clock::Clock;
use crate::crd::v1alpha1::{ExternalEtcd, NameReference, TlsMode, VectorClusterSpec};
use crate::entropy::Entropy;
use crate::security::credentials::{AUTHORITY_FILE, CERTIFICATE_FILE, KEY_FILE};
use crate::security::login::{PASSWORD_FILE, USER_FILE};
use crate::security::{Credentials, Login, Peers};

/// What an etcd of others is asked by.
pub(super) struct Means {
    pub(super) credentials: Credentials,
    pub(super) login: Login,
    /// The resource versions of the Secrets that hold them.
    pub(super) versions: Vec<String>,
}

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
    pub(super) fn now(&self) -> OffsetDateTime {
        let seconds = i64::try_from(self.clock.wall_ms() / 1_000).unwrap_or(i64::MAX);
        OffsetDateTime::from_unix_timestamp(seconds).unwrap_or(OffsetDateTime::UNIX_EPOCH)
    }

    /// Makes sure of every certificate; when each ends, by the name of its Secret.
    pub(super) async fn certificates(
        &self,
        api: &ClusterApi,
        spec: &VectorClusterSpec,
        owner: &Value,
        (issuers, rotate): (&Issuers, Option<&str>),
    ) -> Result<Vec<(String, String)>, Error> {
        let life = certificates::duration(&spec.tls.duration)?;
        let renew_before = certificates::duration(&spec.tls.renew_before)?;
        let (mut ends, mut failed) = (Vec::new(), None);
        for wanted in certificates::wanted(&api.subject, spec) {
            let name = api.subject.certificate_of(wanted.role);
            let mark = issuers.mark(wanted.role);
            let due = Due {
                now: self.now(),
                renew_before,
                rotate,
                authorities: &mark,
            };
            match self
                .certificate(api, owner, (issuers, life), (&wanted, due))
                .await
            {
                Ok(end) => ends.extend(end.map(|end| (name, end))),
                // One that cannot be issued keeps no other from it.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(ends), Err)
    }

    /// Makes sure of one certificate; when it ends, if there is one.
    async fn certificate(
        &self,
        api: &ClusterApi,
        owner: &Value,
        (issuers, life): (&Issuers, Duration),
        (wanted, due): (&Wanted, Due<'_>),
    ) -> Result<Option<String>, Error> {
        let name = api.subject.certificate_of(wanted.role);
        let found = api.own_secret(&name).await?;
        let held = held(found.as_ref());
        let Some(beside) = issuers.beside(wanted.role) else {
            return Ok(held.not_after);
        };
        let stands = !wanted.is_due(&held, due);
        let lies = found.as_ref().map(lies_beside).unwrap_or_default();
        let pair = found.as_ref().filter(|_secret| stands).and_then(pair);
        if pair.is_some() && lies == beside {
            return Ok(held.not_after);
        }
        if wanted.authority() == Authority::Clients {
            // A person may have given an application's certificate this name.
            api.may_write_secret(&name).await?;
        }
        let issued = pair.is_none();
        let (pair, end) = match pair {
            // Only what lies beside it is another.
            Some(pair) => (pair, held.not_after.unwrap_or_default()),
            None => {
                let (now, issuer) = (self.now(), issuers.of(wanted)?);
                certificates::issue(&api.subject, issuer, wanted, now, life)?
            },
        };
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
        let unwanted = lies.keys().filter(|file| !beside.contains_key(*file));
        take_away(api, &name, unwanted).await?;
        let mut data: BTreeMap<&str, ByteString> = beside
            .iter()
            .map(|(file, text)| (*file, bytes(text)))
            .collect();
        data.insert(CERTIFICATE_FILE, bytes(&pair.certificate));
        data.insert(KEY_FILE, bytes(&pair.key));
        // As data and not as text: a file that is left out is taken away.
        put(&mut object, "", "data", json!(data));
        api.apply(&object).await?;
        if issued {
            tracing::info!(secret = name, ends = end, "a certificate was issued");
        } else {
            tracing::info!(secret = name, "what lies beside a certificate was changed");
        }
        Ok(Some(end))
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
        read_credentials(&found.ok_or(Error::Incomplete {
            object: name,
            field: "data",
        })?)
    }

    /// What an etcd of others is asked by: certificates where it has such, a user where it asks for one.
    pub(super) async fn for_external(
        api: &ClusterApi,
        external: &ExternalEtcd,
    ) -> Result<Means, Error> {
        let mut versions = Vec::new();
        let mut found = async |reference: &NameReference, field| {
            let name = &reference.name;
            let missing = || Error::SecretMissing {
                name: name.clone(),
                field,
            };
            let found = api.secret(name).await?.ok_or_else(missing)?;
            versions.push(found.resource_version().unwrap_or_default());
            Ok::<Secret, Error>(found)
        };
        let credentials = match &external.tls_secret {
            Some(secret) => read_credentials(&found(secret, TLS_SECRET).await?)?,
            None => Credentials::plain(),
        };
        let login = match &external.auth_secret {
            Some(secret) => {
                let secret = found(secret, AUTH_SECRET).await?;
                let read = |key| text(&secret, key);
                Login::given(read(USER_FILE)?.as_bytes(), read(PASSWORD_FILE)?.as_bytes())?
            },
            None => Login::none(),
        };
        Ok(Means {
            credentials,
            login,
            versions,
        })
    }
}

fn read_credentials(secret: &Secret) -> Result<Credentials, Error> {
    Ok(Credentials::from_pem(
        text(secret, CERTIFICATE_FILE)?.as_bytes(),
        text(secret, KEY_FILE)?.as_bytes(),
        text(secret, AUTHORITY_FILE)?.as_bytes(),
    )?)
}

/// The fields of a manifest that name Secrets for an etcd of others.
const TLS_SECRET: &str = "spec.etcd.external.tlsSecret";
const AUTH_SECRET: &str = "spec.etcd.external.authSecret";

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
        others.push((secret.name.clone(), TLS_SECRET, ALL));
    }
    if let Some(secret) = external.and_then(|etcd| etcd.auth_secret.as_ref()) {
        let both = &[USER_FILE, PASSWORD_FILE];
        others.push((secret.name.clone(), AUTH_SECRET, both));
    }
    others
}

/// The authorities that lie beside the certificate in a Secret, by their files.
fn lies_beside(secret: &Secret) -> BTreeMap<&'static str, String> {
    let files = [AUTHORITY_FILE, CLIENTS_FILE].into_iter();
    files
        .filter_map(|file| Some((file, text(secret, file).ok()?)))
        .collect()
}

/// The certificate in a Secret, and its key, if both are there.
fn pair(secret: &Secret) -> Option<Pair> {
    Some(Pair {
        certificate: text(secret, CERTIFICATE_FILE).ok()?,
        key: text(secret, KEY_FILE).ok()?,
    })
}

/// Takes files away that applying leaves: of a Secret that was written as text nobody owns the data.
async fn take_away(
    api: &ClusterApi,
    name: &str,
    files: impl Iterator<Item = &&'static str>,
) -> Result<(), Error> {
    let gone: BTreeMap<&str, Value> = files.map(|file| (*file, Value::Null)).collect();
    if gone.is_empty() {
        return Ok(());
    }
    api.merge::<Secret>(name, &json!({ "data": gone })).await
}

pub(super) fn bytes(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
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

pub(super) fn secret(api: &ClusterApi, name: &str, owner: &Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {
            "name": name, "namespace": api.subject.namespace, "labels": api.subject.labels(),
            "ownerReferences": [owner],
        },
    })
}

pub(super) fn put(object: &mut Value, pointer: &str, key: &str, value: Value) {
    if let Some(Value::Object(fields)) = object.pointer_mut(pointer) {
        fields.insert(key.to_owned(), value);
    }
}

pub(super) fn text(secret: &Secret, key: &'static str) -> Result<String, Error> {
    let bytes = secret.data.as_ref().and_then(|data| data.get(key));
    let text = bytes.and_then(|bytes| String::from_utf8(bytes.0.clone()).ok());
    text.ok_or_else(|| Error::Incomplete {
        object: secret.name_any(),
        field: key,
    })
}
