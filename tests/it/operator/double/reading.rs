//! Lists, and watches that tell line by line what happens after a revision.
//!
//! A page after the first shows what is there by then, not what was there at the first: who lists and
//! then watches from the first page's revision is told of the difference all the same.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use futures::stream;
use serde_json::{Value, json};

use super::Shared;
use super::refusal::Refusal;
use super::request::{Place, Request};
use super::selectors::Selector;
use super::store::{self, Change, Happened, Key, Snapshot, Store, text};

/// How long a watch lasts that does not say.
const WATCH_SECONDS: u64 = 290;

/// When a watch that has nothing to tell says how far it is.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// An answer to a list.
pub(crate) fn list(
    store: &Store,
    lag: Option<&Snapshot>,
    place: &Place,
    request: &Request,
) -> Result<Value, Refusal> {
    let selector = selector(place, request)?;
    let limit = request.parameter("limit").parse().unwrap_or(0_usize);
    // What only watchers ask may be served from what was.
    let lag = lag.filter(|_| limit > 0);
    let kind = &place.kind;
    let of = (kind.group.as_str(), kind.plural.as_str());
    let (all, mut revision) = match lag {
        Some(lag) => (
            store::list(&lag.objects, of, &place.namespace),
            lag.revision,
        ),
        None => (store.list(of.0, of.1, &place.namespace), store.revision()),
    };
    let mut from = None;
    let token = request.parameter("continue");
    if !token.is_empty() {
        let (began, after) = token.split_once('/').unwrap_or((token, ""));
        let began: u64 = began.parse().map_err(|_error| bad_token())?;
        if began < store.compacted() {
            return Err(Refusal::expired(
                "The provided continue parameter is too old to display a consistent list result.",
            ));
        }
        revision = began;
        from = Some(after.to_owned());
    }
    let name = |key: &Key| format!("{}/{}", key.namespace, key.name);
    let mut selected = all.into_iter().filter(|(key, object)| {
        selector.selects(object) && from.as_ref().is_none_or(|from| name(key) > *from)
    });
    let taken = if limit == 0 { usize::MAX } else { limit };
    let page: Vec<(Key, Arc<Value>)> = selected.by_ref().take(taken).collect();
    let left = selected.count();
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if let (Some((last, _)), true) = (page.last(), left > 0) {
        metadata["continue"] = json!(format!("{revision}/{}", name(last)));
        metadata["remainingItemCount"] = json!(left);
    }
    let only_metadata = request.metadata_only();
    let items = page.iter().map(|(_, object)| {
        if only_metadata {
            metadata_of(object)
        } else {
            Value::clone(object)
        }
    });
    let items: Vec<Value> = items.collect();
    let (api_version, list) = if only_metadata {
        (
            "meta.k8s.io/v1".to_owned(),
            "PartialObjectMetadata".to_owned(),
        )
    } else {
        (kind.api_version(), kind.kind.clone())
    };
    Ok(json!({
        "kind": format!("{list}List"), "apiVersion": api_version, "metadata": metadata,
        "items": items,
    }))
}

fn bad_token() -> Refusal {
    Refusal::bad("continue key is not valid")
}

/// An object by its metadata alone.
pub(crate) fn metadata_of(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object["metadata"],
    })
}

fn selector(place: &Place, request: &Request) -> Result<Selector, Refusal> {
    let mut fields = request.parameter("fieldSelector").to_owned();
    if !place.name.is_empty() {
        fields.push_str(&format!(",metadata.name={}", place.name));
    }
    Selector::read(request.parameter("labelSelector"), &fields)
}

/// A watch that goes on.
struct Watching {
    shared: Arc<Shared>,
    place: Place,
    selector: Selector,
    /// What was told up to here.
    revision: u64,
    epoch: u64,
    bookmarks: bool,
    only_metadata: bool,
    /// Lines to be told first.
    first: Option<String>,
    ends: std::pin::Pin<Box<tokio::time::Sleep>>,
}

/// The lines of a watch.
pub(crate) fn watch(
    shared: &Arc<Shared>,
    place: &Place,
    request: &Request,
) -> Result<impl Stream<Item = Result<Bytes, Infallible>> + Send + use<>, Refusal> {
    let seconds = request.parameter("timeoutSeconds").parse();
    let seconds = Duration::from_secs(seconds.unwrap_or(WATCH_SECONDS));
    let state = shared.lock();
    let mut watching = Watching {
        shared: Arc::clone(shared),
        place: place.clone(),
        selector: selector(place, request)?,
        revision: 0,
        epoch: state.epoch,
        bookmarks: request.is_set("allowWatchBookmarks"),
        only_metadata: request.metadata_only(),
        first: None,
        ends: Box::pin(tokio::time::sleep(seconds)),
    };
    watching.begin(&state.store, request);
    drop(state);
    let lines = stream::unfold(Box::new(watching), |mut watching| async move {
        let stopping = watching.shared.tasks.stopping();
        let line = tokio::select! {
            line = watching.next() => line,
            () = stopping => None,
        };
        line.map(|line| (Ok(Bytes::from(line)), watching))
    });
    Ok(lines)
}

