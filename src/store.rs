//! The truth of a shard: one LMDB environment, in which every write is one transaction over ids,
//! vectors, payloads, payload indexes, the log and the position in it.
//!
//! Writes wait in a bounded queue; whoever finds it idle applies all that wait, in one transaction
//! with one sync, and answers them all ([`commit`]). An operation is checked before the transaction
//! changes anything, so one that is refused hurts no other. Reads take a [`Snapshot`]: a transaction
//! of LMDB and the row bitmaps that belong to exactly it.
//!
//! When a sync or the writing of LMDB's root page fails, what is on the disk is not known: nothing is
//! acknowledged, and the shard answers nothing any more until it is opened again. A full disk is no
//! such failure: writes are refused, and go on when there is room.
//!
//! An index is derived from this and kept elsewhere. How rows work is said in [`crate::rows`], how
//! the bytes lie in `docs/storage-format.md`.

mod apply;
mod commit;
mod environment;
mod error;
mod gate;
mod layout;
mod log;
mod payload_index;
mod places;
mod snapshot;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use roaring::RoaringBitmap;
use tokio::sync::Semaphore;
use uuid::Uuid;

use crate::clock::{Clock, Moment};
use crate::ids::{Epoch, Sequence, ShardId};
use crate::query::Operation;
use crate::vector::Distance;

use commit::Writer;
use environment::Environment;

pub use error::Error;
pub use payload_index::IndexKind;
pub use snapshot::{Page, Snapshot};

/// How long closing waits for the snapshots that are held.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

/// Writes that wait at the most.
const QUEUE_LEN_MAX: usize = 256;

/// What a shard is: written when it is made, compared when it is opened.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ShardIdentity {
    /// The cluster that it belongs to.
    pub cluster: Uuid,
    /// Which shard it is.
    pub shard: ShardId,
    /// Components of its vectors.
    pub dimensions: usize,
    /// How they are compared.
    pub distance: Distance,
}

/// What a shard may use.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of address space that an environment reserves at first. It costs no memory.
    pub map_bytes: usize,
    /// Bytes up to which it grows; beyond, writes are refused.
    pub map_bytes_max: usize,
    /// Where deadlines are read.
    pub clock: Arc<dyn Clock>,
}

/// A write that is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its place in the shard's log.
    pub sequence: Sequence,
    /// Points that it was about and that were there, or are now.
    pub points: u64,
}

/// How a shard is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Points in it.
    pub points: u64,
    /// The last write.
    pub sequence: Sequence,
    /// The highest epoch that wrote.
    pub epoch: Epoch,
    /// Bytes of its file.
    pub bytes: u64,
    /// Rows that are freed and not used again yet.
    pub freed: u64,
}

