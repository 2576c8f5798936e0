//! The authority of a cluster, and the certificates that it gives to its roles. Pure but for keys.
//!
//! The authority's certificate and key lie in a Secret; `authority` says when it is changed. Of a
//! certificate only what stands in its Secret's annotations is looked at: when it ends, for which names it
//! is, which demand to rotate it has met, and beside which authorities it stands. One is issued anew when
//! it is about to end, when its names or the authorities are others, when that is demanded, or when nobody
//! knows.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Error;
use super::names::Subject;
use crate::crd::v1alpha1::VectorClusterSpec;
use crate::security::Peer;
use crate::security::peers::certificate_name;
use crate::topology::Role;

/// How long an authority is valid: ten years.
pub(super) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Clocks of other machines may be behind.
const SKEW: Duration = Duration::from_secs(3_600);

/// A certificate and its key, PEM.
#[derive(Clone)]
pub(super) struct Pair {
    pub(super) certificate: String,
    pub(super) key: String,
}

/// A certificate that a Secret should hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wanted {
    /// The role, as in the Secret's name.
    pub(super) role: &'static str,
    /// The names in it, sorted.
    pub(super) names: Vec<String>,
}

/// What is known of the certificate that a Secret holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Held {
    /// When it ends.
    pub(super) not_after: Option<String>,
    /// The names in it, joined.
    pub(super) names: Option<String>,
    /// Which demand to issue it anew it has met.
    pub(super) rotated: Option<String>,
    /// The mark of the authorities when it was issued.
    pub(super) authorities: Option<String>,
}

/// When certificates are issued anew.
#[derive(Debug, Clone, Copy)]
pub(super) struct Due<'a> {
    pub(super) now: OffsetDateTime,
    /// That long before they end.
    pub(super) renew_before: Duration,
    /// Once for each such demand.
    pub(super) rotate: Option<&'a str>,
    /// The mark of the authorities.
    pub(super) authorities: &'a str,
}

impl Wanted {
    /// The names as an annotation spells them.
    pub(super) fn joined(&self) -> String {
        self.names.join(",")
    }

    /// Whether the certificate must be issued (anew).
    pub(super) fn is_due(&self, held: &Held, due: Due<'_>) -> bool {
        let ends = held.not_after.as_deref();
        let ends = ends.and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        ends.is_none_or(|ends| ends - due.renew_before <= due.now)
            || held.authorities.as_deref() != Some(due.authorities)
            || held.names.as_deref() != Some(&self.joined())
            || due.rotate.is_some() && due.rotate != held.rotated.as_deref()
    }
}

/// The names that the Service of a role has inside the Kubernetes cluster.
pub(super) fn service_names(subject: &Subject, role: Role) -> Vec<String> {
    let name = subject.of(role);
    let short = format!("{name}.{}", subject.namespace);
    let full = format!("{}.cluster.local", subject.dns(&name));
    vec![name.clone(), short, subject.dns(&name), full]
}

/// The certificates of a cluster.
pub(super) fn wanted(subject: &Subject, spec: &VectorClusterSpec) -> Vec<Wanted> {
    let peer = |peer: Peer| certificate_name(peer, &subject.name, &subject.namespace);
    let local = || vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut all = vec![
        ("master", [vec![peer(Peer::Master)], local()].concat()),
        ("worker", [vec![peer(Peer::Worker)], local()].concat()),
        ("operator", vec![peer(Peer::Operator)]),
        (
            "gateway",
            [
                vec![peer(Peer::Gateway)],
                service_names(subject, Role::Gateway),
                spec.tls.extra_dns_names.clone(),
                local(),
            ]
            .concat(),
        ),
    ];
    if spec.etcd.managed.is_some() {
        let members = format!("*.{}", subject.dns(&subject.etcd_peers()));
        let names = [service_names(subject, Role::Etcd), vec![members], local()].concat();
        all.push(("etcd", names));
    }
    let sorted = all.into_iter().map(|(role, mut names)| {
        names.sort_unstable();
        names.dedup();
        Wanted { role, names }
    });
    sorted.collect()
}

