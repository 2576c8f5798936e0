//! Tells where everything is: in `endpoints.json`, and on standard output when the cluster is ready.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use super::children::News;
use super::endpoints::Endpoints;
use super::readiness::Probe;
use crate::process::Card;
use crate::tasks::Tasks;
use crate::topology::{Component, Role};

/// How often a component that starts is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// Says something to the person who started `dev`.
pub(super) fn say(line: &str) {
    let mut output = io::stdout().lock();
    // Nobody reads it any more: the cluster runs on.
    drop(writeln!(output, "{line}").and_then(|()| output.flush()));
}

/// Follows the components and tells of them.
pub(super) struct Announcer {
    endpoints: Endpoints,
    seats: Vec<Seat>,
    probe: Probe,
    is_ready: bool,
}

/// One component of the plan.
struct Seat {
    name: String,
    is_first_gateway: bool,
    pid: Option<u32>,
    card: Option<Card>,
}

impl Announcer {
    pub(super) fn new(cluster: &str, etcd: String, plan: &[Component], probe: Probe) -> Self {
        let first = plan
            .iter()
            .find(|component| component.role == Role::Gateway)
            .map(|component| component.name.as_str());
        let seat = |component: &Component| Seat {
            name: component.name.clone(),
            is_first_gateway: Some(component.name.as_str()) == first,
            pid: None,
            card: None,
        };
        Self {
            endpoints: Endpoints {
                cluster: cluster.to_owned(),
                pid: std::process::id(),
                etcd,
                components: Vec::new(),
            },
            seats: plan.iter().map(seat).collect(),
            probe,
            is_ready: false,
        }
    }

    /// Runs until the tasks stop.
    pub(super) async fn run(
        mut self,
        mut news: mpsc::Receiver<News>,
        data_dir: PathBuf,
        tasks: Tasks,
    ) {
        loop {
            let look = self.has_to_look();
            tokio::select! {
                () = tasks.stopping() => return,
                told = news.recv() => match told {
                    Some(told) => self.take(told, &data_dir),
                    None => return,
                },
                () = tokio::time::sleep(LOOK_INTERVAL), if look => self.look(&data_dir).await,
            }
        }
    }

    fn has_to_look(&self) -> bool {
        let starts = |seat: &Seat| seat.pid.is_some() && seat.card.is_none();
        !self.is_ready || self.seats.iter().any(starts)
    }

    fn take(&mut self, news: News, data_dir: &Path) {
        let (number, pid) = match news {
            News::Started(number, pid) => (number, Some(pid)),
            News::Ended(number) => (number, None),
        };
        let Some(seat) = self.seats.get_mut(number) else {
            return;
        };
        seat.pid = pid;
        if seat.card.take().is_some() {
            self.write(data_dir);
        }
    }

    async fn look(&mut self, data_dir: &Path) {
        let mut is_news = false;
        for seat in &mut self.seats {
            if seat.pid.is_none() || seat.card.is_some() {
                continue;
            }
            // A card of an earlier run has another process id.
            let card = Card::read(&data_dir.join(&seat.name));
            seat.card = card.filter(|card| Some(card.pid) == seat.pid);
            is_news |= seat.card.is_some();
        }
        if is_news {
            self.write(data_dir);
        }
        if !self.is_ready
            && let Some(address) = self.first_gateway()
            && self.probe.is_ready(&address).await
        {
            self.is_ready = true;
            say(&format!("ready {}://{address}", self.probe.scheme()));
        }
    }

    fn first_gateway(&self) -> Option<String> {
        let seat = self.seats.iter().find(|seat| seat.is_first_gateway)?;
        Some(seat.card.as_ref()?.http_address.clone())
    }

    fn write(&mut self, data_dir: &Path) {
        let cards = self.seats.iter().filter_map(|seat| seat.card.clone());
        self.endpoints.components = cards.collect();
        if let Err(error) = self.endpoints.write(data_dir) {
            tracing::error!(%error, "endpoints.json cannot be written");
        }
    }
}
