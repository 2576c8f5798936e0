//! A request that has passed the gate: its path, its query parameters, and its body when a handler
//! asks for it.
//!
//! Bodies are bounded three ways: one body by [`BODY_BYTES_MAX`], all bodies whose requests are not
//! answered yet by [`Room`], and the time one takes to arrive by [`BODY_TIMEOUT`]. Large ones are parsed
//! on a thread that may block.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::RequestExt;
use axum::body::{Body, HttpBody};
use axum::extract::RawPathParams;
use http_body_util::BodyExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Api;
use crate::clock::Moment;
use crate::fault::Kind;
use crate::gateway::{Error, WriteOptions};
use crate::ids::CollectionName;
use crate::limits::{BODY_BYTES_MAX, REQUEST_TIMEOUT_DEFAULT, REQUEST_TIMEOUT_MAX};
use crate::probes::routes::Request;

/// What room for bodies is counted in.
const ROOM_UNIT_BYTES: usize = 4_096;

/// Room for large bodies: eight of the largest at once, 256 MiB.
const LARGE_UNITS: usize = 8 * BODY_BYTES_MAX / ROOM_UNIT_BYTES;

/// Room for bodies up to [`INLINE_BYTES_MAX`]: 64 MiB. It is apart, so that uploads which wait for a
/// worker do not keep searches out.
const SMALL_UNITS: usize = 1_024 * INLINE_BYTES_MAX / ROOM_UNIT_BYTES;

/// How long a body waits for room before its request is refused.
const ROOM_TIMEOUT: Duration = Duration::from_secs(1);

/// How long a body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);

/// Bodies above this are parsed on a blocking thread: about 0.2 ms of work.
const INLINE_BYTES_MAX: usize = 64 * 1024;

/// Room for the bodies of requests that are not answered yet, in [`ROOM_UNIT_BYTES`]: what a body
/// became is in memory until the workers have answered.
pub(super) struct Room {
    small: Arc<Semaphore>,
    large: Arc<Semaphore>,
}

impl Room {
    /// Room with nobody in it.
    pub(super) fn new() -> Self {
        Self {
            small: Arc::new(Semaphore::new(SMALL_UNITS)),
            large: Arc::new(Semaphore::new(LARGE_UNITS)),
        }
    }

    /// Takes room for a body of so many bytes; waits for it a moment.
    async fn take(&self, bytes: usize) -> Result<OwnedSemaphorePermit, Error> {
        let of = if bytes <= INLINE_BYTES_MAX {
            &self.small
        } else {
            &self.large
        };
        let units = u32::try_from(bytes.min(BODY_BYTES_MAX).div_ceil(ROOM_UNIT_BYTES));
        let taking = Arc::clone(of).acquire_many_owned(units.unwrap_or(u32::MAX));
        match timeout(ROOM_TIMEOUT, taking).await {
            Ok(Ok(room)) => Ok(room),
            _ => Err(Error::Overloaded("no room for the body of this one")),
        }
    }
}

/// A request.
#[derive(Debug)]
pub(super) struct Call {
    path: Vec<(String, String)>,
    wait: bool,
    timeout: Duration,
    started: Moment,
    body: Body,
    /// What its body takes of the room, until the request is answered.
    room: Option<OwnedSemaphorePermit>,
}

