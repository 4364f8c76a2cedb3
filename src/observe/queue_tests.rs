//! A namespace in small: an API server, two watches that lag, and looks that are cut anywhere.

use proptest::prelude::*;

use super::*;

const LIMIT: usize = 2;
const BATCHES: usize = 6;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn place(n: usize) -> Place {
    // Two are of one second; the later of them has the lesser id.
    let created = at(i64::try_from(n / 2).unwrap());
    Place { created, id: 100 - i32::try_from(n).unwrap(), uid: format!("u{n}").into(), name: format!("b{n}") }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Status {
    New,
    Queued,
    Started,
    Ended,
}

/// How far a look has come that found that it is the batch's turn.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    Pod,
    Status,
}

#[derive(Clone, Copy, Debug)]
enum Event {
    Batch(usize, Status),
    Gone(usize),
    Pod(usize, bool),
}

#[derive(Clone, Copy, Debug)]
enum Action {
    Create(usize),
    Look(usize),
    GoOn(usize),
    CutLook(usize),
    EndPod(usize),
    Delete(usize),
    HearOfBatch,
    HearOfPod,
    Restart,
    Wait,
}

fn actions() -> impl Strategy<Value = Action> {
    let n = 0..BATCHES;
    prop_oneof![
        3 => n.clone().prop_map(Action::Create),
        6 => n.clone().prop_map(Action::Look),
        6 => n.clone().prop_map(Action::GoOn),
        1 => n.clone().prop_map(Action::CutLook),
        3 => n.clone().prop_map(Action::EndPod),
        1 => n.prop_map(Action::Delete),
        6 => Just(Action::HearOfBatch),
        6 => Just(Action::HearOfPod),
        1 => Just(Action::Restart),
        1 => Just(Action::Wait),
    ]
}

struct World {
    queue: Queue,
    now: i64,
    /// What the API server has; `None` where there is no batch (yet, or any more).
    batches: [Option<Status>; BATCHES],
    was: [bool; BATCHES],
    pods: [bool; BATCHES],
    batch_events: VecDeque<Event>,
    pod_events: VecDeque<Event>,
    /// What the cache has.
    cached: [Option<Status>; BATCHES],
    starts: [Option<Start>; BATCHES],
}

impl World {
    fn new() -> Self {
        Self {
            queue: Queue::new(LIMIT),
            now: 1000,
            batches: [None; BATCHES],
            was: [false; BATCHES],
            pods: [false; BATCHES],
            batch_events: VecDeque::new(),
            pod_events: VecDeque::new(),
            cached: [None; BATCHES],
            starts: [None; BATCHES],
        }
    }

    fn set(&mut self, n: usize, status: Status) {
        if self.batches[n].is_some() {
            self.batches[n] = Some(status);
            self.batch_events.push_back(Event::Batch(n, status));
        }
    }

    fn set_pod(&mut self, n: usize, lives: bool) {
        self.pods[n] = lives;
        self.pod_events.push_back(Event::Pod(n, lives));
    }

    fn see(&mut self, n: usize, status: Status) {
        self.cached[n] = Some(status);
        let waits = matches!(status, Status::New | Status::Queued);
        self.queue.seen(&place(n), status == Status::Started, Some(waits));
    }

    fn hear(&mut self, event: Event) {
        match event {
            Event::Batch(n, status) => self.see(n, status),
            Event::Gone(n) => {
                self.cached[n] = None;
                self.queue.gone(&place(n).uid, at(self.now));
            }
            Event::Pod(n, lives) => self.queue.pods(&place(n).uid, lives),
        }
    }

    fn look(&mut self, n: usize) {
        let Some(cached) = self.cached[n] else { return };
        // Of a batch there is one look at a time, and none at what the process itself knows to be older.
        if self.starts[n].is_some() || self.batches[n].is_some_and(|now| now != cached) {
            return;
        }
        self.queue.look_begins(&place(n).uid);
        match cached {
            Status::New | Status::Queued if self.queue.take(&place(n), at(self.now)) == Turn::Starts => {
                self.starts[n] = Some(Start::Pod);
                return;
            }
            Status::New => self.set(n, Status::Queued),
            Status::Started if !self.pods[n] => self.set(n, Status::Ended),
            Status::Queued | Status::Started | Status::Ended => {}
        }
        self.queue.look_ends(&place(n).uid, true, at(self.now));
    }

