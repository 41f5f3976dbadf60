//! Runs the plan's actions through PVE and reports what it saw.
//!
//! It chooses nothing: everything chosen is in the action, and what follows from an observation is the
//! engine's to decide. It never runs two actions with one key, and it never loses a result.

use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::domain::command::Observation;
use crate::domain::event::Cause;
use crate::domain::ids::Seq;
use crate::domain::plan::{Action, ActionKey, plan};
use crate::domain::time::Timestamp;
use crate::engine::{Engine, Published};
use crate::pve::Pve;

pub(crate) mod report;
mod roster;
pub(crate) mod site;

pub(crate) mod look;
mod task;

mod clone;
mod hand_out;
mod leave;
pub(crate) mod made;
mod probe;
pub(crate) mod template;

#[cfg(test)]
pub(crate) mod tests;

pub use template::read_template;

use report::{Reported, report};
use roster::Roster;
use site::Site;

/// An action whose report changed nothing would be planned again at once; it is held back for this long.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// Runs what the plan wants until `stop`, or until the engine has ended.
///
/// What runs at `stop` is left to PVE; the next start finds out what became of it.
pub async fn run(engine: Engine, pve: Pve, clock: Clock, stop: CancellationToken) {
    let mut published = engine.watch();
    let mut roster = Roster::default();
    let mut running = JoinSet::new();
    loop {
        let now_published = published.borrow_and_update();
        let wake_at = start_what_is_due(&now_published, &mut roster, clock, |action| {
            let work = carry_out(engine.clone(), Site::new(pve.clone(), clock), action);
            running.spawn(work);
        });
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = published.changed() => if changed.is_err() { return },
            Some(ended) = running.join_next() => match ended {
                Ok((key, Some(seq))) => roster.ended(key, seq),
                Ok((_, None)) => return,
                Err(error) => end_of(error),
            },
            () = clock.sleep_until_any(wake_at) => {}
        }
    }
}

/// Starts each action that is not running, and says when the plan is to be looked at again.
fn start_what_is_due(
    published: &Published,
    roster: &mut Roster,
    clock: Clock,
    mut start: impl FnMut(Action),
) -> Option<Timestamp> {
    roster.published(published.head);
    if published.unwritable.is_some() {
        return None;
    }
    let plan = plan(&published.state, clock.now());
    for action in plan.actions {
        if roster.begin(action.key()) {
            start(action);
        }
    }
    plan.wake_at
}

/// Runs an action to its end and reports it; without a position when the engine has ended.
async fn carry_out(engine: Engine, site: Site, action: Action) -> (ActionKey, Option<Seq>) {
    let key = action.key();
    let cause = action.cause().map(Cause::Event);
    let observation = perform(&site, action).await;
    if let Some(reason) = site.outage()
        && !probe::is_reachable(&site).await
    {
        report(&engine, site.clock, Observation::PveUnreachable { reason }, cause.clone()).await;
    }
    let reported = report(&engine, site.clock, observation, cause).await;
    if let Some(Reported { changed: false, .. }) = reported {
        site.clock.sleep(IDLE_PAUSE).await;
    }
    (key, reported.map(|reported| reported.seq))
}

/// Runs an action to its end.
async fn perform(site: &Site, action: Action) -> Observation {
    match action {
        Action::ProbePve => probe::until_reachable(site).await,
        Action::PrepareClone { clone_id, template, node, linkable } => {
            let outcome = template::prepare(site, template, node, linkable).await;
            Observation::ClonePrepared { clone_id, template, outcome }
        }
        Action::SendClone { target, template, marker, full, resource_pool } => {
            clone::send(site, target, template, &marker, full, resource_pool).await
        }
        Action::FindClone { target, template, sent_after, give_up_at } => {
            clone::find(site, &target, template, sent_after, give_up_at).await
        }
        Action::FollowClone { target, template, upid, started_at, expected } => {
            let pace = task::Pace { started_at, expected };
            clone::follow(site, &target, template, upid, pace).await
        }
        Action::Rename { target, marker, resumed } => hand_out::rename(site, &target, &marker, resumed).await,
        Action::Start { target, expected } => hand_out::start(site, &target, expected).await,
        Action::Park { target, hostname, marker } => leave::park(site, &target, hostname, &marker).await,
        Action::Destroy { target, rename_back, marker } => {
            leave::destroy(site, &target, rename_back, &marker).await
        }
    }
}

/// A panic of an action is the program's.
fn end_of(error: JoinError) {
    if let Ok(panic) = error.try_into_panic() {
        std::panic::resume_unwind(panic);
    }
}
