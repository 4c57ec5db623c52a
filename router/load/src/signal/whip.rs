//! Clients of WHIP (RFC 9725) and WHEP (draft-ietf-wish-whep-04).

use std::time::Duration;

use hyper::Method;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout_at};

use super::http::{Answer, ask, path_of};
use super::{Client, JOIN_TIME, JoinError, reply};
use crate::thread::Command;

/// Until a player asks again, if the server does not say when.
const RETRY: Duration = Duration::from_secs(2);

/// Joins, stays, and leaves.
pub(crate) async fn run(client: &mut Client) -> Result<(), JoinError> {
    let deadline = Instant::now() + JOIN_TIME;
    let publishes = client.member.publisher.is_some();
    let (path, what) = match publishes {
        true => (&client.plan.whip_path, "WHIP"),
        false => (&client.plan.whep_path, "WHEP"),
    };
    let path = path.replace("{room}", &client.room());
    let path = client.connector.server.path(&path);
    let session = timeout_at(deadline, begin(client, &path, what)).await;
    let session = session
        .map_err(|_| JoinError::Late("no answer from the server, or no path for media"))??;
    client.joined(true);
    client.stopped().await;
    if let Some(path) = session.and_then(|location| path_of(&location, &path)) {
        let token = client.plan.token(client.number);
        // Whether it listens or not, it is the end.
        let _ = ask(&client.connector, Method::DELETE, &path, token, None).await;
    }
    Ok(())
}

/// Until media flows; the session's location.
async fn begin(client: &Client, path: &str, what: &str) -> Result<Option<String>, JoinError> {
    let key = client.key(client.member.publisher.is_some());
    let (of_offer, offer) = oneshot::channel();
    client.thread.ask(match client.member.publisher {
        Some(number) => Command::Publish(key, number, of_offer),
        None => Command::Play(key, of_offer),
    });
    let offered = reply(offer).await?;
    let answer = post(client, path, what, offered.sdp).await?;
    let (told, connected) = oneshot::channel();
    let (of_accept, accept) = oneshot::channel();
    let command = Command::Accept(key, answer.body, told, of_accept);
    client.thread.ask(command);
    reply(accept).await?;
    reply(connected).await?;
    Ok(answer.location)
}

async fn post(client: &Client, path: &str, what: &str, sdp: String) -> Result<Answer, JoinError> {
    loop {
        let token = client.plan.token(client.number);
        let body = Some(sdp.clone());
        let answer = ask(&client.connector, Method::POST, path, token, body).await?;
        match answer.status {
            // Others than Rillway say 200.
            200 | 201 => return Ok(answer),
            // Nothing is published yet.
            409 => sleep(answer.retry_after.unwrap_or(RETRY)).await,
            status => {
                let what = format!("{what} at {path}");
                return Err(JoinError::of_status(&what, status, &answer.detail()));
            }
        }
    }
}
