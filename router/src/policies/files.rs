//! Reloading components whose files have changed.

use std::path::Path;
use std::time::{Duration, SystemTime};

use rillway_policy::{Plugin, Rollout, Source};

/// Time between looks at a file. Two looks that see the same make a change: who writes a file is not
/// interrupted in the middle.
const PERIOD: Duration = Duration::from_secs(1);

/// What tells one content of a file from another.
type Mark = Option<(SystemTime, u64)>;

/// Reloads a plugin each time its file has changed and come to rest. Ends at once for a component that is no
/// file. A file that cannot be used changes nothing but the log.
pub(crate) async fn watch(plugin: Plugin) {
    let Source::File(path) = plugin.spec().source else {
        return;
    };
    let mut loaded = mark(&path);
    let mut seen = loaded;
    loop {
        tokio::time::sleep(PERIOD).await;
        let now = mark(&path);
        let at_rest = now == seen;
        seen = now;
        if now.is_none() || now == loaded || !at_rest {
            continue;
        }
        loaded = now;
        reload(&plugin, &path).await;
    }
}

async fn reload(plugin: &Plugin, path: &Path) {
    if let Err(error) = plugin.reload(None, Rollout::default()).await {
        tracing::error!(
            plugin = plugin.name(), %error, path = %path.display(), running = %plugin.version(),
            "the changed component cannot be used; the running version stays"
        );
    }
}

fn mark(path: &Path) -> Mark {
    let metadata = std::fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}