/// An open shard.
#[derive(Debug)]
pub struct Shard {
    environment: Arc<Environment>,
    writer: Arc<Writer>,
    queue: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl Shard {
    /// Makes an empty shard in a folder that is not there yet, durably, and opens it. `life` tells it
    /// from any other that may lie there before or after.
    ///
    /// # Errors
    /// [`Error::Exists`] among them; then nothing has changed.
    pub fn create(
        folder: &Path,
        identity: &ShardIdentity,
        life: Uuid,
        options: Options,
    ) -> Result<Self, Error> {
        environment::create(folder, identity, life, &options)?;
        Self::open(folder, identity, options)
    }

    /// Opens the shard of a folder. Costs the same for few and many points, but for two bits a point.
    ///
    /// # Errors
    /// [`Error::Missing`] when there is none, [`Error::Foreign`] when it is another.
    pub fn open(folder: &Path, identity: &ShardIdentity, options: Options) -> Result<Self, Error> {
        let clock = Arc::clone(&options.clock);
        let environment = Arc::new(Environment::open(folder, identity, options)?);
        let writer = Arc::new(Writer::new(Arc::clone(&environment)));
        let queue = Arc::new(Semaphore::new(QUEUE_LEN_MAX));
        Ok(Self {
            environment,
            writer,
            queue,
            clock,
        })
    }

    /// Applies one operation; when this answers, it is on the disk.
    ///
    /// # Errors
    /// [`Error::Busy`] when the queue stays full until the deadline, and nothing was done; past the
    /// deadline in the queue [`Error::Unknown`]; all others say that nothing was done.
    pub async fn write(
        &self,
        epoch: Epoch,
        operation: Operation,
        deadline: Moment,
    ) -> Result<Written, Error> {
        let left = deadline.since(self.clock.now());
        let place = tokio::time::timeout(left, Arc::clone(&self.queue).acquire_owned()).await;
        let place = place
            .map_err(|_elapsed| Error::Busy)?
            .map_err(|_closed| Error::Closed)?;
        let answer = self
            .writer
            .submit(commit::Work::Apply { epoch, operation }, place)?;
        let left = deadline.since(self.clock.now());
        match tokio::time::timeout(left, answer).await {
            Ok(answered) => answered.map_err(|_dropped| Error::Unknown)?,
            Err(_elapsed) => Err(Error::Unknown),
        }
    }

    /// Makes these the payload indexes: new ones are filled, others dropped, in steps between which
    /// writes go on. Repeating it after a crash goes on where it was.
    ///
    /// # Errors
    /// As for a write.
    pub async fn set_payload_indexes(
        &self,
        wanted: &BTreeMap<String, IndexKind>,
        deadline: Moment,
    ) -> Result<(), Error> {
        while self.environment.frame().fields.differ(wanted) {
            let left = deadline.since(self.clock.now());
            let place = tokio::time::timeout(left, Arc::clone(&self.queue).acquire_owned()).await;
            let place = place
                .map_err(|_elapsed| Error::Busy)?
                .map_err(|_closed| Error::Closed)?;
            let step = commit::Work::Indexes {
                wanted: wanted.clone(),
            };
            let answer = self.writer.submit(step, place)?;
            let left = deadline.since(self.clock.now());
            let answered = tokio::time::timeout(left, answer).await;
            answered
                .map_err(|_elapsed| Error::Unknown)?
                .map_err(|_dropped| Error::Unknown)??;
        }
        Ok(())
    }

    /// The payload indexes that there are, or that are being made.
    pub fn payload_indexes(&self) -> BTreeMap<String, IndexKind> {
        self.environment.frame().fields.kinds()
    }

    /// A view of the shard as the last durable write left it.
    ///
    /// # Errors
    /// When the shard has failed or is closed.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::take(&self.environment)
    }

    /// Lets freed rows be used again, but for those that an index covers; `None`: no row at all, for
    /// while an index is being built.
    pub fn reuse_rows(&self, covered: Option<&RoaringBitmap>) {
        self.environment.set_reuse(covered.cloned());
    }

    /// The rows of its points, as the last durable write left them.
    pub fn live(&self) -> Arc<RoaringBitmap> {
        self.environment.frame().live
    }

    /// Whether the shard must grow and waits for its readers: long ones should end.
    pub fn wants_room(&self) -> bool {
        self.environment.wants_room()
    }

    /// Tells this shard from any other that lay in its folder before: its rows mean its own vectors.
    pub fn life(&self) -> Uuid {
        self.environment.life
    }

    /// How the shard is.
    pub fn stats(&self) -> Stats {
        let frame = self.environment.frame();
        Stats {
            points: frame.live.len(),
            sequence: frame.sequence,
            epoch: frame.epoch,
            bytes: self.environment.bytes(),
            freed: frame.freed.len(),
        }
    }

    /// Why the shard has failed, if it has.
    pub fn failure(&self) -> Option<String> {
        self.environment.failure()
    }

    /// Lets the queued writes end, then frees the mapping and waits until it is gone. Whether it is:
    /// a snapshot that somebody still holds keeps it.
    pub fn close(self) -> bool {
        self.queue.close();
        self.writer.close();
        let gone = self.environment.closing();
        drop(self);
        gone.wait_timeout(CLOSE_TIMEOUT)
    }
}
