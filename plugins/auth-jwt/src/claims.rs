//! What a token says.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::Config;

/// Claims (RFC 7519 §4) of our own tokens and of LiveKit's; others are ignored.
#[derive(Debug, Deserialize)]
pub(crate) struct Claims {
    pub(crate) sub: Option<String>,
    pub(crate) name: Option<String>,
    aud: Option<Audience>,
    /// NumericDate: seconds since 1970, perhaps with a fraction.
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(default)]
    pub(crate) attributes: BTreeMap<String, String>,
    /// LiveKit's: any text.
    #[serde(default)]
    pub(crate) metadata: String,
    pub(crate) rillway: Option<Rillway>,
    pub(crate) video: Option<Video>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

/// What our own tokens grant. What is left out is not granted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Rillway {
    pub(crate) room: String,
    #[serde(default)]
    pub(crate) publish: Publish,
    #[serde(default)]
    pub(crate) subscribe: bool,
    #[serde(default)]
    pub(crate) publish_data: bool,
    #[serde(default)]
    pub(crate) record_control: bool,
    pub(crate) max_publish_bps: Option<u64>,
}

/// Sources that may be published.
#[derive(Debug, Deserialize)]
#[serde(
    untagged,
    expecting = "`publish` has to be true, false, or a list of camera, microphone, screen, screen_audio, other"
)]
pub(crate) enum Publish {
    Any(bool),
    Sources(Vec<Source>),
}

impl Default for Publish {
    fn default() -> Self {
        Publish::Any(false)
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    Camera,
    Microphone,
    Screen,
    ScreenAudio,
    Other,
}

/// What LiveKit's tokens grant (its `VideoGrant`), as far as it means anything here.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Video {
    #[serde(default)]
    pub(crate) room_join: bool,
    #[serde(default)]
    pub(crate) room: String,
    pub(crate) can_publish: Option<bool>,
    #[serde(default)]
    pub(crate) can_publish_sources: Vec<String>,
    pub(crate) can_subscribe: Option<bool>,
    pub(crate) can_publish_data: Option<bool>,
    #[serde(default)]
    pub(crate) room_record: bool,
    #[serde(default)]
    pub(crate) hidden: bool,
}

impl Claims {
    /// # Errors
    /// The payload is no set of claims: why.
    pub(crate) fn read(payload: &[u8]) -> Result<Self, String> {
        let mut reader = serde_json::Deserializer::from_slice(payload);
        serde_path_to_error::deserialize(&mut reader).map_err(|error| {
            let at = error.path().to_string();
            let text = error.into_inner().to_string();
            let what = text.rfind(" at line ").map_or(&*text, |end| &text[..end]);
            match at.as_str() {
                "." => format!("the token's claims are malformed: {what}"),
                at => format!("the token's claims are malformed: `{at}`: {what}"),
            }
        })
    }

    /// Whether the token is good now and here.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn check(&self, config: &Config, now_ms: u64) -> Result<(), String> {
        let leeway_ms = u64::from(config.leeway_s) * 1_000;
        match self.expires_at_ms() {
            Some(at) if at.saturating_add(leeway_ms) <= now_ms => {
                let ago = (now_ms - at) / 1_000;
                return Err(format!("the token expired {ago} s ago"));
            }
            None if config.require_exp => {
                return Err("the token has no `exp`, which is needed".to_owned());
            }
            _ => {}
        }
        if let Some(from) = self.nbf.map(milliseconds)
            && from > now_ms.saturating_add(leeway_ms)
        {
            let wait = (from - now_ms).div_ceil(1_000);
            return Err(format!("the token is good in {wait} s, not before (`nbf`)"));
        }
        let Some(audience) = &config.audience else {
            return Ok(());
        };
        let meant = match &self.aud {
            Some(Audience::One(one)) => one == audience,
            Some(Audience::Several(several)) => several.contains(audience),
            None => false,
        };
        match meant {
            true => Ok(()),
            false => Err(format!("the token's `aud` is not `{audience}`")),
        }
    }

    /// Unix milliseconds.
    pub(crate) fn expires_at_ms(&self) -> Option<u64> {
        self.exp.map(milliseconds)
    }
}

/// Seconds with a fraction as milliseconds: what is before 1970 is 0.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
fn milliseconds(seconds: f64) -> u64 {
    (seconds * 1_000.0) as u64
}
