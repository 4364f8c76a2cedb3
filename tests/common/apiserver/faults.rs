//! Faults a test injects, and the crashes of client processes.

use std::{fmt, sync::Arc, time::Duration};

use super::{ApiServer, calls::Call, error::ApiError};

/// Code run by a fault, with the server unlocked.
pub type Hook = Arc<dyn Fn(&ApiServer) + Send + Sync>;

/// Decides about each request as it arrives.
pub type Decision = Arc<dyn Fn(&Call) -> Option<Fault> + Send + Sync>;

/// A rule: which requests it is about, how many of them, and what becomes of them.
///
/// Rules start with [`Fault::on`], are narrowed, and get one or more actions. Without a count the
/// rule is about the first request it matches only.
#[derive(Clone)]
pub struct Fault {
    verb: String,
    resource: String,
    namespace: Option<String>,
    name: Option<String>,
    client: Option<String>,
    authorization: Option<String>,
    skip: u32,
    times: Option<u32>,
    seen: u32,
    plan: Plan,
}

/// What becomes of one request.
#[derive(Clone, Default)]
#[allow(clippy::struct_excessive_bools)]
pub(super) struct Plan {
    /// Break the connection before anything is applied.
    pub(super) refuse: bool,
    /// Break the connection after the request is applied.
    pub(super) lose: bool,
    /// The client process dies after this request is applied.
    pub(super) die: bool,
    pub(super) answer: Option<ApiError>,
    pub(super) delay: Option<Duration>,
    pub(super) linger: Option<Duration>,
    /// Answer without applying the request, and apply it this much later.
    pub(super) late: Option<Duration>,
    pub(super) hold: bool,
    pub(super) before: Vec<Hook>,
    pub(super) after: Vec<Hook>,
    pub(super) cut_after: Option<usize>,
}

impl Plan {
    fn add(&mut self, other: &Self) {
        self.refuse |= other.refuse;
        self.lose |= other.lose;
        self.hold |= other.hold;
        self.answer = self.answer.take().or_else(|| other.answer.clone());
        self.delay = self.delay.or(other.delay);
        self.linger = self.linger.or(other.linger);
        self.late = self.late.or(other.late);
        self.cut_after = self.cut_after.or(other.cut_after);
        self.before.extend(other.before.iter().cloned());
        self.after.extend(other.after.iter().cloned());
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fault({} {})", self.verb, self.resource)
    }
}

impl Fault {
    /// About requests with this verb (`get`, `list`, `watch`, `create`, `update`, `patch`,
    /// `delete`, `deletecollection`) on this resource (`pods`, `pods/log`, `/version`); `*` is any.
    pub fn on(verb: &str, resource: &str) -> Self {
        Self {
            verb: verb.to_owned(),
            resource: resource.to_owned(),
            namespace: None,
            name: None,
            client: None,
            authorization: None,
            skip: 0,
            times: Some(1),
            seen: 0,
            plan: Plan::default(),
        }
    }

    /// Only about objects of this name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// Only about this namespace.
    pub fn within(mut self, namespace: &str) -> Self {
        self.namespace = Some(namespace.to_owned());
        self
    }

    /// Only about the clients with this label.
    pub fn by_client(mut self, label: &str) -> Self {
        self.client = Some(label.to_owned());
        self
    }

    /// Only about requests with this `Authorization` header.
    pub fn authorized_by(mut self, header: &str) -> Self {
        self.authorization = Some(header.to_owned());
        self
    }

    /// Only about the `n`-th matching request, counted from one.
    pub fn nth(mut self, n: u32) -> Self {
        self.skip = n.saturating_sub(1);
        self
    }

    /// About this many matching requests.
    pub fn times(mut self, n: u32) -> Self {
        self.times = Some(n);
        self
    }

    /// About all matching requests (after those skipped with [`Fault::nth`]).
    pub fn always(mut self) -> Self {
        self.times = None;
        self
    }

    /// Answer with this status code and a fitting `Status`, without applying anything.
    pub fn answer(self, code: u16) -> Self {
        self.answer_with(ApiError::new(code, "injected by the test"))
    }

    /// Like [`Fault::answer`], with a `Retry-After` header.
    pub fn answer_retry_after(self, code: u16, seconds: u32) -> Self {
        let mut error = ApiError::new(code, "injected by the test");
        error.retry_after = Some(seconds);
        self.answer_with(error)
    }

    /// Answer with this very error.
    pub fn answer_with(mut self, error: ApiError) -> Self {
        self.plan.answer = Some(error);
        self
    }

    /// Let this much time pass first.
    pub fn delay(mut self, time: Duration) -> Self {
        self.plan.delay = Some(time);
        self
    }

    /// Let this much time pass between applying the request and answering it.
    pub fn linger(mut self, time: Duration) -> Self {
        self.plan.linger = Some(time);
        self
    }

