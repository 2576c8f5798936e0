//! What a gateway, a master and a worker have in common inside the shell: their probes, a place in
//! the cluster, and an orderly end.
//!
//! A process serves its probes from its first moment and is ready once it has read the cluster from
//! etcd. Etcd away at the start is waited for; etcd away later is nobody's end. The end of a process:
//! not ready, out of the registry as draining, the requests it has are finished within a bound, and
//! last its session, so that everything that hangs on it vanishes at once.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Context;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::process::Shell;
use crate::clock::Clock;
use crate::coordination::mirror::Mirror;
use crate::coordination::records::{
    CollectionRecord, LeadRecord, NameRecord, ServiceRecord, ServiceState, ShardRecord,
};
use crate::coordination::registry::{Expected, Registration, claim_meta};
use crate::coordination::session::Session;
use crate::coordination::{self, Etcd, Keys};
use crate::entropy::Entropy;
use crate::fault::{Fault, chain};
use crate::ids::NodeId;
use crate::limits::DRAIN_TIMEOUT;
use crate::probes::{Probes, Readiness, Refusals};
use crate::process::{Card, DataFolder, write_atomically};
use crate::resilience::backoff::Backoff;
use crate::router::Maps;
use crate::security::{self, ApiKeys, Credentials, Gate, Login, Peers, check_listen, tls};
use crate::settings::Process;
use crate::tasks::Tasks;
use crate::telemetry::{Count, Level, Metrics};

const ETCD_RETRY_FIRST: Duration = Duration::from_millis(50);
const ETCD_RETRY_MOST: Duration = Duration::from_secs(2);
/// How long one wait for a first list may take before it is said again what is waited for.
const READY_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the files of certificates are looked at: a mounted Secret changes without a word.
const REFRESH_INTERVAL: Duration = Duration::from_secs(5);
/// How often it is looked how the mirrors stand: metrics are read every few seconds.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);
/// What ends after the requests are done: sessions, mirrors.
const LATE_TIMEOUT: Duration = Duration::from_secs(2);

/// A process that is set up and not yet part of the cluster.
pub(super) struct Member {
    pub(super) role: &'static str,
    pub(super) node: NodeId,
    pub(super) folder: DataFolder,
    pub(super) card: Card,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) entropy: Arc<Entropy>,
    /// What serves requests; stops first.
    pub(super) serving: Tasks,
    /// What keeps the place in the cluster; stops last.
    pub(super) staying: Tasks,
    pub(super) gate: Gate,
    tls: tls::Handle,
    /// The same certificate, for who is not asked for one.
    open_tls: tls::Handle,
    refusals: Refusals,
    pub(super) peers: Peers,
    etcd_credentials: Credentials,
    etcd_login: Login,
    pub(super) metrics: Metrics,
    settings: Process,
    readiness: Arc<Mutex<Readiness>>,
    /// Told to stop by the shell.
    shell: Tasks,
}

/// A process's place in the cluster.
pub(super) struct Place {
    pub(super) etcd: Etcd,
    pub(super) keys: Keys,
    pub(super) cluster_uid: Uuid,
    pub(super) session: Session,
}

fn goes_in_clear_text(settings: &Process) -> bool {
    let mut endpoints = settings.etcd.iter();
    settings.etcd_auth.is_some() && endpoints.any(|one| one.starts_with("http://"))
}

