//! The client against answers of a real PVE: typed calls over a scripted transport, the wire over TCP and TLS.

mod api;
mod nonsense;
mod tls;
mod wire;
