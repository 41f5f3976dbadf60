//! A chapter in a few sentences.

use super::chapter::Tale;
use super::story::{Chapter, Outcome};
use super::words::{names, span, span_ms};
use crate::domain::event::LeaveReason;

/// An allocation: how it was asked for, what the answer took, and where it is.
pub(super) fn of_allocation(chapter: &Chapter, tale: Tale) -> String {
    let Chapter { begun_at, durations, behind, .. } = chapter;
    let vmid = chapter.vmid.map_or_else(|| "no container".to_owned(), |vmid| format!("container {vmid}"));
    let template = template(chapter);
    let mut sentences = vec![match () {
        () if !chapter.beginning_is_known => "Its beginning is older than the log.".to_owned(),
        () if tale.found => format!("Found at PVE at {begun_at}, holding {vmid}."),
        () if !tale.queued => {
            format!("Asked for at {begun_at}: {vmid}{template} was ready.")
        }
        () if behind.is_empty() => format!("Asked for at {begun_at}: no container{template} was ready."),
        () => format!(
            "Asked for at {begun_at}: no container{template} was ready, and {} stood in line before it.",
            names(behind)
        ),
    }];
    if let Some(answer) = durations.answer_ms {
        let parts = [
            (durations.in_line_ms.filter(|waited| *waited > 0), "in line"),
            (durations.retries_ms, "of that after refusals by PVE"),
            (durations.rename_ms, "renaming"),
            (durations.start_ms, "starting"),
        ];
        let parts: Vec<_> =
            parts.into_iter().filter_map(|(ms, what)| Some(format!("{what} {}", span_ms(ms?)))).collect();
        let parts = if parts.is_empty() { String::new() } else { format!(" ({})", parts.join(", ")) };
        sentences.push(format!("Answered after {} with {vmid}{parts}.", span_ms(answer)));
    }
    sentences.push(end(chapter, &vmid, durations.held_ms));
    sentences.join(" ")
}

/// A container: where it came from, what it did, and where it is.
pub(super) fn of_container(chapter: &Chapter, tale: Tale) -> String {
    let Chapter { begun_at, durations, .. } = chapter;
    let mut sentences = vec![match durations.clone_ms {
        _ if !chapter.beginning_is_known => "Its beginning is older than the log.".to_owned(),
        _ if tale.found => format!("Found at PVE at {begun_at}."),
        Some(took) => {
            let queued = durations.in_line_ms.filter(|queued| *queued > 0);
            let retries = durations.retries_ms;
            let retries = retries.map(|it| format!(", {} of it after refusals by PVE", span_ms(it)));
            let retries = retries.unwrap_or_default();
            let queued = queued.map(|queued| format!(" after {} in the queue{retries}", span_ms(queued)));
            format!(
                "Queued at {begun_at}; cloned{} in {}{}.",
                from(chapter),
                span_ms(took),
                queued.unwrap_or_default()
            )
        }
        None => format!("Its clone{} was queued at {begun_at}.", template(chapter)),
    }];
    if let Some(ready) = durations.ready_ms {
        sentences.push(format!("It stood ready for {}.", span_ms(ready)));
    }
    match (tale.holders, &chapter.instance_id) {
        (0, _) | (_, None) => {}
        (1, _) if has_holder(chapter) => {}
        (1, Some(instance_id)) if tale.given_back.is_some() => {
            let held = durations.held_ms.map(|held| format!(" for {}", span_ms(held))).unwrap_or_default();
            sentences.push(format!("{instance_id} had it{held}{}.", back(tale.given_back)));
        }
        (1, Some(instance_id)) => sentences.push(format!("{instance_id} had it.")),
        (several, Some(instance_id)) => {
            let back = back(tale.given_back);
            sentences.push(format!("{several} had it, the last one was {instance_id}{back}."));
        }
    }
    sentences.push(match &chapter.instance_id {
        Some(instance_id) if has_holder(chapter) => format!("It is {instance_id}'s now."),
        Some(_) | None => end(chapter, "it", durations.held_ms.filter(|_| tale.given_back.is_none())),
    });
    sentences.join(" ")
}

/// How a holder's time ended, if the container was ready again.
fn back(given_back: Option<LeaveReason>) -> &'static str {
    match given_back {
        None => "",
        Some(LeaveReason::Request) => ", until it was given back",
        Some(LeaveReason::Expired) => ", until its time to live was over",
        Some(_) => ", until the pool took it back",
    }
}

fn has_holder(chapter: &Chapter) -> bool {
    matches!(chapter.outcome, Outcome::HandingOut | Outcome::Held)
}

fn template(chapter: &Chapter) -> String {
    chapter.template.map(|template| format!(" of template {template}")).unwrap_or_default()
}

fn from(chapter: &Chapter) -> String {
    chapter.template.map(|template| format!(" from template {template}")).unwrap_or_default()
}

/// Where it is, or why it is gone; how long it was held until then.
fn end(chapter: &Chapter, what: &str, held_ms: Option<u64>) -> String {
    let all = chapter.ended_at.map(|ended_at| span(ended_at.since(chapter.begun_at))).unwrap_or_default();
    let held = held_ms.map(|held| format!("Held for {}, then ", span_ms(held)));
    let held = held.unwrap_or_else(|| "Then ".to_owned());
    let why = match &chapter.gone {
        Some(gone) => match &gone.request_id {
            Some(request_id) => format!("{} ({request_id})", gone.why),
            None => gone.why.clone(),
        },
        None => "why is older than the log".to_owned(),
    };
    match chapter.outcome {
        Outcome::Waiting => "It waits.".to_owned(),
        Outcome::Creating => "It is not made yet.".to_owned(),
        Outcome::Ready => "It is ready.".to_owned(),
        Outcome::HandingOut => "It is being handed out.".to_owned(),
        Outcome::Held => "It is held.".to_owned(),
        Outcome::Releasing => "It is being given back.".to_owned(),
        Outcome::Removing => "It is being destroyed.".to_owned(),
        Outcome::Quarantined => "It needs a person.".to_owned(),
        Outcome::Released => format!("{held}given back: {why}."),
        Outcome::Removed => format!("{held}destroyed: {why}."),
        Outcome::Lost => format!("{held}{what} was gone from PVE, not by the pool: {why}."),
        Outcome::Failed => format!("Answered with an error after {all}: {why}."),
        Outcome::Cancelled => format!("Cancelled after {all}: {why}."),
        Outcome::NotMade => format!("It was not made: {why}."),
    }
}
