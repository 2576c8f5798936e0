//! How this client shows an etcd that asks for users who it is.
//!
//! A user and a password give a token, which goes with every call. Etcd forgets tokens: after some minutes
//! without a call (`--auth-token-ttl`), with every change of the password, and when its rights change those
//! that say which rights they are of. It says so before it does anything, so the call is made again with
//! another token, whatever it changes. A call asks for at most one new token in one try, one asks at a time
//! for all calls of a client, and who waited takes what the other got. An account that etcd refuses is not
//! tried again for [`REFUSED_PAUSE`], unless it is another by then: for etcd each try is work.
//!
//! An etcd that asks nobody serves an account as anybody; when it begins to ask, the next call logs in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use http::HeaderValue;
use tokio::sync::Semaphore;
use tonic::{Code, Status};

use super::error::{Error, classify};
use super::{Etcd, Member};
use crate::clock::{Clock, Moment};
use crate::security::Login;
use crate::security::login::Account;

/// How long an account that was refused is not tried again.
const REFUSED_PAUSE: Duration = Duration::from_secs(2);
/// The header of a token.
const TOKEN: &str = "token";
/// The call that gives tokens; it takes none.
const AUTHENTICATE: &str = "/etcdserverpb.Auth/Authenticate";
/// What logging in is called in errors.
pub(super) const WHAT: &str = "logging in";
/// What etcd says of a token that it does not know (any more), of one from before a change of rights, and
/// where it asks and none was shown.
const REFUSALS: [&str; 3] = [
    "invalid auth token",
    "revision of auth store is old",
    "user name is empty",
];
/// What it says where it asks nobody.
const ASKS_NOBODY: &str = "authentication is not enabled";

/// The token that goes with every call, if there is one. Cheap to clone; clones change together.
#[derive(Clone, Default)]
pub(super) struct Token(Arc<ArcSwapOption<Shown>>);

/// What an account got.
pub(super) struct Shown {
    account: Arc<Account>,
    /// None where etcd asks nobody.
    header: Option<HeaderValue>,
}

impl Token {
    /// Puts the token on a request.
    pub(super) fn show<B>(&self, mut request: http::Request<B>) -> http::Request<B> {
        let shown = self.0.load();
        let header = shown.as_ref().and_then(|shown| shown.header.clone());
        if let Some(header) = header
            && request.uri().path() != AUTHENTICATE
        {
            request.headers_mut().insert(TOKEN, header);
        }
        request
    }
}

/// An account, and what came of it. Cheap to clone; clones share everything.
#[derive(Clone)]
pub(super) struct Pass(Arc<Inner>);

struct Inner {
    login: Login,
    token: Token,
    clock: Arc<dyn Clock>,
    /// One asks for all.
    asking: Semaphore,
    refused: Mutex<Option<Refused>>,
}

/// An account that etcd does not let in.
struct Refused {
    account: Arc<Account>,
    until: Moment,
    status: Status,
}

impl Etcd {
    /// The same client, which logs in where etcd asks for users.
    #[must_use]
    pub fn logging_in(mut self, login: &Login, clock: Arc<dyn Clock>) -> Self {
        if login.current().is_some() {
            self.pass = Some(Pass(Arc::new(Inner {
                login: login.clone(),
                token: self.token.clone(),
                clock,
                asking: Semaphore::new(1),
                refused: Mutex::default(),
            })));
        }
        self
    }
}

impl Pass {
    /// The token for the next call: of the account as it is now, or of the one before it as long as etcd
    /// takes that and refuses the new one. So a Secret may be changed before the password in etcd is.
    pub(super) async fn ready(&self, member: &Member) -> Result<Option<Arc<Shown>>, Error> {
        let shown = self.0.token.0.load_full();
        let Some(account) = self.0.login.current() else {
            return Ok(shown);
        };
        if shown.as_ref().is_some_and(|shown| shown.account == account) {
            return Ok(shown);
        }
        // It is never closed.
        let _turn = self.0.asking.acquire().await;
        match self.log_in(member).await {
            Err(Error::LoginRefused { .. }) if shown.is_some() => Ok(shown),
            done => done,
        }
    }

    /// A token in place of one that etcd does not take, unless somebody else has got one meanwhile.
    pub(super) async fn another(
        &self,
        member: &Member,
        refused: Option<&Arc<Shown>>,
    ) -> Result<(), Error> {
        let _turn = self.0.asking.acquire().await;
        let token = &self.0.token.0;
        let now = token.load_full();
        if now
            .zip(refused)
            .is_some_and(|(now, refused)| Arc::ptr_eq(&now, refused))
        {
            // Etcd is not what it was: an account that it refused may be the right one now.
            token.store(None);
            *self.refused() = None;
        }
        self.log_in(member).await.map(drop)
    }

