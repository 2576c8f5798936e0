//! When pods may be replaced that serve: `spec.updates.windows`. Pure.
//!
//! A window opens at each time of its schedule, in its time zone, and stays open so many minutes. The
//! time zones are those of the IANA database that is built into the program.

use cronexpr::{Crontab, MakeTimestamp};
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use crate::crd::v1alpha1::MaintenanceWindow;

/// What is wrong with the windows, a sentence each.
pub(super) fn faults(windows: &[MaintenanceWindow]) -> Vec<String> {
    let faulty = |(at, window): (usize, &MaintenanceWindow)| {
        let error = schedule(window).err()?;
        Some(format!("spec.updates.windows[{at}]: {error}"))
    };
    windows.iter().enumerate().filter_map(faulty).collect()
}

/// Why nothing may be replaced now; none inside a window, or when there is none at all.
pub(super) fn closed(windows: &[MaintenanceWindow], now: Timestamp) -> Option<String> {
    if windows.is_empty() || windows.iter().any(|window| is_open(window, now)) {
        return None;
    }
    let next = windows.iter().filter_map(|window| next_after(window, now));
    Some(match next.min() {
        Some(next) => format!("the next window of spec.updates.windows opens at {next}"),
        None => "no window of spec.updates.windows ever opens".to_owned(),
    })
}

fn is_open(window: &MaintenanceWindow, now: Timestamp) -> bool {
    let minutes = i64::from(window.duration_minutes);
    let Ok(before) = now.checked_sub(SignedDuration::from_mins(minutes)) else {
        return false;
    };
    next_after(window, before).is_some_and(|opened| opened <= now)
}

/// When the window opens after this moment.
fn next_after(window: &MaintenanceWindow, moment: Timestamp) -> Option<Timestamp> {
    let found = schedule(window).ok()?.find_next(MakeTimestamp(moment));
    Some(found.ok()?.timestamp())
}

fn schedule(window: &MaintenanceWindow) -> Result<Crontab, String> {
    let text = format!("{} {}", window.schedule.trim(), window.time_zone.trim());
    // The parser's own words are a drawing of many lines.
    cronexpr::parse_crontab(&text).map_err(|_drawing| {
        format!(
            "{text:?} is no cron expression of five fields with a time zone of the IANA database"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(schedule: &str, minutes: i32, zone: &str) -> MaintenanceWindow {
        MaintenanceWindow {
            schedule: schedule.to_owned(),
            duration_minutes: minutes,
            time_zone: zone.to_owned(),
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn a_window_is_open_from_its_start_for_its_length_in_its_zone() {
        // Saturdays at two, two hours; in Berlin that is midnight in summer and one o'clock in winter.
        let nights = [window("0 2 * * 6", 120, "Europe/Berlin")];
        let told = |text| closed(&nights, at(text));
        assert_eq!(told("2026-07-04T00:00:00Z"), None);
        assert_eq!(told("2026-07-04T01:59:59Z"), None);
        assert_eq!(told("2026-01-03T01:00:00Z"), None);
        let next = |text: &str| {
            Some(format!(
                "the next window of spec.updates.windows opens at {text}"
            ))
        };
        assert_eq!(told("2026-07-04T02:00:00Z"), next("2026-07-11T00:00:00Z"));
        assert_eq!(told("2026-01-03T00:59:59Z"), next("2026-01-03T01:00:00Z"));
    }

    #[test]
    fn without_windows_it_is_always_time_and_of_several_one_is_enough() {
        let noon = at("2026-07-01T12:00:00Z");
        assert_eq!(closed(&[], noon), None);
        let all = [
            window("0 3 * * *", 10, "UTC"),
            window("30 11 * * *", 60, "UTC"),
        ];
        assert_eq!(closed(&all, noon), None);
        let never = [window("0 0 30 2 *", 10, "UTC")];
        assert!(closed(&never, noon).is_some());
    }

    #[test]
    fn what_is_no_schedule_is_named_by_its_place() {
        let all = [
            window("0 2 * * 6", 60, "Etc/UTC"),
            window("0 2 * *", 60, "UTC"),
            window("0 2 * * 6", 60, "Nowhere/Town"),
        ];
        let found = faults(&all);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found.iter().all(|fault| !fault.contains('\n')), "{found:?}");
        assert!(
            found[0].starts_with("spec.updates.windows[1]: \"0 2 * * UTC\""),
            "{found:?}"
        );
        assert!(found[1].contains("Nowhere/Town"), "{found:?}");
    }
}
