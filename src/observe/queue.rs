//! Whose turn it is among the batches of a namespace of which not all may run at once.
//!
//! First come, first served: by creation time, id and uid. A batch is active while a driver pod of its may live, or may
//! come to be: since it was told to start, while its status says so, and while a pod is there that has not ended.
//! Each of these is heard of at its own time, so that each is kept by itself, and a batch is active for any of them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

/// For how long a driver pod is reckoned with that nothing was heard of. The API server has then answered a create, and
/// the watch has told of it.
const UNHEARD: SignedDuration = SignedDuration::from_secs(60);

/// How many batches of a namespace may be active at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of each namespace that is not named; 0 for any number.
    pub default: u32,
    /// Of the namespaces that are.
    pub by_namespace: BTreeMap<String, u32>,
}

impl Limits {
    /// How many may be active in `namespace`; `None` for any number.
    #[must_use]
    pub fn of(&self, namespace: &str) -> Option<usize> {
        let limit = self.by_namespace.get(namespace).copied().unwrap_or(self.default);
        usize::try_from(limit).ok().filter(|limit| *limit > 0)
    }
}

/// Where a batch stands in line: the lesser is first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// When the batch was created.
    pub created: Timestamp,
    /// Its id; the greatest while it has none.
    pub id: i32,
    /// Its uid.
    pub uid: Arc<str>,
    /// Its name, by which it is looked at.
    pub name: String,
}

/// The answer to a batch that would start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It starts.
    Starts,
    /// It waits.
    Waits {
        /// Its position, from 1.
        position: usize,
        /// How many wait.
        of: usize,
    },
}

/// The batches of one namespace.
#[derive(Clone, Debug)]
pub struct Queue {
    limit: usize,
    members: HashMap<Arc<str>, Member>,
    line: VecDeque<Place>,
    active: usize,
    /// Those of which a pod is reckoned with, and until when.
    unheard: VecDeque<(Timestamp, Arc<str>)>,
}

#[derive(Clone, Debug, Default, PartialEq)]
#[expect(clippy::struct_excessive_bools, reason = "each is heard of by itself")]
struct Member {
    /// Whether the batch exists, as far as is known.
    exists: bool,
    /// Where it stands while it waits.
    place: Option<Place>,
    /// It was told to start, and nothing was heard of it since.
    told: bool,
    by_status: bool,
    by_pod: bool,
    /// Whether a watch has told of a driver pod of its since it was told to start.
    heard: bool,
    unheard: Option<Timestamp>,
    /// Whether it has asked since it began to be looked at.
    asked: bool,
    /// Whether it has been called since it asked.
    called: bool,
}

impl Member {
    fn is_active(&self) -> bool {
        self.told || self.by_status || self.by_pod || self.unheard.is_some()
    }
}

