//! The stable words of problem documents: each with its status and title, in one table.

use serde::{Serialize, Serializer};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use warp::http::StatusCode;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident $status:ident $text:literal $title:literal,)*) => {
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
        }
    };
}

codes! {
    /// A body or parameter is wrong; `errors` says which and what was expected.
    InvalidRequest UNPROCESSABLE_ENTITY "invalid_request" "The request is not valid",
    /// min ≤ target ≤ max would not hold.
    SizesContradict UNPROCESSABLE_ENTITY "sizes_contradict" "The sizes contradict each other",
    /// No token, or an unknown one.
    Unauthorized UNAUTHORIZED "unauthorized" "A bearer token is needed",
    /// The token may only read.
    ReadOnlyToken FORBIDDEN "read_only_token" "The token may only read",
    /// A browser sent it on behalf of a page of another site.
    CrossSite FORBIDDEN "cross_site" "Writes from other sites are refused",
    /// No such route.
    NotFound NOT_FOUND "not_found" "There is nothing at this address",
    /// The route has other methods.
    MethodNotAllowed METHOD_NOT_ALLOWED "method_not_allowed" "The method is not allowed here",
    /// The body did not come in time.
    RequestTimeout REQUEST_TIMEOUT "request_timeout" "The body did not come in time",
    /// The body is larger than the limit.
    PayloadTooLarge PAYLOAD_TOO_LARGE "payload_too_large" "The body is too large",
    /// The body is not JSON by its type.
    UnsupportedMediaType UNSUPPORTED_MEDIA_TYPE "unsupported_media_type" "The body must be JSON",
    /// No such template, at PVE or in the pool.
    TemplateNotFound NOT_FOUND "template_not_found" "There is no such template",
    /// The VMID is a container but no template.
    NotATemplate CONFLICT "not_a_template" "That is not a template",
    /// The template serves nobody until it is configured.
    TemplateDrained CONFLICT "template_drained" "The template is drained",
    /// Clones of the template fail.
    TemplateBackedOff SERVICE_UNAVAILABLE "template_backed_off" "Clones of the template fail",
    /// The pool has no such container.
    ContainerNotFound NOT_FOUND "container_not_found" "The pool has no such container",
    /// The container's holder is another instance.
    HeldByAnother CONFLICT "held_by_another" "Another instance holds the container",
    /// The container's state does not allow it.
    WrongState CONFLICT "wrong_state" "The container's state does not allow that",
    /// The container is not surely the pool's.
    OwnershipDoubted CONFLICT "ownership_doubted" "The container is not surely the pool's",
    /// The instance has a container of another template.
    InstanceOfOtherTemplate CONFLICT "instance_of_other_template" "The instance has another template",
    /// The instance's container is on its way out.
    InstanceLeaving CONFLICT "instance_leaving" "The instance's container is leaving",
    /// The container was released while it was being handed out.
    Released CONFLICT "released" "The container was released meanwhile",
    /// The container was removed while it was being handed out.
    Removed CONFLICT "removed" "The container was removed meanwhile",
    /// The line is full.
    TooManyWaiting SERVICE_UNAVAILABLE "too_many_waiting" "Too many allocations wait",
    /// The pool holds as many containers as it may.
    MaxTotal SERVICE_UNAVAILABLE "max_total" "The pool is at its cap",
    /// No container in time.
    AllocateTimeout SERVICE_UNAVAILABLE "allocate_timeout" "No container in time",
    /// Nobody of this process waited for the allocation.
    Cancelled SERVICE_UNAVAILABLE "cancelled" "The allocation was cancelled",
    /// Several containers in a row were not usable.
    ContainersUnusable BAD_GATEWAY "containers_unusable" "The containers were not usable",
    /// PVE said no.
    PveRefused BAD_GATEWAY "pve_refused" "PVE refused it",
    /// PVE cannot be reached.
    PveUnreachable SERVICE_UNAVAILABLE "pve_unreachable" "PVE cannot be reached",
    /// PVE did not answer in time.
    PveTimeout GATEWAY_TIMEOUT "pve_timeout" "PVE did not answer in time",
    /// The release did not work at PVE.
    ReleaseFailed BAD_GATEWAY "release_failed" "The release did not work",
    /// The removal did not work at PVE.
    RemovalFailed BAD_GATEWAY "removal_failed" "The removal did not work",
    /// The release goes on.
    StillReleasing GATEWAY_TIMEOUT "still_releasing" "The release goes on",
    /// The removal goes on.
    StillRemoving GATEWAY_TIMEOUT "still_removing" "The removal goes on",
    /// The log names no such instance or container.
    NothingKnown NOT_FOUND "nothing_known" "The log does not know it",
    /// No such webhook endpoint is configured.
    WebhookNotFound NOT_FOUND "webhook_not_found" "There is no such webhook endpoint",
    /// The webhook endpoint has no such event parked.
    NotParked NOT_FOUND "not_parked" "The event is not parked",
    /// The webhook endpoint has as many replays waiting as it may.
    TooManyReplays CONFLICT "too_many_replays" "Too many replays wait",
    /// Events that old are not kept any more.
    Pruned GONE "pruned" "Events that old are gone",
    /// State has not come to the event that was asked for.
    NotYetThere SERVICE_UNAVAILABLE "not_yet_there" "That event is not there yet",
    /// It was asked what will be.
    InTheFuture UNPROCESSABLE_ENTITY "in_the_future" "That has not happened yet",
    /// A filter of events by a word that nobody knows.
    UnknownFilter BAD_REQUEST "unknown_filter" "There is no such filter",
    /// As many followers of events as are let in.
    TooManyStreams SERVICE_UNAVAILABLE "too_many_streams" "Too many follow the events",
    /// The events that were asked for are no longer kept.
    EventsPruned GONE "events_pruned" "Those events are no longer kept",
    /// The place that was asked for is not of this log.
    EventsElsewhere GONE "events_elsewhere" "That place is not of this log",
    /// The disk does not take events.
    LogUnwritable SERVICE_UNAVAILABLE "log_unwritable" "The event log cannot be written",
    /// More commands wait than are taken.
    Overloaded SERVICE_UNAVAILABLE "overloaded" "The service is overloaded",
    /// The service is stopping.
    Stopping SERVICE_UNAVAILABLE "stopping" "The service is stopping",
    /// A fault of the service itself.
    Internal INTERNAL_SERVER_ERROR "internal" "The service made a mistake",
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
