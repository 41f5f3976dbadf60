//! The fold: which events are whose, and where one chapter ends and the next begins.

use std::collections::VecDeque;

use super::around::Around;
use super::chapter::{About, Draft};
use super::story::{Outcome, Story, Subject};
use crate::domain::event::{ClonePurpose, Envelope, Event};
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::scope::OfInstance;
use crate::domain::time::Timestamp;

/// Chapters kept, the newest.
const MOST_CHAPTERS: usize = 20;
/// Names that an unknown subject is told about.
const MOST_NAMES: usize = 5;

/// Hears the log in order and tells what belongs to its subject.
#[derive(Debug)]
pub struct Teller {
    subject: Subject,
    scope: Option<OfInstance>,
    around: Around,
    chapters: VecDeque<Draft>,
    left_out: u64,
    first: Option<(Seq, Timestamp)>,
    head: Seq,
    /// The last names of the subject's kind.
    others: VecDeque<String>,
}

/// The log does not know the subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    /// What was asked for.
    pub about: Subject,
    /// The oldest event that was read, and when it was.
    pub oldest: Option<(Seq, Timestamp)>,
    /// The newest event that was read.
    pub head: Seq,
    /// The names of the same kind that the log named last.
    pub others: Vec<String>,
}

impl Teller {
    /// A teller of `subject` that has heard nothing.
    pub fn new(subject: Subject) -> Self {
        let scope = match &subject {
            Subject::Instance(instance_id) => Some(OfInstance::new(instance_id.clone())),
            Subject::Vmid(_) => None,
        };
        Self {
            subject,
            scope,
            around: Around::default(),
            chapters: VecDeque::new(),
            left_out: 0,
            first: None,
            head: Seq(0),
            others: VecDeque::new(),
        }
    }

    /// Goes on by one event. Events are to be heard in order, none left out.
    pub fn hear(&mut self, envelope: &Envelope) {
        self.first.get_or_insert((envelope.seq, envelope.at));
        self.head = envelope.seq;
        let its = match (&self.subject, &mut self.scope) {
            (Subject::Instance(_), Some(scope)) => scope.has(&envelope.event),
            (Subject::Vmid(vmid), _) => envelope.event.vmid() == Some(*vmid),
            (Subject::Instance(_), None) => false,
        };
        if its {
            if self.begins_chapter(&envelope.event) {
                self.begin(envelope);
            }
            if let Some(draft) = self.chapters.back_mut() {
                draft.hear(envelope, &self.around);
            }
        } else if let Some(draft) = self.chapters.back_mut()
            && concerns(draft, &envelope.event)
        {
            draft.overhear(envelope);
        }
        self.around.hear(envelope);
        self.remember_name(&envelope.event);
    }

    /// What was heard.
    pub fn tell(self) -> Result<Story, Unknown> {
        let Self { subject, chapters, left_out, first, head, others, .. } = self;
        let chapters: Vec<_> = chapters.into_iter().map(Draft::told).collect();
        let Some(newest) = chapters.last() else {
            return Err(Unknown { about: subject, oldest: first, head, others: others.into() });
        };
        Ok(Story {
            about: subject,
            summary: newest.summary.clone(),
            chapters,
            chapters_left_out: left_out,
            oldest: first.map_or(Seq(1), |(oldest, _)| oldest),
            head,
        })
    }

    /// Whether an event of the subject's is not of the chapter that was told last.
    fn begins_chapter(&self, event: &Event) -> bool {
        let Some(draft) = self.chapters.back() else { return true };
        match (draft.about, event) {
            (_, Event::ContainerDiscovered(_)) => true,
            (About::Container(known), Event::CloneStarted(it)) => known != Some(it.clone_id),
            (About::Container(_), _) => false,
            (About::Allocation(known), _) => {
                event.allocation_id().is_some_and(|it| known != Some(it)) && opens(event)
            }
        }
    }

    fn begin(&mut self, envelope: &Envelope) {
        let event = &envelope.event;
        let draft = match &self.subject {
            Subject::Instance(_) => {
                let known = opens(event) || matches!(event, Event::ContainerDiscovered(_));
                Draft::new(About::Allocation(event.allocation_id()), envelope.at, known)
            }
            Subject::Vmid(_) => self.container(envelope),
        };
        self.chapters.push_back(draft);
        if self.chapters.len() > MOST_CHAPTERS {
            self.chapters.pop_front();
            self.left_out += 1;
        }
    }

