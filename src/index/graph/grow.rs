//! The build, from the snapshot to the file.

use std::path::Path;

use rayon::prelude::*;
use roaring::RoaringBitmap;

use super::super::learn::EFFORTS;
use super::super::{Error, Job, Step};
use super::code::{Coder, Shape, Turned, Width};
use super::effort::{Effort, FEW};
use super::entries::{self, Entries};
use super::file::{Parts, write};
use super::find::Finder;
use super::inherit::{Inherited, measured_before};
use super::link::{Links, entry, insert, link};
use super::measure::{Found, held_out, measure, questions};
use super::numbers::wide;
use super::order::Order;
use super::points::{Points, Survey, portions, survey};
use super::repair::{Finished, repair};
use super::rotate::shuffle;
use super::view::View;
use super::{Graph, Grown, Layout, Parameters};
use crate::rows::Row;
use crate::vector::Distance;

/// The order in which points are linked follows from this alone.
const SEED: u64 = 0x5EED;

/// How much longer than the longest row before a new one may be without a whole build.
const LONGER: f32 = 1.2;

/// Builds the graph of the snapshot's rows into the folder.
pub(in super::super) fn grow(
    building: &Path,
    job: &Job<'_>,
    parameters: &Parameters,
) -> Result<Grown, Error> {
    let pool = job.threads().build().map_err(Error::Threads)?;
    pool.install(|| grow_inside(building, job, parameters))
}

fn grow_inside(building: &Path, job: &Job<'_>, parameters: &Parameters) -> Result<Grown, Error> {
    let survey = survey(job)?;
    let points = Points::read(job, &survey)?;
    let firsts = points.firsts();
    let rows: Vec<Row> = survey.covered.iter().collect();
    let all = All {
        survey: &survey,
        rows: &rows,
        points: &points,
        firsts: &firsts,
    };
    let linked = match onward(job, all, parameters)? {
        Some(linked) => linked,
        None => whole(job, all, parameters)?,
    };
    drop(points);
    let Survey { covered, coder, .. } = survey;
    let Measured {
        records,
        shape,
        found,
    } = linked.measured;
    let order = Order::new(job, &linked.graph)?;
    let mut entries = linked.entries;
    for node in &mut entries.nodes {
        *node = order.node(*node);
    }
    let parts = Parts {
        mean: &coder.mean,
        rows: &rows,
        graph: &linked.graph,
        records: &records,
        shape,
        order: &order,
        entries: entries.view(),
    };
    job.go_on()?;
    let (file, seal) = write(building, &parts)?;
    Ok(Grown {
        covered,
        recall: found.recall,
        layout: Layout {
            file,
            effort: found.effort,
            changed: linked.changed,
        },
        seal,
    })
}

/// What a build has of its rows.
#[derive(Debug, Clone, Copy)]
struct All<'a> {
    survey: &'a Survey,
    /// The row of each point.
    rows: &'a [Row],
    points: &'a Points,
    /// For each point that equals an earlier one, the first that it equals.
    firsts: &'a [u32],
}

/// The graph of all rows.
struct Linked {
    graph: Finished,
    entries: Entries,
    /// Rows that came or went since the last whole build.
    changed: u64,
    measured: Measured,
}

/// How the rows are coded, and what a search then finds.
struct Measured {
    records: Vec<u8>,
    shape: Shape,
    found: Found,
}

/// A build that starts from the graph before; `None` when a whole one is right.
fn onward(job: &Job<'_>, all: All<'_>, parameters: &Parameters) -> Result<Option<Linked>, Error> {
    let inherited = Inherited::of(job, (&all.survey.covered, all.points, all.firsts))?;
    let Some(Inherited {
        mut links,
        mut fresh,
        came,
        changed,
    }) = inherited
    else {
        return Ok(None);
    };
    let entry = entry(all.points, all.firsts, &fresh);
    let held = held_out(all.firsts, entry, Some(&came));
    // What was learnt of products is in proportion to the longest row.
    let coder = &all.survey.coder;
    let longer = |before: &Graph| {
        coder.distance == Distance::Dot && coder.longest > before.coder.longest * LONGER
    };
    let before = measured_before(job, parameters).filter(|_| held.is_empty());
    let before = before.filter(|before| !longer(before));
    if held.is_empty() && before.is_none() {
        return Ok(None);
    }
    fresh.retain(|point| held.binary_search(point).is_err());
    shuffle(&mut fresh, SEED);
    insert(job, all.points, (&mut links, entry), &fresh)?;
    let measured = before.map(|before| as_before(job, all, before));
    let measured = measured.transpose()?;
    let linked = end(job, all, (links, entry), (&held, measured, parameters))?;
    Ok(Some(Linked { changed, ..linked }))
}

/// A build that links every row.
fn whole(job: &Job<'_>, all: All<'_>, parameters: &Parameters) -> Result<Linked, Error> {
    let entry = entry(all.points, all.firsts, &[]);
    let held = held_out(all.firsts, entry, None);
    let links = link(job, all.points, (all.firsts, &held), (entry, SEED))?;
    end(job, all, (links, entry), (&held, None, parameters))
}

