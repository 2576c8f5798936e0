//! The controller of VectorOpsTasks: work on a cluster that is done once.
//!
//! A restart and a rotation of certificates are demands that are written on the VectorCluster, each as an
//! annotation of a field manager of its own; its controller meets them at its own pace, behind its own
//! gates, and the task tells how far that is. A task that is deleted while it runs takes no demand back.
//! Tasks are looked at one after the other: two of a cluster must not begin at once.

mod decide;
mod progress;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use kube::runtime::controller::{Action, Config, Controller};
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::watcher;
use serde_json::json;

use super::desk::{Desk, applied};
use super::said::Said;
use crate::coordination::Etcd;
use crate::crd::v1alpha1::{OpsTask, VectorCluster, VectorOpsTask, VectorOpsTaskStatus};
use crate::fault::chain;
use crate::operator::accepted;
use crate::operator::certificates;
use crate::operator::cluster_api::{ClusterApi, within};
use crate::operator::credentials::Maker;
use crate::operator::events::{self, Told};
use crate::operator::names::{RESTART, ROTATE, ROTATED};
use crate::operator::{DEBOUNCE, Error, reconcile, scoped};
use crate::tasks::Tasks;
use crate::topology::Role;

use decide::{Facts, Report, State, Step, decide};
use progress::Progress;

/// How long one member of etcd may be at it.
const DEFRAGMENT_TIMEOUT: Duration = Duration::from_secs(120);
/// What the field managers of demands begin with.
const DEMANDS: &str = "vectorsphere-operator-task";

/// Carries VectorOpsTasks out until the tasks of this process stop.
pub(super) async fn run(desk: &Arc<Desk>, namespace: Option<&str>, tasks: &Tasks) {
    let client = &desk.context.client;
    let all = scoped::<VectorOpsTask>(client, namespace);
    let controller = Controller::new(all, watcher::Config::default());
    let all = controller.store();
    controller
        .with_config(Config::default().debounce(DEBOUNCE).concurrency(1))
        .watches(
            scoped::<VectorCluster>(client, namespace),
            watcher::Config::default(),
            move |cluster| of_cluster(&all, &cluster),
        )
        .graceful_shutdown_on(tasks.stopping())
        .run(round, again, Arc::clone(desk))
        .for_each(|_done| std::future::ready(()))
        .await;
}

/// The tasks of a cluster that may still do something.
fn of_cluster(
    all: &Store<VectorOpsTask>,
    cluster: &VectorCluster,
) -> Vec<ObjectRef<VectorOpsTask>> {
    let (namespace, name) = (cluster.namespace(), cluster.name_any());
    let concerned = all.state_filter(|task| {
        let status = task.status.as_ref();
        task.spec.cluster == name
            && task.metadata.namespace == namespace
            && status.is_none_or(|status| status.completed_at.is_none())
    });
    concerned
        .iter()
        .map(|task| ObjectRef::from(task.as_ref()))
        .collect()
}

fn again(task: Arc<VectorOpsTask>, error: &Error, desk: Arc<Desk>) -> Action {
    let (name, error) = (task.name_any(), chain(error));
    tracing::warn!(task = name, error, "a task could not be looked at");
    desk.wait(task.as_ref())
}

