//! What is busy: the keys of actions that run, or whose outcome the published State does not show yet.

use std::collections::BTreeMap;

use crate::domain::ids::Seq;
use crate::domain::plan::ActionKey;

/// Keys that no action may be started with.
#[derive(Debug, Default)]
pub(super) struct Roster {
    /// Where the outcome is in the log, once the action has ended.
    busy: BTreeMap<ActionKey, Option<Seq>>,
}

impl Roster {
    /// Takes a key; false if it is busy.
    pub(super) fn begin(&mut self, key: ActionKey) -> bool {
        if self.busy.contains_key(&key) {
            return false;
        }
        self.busy.insert(key, None);
        true
    }

    /// The key's action has ended, and State has its outcome from `seq` on.
    pub(super) fn ended(&mut self, key: ActionKey, seq: Seq) {
        self.busy.insert(key, Some(seq));
    }

    /// State is published up to `head`: plans made of it know the outcomes before.
    pub(super) fn published(&mut self, head: Seq) {
        self.busy.retain(|_, outcome| outcome.is_none_or(|seq| seq > head));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Vmid;

    #[test]
    fn a_key_is_busy_until_its_outcome_is_published() {
        let mut roster = Roster::default();
        let (one, other) = (ActionKey::Container(Vmid(200)), ActionKey::Template(Vmid(200)));
        assert!(roster.begin(one));
        assert!(!roster.begin(one));
        assert!(roster.begin(other), "another key is not touched by it");
        roster.published(Seq(7));
        assert!(!roster.begin(one), "it runs");
        roster.ended(one, Seq(9));
        roster.published(Seq(8));
        assert!(!roster.begin(one), "a plan of this State is stale");
        roster.published(Seq(9));
        assert!(roster.begin(one));
        assert!(!roster.begin(other));
    }
}
