//! `dashboards/` is true: queries parse and ask for what is exported, everything exported is asked for, the
//! rules of Grafana's dashboard linter hold, and each alert has a runbook and its two tests.

mod alerts;
mod exported;
mod files;
mod lint;
mod live;
mod promql;
mod provisioning;
