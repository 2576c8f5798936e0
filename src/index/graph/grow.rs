//! The build, from the snapshot to the file.

use std::path::Path;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::{Error, Job, Step};
use super::code::{Coder, Shape, Turned, Width};
use super::file::{Parts, write};
use super::link::{entry, insert, link};
use super::measure::{Found, held_out, measure, questions};
use super::numbers::wide;
use super::points::{Points, Survey, portions, survey};
use super::repair::{Finished, finish};
use super::view::View;
use super::{Grown, Layout, Parameters};
use crate::rows::Row;

/// The order in which points are linked follows from this alone.
const SEED: u64 = 0x5EED;

/// Builds the graph of the snapshot's rows into the folder.
pub(in super::super) fn grow(
    building: &Path,
    job: &Job<'_>,
    parameters: &Parameters,
) -> Result<Grown, Error> {
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(job.threads.max(1))
        .thread_name(|number| format!("index-build-{number}"))
        .build()
        .map_err(Error::Threads)?;
    pool.install(|| grow_inside(building, job, parameters))
}

fn grow_inside(building: &Path, job: &Job<'_>, parameters: &Parameters) -> Result<Grown, Error> {
    let survey = survey(job)?;
    let points = Points::read(job, &survey)?;
    let firsts = points.firsts();
    let entry = entry(&points, &firsts);
    let held = held_out(&firsts, entry);
    let mut links = link(job, &points, (&firsts, &held), (entry, SEED))?;
    let graph = finish(job, &points, &firsts, (&links, entry), &held)?;
    let Survey { covered, coder, .. } = survey;
    let (records, shape, found) = choose(job, (&covered, &coder), (&graph, &held), parameters)?;
    drop(graph);
    insert(job, &points, (&mut links, entry), &held)?;
    let graph = finish(job, &points, &firsts, (&links, entry), &[])?;
    let rows: Vec<Row> = covered.iter().collect();
    let parts = Parts {
        mean: &coder.mean,
        rows: &rows,
        links: &graph.links,
        records: &records,
        shape,
        entry,
    };
    job.go_on()?;
    let (file, seal) = write(building, &parts)?;
    Ok(Grown {
        covered,
        recall: found.recall,
        layout: Layout {
            file,
            effort: found.effort,
        },
        seal,
    })
}

/// Codes the rows in the width that is asked for, or in the one that costs least of those that find
/// enough.
fn choose(
    job: &Job<'_>,
    (covered, coder): (&RoaringBitmap, &Coder),
    (graph, held): (&Finished, &[u32]),
    parameters: &Parameters,
) -> Result<(Vec<u8>, Shape, Found), Error> {
    job.report(Step::Measuring, 0, 1);
    let rows: Vec<Row> = covered.iter().collect();
    let questions = questions(job, covered, held)?;
    let wanted = parameters.bits.and_then(Width::of);
    let widths: Vec<Width> = wanted.map_or_else(|| Width::ALL.to_vec(), |width| vec![width]);
    let mut best: Option<(Vec<u8>, Shape, Found)> = None;
    for width in widths {
        let shape = Shape::new(width, coder.mean.len());
        let records = encode(job, (covered, coder), shape)?;
        let view = View {
            links: &graph.links,
            records: &records,
            rows: &rows,
            shape,
            entry: graph.entry,
            unchecked: None,
        };
        let found = measure(job, (&view, coder, covered), &questions, parameters.recall)?;
        if best
            .as_ref()
            .is_none_or(|(_, _, best)| better(&found, best, parameters.recall))
        {
            best = Some((records, shape, found));
        }
    }
    best.ok_or(Error::TooLarge)
}

/// Whether a width is to be taken instead of another: it finds what is wanted at less cost, or more
/// where the other does not.
fn better(new: &Found, old: &Found, wanted: f32) -> bool {
    match (new.recall >= wanted, old.recall >= wanted) {
        (true, true) => new.cost < old.cost,
        (false, false) => new.recall > old.recall,
        (new, _) => new,
    }
}

/// The records of all rows.
fn encode(
    job: &Job<'_>,
    (covered, coder): (&RoaringBitmap, &Coder),
    shape: Shape,
) -> Result<Vec<u8>, Error> {
    let count = usize::try_from(covered.len()).map_err(|_large| Error::TooLarge)?;
    let bytes = count.checked_mul(shape.stride).ok_or(Error::TooLarge)?;
    let mut records = vec![0u8; bytes];
    let dimensions = job.rows.dimensions().max(1);
    portions(job, covered, &mut |first, vectors| {
        let places = records.chunks_exact_mut(shape.stride).skip(first);
        let places: Vec<_> = places.zip(vectors.chunks_exact(dimensions)).collect();
        places
            .into_par_iter()
            .for_each_init(Turned::default, |turned, (record, vector)| {
                coder.encode(vector, shape, turned, record);
            });
        job.report(Step::Measuring, wide(first), covered.len());
        Ok(())
    })?;
    Ok(records)
}