    /// The token of the account as it is now. Only for whose turn it is.
    async fn log_in(&self, member: &Member) -> Result<Option<Arc<Shown>>, Error> {
        let token = &self.0.token.0;
        let now = token.load_full();
        let Some(account) = self.0.login.current() else {
            return Ok(now);
        };
        if now.as_ref().is_some_and(|now| now.account == account) {
            return Ok(now);
        }
        self.is_worth_a_try(&account)?;
        let header = self.ask(member, &account).await?;
        let shown = Some(Arc::new(Shown { account, header }));
        token.store(shown.clone());
        Ok(shown)
    }

    fn is_worth_a_try(&self, account: &Arc<Account>) -> Result<(), Error> {
        let refused = self.refused();
        match &*refused {
            Some(refused) if refused.account == *account && self.0.clock.now() < refused.until => {
                Err(refusal(account, refused.status.clone()))
            },
            Some(_) | None => Ok(()),
        }
    }

    async fn ask(
        &self,
        member: &Member,
        account: &Arc<Account>,
    ) -> Result<Option<HeaderValue>, Error> {
        let (user, password) = (account.user.clone(), account.password.clone());
        let error = match member.auth.clone().authenticate(user, password).await {
            Ok(answer) => {
                let header = HeaderValue::from_str(answer.token()).ok();
                *self.refused() = None;
                tracing::debug!(user = account.user, "logged in at etcd");
                return Ok(header);
            },
            Err(error) => error,
        };
        let etcd_client::Error::GRpcStatus(status) = &error else {
            return Err(classify(WHAT, false, error));
        };
        if status.message().contains(ASKS_NOBODY) {
            tracing::warn!(
                "etcd asks for no user and no password: anybody who reaches it is let in"
            );
            return Ok(None);
        }
        if is_temporary(status) {
            return Err(classify(WHAT, false, error));
        }
        let before = self.refused().replace(Refused {
            account: Arc::clone(account),
            until: self.0.clock.now() + REFUSED_PAUSE,
            status: status.clone(),
        });
        if before.is_none_or(|before| before.account != *account) {
            let why = status.message();
            tracing::warn!(user = account.user, why, "etcd refuses the user");
        }
        Err(refusal(account, status.clone()))
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Refused>> {
        // Every change is one assignment: never half made.
        self.0
            .refused
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether it is etcd that cannot say, and not that it says no.
fn is_temporary(status: &Status) -> bool {
    !matches!(
        status.code(),
        Code::InvalidArgument
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::Unimplemented
    )
}

fn refusal(account: &Account, status: Status) -> Error {
    Error::LoginRefused {
        user: account.user.clone(),
        source: Box::new(etcd_client::Error::GRpcStatus(status)),
    }
}

/// Whether a call was refused for its token, and so was not carried out.
pub(super) fn refuses_token(error: &etcd_client::Error) -> bool {
    matches!(error, etcd_client::Error::GRpcStatus(status) if says_so(status.message()))
}

/// The same of a text in which etcd says why.
pub(super) fn says_so(text: &str) -> bool {
    REFUSALS.iter().any(|refusal| text.contains(refusal))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_goes_with_every_call_but_the_one_that_gives_it() {
        let token = Token::default();
        let request = |path: &str| http::Request::builder().uri(path).body(()).unwrap();
        assert!(
            token
                .show(request("/etcdserverpb.KV/Range"))
                .headers()
                .is_empty()
        );
        token.0.store(Some(Arc::new(Shown {
            account: Login::given(b"a", b"b").unwrap().current().unwrap(),
            header: Some(HeaderValue::from_static("abc.1")),
        })));
        let shown = token.show(request("/etcdserverpb.KV/Range"));
        assert_eq!(shown.headers()[TOKEN], "abc.1");
        assert!(token.show(request(AUTHENTICATE)).headers().is_empty());
    }

    #[test]
    fn only_what_etcd_says_of_a_token_is_about_the_token() {
        let of = |status: Status| refuses_token(&etcd_client::Error::GRpcStatus(status));
        assert!(of(Status::unauthenticated(
            "etcdserver: invalid auth token"
        )));
        assert!(of(Status::invalid_argument(
            "etcdserver: revision of auth store is old"
        )));
        assert!(of(Status::invalid_argument(
            "etcdserver: user name is empty"
        )));
        assert!(!of(Status::permission_denied(
            "etcdserver: permission denied"
        )));
        assert!(!of(Status::unavailable("etcdserver: no leader")));
        assert!(is_temporary(&Status::unavailable("etcdserver: no leader")));
        assert!(!is_temporary(&Status::invalid_argument(
            "etcdserver: authentication failed, invalid user ID or password"
        )));
    }
}
