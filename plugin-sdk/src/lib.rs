//! What a Rillway policy plugin is written against.
//!
//! The types mirror the WIT of the ABI one to one, so that a policy written here is a pure state
//! machine (values in, values out; no clock, no socket, no thread) and runs unchanged natively,
//! in tests and as a WebAssembly component.
#![forbid(unsafe_code)]

pub mod signaling;
pub mod types;

pub use signaling::Signaling;
