//! The numbers of the workers that ever served and were not let go: what a cluster must not forget when
//! nothing else of a worker is left. Pure.
//!
//! They stand in the status as a short text, `0-4,7`.

use std::collections::BTreeSet;

use crate::crd::v1alpha1::VectorClusterStatus;

/// Numbers of one range that are read: more than a cluster has workers.
const RANGE_MAX: u32 = 4_096;

/// The numbers that a status tells.
pub(super) fn joined(status: Option<&VectorClusterStatus>) -> BTreeSet<u32> {
    let Some(status) = status else {
        return BTreeSet::new();
    };
    if let Some(text) = &status.worker_ordinals {
        return read(text);
    }
    // An operator that wrote none listed the workers.
    let workers = status.workers.iter();
    workers
        .filter(|worker| matches!(&*worker.state, "Serving" | "Away" | "Missing" | "Draining"))
        .filter_map(|worker| u32::try_from(worker.ordinal).ok())
        .collect()
}

/// What is no number is passed over.
fn read(text: &str) -> BTreeSet<u32> {
    let mut all = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.trim().parse::<u32>(), last.trim().parse::<u32>())
        else {
            continue;
        };
        all.extend((first..=last).take(usize::try_from(RANGE_MAX).unwrap_or(0)));
    }
    all
}

/// The text of the numbers.
pub(super) fn write(all: &BTreeSet<u32>) -> String {
    let mut ranges: Vec<(u32, u32)> = Vec::new();
    for number in all {
        match ranges.last_mut() {
            Some((_, last)) if last.checked_add(1) == Some(*number) => *last = *number,
            Some(_) | None => ranges.push((*number, *number)),
        }
    }
    let text = |(first, last): (u32, u32)| {
        if first == last {
            first.to_string()
        } else {
            format!("{first}-{last}")
        }
    };
    let texts: Vec<String> = ranges.into_iter().map(text).collect();
    texts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        for (numbers, text) in [
            (vec![], ""),
            (vec![0], "0"),
            (vec![0, 1, 2, 3, 4, 7], "0-4,7"),
            (vec![3, 5, 6, 9], "3,5-6,9"),
            (vec![u32::MAX - 1, u32::MAX], "4294967294-4294967295"),
        ] {
            let set: BTreeSet<u32> = numbers.into_iter().collect();
            assert_eq!(write(&set), text);
            assert_eq!(read(text), set);
        }
        assert_eq!(read("x,1,2-,-3, 4 "), BTreeSet::from([1, 4]));
        assert_eq!(read("0-4294967295").len(), 4_096);
    }
}
