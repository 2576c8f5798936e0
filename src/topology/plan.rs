//! Which components a cluster consists of, and the next steps towards them.

use std::fmt;

use crate::crd::v1alpha1::{Gateway, Power, Routing, VectorClusterSpec};

/// What a component is. In the order of start: each needs the ones before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// A member of the etcd that is run for this cluster.
    Etcd,
    /// Decides.
    Master,
    /// Holds shards.
    Worker,
    /// Answers applications.
    Gateway,
}

impl Role {
    /// The word in names, logs and labels.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Master => "master",
            Self::Worker => "worker",
            Self::Gateway => "gateway",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the manifest says of a component, beside its role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settings {
    /// A member of etcd.
    Etcd {
        /// Members of the whole.
        members: u32,
    },
    /// A master.
    Master {
        /// Shards of a collection that does not say itself; absent: one per worker.
        shards: Option<u32>,
        /// Copies of each shard of a collection that does not say itself.
        replication_factor: u32,
    },
    /// A worker.
    Worker,
    /// A gateway.
    Gateway {
        /// Which process fans a data request out.
        routing: Routing,
    },
}

/// One process that should run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub role: Role,
    /// Its name, unique in the namespace, such as `laptop-worker-0`.
    pub name: String,
    /// Its number among those of its role. A worker's is never given to another worker.
    pub ordinal: u32,
    /// What the manifest says of it.
    pub settings: Settings,
}

/// Whether a component that exists runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It runs, or is about to by itself.
    Running,
    /// It has a name, maybe data, and no process.
    Stopped,
}

/// A component that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What it is.
    pub role: Role,
    /// Its name.
    pub name: String,
    /// Its number.
    pub ordinal: u32,
    /// Whether it runs.
    pub state: State,
}

/// What there is before a plan is made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observation {
    /// Every component that exists, running or not, in any order.
    pub components: Vec<Observed>,
    /// The lowest number that no worker ever had, as far as it was written down. 0 when nothing
    /// was: the numbers of the workers that exist count anyway.
    pub next_worker_ordinal: u32,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Start this component.
    Start(Component),
    /// Stop the component of this name. A worker is drained first; its data stays.
    Stop(String),
}

/// What should run, and the steps from what was observed to it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// What should run, in the order of start: etcd, masters, workers, gateways, each by number.
    pub components: Vec<Component>,
    /// The next steps: what to start, in the order of start, then what to stop, in the reverse
    /// order. Empty when all is as it should be, and while the cluster is paused.
    pub actions: Vec<Action>,
}

/// The plan for the cluster of this name. The same arguments always give the same plan, whatever
/// the order of what was observed.
pub fn plan(spec: &VectorClusterSpec, name: &str, observation: &Observation) -> Plan {
    let components = match spec.power {
        Power::Running => desired(spec, name, observation),
        Power::Hibernated => Vec::new(),
    };
    let actions = if spec.paused {
        Vec::new()
    } else {
        steps(&components, observation)
    };
    Plan {
        components,
        actions,
    }
}

fn desired(spec: &VectorClusterSpec, name: &str, observation: &Observation) -> Vec<Component> {
    let mut components = Vec::new();
    let mut add = |role: Role, ordinals: Vec<u32>, settings: Settings| {
        components.extend(ordinals.into_iter().map(|ordinal| Component {
            role,
            name: format!("{name}-{role}-{ordinal}"),
            ordinal,
            settings: settings.clone(),
        }));
    };
    if let Some(etcd) = &spec.etcd.managed {
        let members = count(etcd.replicas);
        add(
            Role::Etcd,
            (0..members).collect(),
            Settings::Etcd { members },
        );
    }
    add(
        Role::Master,
        (0..count(spec.master.replicas)).collect(),
        Settings::Master {
            shards: spec.sharding.shards.map(count),
            replication_factor: count(spec.sharding.replication_factor),
        },
    );
    add(
        Role::Worker,
        worker_ordinals(count(spec.worker.replicas), observation),
        Settings::Worker,
    );
    add(
        Role::Gateway,
        (0..gateways(&spec.gateway, observation)).collect(),
        Settings::Gateway {
            routing: spec.gateway.routing,
        },
    );
    components
}

/// Workers that exist stay, the lowest numbers first; new ones get numbers that none ever had. A
/// number used twice could bring back an old volume, or records that speak of another worker.
fn worker_ordinals(replicas: u32, observation: &Observation) -> Vec<u32> {
    let mut ordinals = numbers_of(Role::Worker, observation);
    let above = ordinals.last().map_or(Some(0), |last| last.checked_add(1));
    let next = above.map(|above| above.max(observation.next_worker_ordinal));
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    let missing = wanted.saturating_sub(ordinals.len());
    ordinals.truncate(wanted);
    if let Some(next) = next {
        ordinals.extend((next..=u32::MAX).take(missing));
    }
    ordinals
}

/// With an autoscaler the number that there is stays, inside the bounds: the autoscaler set it.
fn gateways(gateway: &Gateway, observation: &Observation) -> u32 {
    let Some(autoscaling) = &gateway.autoscaling else {
        return count(gateway.replicas);
    };
    let existing = numbers_of(Role::Gateway, observation).len();
    let current = match u32::try_from(existing) {
        Ok(0) | Err(_) => count(gateway.replicas),
        Ok(existing) => existing,
    };
    current
        .max(count(autoscaling.min_replicas))
        .min(count(autoscaling.max_replicas))
}

/// The numbers of a role's components that exist, ascending, each once.
fn numbers_of(role: Role, observation: &Observation) -> Vec<u32> {
    let mut numbers: Vec<u32> = observation
        .components
        .iter()
        .filter(|component| component.role == role)
        .map(|component| component.ordinal)
        .collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn steps(components: &[Component], observation: &Observation) -> Vec<Action> {
    let mut running: Vec<&Observed> = observation
        .components
        .iter()
        .filter(|observed| observed.state == State::Running)
        .collect();
    running.sort_by_key(|observed| (observed.role, observed.ordinal));
    let starts = components
        .iter()
        .filter(|component| !running.iter().any(|there| there.name == component.name))
        .map(|component| Action::Start(component.clone()));
    let stops = running
        .iter()
        .rev()
        .filter(|there| !components.iter().any(|wanted| wanted.name == there.name))
        .map(|there| Action::Stop(there.name.clone()));
    starts.chain(stops).collect()
}

/// A number of the spec: the schema keeps them from being negative.
fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}
