//! What is decided about templates.

use crate::domain::event::{
    TemplateAdded, TemplateBackedOff, TemplateConfigured, TemplateDrained, TemplateRefreshed,
    TemplateRemoved, TemplateWarmed,
};
use crate::domain::state::{Backoff, State, Template};

impl State {
    pub(super) fn template_added(&mut self, e: &TemplateAdded) {
        let template = Template::new(e.node.clone(), e.linkable, self.at);
        self.templates.entry(e.template).or_insert(template);
    }

    pub(super) fn template_configured(&mut self, e: &TemplateConfigured) {
        self.update_template(e.template, |template| {
            template.sizes = e.sizes;
            template.warm_goal = None;
            template.drained = false;
            template.interrupted = None;
            template.backoff = None;
            template.linkable = None;
        });
    }

    pub(super) fn template_warmed(&mut self, e: &TemplateWarmed) {
        self.update_template(e.template, |template| {
            template.warm_goal = Some(e.goal);
            template.backoff = None;
        });
    }

    pub(super) fn template_backed_off(&mut self, e: &TemplateBackedOff) {
        self.update_template(e.template, |template| {
            template.interrupted = None;
            template.backoff = Some(Backoff { fault: e.fault.clone(), until: e.until, step: e.step });
            template.linkable = None;
            template.node = None;
        });
    }

    pub(super) fn template_drained(&mut self, e: &TemplateDrained) {
        self.update_template(e.template, |template| {
            template.drained = true;
            template.backoff = None;
            template.warm_goal = None;
            template.refresh_before = None;
        });
    }

    pub(super) fn template_refreshed(&mut self, e: &TemplateRefreshed) {
        let head = self.head;
        self.update_template(e.template, |template| {
            template.refresh_before = Some(head);
            template.backoff = None;
            template.linkable = None;
        });
    }

    pub(super) fn template_removed(&mut self, e: &TemplateRemoved) {
        self.templates.remove(&e.template);
    }
}
