//! Of which template a container is, at each place in the log.
//!
//! Most events of a container name nothing but its VMID, and VMIDs change hands: what State knows at the head
//! says nothing of an event before.

use std::collections::BTreeMap;

use super::source;
use crate::domain::event::{Envelope, Event};
use crate::domain::ids::{Lane, Seq, Vmid};
use crate::domain::state::State;
use crate::log::{ReadError, Reader};

/// Goes along with a cursor.
#[derive(Clone, Debug, Default)]
pub(super) struct Owners(BTreeMap<Vmid, Vmid>);

impl Owners {
    /// Behind `cursor`, which may be before the head that State is at.
    pub(super) fn behind(cursor: Seq, state: &State) -> Self {
        let before = state.containers.values().filter(|it| it.created_seq <= cursor);
        Self(before.map(|it| (it.vmid, it.template)).collect())
    }

    /// The same for one lane alone.
    pub(super) fn of_lane(lane: &Lane, cursor: Seq, state: &State) -> Self {
        let vmid = lane.as_str().strip_prefix("container/").and_then(|vmid| vmid.parse().ok());
        let container = vmid.and_then(|vmid| state.container(vmid)).filter(|it| it.created_seq <= cursor);
        Self(container.map(|it| (it.vmid, it.template)).into_iter().collect())
    }

    /// The template that an event is about, itself or by its container. Events come in order, of each container
    /// none left out; what is not known from them is looked up before them.
    pub(super) async fn template(
        &mut self,
        reader: &Reader,
        envelope: &Envelope,
    ) -> Result<Option<Vmid>, ReadError> {
        let event = &envelope.event;
        let Some(vmid) = event.vmid() else { return Ok(event.template()) };
        let template = match event.template().or_else(|| self.0.get(&vmid).copied()) {
            Some(template) => Some(template),
            None => source::template_before(reader, vmid, envelope.seq).await?,
        };
        let ends = matches!(event, Event::Removed(_) | Event::ContainerLost(_) | Event::CloneFailed(_));
        match template.filter(|_| !ends) {
            Some(template) => self.0.insert(vmid, template),
            None => self.0.remove(&vmid),
        };
        Ok(template)
    }
}
