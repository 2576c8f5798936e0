//! The controllers of the kinds beside VectorCluster.
//!
//! A VectorCollection is carried out through the masters of its cluster, a VectorOpsTask mostly by what
//! the cluster's own controller does. What needs a data path that is not built is answered with the state
//! `Rejected` and its reason, and nothing else happens.
//!
//! Each kind has a controller of its own, so that one that cannot watch stops no other. A round reads
//! its object again before it acts; what it decides is decided in a pure function.

mod collection;
mod desk;
mod rejected;
mod said;
mod task;

use std::sync::Arc;

use crate::operator::reconcile::Context;
use crate::tasks::Tasks;

use desk::Desk;

/// Objects of one kind that are carried out at the same time.
const CONCURRENCY: u16 = 8;

/// Carries the objects out until the tasks stop.
pub(super) async fn run(context: &Arc<Context>, namespace: Option<&str>, tasks: &Tasks) {
    let desk = Arc::new(Desk::new(Arc::clone(context)));
    tokio::join!(
        collection::run(&desk, namespace, tasks),
        task::run(&desk, namespace, tasks),
        rejected::run(&desk, namespace, tasks),
    );
}