    /// A container's life begins with the place of its clone in the queue.
    fn container(&self, envelope: &Envelope) -> Draft {
        let (clone_id, known) = match &envelope.event {
            Event::CloneStarted(it) => (Some(it.clone_id), true),
            Event::ContainerDiscovered(it) => (Some(it.clone_id), true),
            Event::CloneSucceeded(it) => (Some(it.clone_id), false),
            _ => (None, false),
        };
        let before = clone_id.map(|clone_id| self.around.steps(clone_id)).unwrap_or_default();
        let begun_at = before.first().map_or(envelope.at, |step| step.at);
        let mut draft = Draft::new(About::Container(clone_id), begun_at, known);
        before.iter().cloned().for_each(|step| draft.note(step));
        draft
    }

    fn remember_name(&mut self, event: &Event) {
        let name = match (&self.subject, event) {
            (Subject::Instance(_), Event::AllocationQueued(it)) => it.instance_id.to_string(),
            (Subject::Instance(_), Event::Allocated(it)) => it.instance_id.to_string(),
            (Subject::Vmid(_), Event::CloneStarted(it)) => it.vmid.to_string(),
            (Subject::Vmid(_), Event::ContainerDiscovered(it)) => it.vmid.to_string(),
            _ => return,
        };
        self.others.retain(|known| *known != name);
        self.others.push_back(name);
        if self.others.len() > MOST_NAMES {
            self.others.pop_front();
        }
    }
}

/// An allocation's first event.
fn opens(event: &Event) -> bool {
    matches!(event, Event::AllocationQueued(_) | Event::Allocated(_))
}

/// Whether what happened to others is a part of this chapter too: it held it up, or served those before it.
fn concerns(draft: &Draft, event: &Event) -> bool {
    match event {
        Event::ServiceStarted(_)
        | Event::ServiceStopping(_)
        | Event::ServiceStopped(_)
        | Event::PveUnreachable(_)
        | Event::PveReachable(_) => draft.is_busy(),
        Event::CloneQueued(it) => it.purpose == ClonePurpose::Waiter && waits(draft, it.template),
        Event::CloneStarted(it) => waits(draft, it.template),
        Event::CloneSubmitted(it) => waits(draft, it.template),
        Event::CloneUncertain(it) => waits(draft, it.template),
        Event::CloneRetryScheduled(it) => waits(draft, it.template),
        Event::CloneSucceeded(it) => waits(draft, it.template),
        Event::CloneFailed(it) => waits(draft, it.template),
        Event::TemplateBackedOff(it) => waits(draft, it.template),
        Event::TemplateConfigured(it) => waits(draft, it.template),
        Event::TemplateDrained(it) => waits(draft, it.template),
        Event::Allocated(it) => waits(draft, it.template),
        _ => false,
    }
}

fn waits(draft: &Draft, template: Vmid) -> bool {
    draft.is_allocation() && draft.outcome() == Outcome::Waiting && draft.template() == Some(template)
}

impl Unknown {
    /// What is known instead, as a sentence.
    pub fn in_words(&self) -> String {
        let (kind, name) = match &self.about {
            Subject::Instance(InstanceId(name)) => ("instance", name.clone()),
            Subject::Vmid(vmid) => ("container", vmid.to_string()),
        };
        let known = match &self.others[..] {
            [] => format!("it names no {kind} at all"),
            others => format!("the last that it names are {}", others.join(", ")),
        };
        let head = self.head;
        match self.oldest {
            Some((Seq(1), _)) | None => {
                format!("the log, read from its first event to event {head}, knows no {kind} {name}; {known}")
            }
            Some((oldest, at)) => format!(
                "the log, read from event {oldest} of {at} to event {head}, knows no {kind} {name}; {known}. \
                 Events before {oldest} were pruned: a copy of the log from before may tell, by \
                 `sandbox-pool explain --{} {name} --data-dir COPY`",
                match &self.about {
                    Subject::Instance(_) => "instance",
                    Subject::Vmid(_) => "vmid",
                }
            ),
        }
    }
}