impl Call {
    /// Reads path and query of a request.
    pub(super) async fn new(mut request: Request, started: Moment) -> Result<Self, Error> {
        let path = request.extract_parts::<RawPathParams>().await;
        let path = path.map_err(|_not_utf8| Error::OutOfRange {
            place: "path parameters",
            field: "path".into(),
            problem: "is not UTF-8".to_owned(),
        })?;
        let path = path
            .iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()));
        let mut call = Self {
            path: path.collect(),
            wait: false,
            timeout: REQUEST_TIMEOUT_DEFAULT,
            started,
            body: Body::empty(),
            room: None,
        };
        call.read_query(request.uri().query().unwrap_or_default())?;
        call.body = request.into_body();
        Ok(call)
    }

    /// Until when it must be answered.
    pub(super) fn deadline(&self) -> Moment {
        self.started + self.timeout
    }

    /// How long it may take from its start.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Whether the caller waits until a write is seen by all.
    pub(super) const fn wait(&self) -> bool {
        self.wait
    }

    /// How a write is to be done.
    pub(super) fn write_options(&self) -> WriteOptions {
        WriteOptions {
            wait: self.wait,
            deadline: self.deadline(),
        }
    }

    /// A parameter of the path.
    pub(super) fn parameter(&self, name: &str) -> &str {
        let found = self.path.iter().find(|(known, _value)| known == name);
        found.map_or("", |(_name, value)| value)
    }

    /// The collection in the path.
    pub(super) fn collection(&self) -> Result<CollectionName, Error> {
        let text = self.parameter("collection");
        CollectionName::parse(text).map_err(|malformed| Error::OutOfRange {
            place: "path parameters",
            field: "collection_name".into(),
            problem: format!("value {:?} invalid, {}", malformed.value, malformed.problem),
        })
    }

    fn read_query(&mut self, query: &str) -> Result<(), Error> {
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "wait" => {
                    self.wait = value
                        .parse()
                        .map_err(|_neither| wrong(name, value, "true or false"))?;
                },
                "timeout" => {
                    let seconds = value
                        .parse::<u64>()
                        .map_err(|_other| wrong(name, value, "a number of seconds"))?;
                    if seconds == 0 {
                        return Err(Error::OutOfRange {
                            place: "query parameters",
                            field: "timeout".into(),
                            problem: "value 0 invalid, must be 1 or larger".to_owned(),
                        });
                    }
                    self.timeout = Duration::from_secs(seconds).min(REQUEST_TIMEOUT_MAX);
                },
                "ordering" if !["weak", "medium", "strong"].contains(&value) => {
                    return Err(wrong(name, value, "weak, medium or strong"));
                },
                "consistency"
                    if !["majority", "quorum", "all"].contains(&value)
                        && !value.parse::<u64>().is_ok_and(|copies| copies > 0) =>
                {
                    let must = "majority, quorum, all or a number of copies";
                    return Err(wrong(name, value, must));
                },
                _ => {},
            }
        }
        Ok(())
    }

    /// The body, read and parsed. Its room is held as long as the call is.
    pub(super) async fn parse<T, F>(&mut self, api: &Api, parse: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&[u8]) -> Result<T, Error> + Send + 'static,
    {
        let body = std::mem::replace(&mut self.body, Body::empty());
        let hint = body.size_hint();
        let size = hint.exact().map_or(BODY_BYTES_MAX, |exact| {
            usize::try_from(exact).unwrap_or(usize::MAX)
        });
        self.room = Some(api.room.take(size).await?);
        let limit = api.left(self.deadline()).min(BODY_TIMEOUT);
        let bytes = in_time(limit, collect(body, size)).await?;
        if bytes.len() <= INLINE_BYTES_MAX {
            parse(&bytes)
        } else {
            let parsing = api.tasks.spawn_blocking(move || parse(&bytes));
            parsing.await.unwrap_or_else(|error| {
                Err(Error::Failed {
                    kind: Kind::Internal,
                    code: "gateway.parse",
                    message: format!("parsing broke off: {error}"),
                })
            })
        }
    }
}

fn wrong(name: &str, value: &str, must: &str) -> Error {
    let value: String = value.chars().take(64).collect();
    Error::Query(format!("{name}: {value:?} is not {must}"))
}

async fn in_time<T>(
    limit: Duration,
    reading: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, reading)
        .await
        .unwrap_or(Err(Error::NoBody("the body did not arrive in time")))
}

/// The whole body. One that is too large is read on for a while and thrown away: a caller that still
/// sends would not see the answer.
async fn collect(mut body: Body, expected: usize) -> Result<Vec<u8>, Error> {
    let too_large = Error::TooLarge {
        limit: BODY_BYTES_MAX,
    };
    let mut bytes = Vec::new();
    if expected <= BODY_BYTES_MAX && body.size_hint().exact().is_some() {
        bytes.reserve_exact(expected);
    }
    let mut seen = 0usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_gone| Error::NoBody("the connection broke in the body"))?;
        let Ok(data) = frame.into_data() else {
            continue;
        };
        seen = seen.saturating_add(data.len());
        if seen > 2 * BODY_BYTES_MAX {
            return Err(too_large);
        }
        if seen > BODY_BYTES_MAX {
            bytes = Vec::new();
        } else {
            bytes.extend_from_slice(&data);
        }
    }
    if seen > BODY_BYTES_MAX {
        return Err(too_large);
    }
    Ok(bytes)
}
