//! Every request that was answered, and what tests have done to requests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::Method;

use super::request::Request;
use super::rights::Right;
use super::store::{Change, Key, Snapshot};

/// One request, after it was carried out.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Through which door it came: each process has its own.
    pub(crate) door: String,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) code: u16,
    /// Whether it changed anything.
    pub(crate) wrote: bool,
    /// The UID that a deletion insisted on.
    pub(crate) uid: Option<String>,
}

impl std::fmt::Display for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {} {}", self.method, self.path, self.code)
    }
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is carried out and answered.
    Pass,
    /// It is refused with this code, and not carried out.
    Refuse(u16),
    /// It is not carried out and never answered.
    Swallow,
    /// It is carried out and never answered.
    Hold,
}

/// Decides about a request before it is carried out.
pub(crate) type Judge = Box<dyn FnMut(&str, &Request) -> Verdict + Send>;
/// Says whether a watch is told of a change.
pub(crate) type Filter = Arc<dyn Fn(&Change) -> bool + Send + Sync>;

/// What tests do to requests.
#[derive(Default)]
pub(crate) struct Faults {
    pub(crate) judge: Option<Judge>,
    /// The answer of the write of this number (from 1) is held back, and of all after it.
    pub(crate) hold_write: Option<usize>,
    /// Lists that page, as those of watchers do, and the watches after them are served from here.
    pub(crate) lag: Option<Arc<Snapshot>>,
    /// Watches are told only of what passes.
    pub(crate) filter: Option<Filter>,
}

impl std::fmt::Debug for Faults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Faults")
            .field("hold_write", &self.hold_write)
            .finish_non_exhaustive()
    }
}

/// The journal.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    pub(crate) asked: Vec<Asked>,
    /// How often each single object was read, by its path.
    pub(crate) gets: HashMap<String, usize>,
    /// How many of them changed something.
    pub(crate) written: usize,
    /// What operators made and deleted, by object: how often each.
    pub(crate) counts: BTreeMap<(Key, &'static str), usize>,
    /// The rights that operators used.
    pub(crate) used: BTreeSet<Right>,
    /// Requests that were refused for want of a right, each with that.
    pub(crate) beyond: Vec<String>,
}

impl Journal {
    /// The requests that changed something.
    pub(crate) fn writes(&self) -> impl Iterator<Item = &Asked> {
        self.asked.iter().filter(|asked| asked.wrote)
    }
}
