//! Texts into values, and every fault on the way.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use super::{Error, SettingFault};

/// Characters of a name: a label of DNS, since it is a pod's or a service's name elsewhere.
const LABEL_CHARS_MAX: usize = 63;

/// The faults found so far.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<SettingFault>);

impl Faults {
    pub(super) fn add(&mut self, setting: &str, problem: impl Into<String>) {
        self.0.push(SettingFault {
            setting: setting.to_owned(),
            problem: problem.into(),
        });
    }

    /// The value, or its fault is kept.
    pub(super) fn keep<T>(&mut self, setting: &str, checked: Result<T, String>) -> Option<T> {
        checked.map_err(|problem| self.add(setting, problem)).ok()
    }

    /// The settings, if nothing was wrong.
    pub(super) fn end<T>(self, settings: Option<T>) -> Result<T, Error> {
        match settings {
            Some(settings) if self.0.is_empty() => Ok(settings),
            _ => Err(Error { faults: self.0 }),
        }
    }
}

/// A text that was given: an empty one was not.
pub(super) fn given(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

pub(super) fn required(text: Option<String>) -> Result<String, String> {
    given(text).ok_or_else(|| "is needed".to_owned())
}

pub(super) fn path(text: Option<String>) -> Option<PathBuf> {
    given(text).map(PathBuf::from)
}

/// A name of a process, a cluster or a namespace.
pub(super) fn label(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let ends = |c: Option<char>| c.is_some_and(plain);
    let good = text.len() <= LABEL_CHARS_MAX
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|c| plain(c) || c == '-');
    if good {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{} is not 1 to {LABEL_CHARS_MAX} of a-z, 0-9 and -, with neither end a -",
            quoted(text)
        ))
    }
}

/// `HOST:PORT`, the host an IP address or `localhost`.
pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(address) = text.parse() {
        return Ok(address);
    }
    text.strip_prefix("localhost:")
        .and_then(|port| port.parse().ok())
        .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port))
        .ok_or_else(|| {
            let text = quoted(text);
            format!(
                "{text} is not HOST:PORT with an IP address or localhost, such as 127.0.0.1:6333"
            )
        })
}

/// A whole number in a range.
pub(super) fn number(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    in_range(text.parse().ok(), text, range)
}

/// A number of bytes in a range: plain, or with Ki, Mi, Gi or Ti.
pub(super) fn bytes(text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    let units = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40)];
    let (digits, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or((text, 0));
    let value = digits
        .parse()
        .ok()
        .and_then(|number: u64| number.checked_mul(1 << shift));
    in_range(value, text, range)
}

fn in_range(value: Option<u64>, text: &str, range: RangeInclusive<u64>) -> Result<u64, String> {
    value.filter(|value| range.contains(value)).ok_or_else(|| {
        format!(
            "{} is not a whole number from {} to {}",
            quoted(text),
            range.start(),
            range.end()
        )
    })
}

/// The beginning of somebody's text, fit for a message.
pub(super) fn quoted(text: &str) -> String {
    let mut short: String = text.chars().take(80).collect();
    if short.len() < text.len() {
        short.push_str("...");
    }
    format!("{short:?}")
}
