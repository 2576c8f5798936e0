//! When each component is started, started again, and stopped. Pure: it is told what happened and
//! what time it is, and says what is to be done.
//!
//! A component that ends by itself is started again after a pause with full jitter, up to 100 ms at
//! first and up to 10 s when it keeps dying; a minute of calm makes the pauses short again. On a stop
//! the gateways end first, so that nothing new comes in, then the workers, then the masters; each
//! role gets a bounded time, and whoever has not ended by then is killed.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::Moment;
use crate::entropy::Entropy;
use crate::limits::DRAIN_TIMEOUT;
use crate::resilience::backoff::Backoff;
use crate::topology::Role;

const PAUSE_FIRST: Duration = Duration::from_millis(100);
const PAUSE_MOST: Duration = Duration::from_secs(10);
/// A component that ran this long is not one that keeps dying.
const CALM: Duration = Duration::from_secs(60);
/// A component drains within its own bound; this much later it hangs.
const GRACE: Duration = DRAIN_TIMEOUT.saturating_add(Duration::from_secs(2));

/// What is to be done with the component of this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    /// Start it.
    Start(usize),
    /// Ask it to end.
    Terminate(usize),
    /// End it.
    Kill(usize),
}

/// What follows when a component ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It starts again after this pause.
    StartsIn(Duration),
    /// It was to end.
    StaysEnded,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// To be started then.
    Due(Moment),
    /// Runs since then.
    Running(Moment),
    /// Was asked to end; is killed then.
    Ending(Moment),
    /// Was killed.
    Killed,
    /// Has ended for good.
    Ended,
}

#[derive(Debug)]
struct Member {
    role: Role,
    state: State,
    backoff: Backoff,
}

/// The components of one cluster, by their number in the plan.
#[derive(Debug)]
pub(super) struct Supervisor {
    members: Vec<Member>,
    stopping: bool,
    entropy: Arc<Entropy>,
}

impl Supervisor {
    /// All are to be started now.
    pub(super) fn new(roles: &[Role], now: Moment, entropy: Arc<Entropy>) -> Self {
        let member = |role: &Role| Member {
            role: *role,
            state: State::Due(now),
            backoff: fresh(),
        };
        Self {
            members: roles.iter().map(member).collect(),
            stopping: false,
            entropy,
        }
    }

    /// What is to be done now. An order is given once: who carries it out reports with
    /// [`Supervisor::ended`] when it fails or when the component ends.
    pub(super) fn orders(&mut self, now: Moment) -> Vec<Order> {
        let mut orders = Vec::new();
        let last_role = self.role_to_stop();
        for (number, member) in self.members.iter_mut().enumerate() {
            match member.state {
                State::Due(at) if at <= now => {
                    member.state = State::Running(now);
                    orders.push(Order::Start(number));
                },
                State::Running(_) if last_role == Some(member.role) => {
                    member.state = State::Ending(now + GRACE);
                    orders.push(Order::Terminate(number));
                },
                State::Ending(kill_at) if kill_at <= now => {
                    member.state = State::Killed;
                    orders.push(Order::Kill(number));
                },
                State::Due(_)
                | State::Running(_)
                | State::Ending(_)
                | State::Killed
                | State::Ended => {},
            }
        }
        orders
    }

    /// The component ended, or could not be started.
    pub(super) fn ended(&mut self, number: usize, now: Moment) -> Next {
        let Some(member) = self.members.get_mut(number) else {
            return Next::StaysEnded;
        };
        if self.stopping {
            member.state = State::Ended;
            return Next::StaysEnded;
        }
        if let State::Running(since) = member.state
            && now.since(since) >= CALM
        {
            member.backoff = fresh();
        }
        let pause = member.backoff.next(&self.entropy);
        member.state = State::Due(now + pause);
        Next::StartsIn(pause)
    }

    /// From now on nothing is started, and what runs is ended in order.
    pub(super) fn stop(&mut self) {
        self.stopping = true;
        for member in &mut self.members {
            if let State::Due(_) = member.state {
                member.state = State::Ended;
            }
        }
    }

    /// When [`Supervisor::orders`] has something to say without news; none: not before news.
    pub(super) fn wakes_at(&self) -> Option<Moment> {
        let moments = self.members.iter().filter_map(|member| match member.state {
            State::Due(at) | State::Ending(at) => Some(at),
            State::Running(_) | State::Killed | State::Ended => None,
        });
        moments.min()
    }

    /// Whether all have ended for good.
    pub(super) fn is_done(&self) -> bool {
        self.stopping && self.role_to_stop().is_none()
    }

    /// While stopping: the role whose turn it is to end.
    fn role_to_stop(&self) -> Option<Role> {
        let left = self
            .members
            .iter()
            .filter(|member| self.stopping && member.state != State::Ended);
        left.map(|member| member.role).max()
    }
}

fn fresh() -> Backoff {
    Backoff::new(PAUSE_FIRST, PAUSE_MOST)
}

#[cfg(test)]
mod tests;
