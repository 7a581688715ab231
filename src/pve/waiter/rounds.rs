//! The looks at the tasks of one node, shared by everybody who waits for one of them: one request for the list of
//! running tasks serves all. Knows when to look and whom to call; what a call means is the wait's business.
//!
//! There is no background task. Whoever waits takes the wheel if nobody has it, and looks for all; when it leaves, or
//! is dropped in the middle of a request, the next one takes over. So nothing runs on when nobody waits.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::Deserialize;
use tokio::{
    sync::{Notify, watch},
    time::{Instant, sleep_until},
};

use super::is_silence;
use crate::{
    error::Error,
    pve::{Client, Request},
};

/// The shortest pause between two looks.
const SHORTEST: Duration = Duration::from_millis(20);
/// At least so long after a node did not answer.
pub(super) const AFTER_SILENCE: Duration = Duration::from_secs(1);
/// Proxmox's default is 50 rows; a task that is not listed is asked for by itself, so this costs at worst requests.
const MANY: u32 = 5000;

/// How long after a look to look again, for a wait of this age: a tenth of it, so that a wait ends late by a tenth of
/// the task's time at most, between [`SHORTEST`] and the longest that the caller wants.
pub(super) fn pause(age: Duration, longest: Duration) -> Duration {
    (age / 10).clamp(SHORTEST, longest.max(SHORTEST))
}

/// What a waiting one is told.
#[derive(Debug, Clone)]
pub(super) enum Call {
    /// The node answers again, and the task is running.
    Running,
    /// Ask for the task's status yourself. `missing`: because a list of running tasks did not have it.
    Ask { missing: bool },
    /// The node did not answer.
    Silent(Error),
}

/// One node.
pub(super) struct Rounds {
    node: String,
    wheel: tokio::sync::Mutex<()>,
    /// A place came, went, or became due earlier.
    changed: Notify,
    places: Mutex<Places>,
}

#[derive(Default)]
struct Places {
    next: u64,
    all: HashMap<u64, Place>,
    last_list: Option<Instant>,
}

struct Place {
    upid: String,
    joined: Instant,
    longest: Duration,
    due: Instant,
    /// It was called and asks for itself: not looked at meanwhile.
    asking: bool,
    /// The node's list does not show its task to us: it is always asked for by itself.
    unlisted: bool,
    silent: bool,
    call: watch::Sender<Option<Call>>,
}

impl Place {
    fn call(&mut self, call: Call) {
        self.asking = matches!(call, Call::Ask { .. });
        self.silent = matches!(call, Call::Silent(_));
        self.call.send_replace(Some(call));
    }
    fn is_due(&self, now: Instant) -> bool {
        !self.asking && self.due <= now
    }
}

/// A row of the list, as far as it matters here.
#[derive(Deserialize)]
struct Row {
    upid: String,
    status: Option<String>,
}

impl Rounds {
    pub(super) fn new(node: &str) -> Self {
        Self {
            node: node.to_owned(),
            wheel: tokio::sync::Mutex::default(),
            changed: Notify::new(),
            places: Mutex::default(),
        }
    }

    /// Takes part until the seat is dropped. Due at once.
    pub(super) fn join(&self, upid: &str, longest: Duration) -> Seat<'_> {
        let (call, calls) = watch::channel(None);
        let now = Instant::now();
        let mut places = self.places();
        let id = places.next;
        places.next += 1;
        let upid = upid.to_owned();
        let place = Place { upid, joined: now, longest, due: now, asking: false, unlisted: false, silent: false, call };
        places.all.insert(id, place);
        drop(places);
        self.changed.notify_one();
        Seat { rounds: self, id, calls }
    }

    /// Looks at this task as soon as may be: its log says that it is over.
    pub(super) fn hurry(&self, upid: &str) {
        let now = Instant::now();
        self.places().all.values_mut().filter(|p| p.upid == upid).for_each(|p| p.due = p.due.min(now));
        self.changed.notify_one();
    }

    /// How many take part.
    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.places().all.len()
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks, round after round, for everybody.
    async fn drive(&self, client: &Client) -> Infallible {
        let _wheel = self.wheel.lock().await;
        loop {
            let next = self.places().next_look();
            match next {
                None => self.changed.notified().await,
                Some(due) => tokio::select! {
                    () = sleep_until(due) => self.round(client).await,
                    () = self.changed.notified() => {}
                },
            }
        }
    }

    async fn round(&self, client: &Client) {
        let now = Instant::now();
        let Some(listed) = self.places().begin(now) else { return };
        let request =
            Request::get(format!("/nodes/{}/tasks", self.node)).param("source", "active").param("limit", MANY);
        let answer: Result<Vec<Row>, Error> = client.get(&request).await;
        self.places().distribute(&listed, now, &answer);
    }
}

