//! Policy threads stand behind media workers where both want a core.

use rillway_policy::ThreadRole;

/// Nice values (setpriority(2)): with 10, a thread gets a tenth of what one with 0 gets while both want to run.
const POLICY: i32 = 10;
/// A compilation takes a whole core for a moment, and nobody waits for it.
const COMPILER: i32 = 15;

/// Called on each thread of the plugin host.
pub(super) fn started(role: ThreadRole) {
    let nice = match role {
        ThreadRole::Policy(_) => POLICY,
        ThreadRole::Compiler => COMPILER,
        // It bounds the time of the others, and sleeps.
        ThreadRole::Ticker => return,
    };
    // On Linux this is the calling thread alone. Everybody may be nicer.
    if let Err(error) = rustix::process::setpriority_process(None, nice) {
        tracing::warn!(%error, "a policy thread keeps the priority of media workers");
    }
}
