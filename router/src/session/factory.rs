//! Where signaling instances come from.
//!
//! The boundary is message-shaped: an input goes in, commands come out, and the call may take time
//! or fail. `router/src/policies` puts WebAssembly components behind it; tests put scripts.

use std::rc::Rc;

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::signaling::{Command, Input};

/// A plugin did not answer as it should. Costs the client its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PluginFault {
    /// It ended abnormally or took too long.
    #[error("{0}")]
    Host(String),
    /// It may not be called now: a budget is used up, or its breaker is open.
    #[error("{0}")]
    Unavailable(String),
    /// It asked for more than the host allows.
    #[error("the signaling plugin exceeded a bound: {0}")]
    Excess(&'static str),
    /// It asked for what cannot be, with this transport.
    #[error("the signaling plugin broke the ABI: {0}")]
    Misused(&'static str),
}

/// The signaling of one client connection.
pub(crate) trait SignalingInstance {
    /// Hands one input over and returns what the router shall do. Never called again after a fault.
    ///
    /// # Errors
    /// [`PluginFault`].
    fn call(&mut self, input: Input) -> LocalBoxFuture<'_, Result<Vec<Command>, PluginFault>>;

    /// The version of the plugin, for people.
    fn version(&self) -> String {
        String::new()
    }
}

/// Makes an instance for each client of a plugin.
pub(crate) trait SignalingFactory {
    /// Name of the plugin, for logs, and for who may be reached by `send-to`.
    fn plugin(&self) -> Rc<str>;

    /// A new instance; may take time.
    fn open(&self) -> LocalBoxFuture<'static, Result<Box<dyn SignalingInstance>, PluginFault>>;
}
