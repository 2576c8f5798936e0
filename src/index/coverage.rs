//! Which segment answers for which rows, and which rows none answers for.
//!
//! To find that out costs in proportion to all rows, which a search must not. So it is found out once for
//! the live rows of a commit, and every search of that commit is handed the same.

use std::sync::Arc;

use roaring::RoaringBitmap;

use super::Segment;

/// Who answers for which of some rows. It holds for these rows only; of others a search finds it out anew.
#[derive(Debug, Clone)]
pub struct Coverage {
    rows: Arc<RoaringBitmap>,
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
    /// Of these rows, by these segments; a row that two of them cover is the first one's.
    pub fn new(
        segments: impl IntoIterator<Item = Arc<dyn Segment>>,
        rows: Arc<RoaringBitmap>,
    ) -> Self {
        let mut rest = Arc::clone(&rows);
        let parts = segments
            .into_iter()
            .map(|segment| {
                let covered = segment.covered();
                let some = (!covered.is_subset(&rest)).then(|| covered & rest.as_ref());
                let part = Part { segment, some };
                if !part.rows().is_empty() {
                    rest = Arc::new(rest.as_ref() - part.rows());
                }
                part
            })
            .collect();
        Self { rows, parts, rest }
    }

    /// Of other rows, by the same segments.
    pub(super) fn of(&self, rows: RoaringBitmap) -> Self {
        let segments = self.parts.iter().map(|part| Arc::clone(&part.segment));
        Self::new(segments, Arc::new(rows))
    }

    /// Whether it is of these very rows: equal ones that lie elsewhere are not told.
    pub fn is_of(&self, rows: &RoaringBitmap) -> bool {
        std::ptr::eq(self.rows.as_ref(), rows)
    }

    /// All of its rows.
    pub(super) fn rows(&self) -> &RoaringBitmap {
        &self.rows
    }

    /// What each segment answers for.
    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The rows that no segment answers for.
    pub fn rest(&self) -> &RoaringBitmap {
        &self.rest
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::btree_set;
    use proptest::prelude::*;

    use super::super::{Ask, Error, Hit, Kind};
    use super::*;
    use crate::rows::Rows;

    /// One that covers rows and answers nothing.
    #[derive(Debug)]
    struct Covers(RoaringBitmap);

    impl Segment for Covers {
        fn kind(&self) -> Kind {
            Kind::Graph
        }
        fn sequence(&self) -> u64 {
            0
        }
        fn covered(&self) -> &RoaringBitmap {
            &self.0
        }
        fn cost(&self, _k: usize, _effort: Option<u32>) -> u64 {
            0
        }
        fn search(
            &self,
            _rows: &dyn Rows,
            _query: &[f32],
            _ask: &Ask<'_>,
        ) -> Result<(Vec<Hit>, u64), Error> {
            Ok((Vec::new(), 0))
        }
        fn bytes(&self) -> u64 {
            0
        }
        fn recall(&self) -> f32 {
            1.0
        }
    }

    proptest! {
        /// Each row is answered for once: by a segment that covers it, or by none where none does.
        #[test]
        fn each_row_is_answered_for_once(
            rows in btree_set(0u32..40, 0..40),
            covered in proptest::collection::vec(btree_set(0u32..40, 0..40), 0..4),
            others in btree_set(0u32..40, 0..40),
        ) {
            let of = |rows: &std::collections::BTreeSet<u32>| rows.iter().copied().collect::<RoaringBitmap>();
            let segments = covered.iter().map(|rows| Arc::new(Covers(of(rows))) as Arc<dyn Segment>);
            let segments: Vec<_> = segments.collect();
            let rows = Arc::new(of(&rows));
            let first = Coverage::new(segments, Arc::clone(&rows));
            prop_assert!(first.is_of(&rows) && !first.is_of(&rows.as_ref().clone()));
            let second = first.of(of(&others));
            for (coverage, rows) in [(first, rows.as_ref()), (second, &of(&others))] {
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
    }
}
