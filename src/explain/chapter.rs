//! A chapter in the making: what each event changes of its outcome and its durations.

use std::collections::VecDeque;
use std::fmt::Write as _;

use super::around::Around;
use super::story::{Chapter, Durations, Gone, Outcome, Step};
use super::summary;
use super::words::{cancelled, fault, left, names, span_ms};
use crate::domain::event::{Cause, Envelope, Event, LeaveReason};
use crate::domain::ids::{AllocationId, CloneId, Vmid};
use crate::domain::time::Timestamp;

/// Steps kept of a chapter's beginning, and as many of its end.
const MOST_STEPS: usize = 100;

/// What a chapter is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum About {
    /// An allocation; one of a container that was found has no id.
    Allocation(Option<AllocationId>),
    /// A container; of one whose beginning is not kept the clone is not known.
    Container(Option<CloneId>),
}

/// A chapter in the making.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) about: About,
    chapter: Chapter,
    newest: VecDeque<Step>,
    marks: Marks,
    pub(super) tale: Tale,
}

/// What a summary needs besides the chapter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tale {
    /// It was found at PVE.
    pub(super) found: bool,
    /// No container was ready when it was asked for.
    pub(super) queued: bool,
    /// How many held the container.
    pub(super) holders: u32,
    /// Why the last of them has it no more, once it was ready again.
    pub(super) given_back: Option<LeaveReason>,
}

/// When what is going on began.
#[derive(Debug, Default)]
struct Marks {
    in_line: Option<Timestamp>,
    refused: Option<Timestamp>,
    ready: Option<Timestamp>,
    handed: Option<Timestamp>,
    held: Option<Timestamp>,
    leaving: Option<(Timestamp, LeaveReason, Option<String>)>,
}

/// Adds what went by since a mark, and takes the mark away.
pub(super) fn close(sum: &mut Option<u64>, mark: &mut Option<Timestamp>, at: Timestamp) {
    if let Some(since) = mark.take() {
        *sum = Some(sum.unwrap_or(0) + ms(since, at));
    }
}

fn ms(since: Timestamp, at: Timestamp) -> u64 {
    u64::try_from(at.since(since).as_millis()).unwrap_or(u64::MAX)
}

impl Draft {
    /// A chapter that begins with this event.
    pub(super) fn new(about: About, begun_at: Timestamp, beginning_is_known: bool) -> Self {
        let (allocation_id, clone_id, outcome) = match about {
            About::Allocation(id) => (id.map(|id| id.to_string()), None, Outcome::Waiting),
            About::Container(id) => (None, id.map(|id| id.to_string()), Outcome::Creating),
        };
        let chapter = Chapter {
            summary: String::new(),
            outcome,
            allocation_id,
            clone_id,
            instance_id: None,
            vmid: None,
            template: None,
            begun_at,
            beginning_is_known,
            ended_at: None,
            behind: Vec::new(),
            durations: Durations::default(),
            gone: None,
            steps: Vec::new(),
            steps_left_out: 0,
        };
        let (newest, marks, tale) = (VecDeque::new(), Marks::default(), Tale::default());
        Self { about, chapter, newest, marks, tale }
    }

    pub(super) fn is_allocation(&self) -> bool {
        matches!(self.about, About::Allocation(_))
    }

    pub(super) fn is_over(&self) -> bool {
        self.chapter.ended_at.is_some()
    }

    pub(super) fn outcome(&self) -> Outcome {
        self.chapter.outcome
    }

    pub(super) fn template(&self) -> Option<Vmid> {
        self.chapter.template
    }

    /// Whether something is being done that a restart or a PVE that is away delays.
    pub(super) fn is_busy(&self) -> bool {
        use Outcome::{Creating, HandingOut, Releasing, Removing, Waiting};
        matches!(self.chapter.outcome, Waiting | Creating | HandingOut | Releasing | Removing)
    }

    /// Takes a step in, unless it is there.
    pub(super) fn note(&mut self, mut step: Step) {
        let last = self.newest.back().or(self.chapter.steps.last());
        if last.is_some_and(|last| last.seq >= step.seq) {
            return;
        }
        step.after_ms = ms(self.chapter.begun_at, step.at);
        if self.chapter.steps.len() < MOST_STEPS {
            self.chapter.steps.push(step);
            return;
        }
        self.newest.push_back(step);
        if self.newest.len() > MOST_STEPS {
            self.newest.pop_front();
            self.chapter.steps_left_out += 1;
        }
    }

