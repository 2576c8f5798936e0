//! Which segment answers for which rows, and which rows none answers for.
//!
//! To find that out costs in proportion to all rows, which a search must not. So it is found out once for
//! the live rows of a commit, when it is needed first, and every search of that commit is handed the same.

use std::sync::{Arc, OnceLock};

use roaring::RoaringBitmap;

use super::Segment;

/// Who answers for which of some rows. It holds for these rows only; of others a search finds it out anew.
#[derive(Debug, Clone)]
pub struct Coverage {
    segments: Vec<Arc<dyn Segment>>,
    rows: Arc<RoaringBitmap>,
    found: OnceLock<Found>,
}

/// What was found out.
#[derive(Debug, Clone)]
struct Found {
    parts: Vec<Part>,
    rest: Arc<RoaringBitmap>,
}

/// What a segment answers for.
#[derive(Debug, Clone)]
pub(super) struct Part {
    pub(super) segment: Arc<dyn Segment>,
    /// The rows; `None`: all that it covers.
    some: Option<RoaringBitmap>,
}

impl Part {
    /// The rows.
    pub(super) fn rows(&self) -> &RoaringBitmap {
        self.some.as_ref().unwrap_or_else(|| self.segment.covered())
    }

    /// The rows, where they are not all that it covers.
    pub(super) fn some(&self) -> Option<&RoaringBitmap> {
        self.some.as_ref()
    }
}

impl Coverage {
    /// Of these rows, by these segments; a row that two of them cover is the first one's. Nothing is found out
    /// yet.
    pub fn new(segments: Vec<Arc<dyn Segment>>, rows: Arc<RoaringBitmap>) -> Self {
        Self {
            segments,
            rows,
            found: OnceLock::new(),
        }
    }

    /// Of other rows, by the same segments.
    pub(super) fn of(&self, rows: Arc<RoaringBitmap>) -> Self {
        Self::new(self.segments.clone(), rows)
    }

    /// Whether it is of these very rows: equal ones that lie elsewhere are not told.
    pub fn is_of(&self, rows: &RoaringBitmap) -> bool {
        std::ptr::eq(self.rows.as_ref(), rows)
    }

    /// What each segment answers for.
    pub(super) fn parts(&self) -> &[Part] {
        &self.found().parts
    }

    /// The rows that no segment answers for.
    pub fn rest(&self) -> &RoaringBitmap {
        &self.found().rest
    }

