//! What a good client of PVE never does. The pool's token is watched; tests assert that nothing was noted.
//!
//! What the client cannot know is not held against it: a lock that somebody else has taken a moment ago, a
//! write whose digest shows that the configuration was another one.

use std::time::Duration;

use super::model::{Context, Model};
use super::routes::Route;
use crate::domain::time::Timestamp;

/// A lock or a change by somebody else counts as seen after this long.
const GRACE: Duration = Duration::from_secs(2);
/// Writes that may be under way at one node.
const WRITES_MAX: usize = 2;
/// Reads that may be under way at one node.
const READS_MAX: usize = 4;

/// One thing that a good client would not have done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Timestamp,
    /// Which rule.
    pub rule: ViolationRule,
    /// The call and the circumstances.
    pub text: String,
}

/// The rules that are watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViolationRule {
    /// A clone of a template of which an own clone runs.
    SecondClone,
    /// A write to a container that is locked.
    LockedWrite,
    /// A write to a container that is not the caller's.
    ForeignWrite,
    /// A write to a container for which an own task runs.
    BusyWrite,
    /// The destroy of a template.
    TemplateDestroyed,
    /// More than two writes under way at a node.
    TooManyWrites,
    /// More than four reads under way at a node.
    TooManyReads,
    /// A DELETE with a body.
    BodyOnDelete,
}

impl Model {
    /// Notes what is wrong with a call of the watched token.
    pub(super) fn watch(&mut self, context: &Context) {
        if context.caller.name != self.watched {
            return;
        }
        if context.incoming.method == "DELETE" && !context.incoming.body.is_empty() {
            self.note(context, ViolationRule::BodyOnDelete, "a DELETE with a body");
        }
        self.watch_load(context);
        let Some(vmid) = context.vmid() else { return };
        if context.routed.route == Route::CtClone {
            if self.running_tasks().any(|task| task.is_clone_of(vmid) && task.caller == self.watched) {
                self.note(context, ViolationRule::SecondClone, "an own clone of it runs");
            }
        } else if context.routed.route.is_write() {
            self.watch_write(context, vmid);
        }
    }

    fn watch_write(&mut self, context: &Context, vmid: u32) {
        let overrules =
            context.routed.route == Route::CtStop && context.flag("overrule-shutdown").unwrap_or(false);
        if !overrules && self.running_tasks().any(|task| task.concerns(vmid) && task.caller == self.watched) {
            self.note(context, ViolationRule::BusyWrite, "an own task for it runs");
        }
        let Some(ct) = self.cts.get(&vmid) else { return };
        let guarded = context.params.get("digest").is_some_and(|digest| *digest != ct.digest());
        let foreign = ct.made_by.as_deref() != Some(self.watched.as_str()) && !ct.adoptable && !guarded;
        let known_lock = ct.locked.is_some_and(|(at, own)| own || self.now.since(at) > GRACE);
        let template = ct.is("template");
        if foreign {
            self.note(context, ViolationRule::ForeignWrite, "it is somebody else's");
        }
        if known_lock {
            self.note(context, ViolationRule::LockedWrite, "it is locked");
        }
        if template && context.routed.route == Route::CtDestroy {
            self.note(context, ViolationRule::TemplateDestroyed, "it is a template");
        }
    }

    fn watch_load(&mut self, context: &Context) {
        let Some(node) = &context.routed.node else { return };
        let write = context.incoming.method != "GET";
        let under_way = self.under_way(node, write);
        let (most, rule) = if write {
            (WRITES_MAX, ViolationRule::TooManyWrites)
        } else {
            (READS_MAX, ViolationRule::TooManyReads)
        };
        if under_way > most {
            self.note(context, rule, &format!("{under_way} calls under way at {node}"));
        }
    }

    fn note(&mut self, context: &Context, rule: ViolationRule, why: &str) {
        let text = format!("{} {}: {why}", context.incoming.method, context.incoming.plain_path());
        self.violations.push(Violation { at: self.now, rule, text });
    }
}
