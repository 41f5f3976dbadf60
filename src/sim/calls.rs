//! Calls on their way: let in, held up by locks, workers and scripted trouble, and answered.

use std::collections::BTreeMap;

use super::faults::Effect;
use super::incoming::Incoming;
use super::model::{Context, Model};
use super::reply::{Connection, Ending, Halt, Reply};
use super::routes::{self, Route, Routed};
use crate::domain::time::Timestamp;

/// Calls that are remembered.
pub(super) const HISTORY_MAX: usize = 100_000;

#[derive(Debug)]
pub(super) struct Call {
    pub(super) incoming: Incoming,
    pub(super) context: Option<Context>,
    pub(super) caller: Option<String>,
    pub(super) effect: Option<Effect>,
    pub(super) node: Option<String>,
    pub(super) state: State,
    /// When the front end stops waiting for the privileged daemon.
    pub(super) limit: Option<Timestamp>,
    pub(super) abandoned: bool,
}

#[derive(Debug)]
pub(super) enum State {
    Delayed(Timestamp),
    Queued(Timestamp),
    Locked(u32, Timestamp),
    Stalled,
    Ended(Timestamp, Ending),
}

/// Where a call stands.
#[derive(Debug, PartialEq)]
pub enum Progress {
    /// It ended; the model has forgotten it.
    Ended(Ending),
    /// Ask again at this instant, or after any change of the model; never by itself, if `None`.
    Waits(Option<Timestamp>),
}

/// A call that came in, as tests look at it.
#[derive(Clone, Debug, PartialEq)]
pub struct CallRecord {
    /// When it came.
    pub at: Timestamp,
    /// Token, if it was let in.
    pub token: Option<String>,
    /// HTTP method.
    pub method: String,
    /// Path below `/api2/json`, without percent-encoding.
    pub path: String,
    /// Query and form together.
    pub params: BTreeMap<String, String>,
    /// How it ended, once it has.
    pub result: Option<Ending>,
}

impl Model {
    /// Lets a call in and returns the number under which to ask for its end.
    pub fn begin(&mut self, now: Timestamp, incoming: Incoming) -> u64 {
        self.advance(now);
        self.serial += 1;
        let id = self.serial;
        let path = incoming.plain_path();
        if self.history_max > 0 {
            self.remember(id, &incoming, &path);
        }
        let effect = self.effect_on(&incoming.method, &path);
        let state = match &effect {
            Some(Effect::Delay(span)) => State::Delayed(self.now.after(*span)),
            Some(Effect::Stall) => State::Stalled,
            Some(_) | None => State::Delayed(self.now),
        };
        let waits = matches!(effect, Some(Effect::Delay(_) | Effect::Stall));
        let call = Call {
            incoming,
            context: None,
            caller: None,
            effect,
            node: None,
            state,
            limit: None,
            abandoned: false,
        };
        self.calls.insert(id, call);
        if !waits {
            self.arrive(id);
        }
        id
    }

    fn remember(&mut self, id: u64, incoming: &Incoming, path: &str) {
        let record = CallRecord {
            at: self.now,
            token: None,
            method: incoming.method.clone(),
            path: path.to_owned(),
            params: incoming.params().unwrap_or_default(),
            result: None,
        };
        self.history.insert(id, record);
        if self.history.len() > self.history_max {
            self.history.pop_first();
        }
    }

    /// Asks how a call stands.
    pub fn poll(&mut self, now: Timestamp, id: u64) -> Progress {
        self.advance(now);
        let Some(call) = self.calls.get(&id) else { return Progress::Ended(Ending::Dropped) };
        match &call.state {
            State::Ended(at, ending) if *at <= self.now => {
                let ending = ending.clone();
                self.calls.remove(&id);
                Progress::Ended(ending)
            }
            State::Ended(at, _) | State::Delayed(at) => Progress::Waits(Some(*at)),
            State::Locked(..) if call.limit.is_some_and(|limit| limit <= self.now) => self.give_up(id),
            State::Queued(at) | State::Locked(_, at) => {
                let at = call.limit.map_or(*at, |limit| limit.min(*at));
                Progress::Waits(Some(self.next_event().map_or(at, |next| next.min(at))))
            }
            State::Stalled => Progress::Waits(None),
        }
    }

    /// The front end has waited long enough; the daemon goes on with the call all the same.
    fn give_up(&mut self, id: u64) -> Progress {
        let ending = Ending::Answered(Reply::bare(596, "Connection timed out"));
        if let Some(record) = self.history.get_mut(&id) {
            record.result = Some(ending.clone());
        }
        self.forget(id);
        Progress::Ended(ending)
    }