    fn go_on(&mut self, n: usize) {
        match self.starts[n] {
            None => {}
            Some(Start::Pod) => {
                if !self.pods[n] {
                    self.set_pod(n, true);
                }
                self.starts[n] = Some(Start::Status);
            }
            Some(Start::Status) => {
                self.set(n, Status::Started);
                self.starts[n] = None;
                self.queue.look_ends(&place(n).uid, true, at(self.now));
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Create(n) if !self.was[n] => {
                (self.was[n], self.batches[n]) = (true, Some(Status::New));
                self.set(n, Status::New);
            }
            Action::Look(n) => self.look(n),
            Action::GoOn(n) => self.go_on(n),
            Action::CutLook(n) if self.starts[n].take().is_some() => {
                self.queue.look_ends(&place(n).uid, false, at(self.now));
            }
            Action::EndPod(n) if self.pods[n] && self.starts[n].is_none() => self.set_pod(n, false),
            Action::Delete(n) if self.batches[n].take().is_some() => self.batch_events.push_back(Event::Gone(n)),
            Action::HearOfBatch => {
                if let Some(event) = self.batch_events.pop_front() {
                    self.hear(event);
                }
            }
            Action::HearOfPod => {
                if let Some(event) = self.pod_events.pop_front() {
                    self.hear(event);
                }
            }
            Action::Restart => self.restart(),
            Action::Wait => self.now += 7,
            Action::Create(_) | Action::CutLook(_) | Action::EndPod(_) | Action::Delete(_) => {}
        }
    }

    /// A new process: caches as old as the watches are, and the API server's word on pods.
    fn restart(&mut self) {
        self.queue = Queue::new(LIMIT);
        self.starts = [None; BATCHES];
        for n in 0..BATCHES {
            if let Some(status) = self.cached[n] {
                self.see(n, status);
            }
            if self.pods[n] {
                self.queue.expect_pod(&place(n).uid, at(self.now));
            }
        }
    }

    fn check(&self) {
        let live = self.pods.iter().filter(|lives| **lives).count();
        assert!(live <= LIMIT, "{live} drivers");
        let active = self.queue.members.values().filter(|member| member.is_active()).count();
        assert_eq!(active, self.queue.active);
        assert!(self.queue.line.iter().is_sorted());
        let standing = self.queue.members.values().filter(|member| member.place.is_some()).count();
        assert_eq!(standing, self.queue.line.len());
    }

    /// All that is called is looked at, all is heard of, all pods end: everything comes to its end.
    fn drain(&mut self) {
        for _ in 0..20 * BATCHES {
            self.now += 10;
            while !(self.batch_events.is_empty() && self.pod_events.is_empty()) {
                self.act(Action::HearOfBatch);
                self.act(Action::HearOfPod);
            }
            for n in 0..BATCHES {
                self.go_on(n);
                self.check();
            }
            let called = self.queue.call(at(self.now));
            let driven = (0..BATCHES).filter(|n| self.cached[*n] == Some(Status::Started));
            let looks: Vec<_> =
                driven.chain((0..BATCHES).filter(|n| called.iter().any(|call| *call == place(*n)))).collect();
            for n in looks {
                self.look(n);
            }
            for n in 0..BATCHES {
                self.act(Action::EndPod(n));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn the_limit_holds_whatever_is_heard_of_when_and_all_come_to_their_turn(
        actions in prop::collection::vec(actions(), 1..120)
    ) {
        let mut world = World::new();
        for action in actions {
            world.act(action);
            world.check();
        }
        // What was cut is looked at again, as the controller does with every failure.
        for n in 0..BATCHES {
            world.go_on(n);
            world.look(n);
        }
        world.drain();
        for (n, status) in world.batches.iter().enumerate() {
            prop_assert!(matches!(status, None | Some(Status::Ended)), "{n} is {status:?}: {:?}", world.queue);
        }
    }
}

fn seen(queue: &mut Queue, n: usize) {
    queue.seen(&place(n), false, Some(true));
}

#[test]
fn the_line_is_by_creation_then_id() {
    let mut queue = Queue::new(1);
    for n in [3, 0, 2, 1] {
        seen(&mut queue, n);
    }
    let positions = [1, 0, 3, 2].map(|n| queue.ask(&place(n), at(0)));
    assert_eq!(positions[0], Turn::Starts);
    let waits = [1, 2, 3].map(|position| Turn::Waits { position, of: 3 });
    assert_eq!(queue.take(&place(1), at(0)), Turn::Starts);
    assert_eq!(queue.ask(&place(3), at(0)), Turn::Waits { position: 2, of: 3 }, "it starts in between");
    assert_eq!(positions[1..], waits);
}

#[test]
fn a_batch_that_waits_for_something_else_holds_up_nobody() {
    let mut queue = Queue::new(1);
    seen(&mut queue, 1);
    seen(&mut queue, 3);
    assert_eq!(queue.ask(&place(3), at(0)), Turn::Waits { position: 1, of: 1 });
    queue.look_begins(&place(1).uid);
    queue.look_ends(&place(1).uid, true, at(0));
    assert_eq!(queue.call(at(0)), [place(3)]);
    assert_eq!(queue.call(at(0)), [], "called once");
    assert_eq!(queue.take(&place(3), at(0)), Turn::Starts);
    // It keeps its place by its creation, but nobody is thrown out for it.
    assert_eq!(queue.take(&place(1), at(0)), Turn::Waits { position: 1, of: 1 });
    queue.step_aside(&place(3).uid);
    assert_eq!(queue.call(at(0)), [place(1)]);
}

#[test]
fn an_id_that_becomes_known_changes_the_place() {
    let mut queue = Queue::new(1);
    let unknown = Place { id: i32::MAX, ..place(3) };
    queue.seen(&unknown, false, Some(true));
    seen(&mut queue, 2);
    assert_eq!(queue.line, [place(2), unknown]);
    queue.seen(&place(3), false, None);
    assert_eq!(queue.line, [place(3), place(2)]);
}

#[test]
fn ten_thousand_that_come_in_any_order_are_told_their_places_at_once() {
    let of = |n: i64| Place { created: at(n), id: 1, uid: format!("u{n}").into(), name: String::new() };
    let mut queue = Queue::new(1);
    for n in (0..10_000).map(|n| n * 7919 % 10_000) {
        queue.seen(&of(n), false, Some(true));
    }
    for n in 1..10_000 {
        let position = usize::try_from(n).unwrap();
        assert_eq!(queue.ask(&of(n), at(0)), Turn::Waits { position, of: 9_999 });
    }
}

#[test]
fn a_namespace_has_its_own_limit_or_the_common_one() {
    let limits = Limits { default: 3, by_namespace: [("a".into(), 1), ("b".into(), 0)].into() };
    assert_eq!(["a", "b", "c"].map(|namespace| limits.of(namespace)), [Some(1), None, Some(3)]);
    assert_eq!(Limits::default().of("a"), None);
}

/// Seed 8889 of `make simulate`: the watch of pods was held, and the batch deleted meanwhile.
#[test]
fn a_deleted_batch_whose_driver_nobody_has_told_of_is_reckoned_with_for_a_minute() {
    for (heard, after) in [(false, Turn::Waits { position: 1, of: 1 }), (true, Turn::Starts)] {
        let mut queue = Queue::new(1);
        seen(&mut queue, 0);
        seen(&mut queue, 2);
        assert_eq!(queue.take(&place(0), at(0)), Turn::Starts);
        if heard {
            queue.pods(&place(0).uid, true);
        }
        queue.seen(&place(0), true, Some(false));
        if heard {
            queue.pods(&place(0).uid, false);
        }
        queue.gone(&place(0).uid, at(0));
        assert_eq!(queue.ask(&place(2), at(59)), after);
        assert_eq!(queue.ask(&place(2), at(60)), Turn::Starts);
    }
}
