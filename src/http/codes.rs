//! The stable words of problem documents: each with its status, its title and what to do, in one table.

use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use warp::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $status:ident $text:literal $title:literal $next_step:literal,)*) => {
        /// What kind of a problem it is. The word never changes; clients branch on it.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The stable word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            /// The status that it is answered with.
            pub fn status(self) -> StatusCode {
                match self {
                    $(Self::$name => StatusCode::$status,)*
                }
            }

            /// A short phrase for people; the same each time.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)*
                }
            }

            /// What whoever meets it can do.
            pub fn next_step(self) -> &'static str {
                match self {
                    $(Self::$name => $next_step,)*
                }
            }
        }
    };
}

codes! {
    /// A body or parameter is wrong; `errors` says which and what was expected.
    InvalidRequest UNPROCESSABLE_ENTITY "invalid_request" "The request is not valid"
        "Correct what `errors` names; /docs shows each request",
    /// min ≤ target ≤ max would not hold.
    SizesContradict UNPROCESSABLE_ENTITY "sizes_contradict" "The sizes contradict each other"
        "Give sizes with min ≤ target ≤ max; one that is not given is as configured",
    /// No token, or an unknown one.
    Unauthorized UNAUTHORIZED "unauthorized" "A bearer token is needed"
        "Send `Authorization: Bearer …` with POOL_API_TOKEN; the program takes it from the settings of the service, which --env-file names and only root may read where it is installed (sudo)",
    /// The token may only read.
    ReadOnlyToken FORBIDDEN "read_only_token" "The token may only read"
        "Send POOL_API_TOKEN, which may write",
    /// A browser sent it on behalf of a page of another site.
    CrossSite FORBIDDEN "cross_site" "Writes from other sites are refused"
        "Name the host of the page in POOL_ALLOWED_HOSTS, if it may order containers",
    /// No such route.
    NotFound NOT_FOUND "not_found" "There is nothing at this address"
        "GET /openapi.json lists what there is",
    /// The route has other methods.
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed" "The method is not allowed here"
        "Use a method that the header `Allow` names",
    /// The body did not come in time.
    RequestTimeout REQUEST_TIMEOUT "request_timeout" "The body did not come in time"
        "Send the whole body at once",
    /// The body is larger than the limit.
    PayloadTooLarge PAYLOAD_TOO_LARGE "payload_too_large" "The body is too large"
        "Send a smaller body",
    /// The body is not JSON by its type.
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body must be JSON"
        "Send `Content-Type: application/json`",
    /// No such template, at PVE or in the pool.
    TemplateNotFound NOT_FOUND "template_not_found" "There is no such template"
        "Give the VMID of a template that PVE has and the token may see; `sandbox-pool warm VMID` takes it into the pool",
    /// The VMID is a container but no template.
    NotATemplate CONFLICT "not_a_template" "That is not a template"
        "Give the VMID of a template; `pct template VMID` on its node makes a container one, for ever",
    /// The template serves nobody until it is configured.
    TemplateDrained CONFLICT "template_drained" "The template is drained"
        "`sandbox-pool template set VMID` puts it to use again",
    /// Clones of the template fail.
    TemplateBackedOff SERVICE_UNAVAILABLE "template_backed_off" "Clones of the template fail"
        "`sandbox-pool template get VMID` says why; once that is mended, `sandbox-pool warm VMID` tries at once",
    /// The pool has no such container.
    ContainerNotFound NOT_FOUND "container_not_found" "The pool has no such container"
        "`sandbox-pool status` shows what there is, `sandbox-pool explain --vmid VMID` what became of one",
    /// The instance does not hold the container: another does, or nobody.
    HeldByAnother CONFLICT "held_by_another" "The instance does not hold the container"
        "`sandbox-pool explain --vmid VMID` says whose it is; without an instance it is taken from whoever has it",
    /// The container's state does not allow it.
    WrongState CONFLICT "wrong_state" "The container's state does not allow that"
        "`sandbox-pool explain --vmid VMID` says what is going on with it",
    /// The container is not surely the pool's.
    OwnershipDoubted CONFLICT "ownership_doubted" "The container is not surely the pool's"
        "Undo what was changed of it at PVE, or take it over by hand; `sandbox-pool explain --vmid VMID` has its story",
    /// The instance has a container of another template.
    InstanceOfOtherTemplate CONFLICT "instance_of_other_template" "The instance has another template"
        "Release what it has, or ask by another instance_id; `sandbox-pool explain --instance NAME` says what that is",
    /// The instance's container is on its way out.
    InstanceLeaving CONFLICT "instance_leaving" "The instance's container is leaving"
        "That goes on by itself: ask again in a moment",
    /// The container was released while it was being handed out.
    Released CONFLICT "released" "The container was released meanwhile"
        "Ask again if it is still wanted",
    /// The container was removed while it was being handed out.
    Removed CONFLICT "removed" "The container was removed meanwhile"
        "Ask again if it is still wanted",
    /// The line is full.
    TooManyWaiting SERVICE_UNAVAILABLE "too_many_waiting" "Too many allocations wait"
        "Ask again after `Retry-After`; a larger POOL_TARGET_SIZE keeps more ready",
    /// The pool holds as many containers as it may.
    MaxTotal SERVICE_UNAVAILABLE "max_total" "The pool is at its cap"
        "Release what is not needed, or raise POOL_MAX_TOTAL",
    /// No container in time.
    AllocateTimeout SERVICE_UNAVAILABLE "allocate_timeout" "No container in time"
        "Ask again by the same instance_id; a larger POOL_TARGET_SIZE keeps more ready",
    /// Nobody of this process waited for the allocation.
    Cancelled SERVICE_UNAVAILABLE "cancelled" "The allocation was cancelled"
        "Ask again if it is still wanted",
    /// Several containers in a row were not usable.
    ContainersUnusable BAD_GATEWAY "containers_unusable" "The containers were not usable"
        "`sandbox-pool explain --instance NAME` says what PVE had against each; then ask again",
    /// PVE said no.
    PveRefused BAD_GATEWAY "pve_refused" "PVE refused it"
        "`sandbox-pool doctor` says what is wrong at PVE, and what mends it",
    /// PVE cannot be reached.
    PveUnreachable SERVICE_UNAVAILABLE "pve_unreachable" "PVE cannot be reached"
        "`sandbox-pool doctor` says what is wrong; ask again when PVE is back",
    /// PVE did not answer in time.
    PveTimeout GATEWAY_TIMEOUT "pve_timeout" "PVE did not answer in time"
        "Ask again; `sandbox-pool doctor` says whether something is wrong at PVE",
    /// The release did not work at PVE.
    ReleaseFailed BAD_GATEWAY "release_failed" "The release did not work"
        "Run the command in `hint`, if there is one; `sandbox-pool explain --vmid VMID` says what PVE had against it",
    /// The removal did not work at PVE.
    RemovalFailed BAD_GATEWAY "removal_failed" "The removal did not work"
        "Run the command in `hint`, if there is one; `sandbox-pool explain --vmid VMID` says what PVE had against it",
    /// The release goes on.
    StillReleasing GATEWAY_TIMEOUT "still_releasing" "The release goes on"
        "Ask again in a moment, or look at `sandbox-pool explain --vmid VMID`",
    /// The removal goes on.
    StillRemoving GATEWAY_TIMEOUT "still_removing" "The removal goes on"
        "Ask again in a moment, or look at `sandbox-pool explain --vmid VMID`",
    /// The log names no such instance or container.
    NothingKnown NOT_FOUND "nothing_known" "The log does not know it"
        "`sandbox-pool events` shows everything that the log has",
    /// No such webhook endpoint is configured.
    WebhookNotFound NOT_FOUND "webhook_not_found" "There is no such webhook endpoint"
        "GET /webhooks lists the endpoints",
    /// The webhook endpoint has no such event parked.
    NotParked NOT_FOUND "not_parked" "The event is not parked"
        "GET /webhooks/NAME lists what is parked",
    /// The webhook endpoint has as many replays waiting as it may.
    TooManyReplays CONFLICT "too_many_replays" "Too many replays wait"
        "Wait until one has ended: GET /webhooks/NAME lists them",
    /// Events that old are not kept any more.
    Pruned GONE "pruned" "Events that old are gone"
        "A copy of the log from before may have it: `--data-dir` reads one",
    /// State has not come to the event that was asked for.
    NotYetThere SERVICE_UNAVAILABLE "not_yet_there" "That event is not there yet"
        "Ask again in a moment; in a log that was restored begin anew at its `head`",
    /// It was asked what will be.
    InTheFuture UNPROCESSABLE_ENTITY "in_the_future" "That has not happened yet"
        "`sandbox-pool status` shows the head of the log: ask for that, or for less",
    /// A filter of events by a word that nobody knows.
    UnknownFilter BAD_REQUEST "unknown_filter" "There is no such filter"
        "Correct what `errors` names",
    /// As many followers of events as are let in.
    TooManyStreams SERVICE_UNAVAILABLE "too_many_streams" "Too many follow the events"
        "Close followers, or raise POOL_MAX_STREAMS",
    /// The events that were asked for are no longer kept.
    EventsPruned GONE "events_pruned" "Those events are no longer kept"
        "Begin at `oldest`; a copy of the log from before may have the rest",
    /// The place that was asked for is not of this log.
    EventsElsewhere GONE "events_elsewhere" "That place is not of this log"
        "Begin anew at `oldest` or `head`: `sandbox-pool status` shows the head of this log",
    /// The disk does not take events.
    LogUnwritable SERVICE_UNAVAILABLE "log_unwritable" "The event log cannot be written"
        "Make space in the data directory, or mend its disk; the service goes on by itself",
    /// More commands wait than are taken.
    Overloaded SERVICE_UNAVAILABLE "overloaded" "The service is overloaded"
        "Ask again after `Retry-After`",
    /// The service is stopping.
    Stopping SERVICE_UNAVAILABLE "stopping" "The service is stopping"
        "Ask again after `Retry-After`, when the service is back",
    /// A fault of the service itself.
    Internal INTERNAL_SERVER_ERROR "internal" "The service made a mistake"
        "`journalctl -u sandbox-pool` has the reason",
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl utoipa::PartialSchema for Code {
    fn schema() -> RefOr<Schema> {
        let words = Self::ALL.iter().map(|code| code.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(words)).into()
    }
}

impl utoipa::ToSchema for Code {}
