//! The service's own life, and whether PVE answers.

use super::Tx;
use crate::domain::command::Rejection;
use crate::domain::event::{
    AllocationCancelled, CancelReason, PveReachable, PveUnreachable, ServiceStarted, ServiceStopped,
    ServiceStopping, SettingsChanged, TemplateAdded,
};
use crate::domain::ids::EndpointName;
use crate::domain::settings::Settings;
use crate::domain::state::ServicePhase;

impl Tx<'_> {
    pub(super) fn start(&mut self, version: String, settings: Settings) {
        self.emit(ServiceStarted { version, settings });
        // Their callers' connections ended with the process that held them.
        self.cancel_waiting(CancelReason::Restarted);
        self.add_configured_templates();
    }

    pub(super) fn reload(&mut self, settings: Settings, webhooks: &[EndpointName]) -> Result<(), Rejection> {
        self.running()?;
        if settings != self.state.settings {
            self.emit(SettingsChanged { settings });
            self.add_configured_templates();
        }
        self.register_webhooks(webhooks);
        Ok(())
    }

    fn add_configured_templates(&mut self) {
        let configured: Vec<_> = self.state.settings.templates.keys().copied().collect();
        for template in configured {
            if self.template(template).is_none() {
                self.emit(TemplateAdded { template, node: None, linkable: None });
            }
        }
    }

    pub(super) fn begin_stop(&mut self) {
        if self.state.service.phase == ServicePhase::Running {
            self.emit(ServiceStopping {});
        }
    }

    pub(super) fn stop(&mut self) {
        if self.state.service.phase != ServicePhase::Stopped {
            self.emit(ServiceStopped {});
        }
    }

    pub(super) fn pve_unreachable(&mut self, reason: String) {
        if self.state.pve_reachable() {
            self.emit(PveUnreachable { reason });
        }
    }

    pub(super) fn pve_reachable(&mut self) {
        if !self.state.pve_reachable() {
            self.emit(PveReachable {});
        }
    }

    pub(super) fn cancel_waiting(&mut self, reason: CancelReason) {
        let waiting: Vec<_> = self.state.waiting.iter().map(|(id, w)| (*id, w.clone())).collect();
        for (allocation_id, waiting) in waiting {
            self.emit(AllocationCancelled {
                allocation_id,
                instance_id: waiting.instance_id,
                template: waiting.template,
                vmid: None,
                reason,
            });
        }
    }
}