    /// Answer with 504 (or as another action says), and apply the request this much later, whatever has become of its
    /// client.
    pub fn land_late(mut self, time: Duration) -> Self {
        self.plan.late = Some(time);
        self
    }

    /// Keep the request waiting until [`ApiServer::release_held`].
    pub fn hold(mut self) -> Self {
        self.plan.hold = true;
        self
    }

    /// Break the connection before the request is applied.
    pub fn refuse(mut self) -> Self {
        self.plan.refuse = true;
        self
    }

    /// Apply the request and break the connection instead of answering.
    pub fn lose_response(mut self) -> Self {
        self.plan.lose = true;
        self
    }

    /// End a watch after this many events, as if its time was over.
    pub fn cut_after(mut self, events: usize) -> Self {
        self.plan.cut_after = Some(events);
        self
    }

    /// Run this before the request is applied: someone else was faster.
    pub fn run_before(mut self, hook: impl Fn(&ApiServer) + Send + Sync + 'static) -> Self {
        self.plan.before.push(Arc::new(hook));
        self
    }

    /// Run this after the request is applied and before it is answered.
    pub fn run_after(mut self, hook: impl Fn(&ApiServer) + Send + Sync + 'static) -> Self {
        self.plan.after.push(Arc::new(hook));
        self
    }

    fn matches(&self, call: &Call) -> bool {
        let either = |wanted: &str, given: &str| wanted == "*" || wanted == given;
        let same = |wanted: &Option<String>, given: Option<&str>| wanted.is_none() || wanted.as_deref() == given;
        either(&self.verb, call.verb)
            && either(&self.resource, &call.resource)
            && same(&self.name, call.name.as_deref())
            && same(&self.namespace, call.namespace.as_deref())
            && same(&self.client, Some(&call.client))
            && same(&self.authorization, call.authorization.as_deref())
    }
}

/// When a client process dies; requests are counted from one, from now on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// Before its n-th request of any kind is applied.
    BeforeCall(u64),
    /// After its n-th request of any kind is applied; the answer is lost.
    AfterCall(u64),
    /// Before its n-th writing request is applied.
    BeforeWrite(u64),
    /// After its n-th writing request is applied; the answer is lost.
    AfterWrite(u64),
}

struct Process {
    label: String,
    dead: bool,
    crash: Option<Crash>,
}

/// All rules, and all client processes by number.
#[derive(Default)]
pub(super) struct Faults {
    pub(super) rules: Vec<Fault>,
    pub(super) decision: Option<Decision>,
    processes: Vec<Process>,
    pub(super) holding: usize,
    pub(super) releases: u64,
}

impl Faults {
    pub(super) fn connect(&mut self, label: &str) -> usize {
        self.processes.push(Process { label: label.to_owned(), dead: false, crash: None });
        self.processes.len() - 1
    }

    pub(super) fn label(&self, client: usize) -> &str {
        self.processes.get(client).map_or("", |p| p.label.as_str())
    }

    pub(super) fn is_dead(&self, client: usize) -> bool {
        self.processes.get(client).is_some_and(|p| p.dead)
    }

    pub(super) fn die(&mut self, client: usize) {
        if let Some(process) = self.processes.get_mut(client) {
            process.dead = true;
        }
    }

    /// The newest process with this label.
    pub(super) fn newest(&self, label: &str) -> usize {
        let found = self.processes.iter().rposition(|p| p.label == label);
        found.unwrap_or_else(|| panic!("no client is labelled {label}"))
    }

    pub(super) fn arm(&mut self, label: &str, crash: Crash) {
        let at = self.newest(label);
        self.processes[at].crash = Some(crash);
    }

    /// What becomes of this call.
    pub(super) fn plan(&mut self, client: usize, call: &Call) -> Plan {
        let mut plan = Plan::default();
        if let Some(process) = self.processes.get_mut(client) {
            let due = |left: &mut u64, counts: bool| {
                *left = left.saturating_sub(u64::from(counts));
                counts && *left == 0
            };
            let (before, after) = match &mut process.crash {
                Some(Crash::BeforeCall(left)) => (due(left, true), false),
                Some(Crash::AfterCall(left)) => (false, due(left, true)),
                Some(Crash::BeforeWrite(left)) => (due(left, call.is_write()), false),
                Some(Crash::AfterWrite(left)) => (false, due(left, call.is_write())),
                None => (false, false),
            };
            process.dead |= before;
            plan.refuse = process.dead;
            plan.die = after;
        }
        if let Some(fault) = self.decision.as_ref().and_then(|decision| decision(call)) {
            plan.add(&fault.plan);
        }
        for rule in &mut self.rules {
            if rule.matches(call) {
                rule.seen += 1;
                let at = rule.seen;
                if at > rule.skip && rule.times.is_none_or(|n| at <= rule.skip + n) {
                    plan.add(&rule.plan);
                }
            }
        }
        plan
    }
}
