//! The scrub: index segments are read whole in the background, one at a time in the whole worker, each soon after it
//! came into use and then now and then.
//!
//! It rests after each MiB for several times what that took, so that it leaves the disk and the processors to those
//! who wait for them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;

use super::host::Host;
use super::hosted::Hosted;

/// How often it is looked whether a segment is to be read.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// A rest is this many times as long as the work before it.
const REST: u32 = 9;

/// The longest rest: who stops waits no longer for it.
const REST_MAX: Duration = Duration::from_millis(100);

/// Reads what was not read lately, until the tasks stop.
pub(super) async fn run(host: Arc<Host>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {},
            () = host.tasks.stopping() => return,
        }
        for (_shard, place) in host.all_places() {
            if host.tasks.is_stopping() {
                return;
            }
            let open = place
                .hosted
                .try_lock()
                .ok()
                .and_then(|hosted| hosted.clone());
            if let Some(hosted) = open.filter(|hosted| hosted.wants_verification()) {
                verify(&host, hosted).await;
            }
        }
    }
}

async fn verify(host: &Host, hosted: Arc<Hosted>) {
    let (tasks, clock, handle) = (
        host.tasks.clone(),
        Arc::clone(&host.clock),
        Handle::current(),
    );
    let worked_since = Mutex::new(clock.now());
    let pause = move || {
        let mut since = worked_since.lock().unwrap_or_else(PoisonError::into_inner);
        let rest = rest_after(clock.now().since(*since));
        // In time, or told to stop.
        drop(handle.block_on(tokio::time::timeout(rest, tasks.stopping())));
        *since = clock.now();
        tasks.is_stopping()
    };
    let verifying = host.tasks.spawn_blocking(move || hosted.verify(&pause));
    if verifying.await.is_err() {
        tracing::error!("verifying an index segment broke off");
    }
}

/// How long to rest after so much work.
fn rest_after(worked: Duration) -> Duration {
    worked.saturating_mul(REST).min(REST_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scrub_takes_a_tenth_of_the_time_and_never_keeps_a_stop_waiting() {
        let worked = Duration::from_millis(2);
        assert_eq!(rest_after(worked), worked * 9);
        assert_eq!(rest_after(Duration::from_secs(5)), REST_MAX);
    }
}
