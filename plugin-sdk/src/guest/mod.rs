//! The inside of a component: the generated bindings, and what converts between them and the SDK's types.
//! For [`export!`](crate::export); nothing here is stable.

pub mod bindings;
mod convert;
pub(crate) mod host;

use std::cell::RefCell;

use crate::layers::Decision;
use crate::{Authentication, LayerSelection, Plugin, Recording, Signaling, config};
use bindings::authentication::exports::rillway::policy::authentication as wit_authentication;
use bindings::layer_selection::exports::rillway::policy::layer_selection as wit_layers;
use bindings::recording::exports::rillway::policy::recording as wit_recording;
use bindings::signaling::exports::rillway::policy::signaling as wit_signaling;
use convert::list;

/// The one value of a component's instance.
#[derive(Debug)]
pub struct Instance<P>(RefCell<Option<P>>);

impl<P> Instance<P> {
    /// Before `lifecycle.start`.
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub const fn new() -> Self {
        Instance(RefCell::new(None))
    }

    fn with<R>(&self, call: impl FnOnce(&mut P) -> R) -> R {
        let mut plugin = self.0.borrow_mut();
        call(
            plugin
                .as_mut()
                .expect("the host calls lifecycle.start first"),
        )
    }
}

impl<P: Plugin> Instance<P> {
    /// `lifecycle.start`.
    pub fn start(&self) -> Result<(), String> {
        let config = config::read(bindings::imports::rillway::policy::config::get)?;
        *self.0.borrow_mut() = Some(P::start(config)?);
        Ok(())
    }
}

impl<P: Authentication> Instance<P> {
    /// `authentication.authenticate`.
    pub fn authenticate(
        &self,
        attempt: wit_authentication::Attempt,
    ) -> Result<wit_authentication::Grant, wit_authentication::Denial> {
        let decision = self.with(|plugin| plugin.authenticate(attempt.into()));
        decision.map(Into::into).map_err(Into::into)
    }
}

impl<P: Signaling> Instance<P> {
    /// `signaling.handle`.
    pub fn handle(&self, input: wit_signaling::Input) -> Vec<wit_signaling::Command> {
        list(self.with(|plugin| plugin.handle(input.into())))
    }
}

impl<P: LayerSelection> Instance<P> {
    /// `layer-selection.choose`.
    pub fn choose(&self, view: wit_layers::View) -> wit_layers::Decision {
        let decision = self.with(|plugin| Decision {
            choices: plugin.choose(view.into()),
            next: plugin.next(),
        });
        decision.into()
    }
}

impl<P: Recording> Instance<P> {
    /// `recording.decide`.
    pub fn decide(&self, event: wit_recording::Event) -> Vec<wit_recording::Order> {
        list(self.with(|plugin| plugin.decide(event.into())))
    }
}