    /// Goes on by an event of the chapter's own.
    pub(super) fn hear(&mut self, envelope: &Envelope, around: &Around) {
        if let Some(mut step) = Step::of(envelope) {
            self.add_to_words(&mut step, &envelope.event, around);
            self.note(step);
        }
        if self.is_over() && !matches!(envelope.event, Event::CloneStarted(_)) {
            return;
        }
        if let Some(template) = envelope.event.template() {
            self.chapter.template = Some(template);
        }
        if let Some(vmid) = envelope.event.vmid() {
            self.chapter.vmid = Some(vmid);
        }
        match &envelope.event {
            Event::CloneStarted(_)
            | Event::CloneRetryScheduled(_)
            | Event::CloneSucceeded(_)
            | Event::CloneFailed(_) => self.made(envelope, around),
            Event::AllocationQueued(_)
            | Event::Allocated(_)
            | Event::AllocationRequeued(_)
            | Event::AllocationResumed(_)
            | Event::AllocationCompleted(_)
            | Event::AllocationCancelled(_)
            | Event::AllocationFailed(_)
            | Event::ContainerRenamed(_)
            | Event::ContainerStarted(_) => self.allocated(envelope, around),
            _ => self.left(envelope),
        }
    }

    /// Goes on by an event of the surroundings that holds the chapter up: a clone that it waits for is refused.
    pub(super) fn overhear(&mut self, envelope: &Envelope) {
        let (durations, marks) = (&mut self.chapter.durations, &mut self.marks);
        match &envelope.event {
            Event::CloneRetryScheduled(_) => marks.refused = marks.refused.or(Some(envelope.at)),
            Event::CloneStarted(_) => close(&mut durations.retries_ms, &mut marks.refused, envelope.at),
            _ => {}
        }
        if let Some(step) = Step::of(envelope) {
            self.note(step);
        }
    }

    /// What only the surroundings know.
    fn add_to_words(&self, step: &mut Step, event: &Event, around: &Around) {
        match event {
            Event::AllocationQueued(it) => {
                let line = around.line(it.template);
                let stand = if line.len() < 2 { "stands" } else { "stand" };
                // Writing to a String does not fail.
                let _ = write!(step.words, " Before it {stand} {}.", names(&line));
                let (cloning, queued) = around.lane(it.template);
                if let Some(vmid) = cloning {
                    let more = if queued > 0 { format!(", {queued} more queued") } else { String::new() };
                    let _ = write!(step.words, " Container {vmid} is being cloned{more}.");
                }
            }
            Event::Allocated(it) if it.from_pool && self.chapter.steps.is_empty() => {
                let made =
                    around.made_in_ms(it.vmid).map(|took| format!(" (its clone took {})", span_ms(took)));
                step.words = format!(
                    "{} asks for a container of template {}; container {} is ready{} and is its own now.",
                    it.instance_id,
                    it.template,
                    it.vmid,
                    made.unwrap_or_default()
                );
            }
            _ => {}
        }
    }

    /// What becomes of a clone.
    fn made(&mut self, envelope: &Envelope, around: &Around) {
        let at = envelope.at;
        match &envelope.event {
            Event::CloneStarted(it) => {
                let chapter = &mut self.chapter;
                (chapter.ended_at, chapter.gone, chapter.outcome) = (None, None, Outcome::Creating);
                chapter.durations.in_line_ms = Some(ms(chapter.begun_at, at));
                chapter.durations.retries_ms = around.retries_ms(it.clone_id, at);
            }
            Event::CloneSucceeded(it) => {
                self.chapter.durations.clone_ms = Some(it.duration_ms);
                self.chapter.outcome = Outcome::Ready;
                self.marks.ready = Some(at);
            }
            Event::CloneRetryScheduled(it) => self.end(at, Outcome::NotMade, fault(&it.fault)),
            Event::CloneFailed(it) => self.end(at, Outcome::NotMade, fault(&it.fault)),
            _ => {}
        }
    }

    /// What becomes of a request.
    fn allocated(&mut self, envelope: &Envelope, around: &Around) {
        let (at, is_allocation) = (envelope.at, self.is_allocation());
        let (chapter, marks) = (&mut self.chapter, &mut self.marks);
        let durations = &mut chapter.durations;
        match &envelope.event {
            Event::AllocationQueued(it) => {
                chapter.instance_id = Some(it.instance_id.clone());
                chapter.behind = around.line(it.template);
                marks.in_line = Some(at);
                marks.refused = around.is_refused(it.template).then_some(at);
                self.tale.queued = true;
            }
            Event::Allocated(it) => {
                chapter.instance_id = Some(it.instance_id.clone());
                close(&mut durations.in_line_ms, &mut marks.in_line, at);
                close(&mut durations.retries_ms, &mut marks.refused, at);
                close(&mut durations.ready_ms, &mut marks.ready, at);
                if is_allocation && !it.from_pool {
                    durations.clone_ms = around.made_in_ms(it.vmid);
                }
                marks.handed = Some(at);
                chapter.outcome = Outcome::HandingOut;
                self.tale.holders += 1;
                self.tale.given_back = None;
            }
            Event::AllocationRequeued(_) if is_allocation => {
                marks.in_line = Some(at);
                chapter.outcome = Outcome::Waiting;
            }
            Event::AllocationResumed(_) => chapter.outcome = Outcome::HandingOut,
            Event::AllocationCompleted(it) => {
                chapter.instance_id = Some(it.instance_id.clone());
                // Asked for again, it was answered before.
                if !is_allocation || durations.answer_ms.is_none() {
                    durations.answer_ms = Some(it.duration_ms);
                }
                marks.held = marks.held.or(Some(at));
                chapter.outcome = Outcome::Held;
            }
            Event::AllocationCancelled(it) if is_allocation => {
                chapter.instance_id = Some(it.instance_id.clone());
                self.end(at, Outcome::Cancelled, cancelled(it.reason).to_owned());
            }
            Event::AllocationFailed(it) if is_allocation => {
                chapter.instance_id = Some(it.instance_id.clone());
                self.end(at, Outcome::Failed, it.reason.trim_end_matches('.').to_owned());
            }
            Event::ContainerRenamed(it) if it.allocation_id.is_some() => {
                durations.rename_ms = marks.handed.take().map(|since| ms(since, at)).or(durations.rename_ms);
            }
            Event::ContainerStarted(it) => durations.start_ms = it.duration_ms.or(durations.start_ms),
            _ => {}
        }
    }

