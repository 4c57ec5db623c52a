//! The suite of `plugins/signaling-rooms` once more, with the component that is shipped in place of the crate: what
//! the WIT, the bindings and the host do to values shows here.

#[path = "../../plugins/signaling-rooms/tests/rooms/arbitrary.rs"]
mod arbitrary;
#[path = "../../plugins/signaling-rooms/tests/rooms/document.rs"]
mod document;
#[path = "../../plugins/signaling-rooms/tests/rooms/harness.rs"]
mod harness;
#[path = "../../plugins/signaling-rooms/tests/rooms/join.rs"]
mod join;
#[path = "../../plugins/signaling-rooms/tests/rooms/malformed.rs"]
mod malformed;
#[path = "../../plugins/signaling-rooms/tests/rooms/requests.rs"]
mod requests;
#[path = "../../plugins/signaling-rooms/tests/rooms/subscribing.rs"]
mod subscribing;

/// What is tested here.
mod subject {
    use rillway_plugin_sdk::Signaling;
    use rillway_plugin_sdk::signaling::{Command, Input};
    use rillway_tests::component::Component;

    #[derive(Debug)]
    pub(crate) struct Rooms(Component);

    impl Rooms {
        pub(crate) fn new() -> Self {
            Rooms(Component::open("signaling-rooms"))
        }
    }

    impl Signaling for Rooms {
        fn handle(&mut self, input: Input) -> Vec<Command> {
            self.0.handle(input)
        }
    }
}