async fn round(task: Arc<VectorOpsTask>, desk: Arc<Desk>) -> Result<Action, Error> {
    let Some(task) = desk.fresh(task.as_ref()).await? else {
        return Ok(desk.done(task.as_ref()));
    };
    if task.metadata.deletion_timestamp.is_some() {
        return Ok(desk.done(&task));
    }
    let mut cluster: Option<VectorCluster> = desk.get(&task, &task.spec.cluster).await?;
    if let Some(cluster) = &mut cluster {
        // A task is about what is carried out.
        let api = cluster_api(cluster, &desk)?;
        accepted::judge(cluster, &api).await?;
    }
    let others = others(&task, &desk).await?;
    let pods = match &cluster {
        Some(cluster) => cluster_api(cluster, &desk)?.pods().await?,
        None => Vec::new(),
    };
    let roles = cluster
        .as_ref()
        .map(|cluster| progress::roles(&task, &cluster.spec));
    let restarts = task.spec.task == OpsTask::Restart;
    let step = decide(&Facts {
        task: &task,
        others: &others,
        cluster: cluster.as_ref(),
        youngest: roles
            .filter(|_roles| restarts)
            .and_then(|roles| progress::youngest(&pods, &roles)),
        now: desk.now(),
    });
    match (step, cluster) {
        (Step::Keep(left), _) => return Ok(Action::requeue(left)),
        (Step::Remove, _) => desk.delete(&task).await?,
        (Step::Say(report), _) => return say(&task, &report, &desk).await,
        (Step::Begin, _) => return say(&task, &begun(), &desk).await,
        (Step::Work(since), Some(cluster)) => {
            let work = Work {
                cluster: &cluster,
                pods: &pods,
                since,
                desk: &desk,
            };
            let report = work.report(&task).await;
            return say(&task, &report, &desk).await;
        },
        // What is not there has no work.
        (Step::Work(_), None) => {},
    }
    Ok(desk.done(&task))
}

fn cluster_api(cluster: &VectorCluster, desk: &Desk) -> Result<ClusterApi, Error> {
    Ok(ClusterApi {
        client: desk.context.client.clone(),
        subject: reconcile::subject(cluster)?,
    })
}

/// The other tasks of the cluster, as the server holds them now.
async fn others(task: &VectorOpsTask, desk: &Desk) -> Result<Vec<VectorOpsTask>, Error> {
    let of_cluster = ListParams::default().fields(&format!("spec.cluster={}", task.spec.cluster));
    let mut all = within(desk.api::<VectorOpsTask>(task).list(&of_cluster))
        .await?
        .items;
    all.retain(|other| other.uid() != task.uid());
    Ok(all)
}

/// Writes what is said of a task; when it is looked at next follows from that.
async fn say(task: &VectorOpsTask, report: &Report, desk: &Desk) -> Result<Action, Error> {
    let after = status(task, report, desk.now());
    let before = task.status.as_ref();
    desk.write_status(task, &after, before).await?;
    if before.and_then(|before| before.state.as_ref()) != after.state.as_ref() {
        let (name, state) = (task.name_any(), report.state.as_str());
        tracing::info!(task = name, state, reason = report.reason, "a task went on");
        desk.tell(task, told(report).as_slice()).await;
        return Ok(desk.go_on(task));
    }
    Ok(desk.wait(task))
}

/// What is said of a task.
fn status(task: &VectorOpsTask, report: &Report, now: Timestamp) -> VectorOpsTaskStatus {
    let before = task.status.clone().unwrap_or_default();
    let state = report.state;
    let said = Said::new(state.complete(), report.reason, report.message.clone());
    let generation = task.metadata.generation;
    let complete = said.condition("Complete", &before.conditions, generation, now);
    let begun = before.started_at;
    VectorOpsTaskStatus {
        state: Some(state.as_str().to_owned()),
        message: Some(complete.message.clone()),
        started_at: begun.or_else(|| (state == State::Running).then_some(Time(now))),
        completed_at: state.is_end().then_some(Time(now)),
        conditions: vec![complete],
    }
}

/// What is said of a task that has only just begun.
fn begun() -> Report {
    Report::new(State::Running, "Running", "it begins")
}

/// What is said of work that was tried.
fn tried(worked: Result<Progress, Error>) -> Report {
    match worked {
        Ok(Progress::Done(message)) => Report::new(State::Succeeded, "Succeeded", message),
        Ok(Progress::Going(message)) => Report::new(State::Running, "Running", message),
        Err(error) => Report::new(
            State::Running,
            "StepFailed",
            format!("it is tried again: {}", chain(&error)),
        ),
    }
}