impl Watching {
    /// Where it begins, and what is told first.
    fn begin(&mut self, store: &Store, request: &Request) {
        let version = request.parameter("resourceVersion");
        let initial = request.is_set("sendInitialEvents");
        self.revision = store.revision();
        if version.is_empty() || version == "0" || initial {
            let kind = &self.place.kind;
            let all = store.list(&kind.group, &kind.plural, &self.place.namespace);
            let selected = all
                .iter()
                .filter(|(_, object)| self.selector.selects(object));
            let mut lines: String = selected
                .map(|(_, object)| self.line("ADDED", object))
                .collect();
            if initial {
                lines.push_str(&self.bookmark(true));
            }
            self.first = Some(lines);
            return;
        }
        self.revision = version.parse().unwrap_or(0);
        if self.revision < store.compacted() {
            let message = format!(
                "too old resource version: {} ({})",
                self.revision,
                store.revision()
            );
            let status = Refusal::expired(message).status();
            self.first = Some(format!("{}\n", json!({"type": "ERROR", "object": status})));
            self.epoch = u64::MAX;
        }
    }

    fn line(&self, what: &str, object: &Value) -> String {
        let object = if self.only_metadata {
            &metadata_of(object)
        } else {
            object
        };
        format!("{}\n", json!({"type": what, "object": object}))
    }

    fn bookmark(&self, initial: bool) -> String {
        let kind = &self.place.kind;
        let mut object = json!({
            "kind": kind.kind, "apiVersion": kind.api_version(),
            "metadata": {"resourceVersion": self.revision.to_string()},
        });
        if initial {
            object["metadata"]["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        format!("{}\n", json!({"type": "BOOKMARK", "object": object}))
    }

    /// The next lines; none at its end.
    async fn next(&mut self) -> Option<String> {
        if let Some(first) = self.first.take().filter(|first| !first.is_empty()) {
            return Some(first);
        }
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.mark_unchanged();
            let lines = self.lines()?;
            if !lines.is_empty() {
                return Some(lines);
            }
            let ended = tokio::select! {
                _ = changed.changed() => false,
                () = tokio::time::sleep(BOOKMARK_INTERVAL), if self.bookmarks => {
                    return Some(self.bookmark(false));
                },
                () = self.ends.as_mut() => true,
            };
            if ended {
                let last = self.bookmark(false);
                self.epoch = u64::MAX;
                return self.bookmarks.then_some(last);
            }
        }
    }

    /// What has happened since; none when the watch was ended.
    fn lines(&mut self) -> Option<String> {
        let shared = Arc::clone(&self.shared);
        let state = shared.lock();
        if state.epoch != self.epoch {
            return None;
        }
        let until = state
            .faults
            .lag
            .as_ref()
            .map_or(u64::MAX, |lag| lag.revision);
        let mut lines = String::new();
        for change in state.store.after(self.revision) {
            if change.revision > until {
                break;
            }
            self.revision = change.revision;
            let told = state
                .faults
                .filter
                .as_ref()
                .is_none_or(|filter| filter(change));
            if told && self.concerns(&change.key) {
                lines.push_str(&self.told(change));
            }
        }
        Some(lines)
    }

    fn concerns(&self, key: &Key) -> bool {
        let (kind, namespace) = (&self.place.kind, &self.place.namespace);
        key.group == kind.group
            && key.plural == kind.plural
            && (namespace.is_empty() || key.namespace == *namespace)
    }

    /// The line of a change, as seen through the selector.
    fn told(&self, change: &Change) -> String {
        let is = change.what != Happened::Deleted && self.selector.selects(&change.object);
        let before = change.before.as_ref();
        let was = before.is_some_and(|before| self.selector.selects(before));
        match (was, is) {
            (false, false) => String::new(),
            (false, true) => self.line("ADDED", &change.object),
            (true, true) => self.line("MODIFIED", &change.object),
            (true, false) => {
                let mut last = before.map(|last| Value::clone(last)).unwrap_or_default();
                let version = text(&change.object, "/metadata/resourceVersion");
                last["metadata"]["resourceVersion"] = json!(version);
                self.line("DELETED", &last)
            },
        }
    }
}
