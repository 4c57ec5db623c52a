//! What a Rillway policy plugin is written against.
//!
//! The types mirror the WIT of the ABI (`plugin-sdk/wit`) one to one, so that a policy written here is a
//! pure state machine (values in, values out; no clock, no socket, no thread) and runs unchanged natively,
//! in tests and as a WebAssembly component. The router's plugin host converts every version of the ABI it
//! knows into these types.
//!
//! # A plugin
//!
//! A library crate with one value that implements [`Plugin`] and the trait of each kind that it is, and one
//! line that names them:
//!
//! ```
//! use rillway_plugin_sdk as sdk;
//! use sdk::authentication::Attempt;
//! use sdk::types::{Denial, Grant};
//!
//! /// `plugins.NAME.config` of the router's TOML.
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     room: String,
//! }
//!
//! /// Admits guests to one room, as viewers.
//! struct OneRoom(Config);
//!
//! impl sdk::Plugin for OneRoom {
//!     type Config = Config;
//!
//!     fn start(config: Config) -> Result<Self, String> {
//!         Ok(OneRoom(config))
//!     }
//! }
//!
//! impl sdk::Authentication for OneRoom {
//!     fn authenticate(&mut self, attempt: Attempt) -> Result<Grant, Denial> {
//!         if attempt.room.as_ref() != Some(&self.0.room) {
//!             return Err(Denial::Forbidden("there is no such room".to_owned()));
//!         }
//!         sdk::log::info(&format!("{} came", attempt.guest_identity));
//!         Ok(Grant {
//!             room: self.0.room.clone(),
//!             identity: attempt.guest_identity,
//!             name: attempt.name,
//!             publish: Vec::new(),
//!             subscribe: true,
//!             publish_data: false,
//!             record_control: false,
//!             max_publish_bps: None,
//!             expires_at_ms: None,
//!             attributes: Vec::new(),
//!         })
//!     }
//! }
//!
//! sdk::export!(OneRoom: authentication);
//! # fn main() {}
//! ```
//!
//! `rillway plugin build` makes a component of it.
//!
//! # Capabilities
//!
//! What a plugin may do beside computing are free functions: [`log`], [`metrics`], [`clock`], [`kv`],
//! [`crypto`], [`http`]. In a component they are its imports, and only those that are used become any: the
//! import list is the list of what an operator has to grant. Natively a scripted host answers, which a
//! test sets up and questions: [`testing`].
#![forbid(unsafe_code)]

pub mod authentication;
mod capabilities;
pub mod config;
mod export;
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub mod guest;
#[cfg(feature = "json")]
mod json;
pub mod layers;
pub mod recording;
pub mod signaling;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod types;
pub mod wildcard;

pub use authentication::Authentication;
pub use capabilities::{clock, crypto, http, kv, log, metrics};
pub use layers::LayerSelection;
pub use recording::Recording;
pub use signaling::Signaling;

/// A policy: how an instance begins. What it does is in the traits of its kinds.
pub trait Plugin: Sized + 'static {
    /// `plugins.NAME.config` of the router's TOML. `()` for a plugin that has nothing to configure: it does
    /// not import `config` then. Keys that it has no field for are refused.
    type Config: serde::de::DeserializeOwned;

    /// Called once for each instance, before anything else.
    ///
    /// # Errors
    /// Why the configuration cannot be used, for the operator. It refuses the instance, and the router
    /// does not load or reload the plugin.
    fn start(config: Self::Config) -> Result<Self, String>;
}
