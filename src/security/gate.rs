//! The gate that every request passes before anything of it is read.
//!
//! A key comes in the header `api-key` or as `Authorization: Bearer`. When both are there they must
//! be the same, so that what stands in front of the process and the process itself cannot see two
//! callers in one request. An unknown key and no key get the same answer.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use http::HeaderMap;
use http::header::AUTHORIZATION;

use super::authorization::permits;
use super::{Action, ApiKeys, Resource, Role};
use crate::fault::{Fault, Kind};

const API_KEY: &str = "api-key";

/// Decides about requests. Cheap to clone; clones share the keys.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<ArcSwapOption<ApiKeys>>);

/// Why a request does not pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No key, or one that is not known.
    #[error("a valid API key is required, in the header api-key or as a bearer token")]
    Unknown,
    /// A key whose role does not allow it.
    #[error("the API key does not allow this")]
    Forbidden,
}

impl Fault for Refusal {
    fn kind(&self) -> Kind {
        match self {
            Self::Unknown => Kind::Unauthenticated,
            Self::Forbidden => Kind::PermissionDenied,
        }
    }

    fn code(&self) -> &'static str {
        match self {
            Self::Unknown => "security.unknown",
            Self::Forbidden => "security.forbidden",
        }
    }
}

impl Gate {
    /// The gate of a listener; without keys it is open, which [`super::check_listen`] allows on
    /// loopback only.
    pub fn new(keys: Option<ApiKeys>) -> Self {
        Self(Arc::new(ArcSwapOption::from_pointee(keys)))
    }

    /// Takes other keys from now on. There is no way back to none.
    pub fn replace_keys(&self, keys: ApiKeys) {
        self.0.store(Some(Arc::new(keys)));
    }

    /// Lets a request pass, or not.
    ///
    /// # Errors
    /// [`Refusal`].
    pub fn admit(
        &self,
        headers: &HeaderMap,
        action: Action,
        resource: Resource,
    ) -> Result<(), Refusal> {
        let role = match &*self.0.load() {
            None => Some(Role::Admin),
            Some(keys) => presented(headers).and_then(|key| keys.role(key)),
        };
        if permits(role, action, resource) {
            return Ok(());
        }
        Err(match role {
            None => Refusal::Unknown,
            Some(_) => Refusal::Forbidden,
        })
    }
}

/// The one key that the request shows.
fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let of_key = headers
        .get_all(API_KEY)
        .iter()
        .map(|key| Some(key.as_bytes()));
    let of_token = headers
        .get_all(AUTHORIZATION)
        .iter()
        .map(|value| bearer(value.as_bytes()));
    let mut all = of_key.chain(of_token);
    let first = all.next()??;
    all.all(|other| other == Some(first)).then_some(first)
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked("Bearer ".len())?;
    scheme
        .eq_ignore_ascii_case(b"Bearer ")
        .then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gate() -> Gate {
        let keys = "admin: correct-horse\nread-only: battery-staple";
        Gate::new(Some(ApiKeys::parse(keys).unwrap()))
    }

    fn pass(gate: &Gate, headers: &[(&'static str, &str)], action: Action) -> Result<(), Refusal> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        gate.admit(&map, action, Resource::Points)
    }

    #[test]
    fn a_key_opens_what_its_role_may() {
        let gate = gate();
        let unknown = Err(Refusal::Unknown);
        assert_eq!(pass(&gate, &[], Action::Read), unknown);
        assert_eq!(
            pass(&gate, &[("api-key", "wrong-horse")], Action::Read),
            unknown
        );
        assert_eq!(
            pass(&gate, &[("api-key", "correct-horse")], Action::Write),
            Ok(())
        );
        let reader = ("authorization", "bearer battery-staple");
        assert_eq!(pass(&gate, &[reader], Action::Read), Ok(()));
        assert_eq!(
            pass(&gate, &[reader], Action::Write),
            Err(Refusal::Forbidden)
        );
        for other in ["Basic correct-horse", "correct-horse", "Bearer", "Bearer  "] {
            assert_eq!(
                pass(&gate, &[("authorization", other)], Action::Read),
                unknown
            );
        }
    }

    #[test]
    fn two_keys_in_one_request_are_none() {
        let gate = gate();
        let two = [("api-key", "correct-horse"), ("api-key", "battery-staple")];
        assert_eq!(pass(&gate, &two, Action::Read), Err(Refusal::Unknown));
        let mixed = [
            ("api-key", "correct-horse"),
            ("authorization", "Basic eDp5"),
        ];
        assert_eq!(pass(&gate, &mixed, Action::Read), Err(Refusal::Unknown));
        let same = [
            ("api-key", "correct-horse"),
            ("authorization", "Bearer correct-horse"),
        ];
        assert_eq!(pass(&gate, &same, Action::Write), Ok(()));
    }

    #[test]
    fn new_keys_act_at_once() {
        let gate = Gate::new(None);
        assert_eq!(pass(&gate, &[], Action::Manage), Ok(()));
        let other = gate.clone();
        other.replace_keys(ApiKeys::parse("admin: correct-horse").unwrap());
        assert_eq!(pass(&gate, &[], Action::Manage), Err(Refusal::Unknown));
    }
}
