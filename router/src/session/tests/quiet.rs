//! Plugins that do not want to hear of every success.

use rillway_core::api::RequestError;
use rillway_plugin_sdk::signaling::{QUIET, QUIET_DONE};
use rillway_plugin_sdk::types::Extension;

use super::*;

fn quiet() -> Action {
    Action::Extension(Extension {
        name: QUIET_DONE.to_owned(),
        json: "{}".to_owned(),
    })
}

/// What the plugin hears of a subscription that was carried out, and of one that was not.
async fn hears(references_after: u64, asks: bool) -> Vec<Input> {
    let setup = Setup {
        references_after,
        ..Setup::default()
    };
    let mut stage = Stage::new(&setup, move |input| match input {
        Input::Granted(_) if asks => vec![quiet(), Action::Join],
        other => polite(other),
    });
    let client = stage.enter().await;
    stage.say("subscribe").await;
    let reference = stage.requests()[0].reference;
    assert_eq!(reference.0 & QUIET, references_after & QUIET);
    stage.inputs();
    stage.event(client, EventKind::Done { reference }).await;
    let error = RequestError::NotFound("track".to_owned());
    stage
        .event(client, EventKind::Failed { reference, error })
        .await;
    stage.inputs()
}

#[tokio::test]
async fn success_is_not_told_of_quiet_commands_once_that_is_asked_for() {
    for (references_after, asks, told) in
        [(QUIET, true, false), (QUIET, false, true), (0, true, true)]
    {
        let inputs = hears(references_after, asks).await;
        let is_told = inputs.iter().any(|i| matches!(i, Input::Done { .. }));
        assert_eq!(is_told, told, "{references_after:x}, {asks}: {inputs:?}");
        assert!(
            inputs.iter().any(|i| failure(i).is_some()),
            "failures are always told: {inputs:?}"
        );
    }
}