impl Member {
    /// What the shell has set up, with the keys and certificates that its listeners need; the HTTP
    /// listener, and that for gRPC at a role that has one.
    pub(super) fn new(
        role: &'static str,
        shell: Shell,
        settings: Process,
        clients: Option<tls::Clients>,
    ) -> anyhow::Result<(Self, TcpListener, Option<TcpListener>)> {
        let keys = settings
            .api_key_file
            .as_deref()
            .map(ApiKeys::load)
            .transpose()?;
        let (tls, open_tls) = match &settings.tls {
            Some(files) => {
                let (certificate, key) = (&files.certificate, &files.key);
                let open = tls::Handle::from_files(certificate, key)?;
                (tls::Handle::asking(certificate, key, clients)?, open)
            },
            None => (tls::Handle::plain(), tls::Handle::plain()),
        };
        check_listen(settings.listen, keys.as_ref(), &tls)?;
        let peer_credentials = credentials(settings.peer_tls.as_deref())?;
        let etcd_credentials = credentials(settings.etcd_tls.as_deref())?;
        let etcd_login = match &settings.etcd_auth {
            Some(folder) => Login::load(folder)?,
            None => Login::none(),
        };
        if goes_in_clear_text(&settings) {
            tracing::warn!("the password for etcd goes in clear text to endpoints of http");
        }
        let peers = Peers::new(peer_credentials, &settings.cluster, &settings.namespace);
        let readiness = Readiness::NotReady("starting".to_owned());
        let member = Self {
            role,
            node: shell.node,
            folder: shell.folder,
            card: shell.card,
            clock: Arc::clone(&shell.clock),
            entropy: shell.entropy,
            serving: shell.tasks.apart(),
            staying: Tasks::new(),
            gate: Gate::new(keys),
            refusals: Refusals::new(&shell.metrics, Arc::clone(&shell.clock)),
            tls,
            open_tls,
            peers,
            etcd_credentials,
            etcd_login,
            settings,
            readiness: Arc::new(Mutex::new(readiness)),
            metrics: shell.metrics,
            shell: shell.tasks,
        };
        member
            .staying
            .spawn("refresh-certificates", member.refresh_certificates());
        Ok((member, shell.http, shell.rpc))
    }

