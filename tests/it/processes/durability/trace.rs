//! What `tests/interpose/sync_order.c` wrote down, held against what is promised. Pure: text in, a
//! verdict out; a verdict against names the lines.
//!
//! A write is durable at the end of the first good sync of its file that began after the write had
//! ended; a write through a descriptor that syncs is durable when it ends. A name is durable when the
//! folder that holds it was synced after it was made. What is unlinked afterwards is owed nothing.

use std::collections::BTreeSet;
use std::fmt;

/// What was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Write,
    Sync,
    Create,
    Rename,
    Unlink,
    Send,
}

impl Kind {
    fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "write" => Self::Write,
            "sync" => Self::Sync,
            "create" => Self::Create,
            "rename" => Self::Rename,
            "unlink" => Self::Unlink,
            "send" => Self::Send,
            _ => return None,
        })
    }
}

/// From when to when a request was under way, as its sender saw it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) start: u64,
    pub(super) end: u64,
}

/// One call. Times are nanoseconds of the monotonic clock, which all processes share.
#[derive(Debug, Clone)]
struct Event {
    start: u64,
    end: u64,
    process: u32,
    thread: u32,
    kind: Kind,
    ok: bool,
    /// Written through a descriptor that syncs.
    synced: bool,
    inode: u64,
    path: String,
    /// Of a rename the new path; of a send the ports and the HTTP/2 frames.
    extra: String,
}

impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start,
            end,
            process,
            thread,
            kind,
            ok,
            synced,
            inode,
            path,
            extra,
        } = self;
        write!(
            formatter,
            "  {start}..{end} {process}/{thread} {kind:?} ok={ok} synced={synced} {inode} {path} {extra}"
        )
    }
}

impl Event {
    fn parse(line: &str) -> Option<Self> {
        let fields: Vec<&str> = line.split('\t').collect();
        let [
            start,
            end,
            process,
            thread,
            kind,
            ok,
            synced,
            inode,
            path,
            extra,
        ] = fields.as_slice()
        else {
            return None;
        };
        Some(Self {
            start: start.parse().ok()?,
            end: end.parse().ok()?,
            process: process.parse().ok()?,
            thread: thread.parse().ok()?,
            kind: Kind::parse(kind)?,
            ok: *ok == "1",
            synced: *synced == "1",
            inode: inode.parse().ok()?,
            path: (*path).to_owned(),
            extra: (*extra).to_owned(),
        })
    }

    /// Whether it carries an answer of the gRPC server on this port: a frame of headers.
    fn answers(&self, port: u16) -> bool {
        let mut parts = self.extra.split(' ');
        let local = parts.next().and_then(|local| local.parse::<u16>().ok());
        let frames = parts.nth(1).unwrap_or_default();
        self.kind == Kind::Send
            && local == Some(port)
            && frames.split(',').any(|frame| frame.starts_with("1."))
    }

    /// Whether it gives something this name.
    fn makes(&self, name: &str) -> bool {
        match self.kind {
            Kind::Create => self.path == name,
            Kind::Rename => self.ok && self.extra == name,
            Kind::Write | Kind::Sync | Kind::Unlink | Kind::Send => false,
        }
    }

    fn is_by(&self, other: &Self) -> bool {
        (self.process, self.thread) == (other.process, other.thread)
    }
}

/// The folder that holds a name.
fn folder(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _name)| folder)
}

fn lies_below(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.starts_with('/'))
}

/// Whether somebody relies on it after a power cut: not on logs and locks.
fn is_kept(path: &str) -> bool {
    !path.contains("/logs/") && !path.ends_with("/lock.mdb") && !path.ends_with("/lock")
}

/// What all processes did, in the order in which they began it.
#[derive(Debug)]
pub(super) struct Trace {
    events: Vec<Event>,
}

