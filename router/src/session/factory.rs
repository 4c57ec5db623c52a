//! Where signaling instances come from.
//!
//! The boundary is message-shaped: an input goes in, commands come out, and the call may take time
//! or fail. Today an instance is a native value on the control thread; a WebAssembly component on a
//! policy thread fits behind the same two traits.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::future::LocalBoxFuture;
use rillway_plugin_sdk::signaling::{Command, Input, Signaling};

use crate::worker::panic_message;

/// A plugin did not answer as it should. Costs the client its connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum PluginFault {
    /// It ended abnormally.
    #[error("the signaling plugin trapped: {0}")]
    Trapped(String),
    /// It asked for more than the host allows.
    #[error("the signaling plugin exceeded a bound: {0}")]
    Excess(&'static str),
}

/// The signaling of one client connection.
pub(crate) trait SignalingInstance {
    /// Hands one input over and returns what the router shall do. Never called again after a fault.
    ///
    /// # Errors
    /// [`PluginFault`].
    fn call(&mut self, input: Input) -> LocalBoxFuture<'_, Result<Vec<Command>, PluginFault>>;
}

/// Makes an instance for each connection of one path and subprotocol.
pub(crate) trait SignalingFactory {
    /// Name of the plugin, for logs and metrics.
    fn plugin(&self) -> &'static str;

    /// Request path that leads here.
    fn path(&self) -> &'static str;

    /// WebSocket subprotocol clients must offer.
    fn subprotocol(&self) -> &'static str;

    /// A new instance.
    ///
    /// # Errors
    /// [`PluginFault`].
    fn open(&self) -> Result<Box<dyn SignalingInstance>, PluginFault>;
}

/// A plugin compiled into the router.
pub(crate) struct NativeFactory {
    plugin: &'static str,
    path: &'static str,
    subprotocol: &'static str,
    open: fn() -> Box<dyn Signaling>,
}

impl NativeFactory {
    /// The rooms protocol (`docs/protocol-rooms.md`).
    pub(crate) fn rooms() -> Self {
        NativeFactory {
            plugin: "signaling-rooms",
            path: "/signal/rooms",
            subprotocol: "rillway.rooms.v1",
            open: || Box::new(signaling_rooms::Rooms::new()),
        }
    }
}

impl SignalingFactory for NativeFactory {
    fn plugin(&self) -> &'static str {
        self.plugin
    }

    fn path(&self) -> &'static str {
        self.path
    }

    fn subprotocol(&self) -> &'static str {
        self.subprotocol
    }

    fn open(&self) -> Result<Box<dyn SignalingInstance>, PluginFault> {
        Ok(Box::new(Native::new((self.open)())))
    }
}

/// A native value as an instance.
pub(super) struct Native {
    signaling: Box<dyn Signaling>,
}

impl Native {
    pub(super) fn new(signaling: Box<dyn Signaling>) -> Self {
        Native { signaling }
    }
}

impl SignalingInstance for Native {
    fn call(&mut self, input: Input) -> LocalBoxFuture<'_, Result<Vec<Command>, PluginFault>> {
        // The instance is thrown away after a fault, so nobody sees what a panic left behind.
        let result = catch_unwind(AssertUnwindSafe(|| self.signaling.handle(input)))
            .map_err(|panic| PluginFault::Trapped(panic_message(&*panic).to_owned()));
        Box::pin(std::future::ready(result))
    }
}
