//! Running the library: rows into a scratch database, trees out of it.
//!
//! The scratch database lies in the build's temporary folder and is removed with it; nothing of it
//! needs to be durable, so it never syncs. Rows are committed in portions and trees are grown a few
//! at a time in transactions that are read and then aborted, so that the pages LMDB keeps in memory
//! stay few whatever the number of trees.

use std::num::NonZero;
use std::ops::ControlFlow;
use std::path::Path;

use arroy::distances::Cosine;
use arroy::{Database, Writer};
use heed::types::Bytes;
use heed::{CommitOrAbort, Env, RwTxn, WithoutTls};
use rand::SeedableRng;
use rand::rngs::StdRng;
use roaring::RoaringBitmap;

use super::super::folder::{SealedFile, remove_if_there};
use super::super::mapped::scratch_environment;
use super::super::{Error, Job, Step};
use super::Parameters;
use super::forest::Tree;
use super::freeze::Library;
use super::lift::Fitted;

/// Bytes of vectors that one transaction holds.
const PORTION_BYTES: usize = 16 * 1024 * 1024;

/// Trees that are grown at a time, if no more threads than that may run.
const TREES_AT_ONCE: usize = 4;

/// Bytes of a thread's stack: the library recurses once a level of a tree.
const STACK_BYTES: usize = 8 * 1024 * 1024;

/// The build's only randomness, fixed: the same rows give the same trees.
const SEED: u64 = 0x5EED;

/// Grows the trees of all live rows and writes them to the file. Answers the rows that have a
/// vector, and the trees.
pub(super) fn grow(
    building: &Path,
    job: &Job<'_>,
    parameters: &Parameters,
    lift: &Fitted,
    file: &mut SealedFile,
) -> Result<(RoaringBitmap, Vec<Tree>), Error> {
    let pool = job.threads().stack_size(STACK_BYTES).build();
    let pool = pool.map_err(Error::Threads)?;
    let scratch = building.join("scratch");
    fs_err::create_dir_all(&scratch)?;
    // The library spreads over the pool that its caller runs in.
    let grown = pool.install(|| {
        let env = scratch_environment(&scratch, map_bytes(job, lift))?;
        let work = Work {
            job,
            parameters,
            lift,
            scratch: &scratch,
        };
        let grown = work.run(&env, file);
        env.prepare_for_closing().wait();
        grown
    })?;
    remove_if_there(&scratch)?;
    Ok(grown)
}

struct Work<'a> {
    job: &'a Job<'a>,
    parameters: &'a Parameters,
    lift: &'a Fitted,
    scratch: &'a Path,
}

impl Work<'_> {
    fn run(
        &self,
        env: &Env<WithoutTls>,
        file: &mut SealedFile,
    ) -> Result<(RoaringBitmap, Vec<Tree>), Error> {
        let created = env.create_databases_and_commit(env.write_txn()?, |opener, txn| {
            opener
                .create_database(txn, None)
                .map(CommitOrAbort::<_, ()>::Commit)
        })?;
        let database: Database<'static, Cosine> = created.unwrap_commit();
        let mut writer = Writer::new(database, 0, self.lift.lifted_dimensions());
        writer.set_tmpdir(self.scratch);
        let covered = self.fill(env, &writer)?;
        let mut trees = Vec::new();
        let wanted = usize::from(self.parameters.trees);
        while trees.len() < wanted && !covered.is_empty() {
            self.job
                .report(Step::Growing, count(trees.len()), count(wanted));
            let at_once = TREES_AT_ONCE.max(self.job.threads);
            let portion = at_once.min(wanted - trees.len());
            let mut txn = env.write_txn()?;
            self.grow_some(&writer, &mut txn, portion, count(trees.len()))?;
            let library = Library {
                database: database.remap_types::<Bytes, Bytes>(),
                txn: &txn,
                dimensions: self.lift.lifted_dimensions(),
            };
            for root in library.roots()? {
                self.job.go_on()?;
                trees.push(library.freeze(root, &covered, file)?);
            }
            txn.abort();
        }
        self.job.report(Step::Growing, count(wanted), count(wanted));
        Ok((covered, trees))
    }

    /// Lets the library grow some trees in a transaction.
    fn grow_some(
        &self,
        writer: &Writer<Cosine>,
        txn: &mut RwTxn<'_>,
        trees: usize,
        before: u64,
    ) -> Result<(), Error> {
        let mut random = StdRng::seed_from_u64(SEED.wrapping_add(before));
        let stop = self.job.stop;
        Ok(writer
            .builder(&mut random)
            .n_trees(trees)
            .split_after(usize::from(self.parameters.leaf_rows))
            .cancel(stop)
            .build(txn)?)
    }

    /// Puts the lifted vectors of all live rows into the scratch database.
    fn fill(&self, env: &Env<WithoutTls>, writer: &Writer<Cosine>) -> Result<RoaringBitmap, Error> {
        let rows = self.job.rows;
        let (live, mut covered) = (rows.live(), RoaringBitmap::new());
        let vector_bytes = 4 * self.lift.lifted_dimensions();
        let portion = (PORTION_BYTES / vector_bytes.max(1)).max(1);
        let mut from = 0;
        loop {
            self.job.go_on()?;
            self.job.report(Step::Reading, covered.len(), live.len());
            let rest: RoaringBitmap = live.range(from..).take(portion).collect();
            let Some(last) = rest.max() else { break };
            let mut txn = env.write_txn()?;
            let (mut lifted, mut failed) = (Vec::new(), None);
            rows.visit(&rest, &mut |row, vector| {
                self.lift.row(vector, &mut lifted);
                match writer.append_item(&mut txn, row, &lifted) {
                    Ok(()) => {
                        covered.insert(row);
                        ControlFlow::Continue(())
                    },
                    Err(error) => {
                        failed = Some(error);
                        ControlFlow::Break(())
                    },
                }
            });
            if let Some(error) = failed {
                return Err(error.into());
            }
            txn.commit()?;
            let Some(next) = last.checked_add(1) else {
                break;
            };
            from = next;
        }
        Ok(covered)
    }
}

/// The most that the scratch database can come to: address space, not memory. Each vector takes
/// whole pages when it is large, and the trees' nodes and what LMDB has not reclaimed yet come on
/// top; with room to spare.
fn map_bytes(job: &Job<'_>, lift: &Fitted) -> usize {
    let page = rustix::param::page_size();
    let vector = (4 * lift.lifted_dimensions() + 256).next_multiple_of(page);
    let rows = usize::try_from(job.rows.live().len()).unwrap_or(usize::MAX);
    let rows = rows.saturating_add(1_000);
    let bytes = vector.saturating_mul(4).saturating_mul(rows);
    // LMDB wants whole pages, and no more than half of the address space.
    let most = usize::MAX / 4;
    NonZero::new(page).map_or(most, |page| bytes.min(most) / page * page.get())
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