/// The end of both: measures by what is held out, if nothing was measured yet, and links that too. Then every
/// row is searched for.
fn end(
    job: &Job<'_>,
    all: All<'_>,
    (mut links, entry): (Links, u32),
    (held, measured, parameters): (&[u32], Option<Measured>, &Parameters),
) -> Result<Linked, Error> {
    let (points, firsts) = (all.points, all.firsts);
    let measured = match measured {
        Some(measured) => measured,
        None => {
            let graph = repair(job, points, firsts, (&links, entry), held)?;
            choose(job, all, (&graph.finish(held)?, held), parameters)?
        },
    };
    insert(job, points, (&mut links, entry), held)?;
    let mut graph = repair(job, points, firsts, (&links, entry), &[])?;
    drop(links);
    let entries = entries::choose(points, graph.links(), measured.shape);
    let entries = Entries::of(entries, &measured.records, measured.shape);
    let Survey { covered, coder, .. } = all.survey;
    let Effort { learnt, .. } = measured.found.effort;
    // As whoever opens the file will have it.
    let coder = Coder {
        longest: learnt.longest,
        typical: learnt.typical,
        ..coder.clone()
    };
    let finder = Finder {
        job,
        coder: &coder,
        covered,
        rows: all.rows,
        records: &measured.records,
        shape: measured.shape,
        entries: &entries,
        plan: measured
            .found
            .effort
            .plan(measured.shape.width, FEW, Some(EFFORTS[0])),
    };
    graph.let_be_found(firsts, &finder)?;
    Ok(Linked {
        graph: graph.finish(&[])?,
        entries,
        changed: 0,
        measured,
    })
}

/// Codes the rows as the graph before had them, whose measured effort holds for few new rows.
fn as_before(job: &Job<'_>, all: All<'_>, before: &Graph) -> Result<Measured, Error> {
    let Survey { covered, coder, .. } = all.survey;
    let shape = Shape::new(before.width, coder.mean.len());
    Ok(Measured {
        records: encode(job, (covered, coder), shape)?,
        shape,
        found: Found {
            effort: before.effort.clone(),
            recall: before.recall,
            cost: 0.0,
        },
    })
}

/// Codes the rows in the width that is asked for, or in the widest that finds enough and costs hardly more than the
/// cheapest that does.
fn choose(
    job: &Job<'_>,
    all: All<'_>,
    (graph, held): (&Finished, &[u32]),
    parameters: &Parameters,
) -> Result<Measured, Error> {
    let Survey { covered, coder, .. } = all.survey;
    job.report(Step::Measuring, 0, 1);
    let questions = questions(job, covered, held)?;
    let wanted = parameters.bits.and_then(Width::of);
    let widths: Vec<Width> = wanted.map_or_else(|| Width::CODES.to_vec(), |width| vec![width]);
    let (mut best, mut least): (Option<Measured>, f64) = (None, f64::INFINITY);
    for width in widths {
        let shape = Shape::new(width, coder.mean.len());
        let records = encode(job, (covered, coder), shape)?;
        let entries = entries::choose(all.points, &graph.links, shape);
        let entries = Entries::of(entries, &records, shape);
        let view = View {
            links: &graph.links,
            records: &records,
            rows: all.rows,
            sorted: None,
            shape,
            entry: graph.entry,
            entries: entries.view(),
            unchecked: None,
        };
        let found = measure(job, (&view, coder, covered), &questions, parameters.recall)?;
        let before = best.as_ref().map(|best| &best.found);
        if takes(&found, before, &mut least, parameters.recall) {
            best = Some(Measured {
                records,
                shape,
                found,
            });
        }
    }
    best.ok_or(Error::TooLarge)
}

/// By how much a wider code may be dearer for rows than the cheapest one. Queries lie farther from rows than rows do, so
/// that what is near them differs less, and a code's error misleads their walks more: where rows found as much by lists
/// of one length with two and four bits, queries needed a sixth less with four (measured).
const WIDER: f64 = 1.1;

/// Whether a wider code is to be taken instead of the best before: it finds what is wanted at not much more than the
/// least cost of those that do, which is kept, or more where the other does not.
fn takes(new: &Found, best: Option<&Found>, least: &mut f64, wanted: f32) -> bool {
    let enough = new.recall >= wanted;
    let taken = best.is_none_or(|best| match (enough, best.recall >= wanted) {
        (true, true) => new.cost < *least * WIDER,
        (false, false) => new.recall > best.recall,
        (enough, _) => enough,
    });
    if enough {
        *least = least.min(new.cost);
    }
    taken
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

#[cfg(test)]
mod tests {
    use super::super::effort::Learnt;
    use super::*;

    fn found((recall, cost): (f32, f64)) -> Found {
        let effort = Effort {
            few: 40,
            many: 100,
            learnt: Learnt::default(),
        };
        Found {
            effort,
            recall,
            cost,
        }
    }

    /// Which of these is taken, the narrowest first.
    fn taken(all: &[(f32, f64)]) -> usize {
        let (mut best, mut least) = (None, f64::INFINITY);
        for (number, one) in all.iter().enumerate() {
            let before = best.map(|best: usize| found(all[best]));
            if takes(&found(*one), before.as_ref(), &mut least, 0.95) {
                best = Some(number);
            }
        }
        best.unwrap()
    }

    #[test]
    fn the_widest_code_is_taken_that_costs_hardly_more_than_the_cheapest() {
        assert_eq!(taken(&[(0.98, 100.0), (0.98, 109.0), (0.99, 150.0)]), 1);
        assert_eq!(taken(&[(0.98, 100.0), (0.99, 111.0)]), 0);
        // A tenth of the cheapest, not of the last.
        assert_eq!(taken(&[(0.98, 100.0), (0.98, 109.0), (0.98, 119.0)]), 1);
        assert_eq!(taken(&[(0.98, 100.0), (0.98, 130.0), (0.98, 90.0)]), 2);
        // What does not find enough is taken for want of better only.
        assert_eq!(taken(&[(0.90, 10.0), (0.96, 500.0), (0.94, 1.0)]), 1);
        assert_eq!(taken(&[(0.90, 10.0), (0.93, 500.0), (0.92, 1.0)]), 1);
    }
}