    /// Takes certificates that are laid in place of the old ones, without a restart.
    fn refresh_certificates(&self) -> impl Future<Output = ()> + Send + 'static {
        let listeners = [
            ("listener", self.tls.clone()),
            ("probes", self.open_tls.clone()),
        ];
        let tasks = self.staying.clone();
        let credentials = [
            ("peers", self.peers.credentials().clone()),
            ("etcd", self.etcd_credentials.clone()),
        ];
        let login = self.etcd_login.clone();
        async move {
            loop {
                tokio::select! {
                    () = tokio::time::sleep(REFRESH_INTERVAL) => {},
                    () = tasks.stopping() => return,
                }
                for (whose, tls) in &listeners {
                    tell_refreshed(whose, tls.refresh());
                }
                for (whose, credentials) in &credentials {
                    tell_refreshed(whose, credentials.refresh());
                }
                tell_login(login.refresh());
            }
        }
    }

    /// How its HTTP listener greets who connects.
    pub(super) fn door(&self) -> (tls::Handle, Refusals) {
        (self.tls.clone(), self.refusals.clone())
    }

    /// The same for who is asked for no certificate.
    pub(super) fn open_door(&self) -> (tls::Handle, Refusals) {
        (self.open_tls.clone(), self.refusals.clone())
    }

    /// What the probes of this process ask.
    pub(super) fn probes(&self) -> Probes {
        let (readiness, metrics) = (Arc::clone(&self.readiness), self.metrics.clone());
        Probes {
            readiness: Arc::new(move || {
                readiness
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone()
            }),
            metrics: Arc::new(move || metrics.render()),
        }
    }

    pub(super) fn set_readiness(&self, readiness: Readiness) {
        let ready = i64::from(matches!(readiness, Readiness::Ready));
        self.metrics.level(Level::ProcessReady).set(ready);
        *self
            .readiness
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = readiness;
    }

    /// Finds the cluster in etcd, however long that takes, and opens a session. `None` when the
    /// process is told to stop meanwhile.
    pub(super) async fn join(&self) -> anyhow::Result<Option<Place>> {
        let settings = &self.settings;
        let keys = Keys::new(&settings.prefix, &settings.namespace, &settings.cluster);
        let etcd = Etcd::connect(
            &settings.etcd,
            &self.etcd_credentials,
            Arc::clone(&self.entropy),
        )
        .await?
        .logging_in(&self.etcd_login, Arc::clone(&self.clock));
        let remembered = read_uid(self.folder.path())?;
        let expected = expected(remembered, settings.cluster_uid)?;
        let mut backoff = Backoff::new(ETCD_RETRY_FIRST, ETCD_RETRY_MOST);
        let cluster_uid = loop {
            let with = (self.clock.as_ref(), self.entropy.as_ref());
            let error = match claim_meta(&etcd, &keys, expected, with).await {
                Ok(uid) => break uid,
                Err(error @ coordination::Error::PrefixInUse { .. }) => return Err(error.into()),
                Err(error) => error,
            };
            let why = format!("waits for etcd: {}", chain(&error));
            tracing::warn!(
                code = error.code(),
                error = chain(&error),
                "etcd is waited for"
            );
            self.set_readiness(Readiness::NotReady(why));
            tokio::select! {
                () = tokio::time::sleep(backoff.next(&self.entropy)) => {},
                () = self.shell.stopping() => return Ok(None),
            }
        };
        if remembered.is_none() {
            let file = self.folder.path().join(UID_FILE);
            write_atomically(&file, format!("{cluster_uid}\n").as_bytes())?;
        }
        let session = Session::start(
            etcd.clone(),
            Arc::clone(&self.clock),
            Arc::clone(&self.entropy),
            &self.staying,
        );
        self.staying
            .spawn("count-lost-sessions", self.count_lost(&session));
        Ok(Some(Place {
            etcd,
            keys,
            cluster_uid,
            session,
        }))
    }

    /// Counts the sessions that are lost, for as long as there are any.
    fn count_lost(&self, session: &Session) -> impl Future<Output = ()> + Send + 'static {
        let (mut standing, tasks) = (session.standing(), self.staying.clone());
        let lost = self.metrics.count(Count::CoordinationSessionsLost);
        async move {
            loop {
                let held = standing.borrow_and_update().held();
                tokio::select! {
                    changed = standing.changed() => if changed.is_err() { return },
                    () = tasks.stopping() => return,
                }
                if held.is_some() && standing.borrow().held() != held {
                    lost.inc();
                }
            }
        }
    }

    /// A mirror of a prefix.
    pub(super) fn mirror<T>(&self, place: &Place, prefix: String) -> Arc<Mirror<T>>
    where
        T: serde::de::DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
    {
        let mirror = Mirror::start(
            place.etcd.clone(),
            prefix,
            Arc::clone(&self.clock),
            Arc::clone(&self.entropy),
            &self.staying,
        );
        self.staying
            .spawn("measure-mirror", self.measure(Arc::clone(&mirror)));
        mirror
    }

    /// Tells in the metrics how a mirror stands.
    fn measure<T>(&self, mirror: Arc<Mirror<T>>) -> impl Future<Output = ()> + Send + 'static
    where
        T: serde::de::DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
    {
        let unreadable = self.metrics.count(Count::CoordinationRecordsUnreadable);
        let stale = self.metrics.level(Level::CoordinationMirrorsStale);
        let tasks = self.staying.clone();
        async move {
            let (mut counted, mut was_stale) = (0, false);
            loop {
                let met = mirror.unreadable();
                unreadable.inc_by(met.saturating_sub(std::mem::replace(&mut counted, met)));
                let is_stale = mirror.is_stale();
                match (std::mem::replace(&mut was_stale, is_stale), is_stale) {
                    (false, true) => stale.inc(),
                    (true, false) => stale.dec(),
                    _ => 0,
                };
                tokio::select! {
                    () = tokio::time::sleep(MEASURE_INTERVAL) => {},
                    () = tasks.stopping() => return,
                }
            }
        }
    }

    /// The mirrors that routing reads.
    pub(super) fn maps(&self, place: &Place) -> Maps {
        let (keys, collections) = (&place.keys, place.keys.collections());
        Maps {
            collections: self.mirror::<CollectionRecord>(place, collections),
            names: self.mirror::<NameRecord>(place, keys.names()),
            shards: self.mirror::<ShardRecord>(place, keys.shards()),
            workers: self.mirror::<ServiceRecord>(place, keys.services("worker")),
        }
    }

    /// Who leads the masters.
    pub(super) fn leaders(&self, place: &Place) -> Arc<Mirror<LeadRecord>> {
        self.mirror::<LeadRecord>(place, place.keys.leaders())
    }

    /// Waits for a mirror's first list. False when the process is told to stop meanwhile.
    pub(super) async fn listed<T>(&self, mirror: &Mirror<T>) -> bool
    where
        T: serde::de::DeserializeOwned + PartialEq + Send + Sync + std::fmt::Debug + 'static,
    {
        loop {
            let deadline = self.clock.now() + READY_TIMEOUT;
            tokio::select! {
                listed = mirror.ready(deadline) => match listed {
                    Ok(()) => return true,
                    Err(error) => {
                        let why = format!("waits for etcd: {}", chain(&error));
                        self.set_readiness(Readiness::NotReady(why));
                    },
                },
                () = self.shell.stopping() => return false,
            }
        }
    }

    /// Enters the registry as serving.
    pub(super) fn register(&self, place: &Place) -> Registration {
        let record = ServiceRecord {
            v: 1,
            node: self.node,
            name: self.card.name.clone(),
            role: self.role.to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rpc_address: self.card.rpc_address.clone().unwrap_or_default(),
            http_address: self.card.http_address.clone(),
            state: ServiceState::Serving,
            since_ms: self.clock.wall_ms(),
            incarnation: self.entropy.uuid(),
        };
        Registration::start(
            place.etcd.clone(),
            place.keys.clone(),
            record,
            &place.session,
            (Arc::clone(&self.entropy), &self.staying),
        )
    }

    /// Serves until the shell says to stop, then leaves in order: out of the registry, requests, and
    /// last the session.
    pub(super) async fn stay(
        self,
        place: Option<Place>,
        registration: Option<Registration>,
    ) -> anyhow::Result<()> {
        self.shell.stopping().await;
        self.set_readiness(Readiness::NotReady("stopping".to_owned()));
        if let Some(registration) = &registration {
            registration.set_state(ServiceState::Draining);
        }
        self.serving.stop();
        if !self.serving.join(DRAIN_TIMEOUT).await {
            tracing::warn!("requests were still running at the end of the drain");
        }
        self.staying.stop();
        if let Some(place) = &place
            && let Err(error) = place.session.close().await
        {
            tracing::warn!(error = chain(&error), "the session ends by itself");
        }
        if !self.staying.join(LATE_TIMEOUT).await {
            tracing::warn!("some tasks did not end");
        }
        Ok(())
    }
}

