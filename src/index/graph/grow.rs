//! The build, from the snapshot to the file.

use std::path::Path;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::{Error, Job, Step};
use super::code::{Coder, Shape, Turned, Width};
use super::file::{Parts, write};
use super::link::link;
use super::measure::{Found, measure, questions};
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
    let graph = linked(job, &survey)?;
    let Survey { covered, coder, .. } = survey;
    let rows: Vec<Row> = covered.iter().collect();
    job.report(Step::Measuring, 0, 1);
    let questions = questions(job, &covered)?;
    let wanted = parameters.bits.and_then(Width::of);
    let widths: Vec<Width> = wanted.map_or_else(|| Width::ALL.to_vec(), |width| vec![width]);
    let mut best: Option<(Vec<u8>, Shape, Found)> = None;
    for width in widths {
        let shape = Shape::new(width, coder.mean.len());
        let records = encode(job, (&covered, &coder), shape)?;
        let view = View {
            links: &graph.links,
            records: &records,
            rows: &rows,
            shape,
            entry: graph.entry,
            unchecked: None,
        };
        let found = measure(job, (&view, &coder, &covered), &questions, parameters.recall)?;
        if best.as_ref().is_none_or(|(_, _, best)| better(&found, best, parameters.recall)) {
            best = Some((records, shape, found));
        }
    }
    let (records, shape, found) = best.ok_or(Error::TooLarge)?;
    let parts = Parts {
        mean: &coder.mean,
        rows: &rows,
        links: &graph.links,
        records: &records,
        shape,
        entry: graph.entry,
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

/// Whether a width is to be taken instead of another: it finds what is wanted at less cost, or more
/// where the other does not.
fn better(new: &Found, old: &Found, wanted: f32) -> bool {
    match (new.recall >= wanted, old.recall >= wanted) {
        (true, true) => new.cost < old.cost,
        (false, false) => new.recall > old.recall,
        (new, _) => new,
    }
}

/// Reads the rows and links them. What only this needs is gone afterwards.
fn linked(job: &Job<'_>, survey: &Survey) -> Result<Finished, Error> {
    let points = Points::read(job, survey)?;
    let firsts = points.firsts();
    let grown = link(job, &points, &firsts, SEED)?;
    finish(job, &points, &firsts, grown)
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