    /// What becomes of a container that is found, or leaves.
    fn left(&mut self, envelope: &Envelope) {
        let at = envelope.at;
        match &envelope.event {
            Event::ContainerDiscovered(it) => {
                self.tale.found = true;
                self.chapter.instance_id.clone_from(&it.instance_id);
                if it.instance_id.is_some() {
                    (self.chapter.outcome, self.marks.held) = (Outcome::Held, Some(at));
                    self.tale.holders += 1;
                } else {
                    (self.chapter.outcome, self.marks.ready) = (Outcome::Ready, Some(at));
                }
            }
            Event::ContainerQuarantined(_) => self.chapter.outcome = Outcome::Quarantined,
            Event::ReleaseRequested(it) => self.leaves(envelope, it.by, Outcome::Releasing),
            Event::RemovalRequested(it) => self.leaves(envelope, it.by, Outcome::Removing),
            Event::ReleaseFailed(it) if it.retry_at.is_none() => {
                (self.chapter.outcome, self.marks.held) = (Outcome::Held, Some(at));
                self.marks.leaving = None;
            }
            Event::Released(it) if self.is_allocation() || !it.reused => {
                if self.is_allocation() {
                    self.gone(at, Outcome::Released);
                } else {
                    self.chapter.outcome = Outcome::Removing;
                }
            }
            Event::Released(_) => {
                self.tale.given_back = self.marks.leaving.take().map(|(_, by, _)| by);
                self.chapter.outcome = Outcome::Ready;
                self.marks.ready = Some(at);
            }
            Event::Removed(_) => self.gone(at, Outcome::Removed),
            Event::ContainerLost(it) => {
                self.end(at, Outcome::Lost, it.reason.trim_end_matches('.').to_owned());
            }
            _ => {}
        }
    }

    fn leaves(&mut self, envelope: &Envelope, by: LeaveReason, outcome: Outcome) {
        let at = envelope.at;
        let request_id = match &envelope.cause {
            Some(Cause::Request(id)) => Some(id.clone()),
            Some(Cause::Event(_)) | None => None,
        };
        self.stop_clocks(at);
        // Given back and then destroyed is one way out.
        let since = self.marks.leaving.as_ref().map_or(at, |(since, ..)| *since);
        self.marks.leaving = Some((since, by, request_id));
        self.chapter.outcome = outcome;
    }

    /// The end that was asked for.
    fn gone(&mut self, at: Timestamp, outcome: Outcome) {
        let leaving = self.marks.leaving.take();
        self.end(at, outcome, String::new());
        if let Some((since, by, request_id)) = leaving {
            self.chapter.durations.leaving_ms = Some(ms(since, at));
            self.chapter.gone = Some(Gone { why: left(by).to_owned(), by: Some(by), request_id });
        } else {
            self.chapter.gone = None;
        }
    }

    fn end(&mut self, at: Timestamp, outcome: Outcome, why: String) {
        self.stop_clocks(at);
        self.chapter.outcome = outcome;
        self.chapter.ended_at = Some(at);
        self.chapter.gone = Some(Gone { why, by: None, request_id: None });
    }

    fn stop_clocks(&mut self, at: Timestamp) {
        let (durations, marks) = (&mut self.chapter.durations, &mut self.marks);
        close(&mut durations.in_line_ms, &mut marks.in_line, at);
        close(&mut durations.retries_ms, &mut marks.refused, at);
        close(&mut durations.ready_ms, &mut marks.ready, at);
        close(&mut durations.held_ms, &mut marks.held, at);
    }

    /// The chapter as it is answered.
    pub(super) fn told(mut self) -> Chapter {
        self.chapter.steps.extend(self.newest);
        self.chapter.summary = match self.about {
            About::Allocation(_) => summary::of_allocation(&self.chapter, self.tale),
            About::Container(_) => summary::of_container(&self.chapter, self.tale),
        };
        self.chapter
    }
}
