//! What the kernel says of this process, read when somebody asks.

use std::fmt;
use std::sync::Arc;

use fs_err as fs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::clock::{Clock, Moment};

/// Reads `/proc/self` at each rendering. What cannot be read is left out.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    role: &'static str,
    started: Moment,
    clock: Arc<dyn Clock>,
}

impl ProcessCollector {
    pub(super) fn new(role: &'static str, clock: Arc<dyn Clock>) -> Self {
        Self {
            role,
            started: clock.now(),
            clock,
        }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let info = [("role", self.role), ("version", env!("CARGO_PKG_VERSION"))];
        let help = "1, with the role and the version of this process";
        let mut family = encoder.encode_descriptor(
            "vectorsphere_process_info",
            help,
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(1_i64).encode(family.encode_family(&info)?)?;

        let help = "Memory in RAM: anonymous is its own, file and shared can be dropped or are \
                    counted elsewhere too";
        let name = "vectorsphere_process_resident";
        let resident = resident();
        let mut family =
            encoder.encode_descriptor(name, help, Some(&Unit::Bytes), MetricType::Gauge)?;
        for (kind, bytes) in resident {
            ConstGauge::new(bytes).encode(family.encode_family(&[("kind", kind)])?)?;
        }

        if let Some(files) = open_files() {
            let name = "vectorsphere_process_open_files";
            let metric = encoder.encode_descriptor(
                name,
                "File descriptors in use",
                None,
                MetricType::Gauge,
            )?;
            ConstGauge::new(files).encode(metric)?;
        }

        let uptime = self.clock.now().since(self.started).as_secs_f64();
        let name = "vectorsphere_process_uptime";
        let help = "Time since this process started";
        let metric =
            encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(uptime).encode(metric)
    }
}

/// Resident bytes by kind.
fn resident() -> Vec<(&'static str, i64)> {
    match fs::read_to_string("/proc/self/status") {
        Ok(status) => parse_resident(&status),
        Err(_) => Vec::new(),
    }
}

fn parse_resident(status: &str) -> Vec<(&'static str, i64)> {
    let kinds = [
        ("RssAnon:", "anonymous"),
        ("RssFile:", "file"),
        ("RssShmem:", "shared"),
    ];
    let find = |(field, kind): (&str, &'static str)| {
        let value = status.lines().find_map(|line| line.strip_prefix(field))?;
        let kibibytes: i64 = value.trim().strip_suffix("kB")?.trim().parse().ok()?;
        Some((kind, kibibytes.checked_mul(1024)?))
    };
    kinds.into_iter().filter_map(find).collect()
}

fn open_files() -> Option<i64> {
    // The folder itself is open while it is read.
    let entries = fs::read_dir("/proc/self/fd").ok()?.count();
    i64::try_from(entries.saturating_sub(1)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_by_kind() {
        let status = "Name:\tx\nRssAnon:\t    1064 kB\nRssFile:\t 2 kB\nRssShmem:\t nonsense\n";
        let kinds = parse_resident(status);
        assert_eq!(kinds, [("anonymous", 1064 * 1024), ("file", 2048)]);
        assert_eq!(resident().len(), 3);
        assert!(open_files().unwrap() > 2);
    }
}
