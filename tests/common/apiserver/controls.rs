//! What a test does to the traffic: faults, crashes, and watches cut, held or expired.

use std::sync::Arc;

use super::{
    ApiServer,
    calls::Call,
    faults::{Crash, Fault},
    watch::Cut,
};

impl ApiServer {
    /// Adds a rule; rules stay until [`ApiServer::clear_faults`], all that are due act together.
    pub fn inject(&self, fault: Fault) {
        self.lock().faults.rules.push(fault);
    }

    /// Has `decision` say what becomes of each request, besides the rules. It must not use the server.
    pub fn decide(&self, decision: impl Fn(&Call) -> Option<Fault> + Send + Sync + 'static) {
        self.lock().faults.decision = Some(Arc::new(decision));
    }

    /// Forgets all rules; requests held by them stay held.
    pub fn clear_faults(&self) {
        let mut state = self.lock();
        state.faults.rules.clear();
        state.faults.decision = None;
    }

    /// How many requests [`Fault::hold`] keeps waiting now.
    pub fn held(&self) -> usize {
        self.lock().faults.holding
    }

    /// Lets all held requests go on.
    pub fn release_held(&self) {
        self.change(|state| state.faults.releases += 1);
    }

    /// Arms a crash of the newest client with this label. Once dead, it stays so, with all its
    /// clones; a client made later with the same label is the restarted process.
    pub fn crash(&self, label: &str, crash: Crash) {
        self.lock().faults.arm(label, crash);
    }

    /// Kills the newest client with this label now.
    pub fn kill(&self, label: &str) {
        self.change(|state| {
            let at = state.faults.newest(label);
            state.faults.die(at);
            state.watches.cut_client(at);
        });
    }

    /// Whether the newest client with this label is dead.
    pub fn is_dead(&self, label: &str) -> bool {
        let state = self.lock();
        state.faults.is_dead(state.faults.newest(label))
    }

    /// Keeps the watch events of a kind back: caches go stale.
    pub fn hold_watches(&self, plural: &str) {
        self.lock().watches.hold(plural, true);
    }

    /// Keeps the watch events of a kind back from the clients with this label alone.
    pub fn hold_watches_of(&self, label: &str, plural: &str) {
        self.lock().watches.hold(&format!("{label}/{plural}"), true);
    }

    /// Delivers what [`ApiServer::hold_watches_of`] kept back.
    pub fn release_watches_of(&self, label: &str, plural: &str) {
        self.change(|state| state.watches.hold(&format!("{label}/{plural}"), false));
    }

    /// Delivers the watch events kept back, and the coming ones at once.
    pub fn release_watches(&self, plural: &str) {
        self.change(|state| state.watches.hold(plural, false));
    }

    /// Ends all watches of a kind (`*`: of all) as if their time was over.
    pub fn end_watches(&self, plural: &str) {
        self.change(|state| state.watches.cut(plural, Cut::Cleanly));
    }

    /// Breaks the connections of all watches of a kind (`*`: of all).
    pub fn break_watches(&self, plural: &str) {
        self.change(|state| state.watches.cut(plural, Cut::Broken));
    }

    /// Ends all watches of a kind, and makes all versions they know too old: they have to relist.
    pub fn expire_watches(&self, plural: &str) {
        self.change(|state| {
            state.compact();
            state.watches.cut(plural, Cut::Cleanly);
        });
    }

    /// Sends a bookmark to all watches of a kind that asked for them.
    pub fn send_bookmarks(&self, plural: &str) {
        self.change(|state| state.watches.bookmark(plural));
    }

    /// How many watches of a kind are open.
    pub fn open_watches(&self, plural: &str) -> usize {
        self.lock().watches.count(plural)
    }

    /// Whether a watch of the kind is open and every one has been sent all there is.
    pub fn watches_caught_up(&self, plural: &str) -> bool {
        let state = self.lock();
        state.watches.caught_up(plural, state.version)
    }
}