/// What is told of a task whose state is another now.
fn told(report: &Report) -> Option<Told> {
    let note = report.message.clone();
    match report.state {
        // No work ends so by itself: what fails is tried again.
        State::Pending | State::Failed => None,
        State::Running => Some(events::told("TaskStarted", note)),
        State::Succeeded => Some(events::told("TaskSucceeded", note)),
        State::Rejected => Some(events::warned("TaskRejected", note)),
    }
}

/// A task that runs.
struct Work<'a> {
    cluster: &'a VectorCluster,
    pods: &'a [Pod],
    since: Timestamp,
    desk: &'a Desk,
}

impl Work<'_> {
    /// Does what is to be done now, and says how far it is. What failed is tried again.
    async fn report(&self, task: &VectorOpsTask) -> Report {
        let worked = match task.spec.task {
            OpsTask::Restart => self.restart(task).await,
            OpsTask::RotateCertificates => self.rotate().await,
            OpsTask::DefragmentEtcd => self.defragment().await,
            OpsTask::Rebalance
            | OpsTask::EvacuateWorker
            | OpsTask::ReplaceWorker
            | OpsTask::VerifyData => Ok(Progress::Going("it is not built yet".to_owned())),
        };
        if let Err(error) = &worked {
            let (name, error) = (task.name_any(), chain(error));
            tracing::warn!(task = name, error, "a task met an error");
        }
        tried(worked)
    }

    /// Writes a demand on the cluster, unless it stands there. Each is of a manager of its own, since what a
    /// manager leaves out is taken back.
    async fn demand(&self, name: &str) -> Result<(), Error> {
        let time = self.since.to_string();
        if self.cluster.annotations().get(name) == Some(&time) {
            return Ok(());
        }
        let what = name.split_once('/').map_or(name, |(_domain, what)| what);
        let fields = json!({"metadata": {"annotations": {name: time}}});
        let manager = format!("{DEMANDS}-{what}");
        let patch = applied(self.cluster, &fields);
        self.desk.apply(self.cluster, &manager, &patch).await
    }

    async fn restart(&self, task: &VectorOpsTask) -> Result<Progress, Error> {
        let (spec, status) = (&self.cluster.spec, self.cluster.status.as_ref());
        let roles = progress::roles(task, spec);
        for role in &roles {
            self.demand(&format!("{RESTART}-{role}")).await?;
        }
        Ok(progress::restarted(
            self.pods,
            &roles,
            (spec, status),
            self.since,
        ))
    }

    async fn rotate(&self) -> Result<Progress, Error> {
        self.demand(ROTATE).await?;
        let api = cluster_api(self.cluster, self.desk)?;
        let mut met = Vec::new();
        for wanted in certificates::wanted(&api.subject, &self.cluster.spec) {
            let secret = api.secret(&api.subject.certificate_of(wanted.role)).await?;
            met.push(secret.and_then(|secret| secret.annotations().get(ROTATED).cloned()));
        }
        Ok(progress::rotated(&met, &self.since.to_string()))
    }

    /// Asks the members one after the other. Asking again does no harm, so a round that was cut off begins
    /// with the first.
    async fn defragment(&self) -> Result<Progress, Error> {
        let members = match progress::members(self.pods, &self.cluster.spec) {
            Ok(members) => members,
            Err(missing) => return Ok(Progress::Going(missing)),
        };
        let api = cluster_api(self.cluster, self.desk)?;
        let credentials = Maker::own(&api).await?;
        let name = api.subject.dns(&api.subject.of(Role::Etcd));
        for (member, address) in &members {
            let endpoint = vec![format!("https://{address}")];
            let entropy = Arc::clone(&self.desk.context.maker.entropy);
            let etcd = Etcd::connect_as(&endpoint, &name, &credentials, entropy).await?;
            etcd.defragment(DEFRAGMENT_TIMEOUT).await?;
            tracing::info!(member, "a member of etcd gave back unused space");
        }
        let message = format!("{} members gave back unused space", members.len());
        Ok(Progress::Done(message))
    }
}

#[cfg(test)]
mod tests;