/// A duration of the manifest: hours and minutes.
///
/// # Errors
/// [`Error::Time`].
pub(super) fn duration(text: &str) -> Result<Duration, Error> {
    let wrong = || Error::Time(text.to_owned());
    if text.is_empty() {
        return Err(wrong());
    }
    let (hours, rest) = text.split_once('h').unwrap_or(("0", text));
    let minutes = match rest {
        "" => "0",
        rest => rest.strip_suffix('m').ok_or_else(wrong)?,
    };
    let number = |digits: &str| digits.parse::<u64>().map_err(|_digits| wrong());
    let hours = number(hours)?.checked_mul(3_600).ok_or_else(wrong)?;
    let minutes = number(minutes)?.checked_mul(60).ok_or_else(wrong)?;
    Ok(Duration::from_secs(hours.saturating_add(minutes)))
}

fn authority_params(subject: &Subject) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = format!("{}.{}.vectorsphere", subject.name, subject.namespace);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A new authority.
///
/// # Errors
/// [`Error::Certificate`].
pub(super) fn authority(subject: &Subject, now: OffsetDateTime) -> Result<Pair, Error> {
    let mut params = authority_params(subject);
    params.not_before = now - SKEW;
    params.not_after = now + AUTHORITY_LIFE;
    let key = KeyPair::generate()?;
    Ok(Pair {
        certificate: params.self_signed(&key)?.pem(),
        key: key.serialize_pem(),
    })
}

/// A certificate of the authority, and when it ends.
///
/// # Errors
/// [`Error::Certificate`].
pub(super) fn issue(
    subject: &Subject,
    authority: &Pair,
    wanted: &Wanted,
    now: OffsetDateTime,
    life: Duration,
) -> Result<(Pair, String), Error> {
    let key = KeyPair::from_pem(&authority.key)?;
    let issuer = Issuer::new(authority_params(subject), key);
    let mut params = CertificateParams::new(wanted.names.clone())?;
    let common = format!("{}-{}", subject.name, wanted.role);
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let ends = params.not_after.format(&Rfc3339).unwrap_or_default();
    let key = KeyPair::generate()?;
    let pair = Pair {
        certificate: params.signed_by(&key, &issuer)?.pem(),
        key: key.serialize_pem(),
    };
    Ok((pair, ends))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_a_manifest_are_read() {
        for (text, minutes) in [("2160h", 129_600), ("1h30m", 90), ("45m", 45), ("0h", 0)] {
            assert_eq!(duration(text).unwrap(), Duration::from_secs(60 * minutes));
        }
        for wrong in ["", "h", "5", "1m1h", "99999999999999999999h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_certificate_is_due_before_its_end_and_when_its_names_are_others() {
        let due = Due {
            now: OffsetDateTime::UNIX_EPOCH,
            renew_before: Duration::from_secs(3_600),
            rotate: None,
            authorities: "old",
        };
        let wanted = Wanted {
            role: "worker",
            names: vec!["a".to_owned(), "b".to_owned()],
        };
        let held = |not_after: &str, names: &str| Held {
            not_after: Some(not_after.to_owned()),
            names: Some(names.to_owned()),
            rotated: None,
            authorities: Some("old".to_owned()),
        };
        let others = Due {
            authorities: "old and new",
            ..due
        };
        assert!(wanted.is_due(&held("1970-01-01T01:01:00Z", "a,b"), others));
        assert!(wanted.is_due(&Held::default(), due));
        assert!(wanted.is_due(&held("1970-01-01T00:59:00Z", "a,b"), due));
        assert!(!wanted.is_due(&held("1970-01-01T01:01:00Z", "a,b"), due));
        assert!(wanted.is_due(&held("1970-01-01T01:01:00Z", "a"), due));
        assert!(wanted.is_due(&held("tomorrow", "a,b"), due));
        let rotated = |demand: &str| Held {
            rotated: Some(demand.to_owned()),
            ..held("1970-01-01T01:01:00Z", "a,b")
        };
        assert!(!wanted.is_due(&rotated("first"), due));
        let due = Due {
            rotate: Some("second"),
            ..due
        };
        assert!(wanted.is_due(&rotated("first"), due));
        assert!(wanted.is_due(&held("1970-01-01T01:01:00Z", "a,b"), due));
        assert!(!wanted.is_due(&rotated("second"), due));
    }
}
