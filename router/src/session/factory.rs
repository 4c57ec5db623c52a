//! Where signaling instances come from.
//!
//! The boundary is message-shaped: an input goes in, commands come out, and the call may take time
//! or fail. Today an instance is a native value on the control thread; a WebAssembly component on a
//! policy thread fits behind the same two traits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

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
}

/// Makes an instance for each client of a plugin.
pub(crate) trait SignalingFactory {
    /// Name of the plugin, for logs, and for who may be reached by `send-to`.
    fn plugin(&self) -> Rc<str>;

    /// A new instance; may take time.
    fn open(&self) -> LocalBoxFuture<'static, Result<Box<dyn SignalingInstance>, PluginFault>>;
}

/// A plugin compiled into the router.
pub(crate) struct NativeFactory {
    plugin: &'static str,
    open: fn() -> Box<dyn Signaling>,
}

impl NativeFactory {
    /// The rooms protocol (`docs/protocol-rooms.md`).
    pub(crate) fn rooms() -> Self {
        NativeFactory {
            plugin: "signaling-rooms",
            open: || Box::new(signaling_rooms::Rooms::new()),
        }
    }

    /// WHIP and WHEP (`docs/whip.md`).
    pub(crate) fn whip() -> Self {
        NativeFactory {
            plugin: "signaling-whip",
            open: || Box::new(signaling_whip::Whip::new()),
        }
    }
}

impl SignalingFactory for NativeFactory {
    fn plugin(&self) -> Rc<str> {
        self.plugin.into()
    }

    fn open(&self) -> LocalBoxFuture<'static, Result<Box<dyn SignalingInstance>, PluginFault>> {
        let native: Box<dyn SignalingInstance> = Box::new(Native::new((self.open)()));
        Box::pin(std::future::ready(Ok(native)))
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
