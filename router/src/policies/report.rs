//! A plugin's counters as metrics.

use std::time::Duration;

use rillway_policy::Plugin;

use crate::telemetry::metrics::PluginRecorder;

/// As often as workers hand over theirs.
const PERIOD: Duration = Duration::from_secs(1);

/// Hands over a plugin's counters each second, for as long as it is polled.
pub(crate) async fn report(plugin: Plugin, recorder: PluginRecorder) {
    loop {
        recorder.record(&plugin.stats(), plugin.version());
        tokio::time::sleep(PERIOD).await;
    }
}
