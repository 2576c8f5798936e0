//! That each row is found by its own vector.

use vectorsphere::index::{Ask, Hit, never};
use vectorsphere::rows::Rows;
use vectorsphere::vector::Distance;

use super::graph::{DISTANCES, built, clustered, try_build};
use super::memory::Flat;

/// Clusters that lie far apart, many copies of some vectors, and vectors of zeros.
fn awkward(distance: Distance) -> Flat {
    let mut vectors = clustered(1_500, 16, 1);
    for (at, component) in vectors.iter_mut().enumerate() {
        if (at / 16) % 3 == 0 {
            *component += 30.0;
        }
    }
    let copied = vectors[..16].to_vec();
    for _ in 0..300 {
        vectors.extend_from_slice(&copied);
    }
    let pair = vectors[16..48].to_vec();
    vectors.extend_from_slice(&pair);
    vectors.extend(std::iter::repeat_n(0.0, 16 * 200));
    Flat::new(vectors, 16, distance)
}

#[test]
fn each_row_is_found_by_its_own_vector_however_awkward_the_data() {
    // The largest product need not be a vector's own, so its floats would show nothing.
    let coded = DISTANCES.into_iter().map(|of| (of, None));
    let whole = DISTANCES.into_iter().filter(|of| *of != Distance::Dot);
    let all = coded.chain(whole.map(|of| (of, Some(32))));
    for (distance, bits) in all {
        let rows = awkward(distance);
        let (_folder, open) = built(&rows, bits);
        let all = Ask::nearest(600);
        for row in rows.live.iter() {
            let query = rows.vector(row).unwrap();
            // Where many are equal, any of them may come first; with room for all, all come.
            let (hits, _) = open.segment.search(&rows, query, &all).unwrap();
            let own = hits.iter().any(|hit| hit.row == row);
            let zero = query.iter().all(|component| *component == 0.0);
            assert!(
                own || distance == Distance::Dot || (zero && distance == Distance::Cosine),
                "{distance:?} {bits:?} {row}"
            );
            // At the usual effort itself or an equal one, since the build searches for each; but clusters so far
            // apart are farther than they are wide by errors of codes.
            if bits.is_none() {
                continue;
            }
            let (hits, _) = open
                .segment
                .search(&rows, query, &Ask::nearest(10))
                .unwrap();
            let equal = |hit: &Hit| rows.vector(hit.row) == Some(query);
            assert!(
                hits.iter().any(equal) || (zero && distance == Distance::Cosine),
                "{distance:?} {row} at the usual effort"
            );
        }
    }
}

#[test]
fn the_same_rows_are_linked_for_any_number_of_threads() {
    let rows = awkward(Distance::Euclid);
    let graphs = [1, 2].map(|threads| {
        let folder = tempfile::tempdir().unwrap();
        let open = try_build(folder.path(), &rows, (Some(32), threads), &never).unwrap();
        fs_err::read(folder.path().join(open.name()).join("graph")).unwrap()
    });
    assert!(graphs[0] == graphs[1]);
}