impl Trace {
    /// The lines of any number of processes, in any order.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let parse =
            |line| Event::parse(line).ok_or_else(|| format!("not a line of a trace: {line}"));
        let events: Result<Vec<Event>, String> = text.lines().map(parse).collect();
        let mut events = events?;
        events.sort_by_key(|event| event.start);
        Ok(Self { events })
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(move |event| event.kind == kind)
    }

    /// When the file or folder was removed that an event made or wrote.
    fn gone_at(&self, event: &Event) -> u64 {
        let mut removed = self
            .all(Kind::Unlink)
            .filter(|unlink| unlink.inode == event.inode && unlink.start >= event.start);
        removed.next().map_or(u64::MAX, |unlink| unlink.start)
    }

    fn durable_at(&self, write: &Event) -> Option<u64> {
        if write.synced && write.ok {
            return Some(write.end);
        }
        let gone = self.gone_at(write);
        let syncs = self.all(Kind::Sync).filter(|sync| {
            sync.ok && sync.inode == write.inode && sync.start >= write.end && sync.start < gone
        });
        syncs.map(|sync| sync.end).min()
    }

    fn is_synced(&self, folder: &str, within: Window) -> bool {
        self.all(Kind::Sync).any(|sync| {
            let in_time = sync.start >= within.start && sync.end <= within.end;
            sync.ok && sync.path == folder && in_time
        })
    }

    /// A path of the trace that ends so.
    pub(super) fn path(&self, end: &str) -> Option<&str> {
        let mut paths = self.events.iter().map(|event| event.path.as_str());
        paths.find(|path| path.ends_with(end))
    }

    /// The new name of something that was renamed into a name with this part.
    pub(super) fn renamed_to(&self, part: &str) -> Option<&str> {
        let mut names = self.all(Kind::Rename).map(|rename| rename.extra.as_str());
        names.find(|name| name.contains(part))
    }

    /// Whenever the server on this port answers, no file that ends so has writes that are not
    /// durable. How many answers there were.
    pub(super) fn answers_follow_syncs(&self, port: u16, file: &str) -> Result<usize, String> {
        let writes: Vec<(&Event, Option<u64>, u64)> = self
            .all(Kind::Write)
            .filter(|write| write.path.ends_with(file))
            .map(|write| (write, self.durable_at(write), self.gone_at(write)))
            .collect();
        let mut answers = 0;
        for answer in self.events.iter().filter(|event| event.answers(port)) {
            answers += 1;
            for (write, durable, gone) in &writes {
                let there = write.start < answer.start && answer.start < *gone;
                if there && durable.is_none_or(|at| at > answer.start) {
                    return Err(format!("not synced when answered:\n{write}\n{answer}"));
                }
            }
        }
        Ok(answers)
    }

    /// A request that was acknowledged: pages written, then the file synced, then the meta page
    /// written through, then the answer sent.
    pub(super) fn commits_within(
        &self,
        request: Window,
        port: u16,
        file: &str,
    ) -> Result<(), String> {
        let missing = |what: &str| format!("{what} in {request:?}");
        let mut answers = self.events.iter().filter(|event| {
            let in_time = event.start >= request.start && event.start <= request.end;
            in_time && event.answers(port)
        });
        let answer = answers
            .next_back()
            .ok_or_else(|| missing("nothing answered"))?;
        let mut pages = self.all(Kind::Write).filter(|write| {
            let in_time = write.start >= request.start && write.start < answer.start;
            in_time && !write.synced && write.path.ends_with(file)
        });
        let page = pages.next().ok_or_else(|| missing("no page written"))?;
        let page = pages.last().unwrap_or(page);
        let sync = self.all(Kind::Sync).find(|sync| {
            let in_time = sync.start >= page.end && sync.end <= answer.start;
            in_time && sync.ok && sync.inode == page.inode
        });
        let sync = sync.ok_or_else(|| missing(&format!("no sync between\n{page}\n{answer}\n")))?;
        let mut metas = self.all(Kind::Write).filter(|write| {
            let in_time = write.start >= sync.end && write.end <= answer.start;
            in_time && write.ok && write.synced && write.inode == page.inode
        });
        metas
            .next()
            .map(|_meta| ())
            .ok_or_else(|| missing(&format!("no synced meta page between\n{sync}\n{answer}\n")))
    }

    /// A file that ends so was written within the request, durably before its end.
    pub(super) fn is_durable_within(&self, request: Window, file: &str) -> Result<(), String> {
        let mut writes = self.all(Kind::Write).filter(|write| {
            write.path.ends_with(file)
                && write.start >= request.start
                && self.durable_at(write).is_some_and(|at| at <= request.end)
        });
        let durable = writes.next().map(|_write| ());
        durable.ok_or_else(|| format!("nothing durable in {file} within {request:?}"))
    }

    /// Whoever writes to a file that ends so syncs it as the next thing that its thread does. How
    /// often that was.
    pub(super) fn writers_sync_at_once(&self, file: &str) -> Result<usize, String> {
        let mut writes = 0;
        for write in self.all(Kind::Write) {
            if !write.path.ends_with(file) || write.synced {
                continue;
            }
            writes += 1;
            let next = self.events.iter().find(|event| {
                let writes_on = event.kind == Kind::Write && event.inode == write.inode;
                event.is_by(write) && event.start >= write.end && !writes_on
            });
            let syncs = next.is_some_and(|next| {
                next.kind == Kind::Sync && next.ok && next.inode == write.inode
            });
            if !syncs {
                let next = next.map_or_else(|| "nothing".to_owned(), Event::to_string);
                return Err(format!("written and not synced:\n{write}\n{next}"));
            }
        }
        Ok(writes)
    }

    /// Before each rename what gets the name is durable, files and the names in it; after it the
    /// folder is synced before the thread goes on. How many renames there were.
    ///
    /// What goes into a folder called `trash` is owed its disappearance alone.
    pub(super) fn renames_follow_syncs(&self) -> Result<usize, String> {
        let mut renames = 0;
        let kept = |rename: &&Event| rename.ok && is_kept(&rename.path);
        for rename in self.all(Kind::Rename).filter(kept) {
            renames += 1;
            let mut folders = BTreeSet::from([folder(&rename.path)]);
            if !rename.extra.contains("/trash/") {
                folders.insert(folder(&rename.extra));
                self.is_whole_before(rename)?;
            }
            let after = self
                .events
                .iter()
                .filter(|event| event.is_by(rename) && event.start >= rename.end)
                .take_while(|event| !matches!(event.kind, Kind::Send | Kind::Rename));
            for sync in after.filter(|event| event.kind == Kind::Sync && event.ok) {
                folders.remove(sync.path.as_str());
            }
            if !folders.is_empty() {
                return Err(format!("not synced after a rename: {folders:?}\n{rename}"));
            }
        }
        Ok(renames)
    }

    fn is_whole_before(&self, rename: &Event) -> Result<(), String> {
        let there = |event: &&Event| {
            event.start < rename.start
                && is_kept(&event.path)
                && self.gone_at(event) > rename.start
                && (event.path == rename.path || lies_below(&event.path, &rename.path))
        };
        for write in self.all(Kind::Write).filter(there) {
            if self.durable_at(write).is_none_or(|at| at > rename.start) {
                return Err(format!("not synced when renamed:\n{write}\n{rename}"));
            }
        }
        for made in self.all(Kind::Create).filter(there) {
            let before = Window {
                start: made.end,
                end: rename.start,
            };
            if made.path != rename.path && !self.is_synced(folder(&made.path), before) {
                return Err(format!("a name not synced when renamed:\n{made}\n{rename}"));
            }
        }
        Ok(())
    }

    /// Every name on the way from `root` to `path` that was made by then is durable by then. How many
    /// were made.
    pub(super) fn names_are_durable(
        &self,
        path: &str,
        root: &str,
        by: u64,
    ) -> Result<usize, String> {
        let (mut name, mut made) = (path, 0);
        while lies_below(name, root) {
            let makers = self
                .events
                .iter()
                .filter(|event| event.start < by && event.makes(name) && self.gone_at(event) > by);
            for maker in makers {
                made += 1;
                let after = Window {
                    start: maker.end,
                    end: by,
                };
                if !self.is_synced(folder(name), after) {
                    return Err(format!("the name is not synced by {by}:\n{maker}"));
                }
            }
            name = folder(name);
        }
        Ok(made)
    }

    /// After the first sync or synced write of a file that failed, nothing is committed to it. How
    /// many failed.
    pub(super) fn nothing_follows_a_failure(&self, file: &str) -> Result<usize, String> {
        let failed: Vec<&Event> = self
            .events
            .iter()
            .filter(|event| event.path.ends_with(file) && !event.ok)
            .filter(|event| event.kind == Kind::Sync || event.synced)
            .collect();
        let Some(first) = failed.first() else {
            return Ok(0);
        };
        let later = self.all(Kind::Write).find(|write| {
            write.inode == first.inode && write.synced && write.ok && write.start > first.start
        });
        later.map_or(Ok(failed.len()), |later| {
            Err(format!("committed after a failure:\n{first}\n{later}"))
        })
    }
}

#[cfg(test)]
mod tests;