impl Queue {
    /// An empty queue of which `limit` batches may be active.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (members, line, unheard) = (HashMap::new(), VecDeque::new(), VecDeque::new());
        Self { limit, members, line, active: 0, unheard }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.line.len()
    }

    /// Whether nothing is known of any batch.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The batch was seen; whether its status tells of a driver, and whether it can be taken to `wait` for its turn.
    /// What is not known of that leaves it where it is.
    pub fn seen(&mut self, place: &Place, has_driver: bool, waits: Option<bool>) {
        self.change(&place.uid, |member| {
            (member.exists, member.by_status) = (true, has_driver);
            member.told &= !has_driver;
        });
        match waits {
            Some(true) => self.join(place),
            Some(false) => self.leave(&place.uid),
            // Its id may have become known.
            None if self.stands(&place.uid) => self.join(place),
            None => {}
        }
    }

    /// The batch exists no more. Its driver may still come to be, if it was told to start just now, and may still live
    /// where no watch has told of it.
    pub fn gone(&mut self, uid: &Arc<str>, now: Timestamp) {
        self.leave(uid);
        self.doubt(uid, now);
        if self.members.get(uid).is_some_and(|member| member.by_status && !member.heard) {
            self.expect_pod(uid, now);
        }
        self.change(uid, |member| (member.exists, member.by_status) = (false, false));
    }

    /// None but these batches exist.
    pub fn only(&mut self, existing: &HashSet<Arc<str>>, now: Timestamp) {
        let gone = self.members.iter().filter(|(uid, member)| member.exists && !existing.contains(*uid));
        for uid in gone.map(|(uid, _)| Arc::clone(uid)).collect::<Vec<_>>() {
            self.gone(&uid, now);
        }
    }

    /// Whether a driver pod of the batch is there that has not ended, as the watch tells.
    pub fn pods(&mut self, uid: &Arc<str>, may_live: bool) {
        self.change(uid, |member| {
            member.by_pod = may_live;
            member.heard |= may_live;
        });
    }

    /// A driver pod of the batch is there, though no watch has told of it yet.
    pub fn expect_pod(&mut self, uid: &Arc<str>, now: Timestamp) {
        if self.members.get(uid).is_some_and(|member| member.by_pod) {
            return;
        }
        let Ok(until) = now.checked_add(UNHEARD) else { return };
        self.unheard.push_back((until, Arc::clone(uid)));
        self.change(uid, |member| member.unheard = Some(until));
    }

    /// Somebody begins to look at the batch.
    pub fn look_begins(&mut self, uid: &Arc<str>) {
        self.change(uid, |member| member.asked = false);
    }

    /// The look is over. Who did not ask in it does not wait for its turn. Who did not and was told to start before
    /// needs it no more, if the look `went_well`.
    pub fn look_ends(&mut self, uid: &Arc<str>, went_well: bool, now: Timestamp) {
        if self.members.get(uid).is_none_or(|member| member.asked) {
            return;
        }
        self.leave(uid);
        if went_well {
            self.doubt(uid, now);
        }
    }

    fn is_turn(&self, place: &Place) -> bool {
        self.members.get(&place.uid).is_some_and(|member| member.exists && member.is_active())
            || self.line.binary_search(place).is_ok_and(|index| index < self.free())
    }

    /// The batch would start: whose turn it is. It is in line from now on.
    pub fn ask(&mut self, place: &Place, now: Timestamp) -> Turn {
        self.forget_unheard(now);
        self.join(place);
        self.change(&place.uid, |member| (member.asked, member.called) = (true, false));
        if self.is_turn(place) {
            return Turn::Starts;
        }
        let (index, of) = match self.line.binary_search(place) {
            Ok(index) => (index, self.line.len()),
            // One that is not known to exist.
            Err(index) => (index, self.line.len() + 1),
        };
        // Those before whose turn has come do not wait any more.
        let starting = self.free();
        Turn::Waits { position: (index + 1).saturating_sub(starting).max(1), of: of.saturating_sub(starting).max(1) }
    }

    /// Asks, and starts the batch if it is its turn: it is active from now on.
    pub fn take(&mut self, place: &Place, now: Timestamp) -> Turn {
        let turn = self.ask(place, now);
        if turn == Turn::Starts {
            self.change(&place.uid, |member| (member.told, member.heard) = (true, false));
        }
        turn
    }

    /// The batch does not start, and has made no driver: it waits for something else.
    pub fn step_aside(&mut self, uid: &Arc<str>) {
        self.leave(uid);
        self.change(uid, |member| member.told = false);
    }

    /// Those whose turn it is and who have not been called since they asked last.
    pub fn call(&mut self, now: Timestamp) -> Vec<Place> {
        self.forget_unheard(now);
        let mut called = Vec::new();
        for place in self.line.iter().take(self.free()) {
            if let Some(member) = self.members.get_mut(&place.uid).filter(|member| !member.called) {
                member.called = true;
                called.push(place.clone());
            }
        }
        called
    }

    fn free(&self) -> usize {
        self.limit.saturating_sub(self.active)
    }

    fn stands(&self, uid: &Arc<str>) -> bool {
        self.members.get(uid).is_some_and(|member| member.place.is_some())
    }

    fn join(&mut self, place: &Place) {
        let Some(member) = self.members.get(&place.uid) else { return };
        if member.is_active() || member.place.as_ref() == Some(place) {
            return;
        }
        self.leave(&place.uid);
        if let Err(index) = self.line.binary_search(place) {
            self.line.insert(index, place.clone());
        }
        self.change(&place.uid, |member| member.place = Some(place.clone()));
    }

    fn leave(&mut self, uid: &Arc<str>) {
        let Some(place) = self.members.get_mut(uid).and_then(|member| member.place.take()) else { return };
        if let Ok(index) = self.line.binary_search(&place) {
            self.line.remove(index);
        }
        self.change(uid, |member| member.called = false);
    }

    /// A start that nobody will tell of any more may still have made a pod.
    fn doubt(&mut self, uid: &Arc<str>, now: Timestamp) {
        if self.members.get(uid).is_some_and(|member| member.told) {
            self.expect_pod(uid, now);
            self.change(uid, |member| member.told = false);
        }
    }

    fn forget_unheard(&mut self, now: Timestamp) {
        while self.unheard.front().is_some_and(|(until, _)| *until <= now) {
            let Some((until, uid)) = self.unheard.pop_front() else { return };
            self.change(&uid, |member| member.unheard = member.unheard.filter(|of| *of != until));
        }
    }

    fn change(&mut self, uid: &Arc<str>, change: impl FnOnce(&mut Member)) {
        let mut member = self.members.remove(uid).unwrap_or_default();
        let was_active = member.is_active();
        change(&mut member);
        let is_active = member.is_active();
        self.active = self.active + usize::from(is_active) - usize::from(was_active);
        let place = member.place.clone().filter(|_| is_active);
        if member.exists || is_active {
            self.members.insert(Arc::clone(uid), member);
        }
        if place.is_some() {
            self.leave(uid);
        }
    }
}

#[cfg(test)]
#[path = "queue_tests.rs"]
mod tests;