impl Places {
    /// When somebody is due.
    fn next_look(&self) -> Option<Instant> {
        let due = self.all.values().filter(|p| !p.asking).map(|p| p.due).min()?;
        Some(self.last_list.map_or(due, |last| due.max(last + SHORTEST)))
    }

    /// Calls those who are to ask for themselves, and returns the rest, for whom the list is to be read; none where
    /// nobody of them is due.
    fn begin(&mut self, now: Instant) -> Option<Vec<u64>> {
        // One who is alone is served better by the status than by a list.
        let sharing = self.all.values().filter(|p| !p.unlisted).count();
        for place in self.all.values_mut().filter(|p| p.is_due(now) && (p.unlisted || sharing == 1)) {
            place.call(Call::Ask { missing: false });
        }
        if !self.all.values().any(|p| p.is_due(now)) {
            return None;
        }
        self.last_list = Some(now);
        Some(self.all.iter().filter(|(_, p)| !p.asking && !p.unlisted).map(|(id, _)| *id).collect())
    }

    /// Only those who were there when the request was made are served: a list may be older than a task.
    fn distribute(&mut self, listed: &[u64], asked: Instant, answer: &Result<Vec<Row>, Error>) {
        let now = Instant::now();
        let is_running = |row: &&Row| matches!(row.status.as_deref(), None | Some("RUNNING" | ""));
        let running: HashSet<&str> = answer.iter().flatten().filter(is_running).map(|row| row.upid.as_str()).collect();
        for id in listed {
            let Some(place) = self.all.get_mut(id).filter(|p| !p.asking) else { continue };
            let pause = pause(now - place.joined, place.longest);
            match answer {
                Ok(_) if running.contains(place.upid.as_str()) => {
                    place.due = asked + pause.max(2 * (now - asked));
                    if place.silent {
                        place.call(Call::Running);
                    }
                }
                Ok(_) => place.call(Call::Ask { missing: true }),
                Err(error) if is_silence(error) => {
                    place.due = now + pause.max(AFTER_SILENCE);
                    place.call(Call::Silent(error.clone()));
                }
                // The list is refused; the task itself may not be.
                Err(_) => place.call(Call::Ask { missing: false }),
            }
        }
    }
}

/// One wait's place among those of its node.
pub(super) struct Seat<'a> {
    rounds: &'a Rounds,
    id: u64,
    calls: watch::Receiver<Option<Call>>,
}

impl Seat<'_> {
    /// Waits to be called, looking for all others meanwhile if nobody else does. Loses nothing when dropped.
    pub(super) async fn called(&mut self, client: &Client) -> Call {
        loop {
            tokio::select! {
                biased;
                // The sender lives in this seat's place, and so as long as the seat.
                _ = self.calls.changed() => {}
                never = self.rounds.drive(client) => match never {},
            }
            let call = self.calls.borrow_and_update().clone();
            if let Some(call) = call {
                return call;
            }
        }
    }

    /// After having asked (at `asked`) and found it running.
    pub(super) fn still_running(&self, asked: Instant, unlisted: bool) {
        self.update(|place, now| {
            place.unlisted = unlisted;
            let pause = pause(now - place.joined, place.longest);
            // At first the pause counts from the question: a slow answer must not make a short task's wait longer.
            // Later a slow server gets the time to breathe.
            let slow = if now - place.joined > Duration::from_secs(1) { 2 * (now - asked) } else { Duration::ZERO };
            place.due = (asked + pause.max(slow)).max(now);
        });
    }

    pub(super) fn look_again_after(&self, pause: Duration) {
        self.update(|place, now| place.due = now + pause);
    }

    fn update(&self, change: impl FnOnce(&mut Place, Instant)) {
        if let Some(place) = self.rounds.places().all.get_mut(&self.id) {
            place.asking = false;
            change(place, Instant::now());
        }
        self.rounds.changed.notify_one();
    }
}

impl Drop for Seat<'_> {
    fn drop(&mut self) {
        self.rounds.places().all.remove(&self.id);
        self.rounds.changed.notify_one();
    }
}
