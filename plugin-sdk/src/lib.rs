//! What a Rillway policy plugin is written against.
//!
//! The types mirror the WIT of the ABI (`plugin-sdk/wit`) one to one, so that a policy written here is a
//! pure state machine (values in, values out; no clock, no socket, no thread) and runs unchanged natively,
//! in tests and as a WebAssembly component. The router's plugin host converts every version of the ABI it
//! knows into these types.
#![forbid(unsafe_code)]

pub mod authentication;
pub mod layers;
pub mod recording;
pub mod signaling;
pub mod types;

pub use authentication::Authentication;
pub use layers::LayerSelection;
pub use recording::Recording;
pub use signaling::Signaling;
