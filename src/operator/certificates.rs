//! The authorities of a cluster, and the certificates that they give to its roles and to its applications.
//! Pure but for keys.
//!
//! Applications have an authority of their own, which gateways trust and nobody else does: whatever shows a
//! certificate of it is no process of the cluster, and etcd does not let it in.
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
use crate::crd::v1alpha1::{ClientAuthentication, VectorClusterSpec};
use crate::security::Peer;
use crate::security::peers::certificate_name;
use crate::topology::Role;

/// How long an authority is valid: ten years.
pub(super) const AUTHORITY_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 3_600);
/// Clocks of other machines may be behind.
const SKEW: Duration = Duration::from_secs(3_600);

/// The role, and the common name, in the certificate of applications.
pub(super) const CLIENT: &str = "client";

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

    /// Who issues it.
    pub(super) fn authority(&self) -> Authority {
        if self.role == CLIENT {
            Authority::Clients
        } else {
            Authority::Own
        }
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
    if spec.tls.client_auth != ClientAuthentication::Disabled {
        all.push((CLIENT, Vec::new()));
    }
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

/// Whose certificates an authority issues.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Authority {
    /// Those of the processes of the cluster.
    Own,
    /// Those of applications.
    Clients,
}

fn authority_params(subject: &Subject, of: Authority) -> CertificateParams {
    let mut params = CertificateParams::default();
    let name = format!("{}.{}.vectorsphere", subject.name, subject.namespace);
    let name = match of {
        Authority::Own => name,
        Authority::Clients => format!("clients.{name}"),
    };
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

/// A new authority.
///
/// # Errors
/// [`Error::Certificate`].
pub(super) fn authority(
    subject: &Subject,
    of: Authority,
    now: OffsetDateTime,
) -> Result<Pair, Error> {
    let mut params = authority_params(subject, of);
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
    let issuer = Issuer::new(authority_params(subject, wanted.authority()), key);
    let mut params = CertificateParams::new(wanted.names.clone())?;
    let common = match wanted.authority() {
        Authority::Own => format!("{}-{}", subject.name, wanted.role),
        Authority::Clients => wanted.role.to_owned(),
    };
    params.distinguished_name.push(DnType::CommonName, common);
    params.not_before = now - SKEW;
    params.not_after = now + life;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = match wanted.authority() {
        Authority::Own => vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ],
        Authority::Clients => vec![ExtendedKeyUsagePurpose::ClientAuth],
    };
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
    use tokio::net::TcpListener;

    use super::*;
    use crate::security::peers::Connector;
    use crate::security::{Credentials, Peers};
    use crate::topology::{LAPTOP_SAMPLE, manifest};

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
    fn subject() -> Subject {
        Subject {
            name: "demo".to_owned(),
            namespace: "search".to_owned(),
            uid: "u".to_owned(),
        }
    }

    /// A certificate of this role of an authority, among processes that trust one.
    fn peers(role: &'static str, of: &Pair, trusted: &Pair) -> Peers {
        let subject = subject();
        let mut spec = manifest::check(LAPTOP_SAMPLE).unwrap().spec;
        spec.tls.client_auth = ClientAuthentication::Required;
        let all = wanted(&subject, &spec);
        let wanted = all.into_iter().find(|one| one.role == role).unwrap();
        let now = OffsetDateTime::now_utc();
        let (pair, _end) = issue(&subject, of, &wanted, now, SKEW).unwrap();
        let [certificate, key, authority] =
            [&pair.certificate, &pair.key, &trusted.certificate].map(|text| text.as_bytes());
        let credentials = Credentials::from_pem(certificate, key, authority).unwrap();
        Peers::new(credentials, "demo", "search")
    }

    /// Whether somebody is let in by a worker that lets every role in.
    async fn is_let_in(who: &Peers, worker: &Peers) -> Result<(), String> {
        let all = [Peer::Gateway, Peer::Master, Peer::Worker, Peer::Operator];
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let uri = uri.parse().unwrap();
        let connector = who.connector(Peer::Worker);
        let asking = connector.connect(&uri);
        let serving = async {
            let (stream, _peer) = listener.accept().await.unwrap();
            worker.acceptor(&all).accept(stream).await
        };
        let (_asked, served) = tokio::join!(asking, serving);
        served.map(drop).map_err(|error| error.to_string())
    }

    /// Whether who trusts an authority takes a server for etcd, as rounds ask it: by an address, whose
    /// certificate holds the Service's name.
    async fn is_etcd(server: &Peers, trusted: &Pair) -> Result<(), String> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}", listener.local_addr().unwrap());
        let credentials = peers("operator", trusted, trusted).credentials().clone();
        let name = subject().dns(&subject().of(Role::Etcd));
        let connector = Connector::by_name(credentials, &name);
        let uri = uri.parse().unwrap();
        let serving = async {
            let (stream, _peer) = listener.accept().await.unwrap();
            server.acceptor(&[Peer::Operator]).accept(stream).await
        };
        let (asked, _served) = tokio::join!(connector.connect(&uri), serving);
        asked.map(drop).map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn only_a_member_of_this_etcd_is_taken_for_one_at_whatever_address() {
        let now = OffsetDateTime::now_utc();
        let own = authority(&subject(), Authority::Own, now).unwrap();
        assert_eq!(is_etcd(&peers("etcd", &own, &own), &own).await, Ok(()));
        for role in ["master", "worker", "gateway"] {
            let refused = is_etcd(&peers(role, &own, &own), &own).await.unwrap_err();
            assert!(refused.contains("not valid for name"), "{role}: {refused}");
        }
        let of_another = authority(&subject(), Authority::Own, now).unwrap();
        let refused = is_etcd(&peers("etcd", &of_another, &own), &own).await;
        let refused = refused.unwrap_err();
        assert!(refused.contains("certificate"), "{refused}");
    }

    #[tokio::test]
    async fn an_application_is_no_process_of_the_cluster_whoever_issued_its_certificate() {
        let now = OffsetDateTime::now_utc();
        let [own, clients] =
            [Authority::Own, Authority::Clients].map(|of| authority(&subject(), of, now).unwrap());
        let worker = peers("worker", &own, &own);
        for role in ["gateway", "master", "worker", "operator"] {
            let process = peers(role, &own, &own);
            assert_eq!(is_let_in(&process, &worker).await, Ok(()), "{role}");
        }
        let application = peers(CLIENT, &clients, &own);
        let refused = is_let_in(&application, &worker).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer"), "{refused}");
        // Also if both authorities were one by somebody's mistake.
        let mistaken = peers("worker", &own, &clients);
        let refused = is_let_in(&application, &mistaken).await.unwrap_err();
        assert!(refused.contains("not for a role"), "{refused}");
    }
}
