//! The suite of `plugins/signaling-whip` once more, with the component that is shipped in place of the crate: what
//! the WIT, the bindings and the host do to values shows here.

#[path = "../../plugins/signaling-whip/tests/whip/arbitrary.rs"]
mod arbitrary;
#[path = "../../plugins/signaling-whip/tests/whip/endpoint.rs"]
mod endpoint;
#[path = "../../plugins/signaling-whip/tests/whip/harness.rs"]
mod harness;
#[path = "../../plugins/signaling-whip/tests/whip/play.rs"]
mod play;
#[path = "../../plugins/signaling-whip/tests/whip/publish.rs"]
mod publish;
#[path = "../../plugins/signaling-whip/tests/whip/session.rs"]
mod session;

/// What is tested here.
mod subject {
    use rillway_plugin_sdk::Signaling;
    use rillway_plugin_sdk::signaling::{Command, Input};
    use rillway_tests::component::Component;

    #[derive(Debug)]
    pub(crate) struct Whip(Component);

    impl Whip {
        pub(crate) fn new() -> Self {
            Whip(Component::open("signaling-whip"))
        }
    }

    impl Signaling for Whip {
        fn handle(&mut self, input: Input) -> Vec<Command> {
            self.0.handle(input)
        }
    }
}
