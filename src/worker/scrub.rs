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

/// The longest rest: how late a segment that was replaced meanwhile is noticed.
const REST_MAX: Duration = Duration::from_secs(5);

/// How long a shard that closes waits for a rest, at most.
const LOOK_EVERY: Duration = Duration::from_millis(100);

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
            let open = place.open();
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
    let closing = Arc::clone(&hosted);
    let pause = move || {
        let since = *worked_since.lock().unwrap_or_else(PoisonError::into_inner);
        let mut rest = rest_after(clock.now().since(since));
        while !rest.is_zero() && !tasks.is_stopping() && !closing.is_closing() {
            let part = rest.min(LOOK_EVERY);
            // In time, or told to stop.
            drop(handle.block_on(tokio::time::timeout(part, tasks.stopping())));
            rest = rest.saturating_sub(part);
        }
        *worked_since.lock().unwrap_or_else(PoisonError::into_inner) = clock.now();
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
    fn a_scrub_takes_a_tenth_of_the_time_also_of_a_slow_disk_and_no_rest_is_endless() {
        for worked in [2, 100, 500].map(Duration::from_millis) {
            assert_eq!(worked + rest_after(worked), worked * 10);
        }
        assert_eq!(rest_after(Duration::from_hours(1)), REST_MAX);
    }
}