fn credentials(folder: Option<&Path>) -> Result<Credentials, security::Error> {
    folder.map_or_else(|| Ok(Credentials::plain()), Credentials::load)
}

fn tell_refreshed(whose: &str, refreshed: Result<bool, security::Error>) {
    match refreshed {
        Ok(false) => {},
        Ok(true) => tracing::info!(whose, "new certificates are in use"),
        Err(error) => tracing::warn!(
            whose,
            code = error.code(),
            error = chain(&error),
            "the certificates stay as they were"
        ),
    }
}

fn tell_login(refreshed: Result<bool, security::Error>) {
    match refreshed {
        Ok(false) => {},
        Ok(true) => tracing::info!("another user or password for etcd is in use"),
        Err(error) => tracing::warn!(
            code = error.code(),
            error = chain(&error),
            "user and password for etcd stay as they were"
        ),
    }
}

const UID_FILE: &str = "cluster-uid";

/// What is known of the cluster: its data folder and its settings have to agree.
fn expected(remembered: Option<Uuid>, told: Option<Uuid>) -> anyhow::Result<Expected> {
    match (remembered, told) {
        (Some(remembered), Some(told)) if remembered != told => {
            anyhow::bail!("the data folder is of cluster {remembered}, not of {told}")
        },
        (Some(remembered), _) => Ok(Expected::Remembered(remembered)),
        (None, Some(told)) => Ok(Expected::Told(told)),
        (None, None) => Ok(Expected::Any),
    }
}

/// The cluster that the data folder belongs to, if it has belonged to one.
fn read_uid(folder: &Path) -> anyhow::Result<Option<Uuid>> {
    let file = folder.join(UID_FILE);
    match fs_err::read_to_string(&file) {
        Ok(text) => {
            let uid = Uuid::try_parse(text.trim());
            Ok(Some(uid.with_context(|| {
                format!("{} does not hold a UUID", file.display())
            })?))
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}
