//! Parameters that several routes have, described once for the API document.

use utoipa::IntoParams;

/// A container in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct OfContainer {
    /// The container
    #[param(example = 205)]
    vmid: u32,
}

/// A template in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct OfTemplate {
    /// The template
    #[param(example = 9009)]
    vmid: u32,
}

/// A webhook endpoint in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct OfEndpoint {
    /// The endpoint
    #[param(example = "default")]
    name: String,
}

/// A parked event of a webhook endpoint in the path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct OfParked {
    /// The endpoint
    #[param(example = "default")]
    name: String,
    /// The event
    #[param(example = 16)]
    seq: u64,
}

/// A holder that is meant.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct IfHeldBy {
    /// Only if this instance holds it
    instance_id: Option<String>,
}

/// A write that is not meant yet.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct DryRunFirst {
    /// Only say which events it would begin with
    dry_run: Option<bool>,
}

/// A read of one's own writes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "only its description is used")]
pub(super) struct AsOf {
    /// Wait up to two seconds for this event
    min_seq: Option<u64>,
}
