//! A shipped signaling policy as a component in the plugin host, where tests of its crate expect the policy
//! itself: the same cases run natively and as a component.

use std::sync::OnceLock;

use rillway_plugin_sdk::Signaling;
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_policy::{
    Budgets, Capability, Host, HostConfig, Plugin, PluginSpec, SignalingInstance, Source,
};
use tokio::runtime::{Builder, Runtime};

/// An instance of a component.
pub struct Component {
    instance: SignalingInstance,
    runtime: Runtime,
}

fn runtime() -> Runtime {
    let runtime = Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime")
}

/// One host and one plugin for all tests of a process.
fn plugin(name: &'static str) -> &'static Plugin {
    static PLUGIN: OnceLock<Plugin> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let bytes = rillway_components::get(name).expect("it is shipped");
        let host = Host::start(HostConfig {
            instances: 500,
            ..HostConfig::default()
        });
        let spec = PluginSpec {
            // What the router lets any shipped component read.
            imports: vec![Capability::Config],
            // Tests are quicker than clients.
            budgets: Budgets {
                calls_per_second: Some(u32::MAX),
                bytes_per_second: Some(u32::MAX),
                ..Budgets::default()
            },
            ..PluginSpec::new(name, Source::Embedded { name, bytes })
        };
        let host = host.expect("the host starts");
        runtime().block_on(host.load(spec)).expect("it loads")
    })
}

impl Component {
    /// A new instance of a shipped component; the same one in every test of a process.
    ///
    /// # Panics
    /// There is none, or it does not start.
    #[must_use]
    pub fn open(name: &'static str) -> Component {
        let runtime = runtime();
        let policy = plugin(name).signaling().expect("it is a signaling policy");
        let instance = runtime.block_on(policy.open()).expect("it starts");
        Component { instance, runtime }
    }
}

impl Signaling for Component {
    fn handle(&mut self, input: Input) -> Vec<Command> {
        let answer = self.runtime.block_on(self.instance.call(input));
        answer.expect("a policy answers whatever it is told")
    }
}

impl std::fmt::Debug for Component {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.instance.fmt(f)
    }
}