    /// The client has gone: nobody will ask for this call's end.
    pub fn forget(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.abandoned = true;
        }
        self.calls
            .retain(|_, call| !(call.abandoned && matches!(call.state, State::Ended(..) | State::Stalled)));
    }

    /// All calls so far that are remembered, oldest first.
    pub fn calls(&self) -> Vec<CallRecord> {
        self.history.values().cloned().collect()
    }

    /// Calls of the watched token that are under way at a node, reads or writes.
    pub(super) fn under_way(&self, node: &str, write: bool) -> usize {
        self.calls
            .values()
            .filter(|call| {
                let open = match call.state {
                    State::Ended(at, _) => at > self.now,
                    State::Delayed(_) | State::Queued(_) | State::Locked(..) | State::Stalled => true,
                };
                open && !call.abandoned
                    && call.node.as_deref() == Some(node)
                    && (call.incoming.method != "GET") == write
                    && call.caller.as_deref() == Some(self.watched.as_str())
            })
            .count()
    }

    /// A call has come to the front end.
    pub(super) fn arrive(&mut self, id: u64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let incoming = call.incoming.clone();
        match &call.effect {
            Some(Effect::NotSent) => return self.finish(id, Ending::NotSent),
            Some(Effect::DropBefore) => return self.finish(id, Ending::Dropped),
            Some(Effect::FailBefore { status, reason }) => {
                let reply = Reply::with_status(*status, reason);
                return self.finish(id, Ending::Answered(reply));
            }
            Some(_) | None => {}
        }
        if !self.front_end_up || !self.is_node_up(&self.entry) {
            return self.finish(id, Ending::NotSent);
        }
        if !matches!(incoming.method.as_str(), "GET" | "POST" | "PUT" | "DELETE") {
            let reason = format!("method '{}' not available", incoming.method);
            return self.end(id, Reply::bare(501, &reason));
        }
        match self.let_in(id, &incoming) {
            Ok(context) => {
                let ready = context.routed.route.is_front_end() || self.has_worker(context.node());
                if let Some(call) = self.calls.get_mut(&id) {
                    let limit = self.now.after(self.durations.proxy_limit);
                    call.state = State::Queued(limit);
                    call.limit = Some(limit);
                    call.context = Some(context);
                }
                if ready {
                    self.attempt(id);
                    self.settle();
                }
            }
            Err(reply) => self.end(id, reply),
        }
    }

    /// Everything before the call itself: token, body, path, node.
    pub(super) fn let_in(&mut self, id: u64, incoming: &Incoming) -> Result<Context, Reply> {
        let caller = self
            .access
            .authenticate(incoming.authorization.as_deref())
            .map_err(|reason| Reply::bare(401, reason))?;
        if let Some(record) = self.history.get_mut(&id) {
            record.token = Some(caller.name.clone());
        }
        let routed = routes::find(&incoming.method, &incoming.path);
        let params = incoming.params();
        let fate = self.calls.get_mut(&id).and_then(|call| {
            call.caller = Some(caller.name.clone());
            call.node = routed.as_ref().and_then(|routed| routed.node.clone());
            call.effect.clone()
        });
        let known =
            routed.clone().unwrap_or(Routed { route: Route::Version, node: None, vmid: None, name: None });
        let context = Context {
            incoming: incoming.clone(),
            caller,
            routed: known,
            params: params.clone().unwrap_or_default(),
            fate,
        };
        self.watch(&context);
        params?;
        let routed =
            routed.ok_or_else(|| Reply::not_implemented(&incoming.method, &incoming.plain_path()))?;
        if let Some(name) = &routed.node {
            let node = self.nodes.get(name).ok_or_else(|| {
                Reply::refused(
                    500,
                    &format!(
                        "hostname lookup '{name}' failed - failed to get address info for: {name}: Name or \
                         service not known"
                    ),
                )
            })?;
            if !node.up {
                return Err(Reply::bare(595, "No route to host"));
            }
            if !routed.route.is_front_end() && !node.daemon_up {
                return Err(Reply::bare(595, "Connection refused"));
            }
        }
        Ok(context)
    }

    pub(super) fn attempt(&mut self, id: u64) {
        let Some(call) = self.calls.get(&id) else { return };
        let Some(context) = call.context.clone() else { return };
        let connection =
            if context.routed.route.is_front_end() { Connection::Kept } else { Connection::Proxied };
        match self.carry_out(&context) {
            Ok(document) => self.end(id, Reply::ok(document, connection)),
            Err(Halt::Refused(reply)) => self.end(id, reply),
            Err(Halt::FileLock(vmid)) => {
                let until = self.now.after(self.durations.file_lock);
                if let Some(call) = self.calls.get_mut(&id) {
                    call.state = State::Locked(vmid, until);
                }
            }
        }
    }

    pub(super) fn end(&mut self, id: u64, reply: Reply) {
        self.finish(id, Ending::Answered(reply));
    }

    pub(super) fn finish(&mut self, id: u64, ending: Ending) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let mut at = self.now.after(if call.incoming.method == "GET" {
            self.durations.read
        } else {
            self.durations.write
        });
        let mut ending = ending;
        if let Ending::Answered(reply) = &ending
            && reply.status == 401
            && reply.reason != "No ticket"
        {
            at = self.now.after(self.durations.auth_brake);
        }
        call.state = match &call.effect {
            Some(Effect::StallAfter) => State::Stalled,
            Some(Effect::DropAfter) => {
                ending = Ending::Dropped;
                State::Ended(at, ending.clone())
            }
            Some(Effect::FailAfter { status, reason }) => {
                ending = Ending::Answered(Reply::with_status(*status, reason));
                State::Ended(at, ending.clone())
            }
            Some(Effect::SlowAnswer(span)) => State::Ended(at.after(*span), ending.clone()),
            Some(_) | None => State::Ended(at, ending.clone()),
        };
        if call.abandoned {
            self.calls.remove(&id);
        }
        if let Some(record) = self.history.get_mut(&id) {
            record.result.get_or_insert(ending);
        }
    }

    pub(super) fn effect_on(&mut self, method: &str, path: &str) -> Option<Effect> {
        let mut found = None;
        for armed in self.faults.iter_mut().filter(|armed| armed.rule.on.matches(method, path)) {
            if armed.hits(self.rng.f64()) && found.is_none() {
                found = Some(armed.rule.effect.clone());
            }
        }
        self.faults.retain(|armed| !armed.is_spent());
        found
    }
}
