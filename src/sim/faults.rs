//! Scripted trouble: which calls it meets, how often, and what becomes of them.

use std::time::Duration;

/// One rule: calls that match, which of them, and what happens to these.
#[derive(Clone, Debug)]
pub struct FaultRule {
    /// Calls that it is about.
    pub on: On,
    /// Which of these calls.
    pub which: Which,
    /// What happens.
    pub effect: Effect,
}

impl FaultRule {
    /// The next call that matches, once.
    pub fn once(on: On, effect: Effect) -> Self {
        Self { on, which: Which::Nth(1), effect }
    }

    /// Every call that matches, until the rule is removed.
    pub fn always(on: On, effect: Effect) -> Self {
        Self { on, which: Which::Always, effect }
    }
}

/// Everyday trouble: of each hundred calls, `percent` meet with one kind or another of it. Nothing that a person
/// would have to mend: locks are taken off again, and no container stays half-made.
pub fn everyday(percent: f64) -> Vec<FaultRule> {
    let share = percent / 100.0;
    let (status, reason) = (596, "Connection timed out".to_owned());
    let failed = |exitstatus: &str| Effect::TaskFails { exitstatus: exitstatus.to_owned() };
    let rules = [
        (On::anything(), Effect::DropBefore, share / 5.0),
        (On::anything(), Effect::DropAfter, share / 5.0),
        (On::anything(), Effect::FailBefore { status, reason: reason.clone() }, share / 5.0),
        (On::anything(), Effect::FailAfter { status, reason }, share / 5.0),
        (On::anything(), Effect::SlowAnswer(Duration::from_millis(500)), share / 5.0),
        (On::clone_of_any(), failed("clone failed: can't lock file '/var/lock/lvm' - got timeout"), share),
        (On::clone_of_any(), Effect::TaskWarns, share),
        (On::start(), failed("startup for container failed"), share),
        (On::destroy(), failed("unable to remove volume: it is busy"), share),
    ];
    let rule = |(on, effect, chance)| FaultRule { on, which: Which::Chance(chance), effect };
    rules.into_iter().map(rule).collect()
}

/// Calls by method and path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct On {
    /// HTTP method; any, if `None`.
    pub method: Option<&'static str>,
    /// Path below `/api2/json`, where `*` stands for one part; `**` at the end for any number of parts.
    pub path: String,
}

impl On {
    /// Calls of this method and path.
    pub fn call(method: &'static str, path: &str) -> Self {
        Self { method: Some(method), path: path.to_owned() }
    }

    /// Every call.
    pub fn anything() -> Self {
        Self { method: None, path: "/**".to_owned() }
    }

    /// Clones of any container.
    pub fn clone_of_any() -> Self {
        Self::call("POST", "/nodes/*/lxc/*/clone")
    }

    /// Clones of one container.
    pub fn clone_of(template: u32) -> Self {
        Self::call("POST", &format!("/nodes/*/lxc/{template}/clone"))
    }

    /// Starts.
    pub fn start() -> Self {
        Self::call("POST", "/nodes/*/lxc/*/status/start")
    }

    /// Stops.
    pub fn stop() -> Self {
        Self::call("POST", "/nodes/*/lxc/*/status/stop")
    }

    /// Destroys.
    pub fn destroy() -> Self {
        Self::call("DELETE", "/nodes/*/lxc/*")
    }

    /// Changes of a configuration.
    pub fn update() -> Self {
        Self::call("PUT", "/nodes/*/lxc/*/config")
    }

    pub(super) fn matches(&self, method: &str, path: &str) -> bool {
        if self.method.is_some_and(|wanted| wanted != method) {
            return false;
        }
        let mut parts = path.split('/');
        for wanted in self.path.split('/') {
            if wanted == "**" {
                return true;
            }
            match parts.next() {
                Some(part) if wanted == "*" || wanted == part => {}
                Some(_) | None => return false,
            }
        }
        parts.next().is_none()
    }
}

/// Which of the matching calls a rule is for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Which {
    /// The n-th from now on, counted from 1, and then no more.
    Nth(u32),
    /// The first n from now on.
    First(u32),
    /// Each, until the rule is removed.
    Always,
    /// Each with this probability from 0 to 1, until the rule is removed.
    Chance(f64),
}

/// What happens to a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is not carried out and answered like this.
    FailBefore {
        /// HTTP status.
        status: u16,
        /// PVE's text.
        reason: String,
    },
    /// It is carried out and answered like this all the same.
    FailAfter {
        /// HTTP status.
        status: u16,
        /// PVE's text.
        reason: String,
    },
    /// No connection.
    NotSent,
    /// It is not carried out, and the connection breaks.
    DropBefore,
    /// It is carried out, and the connection breaks.
    DropAfter,
    /// It arrives this much later.
    Delay(Duration),
    /// It is carried out, and answered this much later.
    SlowAnswer(Duration),
    /// It is not carried out and never answered.
    Stall,
    /// It is carried out and never answered.
    StallAfter,
    /// Its task fails with this exit status, and cleans up after itself.
    TaskFails {
        /// The task's exit status, `clone failed: ` and the like included.
        exitstatus: String,
    },
    /// Its task ends with `WARNINGS: 1`.
    TaskWarns,
    /// Its task's worker is killed half-way and leaves everything as it is.
    TaskDies,
    /// Its task takes this much longer.
    TaskTakes(Duration),
}

/// A rule with its count.
#[derive(Clone, Debug)]
pub(super) struct Armed {
    pub(super) id: u64,
    pub(super) rule: FaultRule,
    pub(super) seen: u32,
}

impl Armed {
    /// Counts a call that matches and says whether it is one that is meant.
    pub(super) fn hits(&mut self, chance: f64) -> bool {
        self.seen += 1;
        match self.rule.which {
            Which::Nth(n) => self.seen == n,
            Which::First(n) => self.seen <= n,
            Which::Always => true,
            Which::Chance(probability) => chance < probability,
        }
    }

    /// It will not hit again.
    pub(super) fn is_spent(&self) -> bool {
        match self.rule.which {
            Which::Nth(n) | Which::First(n) => self.seen >= n,
            Which::Always | Which::Chance(_) => false,
        }
    }
}
