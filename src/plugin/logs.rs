//! `logs`: what the pods of a cluster say, each line with its pod. With `follow` also of pods that come, and
//! of containers that start again.

use std::collections::BTreeSet;
use std::pin::pin;

use futures::stream::{BoxStream, SelectAll};
use futures::{AsyncBufReadExt, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::LogParams;
use kube::runtime::{WatchStreamExt, watcher};

use super::Error;
use super::look::{Access, REQUEST_TIMEOUT, selector, within};
use crate::crd::marks::ROLE;
use crate::topology::Role;

/// Lines of the past that are shown first when a person follows, unless they say otherwise.
const TAIL_FOLLOWED: i64 = 10;

/// Which lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Which {
    /// Of the pods of this role only.
    pub role: Option<Role>,
    /// Whether to go on.
    pub follow: bool,
    /// Not older than that.
    pub since_seconds: Option<i64>,
    /// The last ones of each container only.
    pub tail_lines: Option<i64>,
    /// Of the containers before they were last started again.
    pub previous: bool,
}

/// A container, by one start of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Source {
    pub(super) pod: String,
    pub(super) container: String,
    uid: String,
    pub(super) restarts: i32,
    /// How its lines begin.
    prefix: String,
}

/// The containers of a pod that have been started. Pure.
pub(super) fn sources(pod: &Pod) -> Vec<Source> {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref());
    let containers = containers.map_or(&[][..], Vec::as_slice);
    let alone = containers.len() < 2;
    let started = containers.iter().filter(|container| {
        let state = container.state.as_ref();
        let waits = state.is_none_or(|state| state.waiting.is_some());
        !waits || container.restart_count > 0
    });
    let pod_name = pod.name_any();
    started
        .map(|container| Source {
            pod: pod_name.clone(),
            container: container.name.clone(),
            uid: pod.uid().unwrap_or_default(),
            restarts: container.restart_count,
            prefix: if alone {
                format!("[{pod_name}] ")
            } else {
                format!("[{pod_name}/{}] ", container.name)
            },
        })
        .collect()
}

fn parameters(source: &Source, which: &Which) -> LogParams {
    LogParams {
        container: Some(source.container.clone()),
        follow: which.follow,
        since_seconds: which.since_seconds,
        tail_lines: which.tail_lines,
        previous: which.previous,
        ..LogParams::default()
    }
}

fn is_of(pod: &Pod, role: Option<Role>) -> bool {
    let of = pod.labels().get(ROLE).map(String::as_str);
    role.is_none_or(|role| of == Some(role.as_str()))
}

/// Prints the lines with `print`.
///
/// # Errors
/// [`Error::NoCluster`], the API server's, or what `print` says.
pub async fn print(
    access: &Access,
    name: &str,
    which: &Which,
    mut print: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    access.cluster(name).await?;
    if which.follow {
        return follow(access, name, which, print).await;
    }
    let pods = access.pods(name).await?;
    for pod in pods.iter().filter(|pod| is_of(pod, which.role)) {
        for source in sources(pod) {
            if which.previous && source.restarts == 0 {
                continue;
            }
            let mut lines = lines(access, source, *which).await;
            while let Some(line) = in_time(lines.next()).await? {
                print(&line)?;
            }
        }
    }
    Ok(())
}

/// What is there already comes without a pause.
async fn in_time<T>(line: impl Future<Output = T>) -> Result<T, Error> {
    let timed = tokio::time::timeout(REQUEST_TIMEOUT, line).await;
    timed.map_err(|_elapsed| Error::Deadline(REQUEST_TIMEOUT))
}

/// The lines of a container, each as it is printed. That there are none, or no more, is said in a line too:
/// the other pods still have something to say.
async fn lines(access: &Access, source: Source, which: Which) -> BoxStream<'static, String> {
    let api = access.of::<Pod>();
    let parameters = parameters(&source, &which);
    let opened = within(api.log_stream(&source.pod, &parameters)).await;
    let prefix = source.prefix;
    match opened {
        Ok(reader) => {
            let lines = Box::pin(reader).lines();
            let lines = lines.map(move |line| match line {
                Ok(line) => format!("{prefix}{line}\n"),
                Err(error) => format!("{prefix}(no more: {error})\n"),
            });
            Box::pin(lines)
        },
        Err(error) => {
            let why = crate::fault::chain(&error);
            Box::pin(futures::stream::iter([format!(
                "{prefix}(no log: {why})\n"
            )]))
        },
    }
}

async fn follow(
    access: &Access,
    name: &str,
    which: &Which,
    mut print: impl FnMut(&str) -> Result<(), Error>,
) -> Result<(), Error> {
    let config = watcher::Config::default().labels(&selector(name));
    let news = watcher(access.of::<Pod>(), config).default_backoff();
    let mut news = pin!(news.applied_objects());
    let mut known = BTreeSet::new();
    let mut all: SelectAll<BoxStream<'static, String>> = SelectAll::new();
    let at_first = Which {
        tail_lines: which.tail_lines.or(Some(TAIL_FOLLOWED)),
        ..*which
    };
    // Of a container that starts again every line is new.
    let later = Which {
        tail_lines: None,
        ..*which
    };
    loop {
        tokio::select! {
            pod = news.next() => match pod {
                Some(Ok(pod)) if is_of(&pod, which.role) => {
                    for source in sources(&pod) {
                        let is_first = !known.iter().any(|one: &Source| one.uid == source.uid);
                        if known.insert(source.clone()) {
                            let which = if is_first { at_first } else { later };
                            all.push(lines(access, source, which).await);
                        }
                    }
                },
                // The watch goes on by itself after an error.
                Some(_) => {},
                None => return Ok(()),
            },
            Some(line) = all.next(), if !all.is_empty() => print(&line)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::pods::tests::{pod, ready, waiting};
    use serde_json::json;

    #[test]
    fn only_what_was_started_has_something_to_say() {
        let of = |status| sources(&pod("small-worker-0", "worker", &status));
        assert_eq!(of(ready())[0].prefix, "[small-worker-0] ");
        assert_eq!(of(waiting("CrashLoopBackOff", "")).len(), 1);
        let mut never = waiting("ImagePullBackOff", "");
        never["containerStatuses"][0]["restartCount"] = json!(0);
        assert_eq!(of(never), []);
        let mut two = ready();
        let second = two["containerStatuses"][0].clone();
        two["containerStatuses"]
            .as_array_mut()
            .unwrap()
            .push(second);
        assert_eq!(of(two)[1].prefix, "[small-worker-0/c] ");
    }

    #[test]
    fn a_role_lets_its_own_pods_through() {
        let worker = pod("small-worker-0", "worker", &ready());
        assert!(is_of(&worker, None) && is_of(&worker, Some(Role::Worker)));
        assert!(!is_of(&worker, Some(Role::Gateway)));
    }
}