    fn found(&self) -> &Found {
        self.found.get_or_init(|| {
            let mut rest = Arc::clone(&self.rows);
            let part = |segment: &Arc<dyn Segment>| {
                let covered = segment.covered();
                let some = (!covered.is_subset(&rest)).then(|| covered & rest.as_ref());
                let segment = Arc::clone(segment);
                let part = Part { segment, some };
                // The usual cases cost nothing: it covers all that is left, or none of it.
                rest = match part.rows().len() {
                    0 => Arc::clone(&rest),
                    all if all == rest.len() => Arc::default(),
                    _ => Arc::new(rest.as_ref() - part.rows()),
                };
                part
            };
            let parts = self.segments.iter().map(part).collect();
            Found { parts, rest }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ops::ControlFlow;

    use proptest::collection::{btree_set, vec};
    use proptest::prelude::*;

    use super::super::{Ask, Error, Hit, Kind, search};
    use super::*;
    use crate::rows::{Row, Rows};
    use crate::vector::Distance;

    /// What a segment does when it is asked.
    #[derive(Debug, Clone, Copy)]
    enum Does {
        Answers,
        Fails,
        Panics,
        /// To ask it would cost more than to scan.
        Costs,
    }

    /// One that covers rows.
    #[derive(Debug)]
    struct Covers(RoaringBitmap, Does);

    impl Segment for Covers {
        fn kind(&self) -> Kind {
            Kind::Graph
        }
        fn sequence(&self) -> u64 {
            7
        }
        fn covered(&self) -> &RoaringBitmap {
            &self.0
        }
        fn cost(&self, _k: usize, _effort: Option<u32>) -> u64 {
            if matches!(self.1, Does::Costs) {
                u64::MAX
            } else {
                0
            }
        }
        fn search(
            &self,
            _rows: &dyn Rows,
            _query: &[f32],
            ask: &Ask<'_>,
        ) -> Result<(Vec<Hit>, u64), Error> {
            match self.1 {
                Does::Answers => {},
                Does::Fails => return Err(Error::corrupt("nothing")),
                Does::Panics => panic!("on purpose"),
                Does::Costs => unreachable!("it is not worth it"),
            }
            let mine = ask.allowed.unwrap_or(&self.0);
            assert!(mine.is_subset(&self.0), "it does not cover them");
            let hits = mine.iter().map(hit).collect();
            Ok((hits, mine.len()))
        }
        fn bytes(&self) -> u64 {
            0
        }
        fn recall(&self) -> f32 {
            1.0
        }
    }

    /// Rows of one component, which is their number.
    struct Line(Arc<RoaringBitmap>, Vec<[f32; 1]>);

    fn line(live: RoaringBitmap) -> Line {
        let numbers = 0..u16::try_from(ROWS).unwrap();
        Line(
            Arc::new(live),
            numbers.map(|row| [f32::from(row)]).collect(),
        )
    }

    /// A row as it is answered to a query at zero.
    fn hit(row: Row) -> Hit {
        let score = f32::from(u16::try_from(row).unwrap());
        Hit { row, score }
    }

    impl Rows for Line {
        fn dimensions(&self) -> usize {
            1
        }
        fn distance(&self) -> Distance {
            Distance::Euclid
        }
        fn live(&self) -> &RoaringBitmap {
            &self.0
        }
        fn vector(&self, row: Row) -> Option<&[f32]> {
            let row = usize::try_from(row).unwrap();
            self.1.get(row).map(<[f32; 1]>::as_slice)
        }
        fn visit(
            &self,
            rows: &RoaringBitmap,
            visit: &mut dyn FnMut(Row, &[f32]) -> ControlFlow<()>,
        ) {
            for row in rows {
                if visit(row, self.vector(row).unwrap()).is_break() {
                    return;
                }
            }
        }
    }

    const ROWS: u32 = 40;

    fn some_rows() -> impl Strategy<Value = RoaringBitmap> {
        btree_set(0..ROWS, 0..40).prop_map(|rows: BTreeSet<u32>| rows.into_iter().collect())
    }

    fn some_segments() -> impl Strategy<Value = Vec<Arc<dyn Segment>>> {
        let does = prop_oneof![
            Just(Does::Answers),
            Just(Does::Fails),
            Just(Does::Panics),
            Just(Does::Costs),
        ];
        let one = (some_rows(), does);
        let one = one.prop_map(|(rows, does)| Arc::new(Covers(rows, does)) as Arc<dyn Segment>);
        vec(one, 0..4)
    }

    proptest! {
        /// Each row is answered for once: by a segment that covers it, or by none where none does.
        #[test]
        fn each_row_is_answered_for_once(
            rows in some_rows(),
            segments in some_segments(),
            others in some_rows(),
        ) {
            let rows = Arc::new(rows);
            let first = Coverage::new(segments, Arc::clone(&rows));
            prop_assert!(first.is_of(&rows) && !first.is_of(&rows.as_ref().clone()));
            let second = first.of(Arc::new(others.clone()));
            for (coverage, rows) in [(first, rows.as_ref()), (second, &others)] {
                let mut left = rows.clone();
                for part in coverage.parts() {
                    let (mine, covered) = (part.rows(), part.segment.covered());
                    prop_assert!(mine.is_subset(&left) && mine.is_subset(covered));
                    prop_assert_eq!(part.some().is_none(), covered.is_subset(&left));
                    left -= mine;
                    prop_assert!(left.is_disjoint(covered));
                }
                prop_assert_eq!(coverage.rest(), &left);
            }
        }

        /// Whatever segments cover and do, what is live and allowed is answered, each row once.
        #[test]
        fn every_row_is_answered_whatever_segments_do(
            live in some_rows(),
            segments in some_segments(),
            allowed in proptest::option::of(some_rows()),
            exact in any::<bool>(),
            k in 0usize..50,
            of_others in any::<bool>(),
        ) {
            let rows = line(live);
            // One of other rows that are as many is no excuse.
            let covered = if of_others { Arc::default() } else { Arc::clone(&rows.0) };
            let coverage = Coverage::new(segments, covered);
            let ask = Ask { exact, allowed: allowed.as_ref(), ..Ask::nearest(k) };
            let answer = search(&coverage, &rows, &[0.0], &ask).unwrap();
            let wanted = allowed.as_ref().map_or_else(|| rows.live().clone(), |of| rows.live() & of);
            let expected: Vec<Row> = wanted.iter().take(k).collect();
            let found: Vec<Row> = answer.hits.iter().map(|hit| hit.row).collect();
            prop_assert_eq!(found, expected);
            if exact || k == 0 {
                prop_assert!(answer.failed.is_empty());
            } else {
                let asked = coverage.of(Arc::new(wanted));
                let fails = |part: &&Part| {
                    let debug = format!("{:?}", part.segment);
                    !part.rows().is_empty() && (debug.contains("Fails") || debug.contains("Panics"))
                };
                prop_assert_eq!(answer.failed.len(), asked.parts().iter().filter(fails).count());
            }
        }
    }
}
