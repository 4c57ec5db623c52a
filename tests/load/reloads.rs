//! The same room while 500 mutated configuration files are reloaded.

use std::sync::Arc;
use std::time::Duration;

use rillway::management::wire::error::Code;
use rillway::management::wire::request::Verb;
use rillway::management::wire::response::Part;
use rillway::management::wire::{ConfigReloadRequest, ConfigRequest};
use rillway::management::{CallError, Client, Role};
use rillway_tests::mutate::{self, Numbers, has_place};

use crate::beside::{Deed, Managed, connect};
use crate::{Meanwhile, Stretch, calm, crowd, stretch_seconds};

const FILES: usize = 500;
/// Pause between two.
const PAUSE: Duration = Duration::from_millis(10);

async fn ask(client: &Client, verb: Verb) -> Result<Part, CallError> {
    let part = client.call(verb).await?.next().await?;
    Ok(part.expect("an answer"))
}

async fn in_force(client: &Client) -> rillway::management::wire::Config {
    match ask(client, Verb::Config(ConfigRequest {})).await {
        Ok(Part::Config(config)) => config,
        other => panic!("{other:?}"),
    }
}

/// Each is in force whole, or refused with its line while everything stays as it was.
async fn reload(client: Client, file: std::path::PathBuf, text: String) {
    let mut numbers = Numbers::new(11);
    let (mut applied, mut refused) = (0, 0);
    for number in 0..FILES {
        let text = mutate::configuration(&text, &mut numbers);
        std::fs::write(&file, &text).expect("written");
        let before = in_force(&client).await;
        match ask(&client, Verb::ConfigReload(ConfigReloadRequest {})).await {
            Ok(Part::ConfigChanges(changes)) => {
                let differs = u64::from(!changes.changes.is_empty());
                assert_eq!(changes.generation, before.generation + differs, "{number}");
                applied += 1;
            }
            Err(CallError::Said(error)) => {
                assert_eq!(error.code(), Code::Refused, "{number}: {error:?}");
                assert!(has_place(&error.message), "{number}: {}", error.message);
                assert_eq!(in_force(&client).await, before, "{number}: {text}");
                refused += 1;
            }
            other => panic!("{number}: {other:?}"),
        }
        tokio::time::sleep(PAUSE).await;
    }
    println!("{FILES} files: {applied} in force, {refused} refused with their line");
    assert!(applied > FILES / 10 && refused > FILES / 2);
    client.close().await;
}

pub(crate) fn run() {
    let managed = Managed::start("");
    let (admin, file) = (managed.target(Role::Admin), managed.router.file());
    let text = managed.text.clone();
    let reloading: Deed = Arc::new(move |_| {
        let (admin, file, text) = (admin.clone(), file.clone(), text.clone());
        Box::pin(async move { reload(connect(&admin).await, file, text).await })
    });
    let seconds = stretch_seconds(10);
    let stretches = [
        calm("calm", seconds),
        Stretch {
            title: format!("{FILES} reloads"),
            seconds,
            meanwhile: Meanwhile::Beside(reloading),
        },
        calm("calm again", seconds),
    ];
    crowd(&managed.router, &stretches);
}
