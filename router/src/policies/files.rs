//! Reloading components whose files have changed.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rillway_policy::{Plugin, Rollout, Source};

/// Time between looks at a file. Two looks that see the same make a change: who writes a file is not
/// interrupted in the middle.
const PERIOD: Duration = Duration::from_secs(1);

/// What tells one content of a file from another.
type Mark = Option<(SystemTime, u64)>;

/// Reloads a plugin each time its file has changed and come to rest. A file that cannot be used changes nothing
/// but the log. A reload of the configuration may give it another file, or one where there was none.
pub(crate) async fn watch(plugin: Plugin) {
    let mut watched = file(&plugin);
    let mut loaded = watched.as_deref().and_then(mark);
    let mut seen = loaded;
    loop {
        tokio::time::sleep(PERIOD).await;
        let path = file(&plugin);
        if path != watched {
            loaded = path.as_deref().and_then(mark);
            seen = loaded;
            watched = path;
            continue;
        }
        let Some(path) = &watched else {
            continue;
        };
        let now = mark(path);
        let at_rest = now == seen;
        seen = now;
        if now.is_none() || now == loaded || !at_rest {
            continue;
        }
        loaded = now;
        reload(&plugin, path).await;
    }
}

/// The file of a plugin's present component, if it is one.
fn file(plugin: &Plugin) -> Option<PathBuf> {
    match plugin.spec().source {
        Source::File(path) => Some(path),
        _ => None,
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
