//! Which events a follower wants. A filter goes along with its cursor: see [`crate::domain::scope`].

use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{InstanceId, Seq, Vmid};
use crate::domain::scope::{Begin, OfInstance, OfTemplate};
use crate::domain::state::State;
use crate::http::codes::Code;
use crate::http::errors::{FieldError, Problem};
use crate::http::request::{LONGEST_INSTANCE, Query};
use crate::log::Reader;

/// Events before the place of beginning that are looked through for what belongs to whom: about as many as the
/// log keeps in memory.
const LOOK_BACK: u64 = 4096;

/// Records read at once while looking back.
const PAGE: usize = 1024;

/// Which events are wanted; all of them unless told otherwise.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter(Option<Box<Wanted>>);

#[derive(Clone, Debug, Default)]
struct Wanted {
    types: Option<Vec<&'static str>>,
    vmid: Option<Vmid>,
    template: Option<OfTemplate>,
    instance: Option<OfInstance>,
}

impl Filter {
    /// The filters of a query.
    pub(super) fn of(query: &Query) -> Result<Self, Problem> {
        let instance = query.text("instance");
        if instance.is_some_and(|it| it.len() > LONGEST_INSTANCE) {
            return Err(Problem::field("instance", format!("expected at most {LONGEST_INSTANCE} bytes")));
        }
        let wanted = Wanted {
            types: types(query)?,
            vmid: query.vmid("vmid")?,
            template: query.vmid("template")?.map(OfTemplate::new),
            instance: instance.map(|it| OfInstance::new(InstanceId(it.to_owned()))),
        };
        let wants_all = wanted.types.is_none()
            && wanted.vmid.is_none()
            && wanted.template.is_none()
            && wanted.instance.is_none();
        Ok(Self((!wants_all).then(|| Box::new(wanted))))
    }

    /// Whether it lets everything pass.
    pub(super) fn wants_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether an event passes. Events are to be shown in order, none left out.
    pub(super) fn passes(&mut self, envelope: &Envelope) -> bool {
        let Some(wanted) = &mut self.0 else { return true };
        let event = &envelope.event;
        // Scopes see every event, whatever the others say.
        let template = wanted.template.as_mut().is_none_or(|scope| scope.has(event));
        let instance = wanted.instance.as_mut().is_none_or(|scope| scope.has(event));
        template
            && instance
            && wanted.types.as_ref().is_none_or(|types| types.contains(&event.type_name()))
            && wanted.vmid.is_none_or(|vmid| event.vmid() == Some(vmid))
    }

    /// Whether what passes depends on what came before.
    pub(super) fn has_scopes(&self) -> bool {
        self.0.as_ref().is_some_and(|wanted| wanted.template.is_some() || wanted.instance.is_some())
    }

    /// Makes it ready to begin behind the event that State is at.
    pub(super) fn begin_live(&mut self, state: &State) {
        self.seed(state, None);
    }

    /// Makes it ready to begin behind `after`, which is before `head`, where State is. May read files.
    ///
    /// What cannot be read is left out: the events themselves cannot be read then either.
    pub(super) fn begin_behind(&mut self, after: Seq, head: Seq, state: &State, reader: &Reader) {
        let oldest = Seq(reader.oldest().0.saturating_sub(1));
        let mut cursor = oldest.max(Seq(after.0.saturating_sub(LOOK_BACK)));
        let first = reader.read(cursor, 1, head).unwrap_or_default();
        let begin = first.first().map(|first| Begin { seq: first.envelope.seq, at: first.envelope.at });
        self.seed(state, begin);
        while let Ok(records) = reader.read(cursor, PAGE, after) {
            let Some(last) = records.last() else { break };
            cursor = last.envelope.seq;
            for record in &records {
                self.passes(&record.envelope);
            }
        }
    }

    fn seed(&mut self, state: &State, begin: Option<Begin>) {
        let Some(wanted) = &mut self.0 else { return };
        if let Some(scope) = &mut wanted.template {
            scope.seed(state, begin);
        }
        if let Some(scope) = &mut wanted.instance {
            scope.seed(state, begin);
        }
    }
}

fn types(query: &Query) -> Result<Option<Vec<&'static str>>, Problem> {
    let mut types = Vec::new();
    for word in query.each("types").flat_map(|list| list.split(',')) {
        let Some(known) = Event::TYPES.iter().find(|known| **known == word.trim()) else {
            let expected = "expected types of events, separated by commas; events/README.md lists them";
            let errors = vec![FieldError { field: "types".to_owned(), expected: expected.to_owned() }];
            let detail = format!("there is no event type `{}`", word.chars().take(64).collect::<String>());
            return Err(Problem { errors, ..Problem::new(Code::UnknownFilter, detail) });
        };
        types.push(*known);
    }
    Ok((!types.is_empty()).then_some(types))
}
