//! The defaults that are not a type's own, by name. One place, so that what the schema states for a
//! field and what `Default` gives for its struct are the same function.

use super::CollectionPattern;

pub(super) fn yes() -> bool {
    true
}

/// Two gateways: one may be replaced while the other answers.
pub(super) fn gateway_replicas() -> i32 {
    2
}

/// Three masters: a leader, and two that can follow it, in three zones.
pub(super) fn master_replicas() -> i32 {
    3
}

/// Three workers: one for each zone that clusters usually have.
pub(super) fn worker_replicas() -> i32 {
    3
}

/// Three members: the least that survives the loss of one.
pub(super) fn etcd_replicas() -> i32 {
    3
}

/// Enough for etcd's own quota of its database, its log and its snapshots.
pub(super) fn etcd_storage_size() -> String {
    "8Gi".to_owned()
}

pub(super) fn etcd_prefix() -> String {
    "/vectorsphere".to_owned()
}

/// One copy, until replication exists.
pub(super) fn replication_factor() -> i32 {
    1
}

pub(super) fn zone_label() -> String {
    "topology.kubernetes.io/zone".to_owned()
}

pub(super) fn concurrent_moves() -> i32 {
    2
}

/// Half of a gigabit link, so that requests keep the other half.
pub(super) fn move_bandwidth() -> String {
    "64Mi".to_owned()
}

pub(super) fn imbalance_percent() -> i32 {
    10
}

/// Two: autoscaling never goes below what survives the loss of one.
pub(super) fn autoscaling_min() -> i32 {
    2
}

pub(super) fn target_cpu_percent() -> i32 {
    80
}

/// An hour: a worker's volume at the default bandwidth.
pub(super) fn drain_deadline_seconds() -> i32 {
    3600
}

/// Five minutes: longer than the restart of a node.
pub(super) fn repair_delay_seconds() -> i32 {
    300
}

pub(super) fn grow_threshold_percent() -> i32 {
    80
}

pub(super) fn grow_step_percent() -> i32 {
    20
}

/// 90 days, in the form that the server stores: a default must not change when it is read back.
pub(super) fn certificate_duration() -> String {
    "2160h".to_owned()
}

/// 30 days before the end.
pub(super) fn certificate_renew_before() -> String {
    "720h".to_owned()
}

pub(super) fn issuer_kind() -> String {
    "Issuer".to_owned()
}

pub(super) fn issuer_group() -> String {
    "cert-manager.io".to_owned()
}

pub(super) fn max_unavailable() -> i32 {
    1
}

/// Half an hour: an image pull, a drain of caches and a warm start of the slowest pod.
pub(super) fn progress_deadline_seconds() -> i32 {
    1800
}

pub(super) fn time_zone() -> String {
    "Etc/UTC".to_owned()
}

pub(super) fn scrape_interval() -> String {
    "30s".to_owned()
}

pub(super) fn log_filter() -> String {
    "info".to_owned()
}

pub(super) fn seen_once() -> i32 {
    1
}

pub(super) fn every_collection() -> Vec<CollectionPattern> {
    vec![CollectionPattern("*".to_owned())]
}

/// An hour: longer than an operator is away for an update.
pub(super) fn starting_deadline_seconds() -> i32 {
    3600
}

pub(super) fn keep_last() -> i32 {
    6
}

pub(super) fn keep_failed() -> i32 {
    3
}

/// An hour: long enough to look at what a task did.
pub(super) fn task_kept_seconds() -> i32 {
    3600
}
