//! Waiting for a condition, with a limit.

use std::future::Future;
use std::time::Duration;

/// Waits until the condition gives something; panics with `what` at the limit.
pub(crate) async fn wait_for<T, F, W>(what: &str, limit: Duration, mut condition: F) -> T
where
    F: FnMut() -> W,
    W: Future<Output = Option<T>>,
{
    const LOOK_INTERVAL: Duration = Duration::from_millis(10);
    let waiting = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
    };
    let waited = tokio::time::timeout(limit, waiting).await;
    waited.unwrap_or_else(|_elapsed| panic!("waited {limit:?} in vain: {what}"))
}
