//! Requests about a template: its sizes, a one-time warm-up, drain and refresh.

use super::Tx;
use crate::domain::command::{Rejection, Reply, TemplateFacts};
use crate::domain::event::{
    AllocationFailed, CloneCancelled, FailureCode, TemplateAdded, TemplateConfigured, TemplateDrained,
    TemplateRefreshed, TemplateWarmed,
};
use crate::domain::ids::Vmid;
use crate::domain::settings::{SizeOverrides, Sizes};

impl Tx<'_> {
    /// Takes a template on that State does not know, once it was read at PVE.
    pub(super) fn known_template(
        &mut self,
        template: Vmid,
        facts: Option<TemplateFacts>,
    ) -> Result<(), Rejection> {
        if self.template(template).is_some() {
            return Ok(());
        }
        let facts = facts.ok_or(Rejection::TemplateUnread { template })?;
        self.emit(TemplateAdded { template, node: Some(facts.node), linkable: facts.linkable });
        Ok(())
    }

    pub(super) fn warm(
        &mut self,
        template: Vmid,
        count: Option<u32>,
        facts: Option<TemplateFacts>,
    ) -> Result<Reply, Rejection> {
        self.running()?;
        self.known_template(template, facts)?;
        let known = self.template(template).ok_or(Rejection::TemplateUnknown { template })?;
        if known.drained {
            return Err(Rejection::TemplateDrained { template });
        }
        let backed_off = known.backoff.is_some();
        let current = self.state.ready_count(template) + self.coming(template);
        let sizes = self.state.sizes(template);
        let target = count.unwrap_or(sizes.target).min(sizes.max);
        let queued = target.saturating_sub(current);
        if queued > 0 || backed_off {
            self.emit(TemplateWarmed { template, goal: target });
        }
        Ok(Reply::Warming { queued, current, target })
    }

    pub(super) fn configure_template(
        &mut self,
        template: Vmid,
        sizes: SizeOverrides,
        facts: Option<TemplateFacts>,
    ) -> Result<(), Rejection> {
        self.running()?;
        self.known_template(template, facts)?;
        let configured = self.state.settings.templates.get(&template).copied().unwrap_or_default();
        consistent(self.state.settings.sizes.with(configured), sizes)?;
        self.emit(TemplateConfigured { template, sizes });
        Ok(())
    }

    pub(super) fn drain_template(&mut self, template: Vmid) -> Result<(), Rejection> {
        self.running()?;
        let known = self.template(template).ok_or(Rejection::TemplateUnknown { template })?;
        if known.drained {
            return Ok(());
        }
        self.emit(TemplateDrained { template });
        self.fail_line(template, FailureCode::TemplateDrained, &format!("template {template} was drained"));
        self.clear_queue(template);
        Ok(())
    }

    pub(super) fn refresh_template(&mut self, template: Vmid) -> Result<(), Rejection> {
        self.running()?;
        let known = self.template(template).ok_or(Rejection::TemplateUnknown { template })?;
        if known.drained {
            return Err(Rejection::TemplateDrained { template });
        }
        self.emit(TemplateRefreshed { template });
        Ok(())
    }

    /// Fails every allocation that waits for a template.
    pub(super) fn fail_line(&mut self, template: Vmid, code: FailureCode, reason: &str) {
        let line = self.template(template).map(|template| template.line.clone()).unwrap_or_default();
        for allocation_id in line {
            let Some(waiting) = self.state.waiting.get(&allocation_id) else { continue };
            let instance_id = waiting.instance_id.clone();
            let reason = reason.to_owned();
            self.emit(AllocationFailed { allocation_id, instance_id, template, vmid: None, code, reason });
        }
    }

    /// Cancels every clone of a template that was not started.
    pub(super) fn clear_queue(&mut self, template: Vmid) {
        let queue = self.template(template).map(|template| template.queue.clone()).unwrap_or_default();
        for queued in queue {
            self.emit(CloneCancelled { clone_id: queued.clone_id, template });
        }
    }
}

/// Sizes that are asked for must agree with each other; those that are not asked for give way to the target.
fn consistent(below: Sizes, asked: SizeOverrides) -> Result<(), Rejection> {
    let target = asked.target.unwrap_or(below.target);
    let sizes = Sizes {
        min: asked.min.unwrap_or(below.min.min(target)),
        target,
        max: asked.max.unwrap_or(below.max.max(target)),
    };
    let agree = sizes.min <= sizes.target && sizes.target <= sizes.max;
    agree.then_some(()).ok_or(Rejection::SizesContradict { sizes })
}
