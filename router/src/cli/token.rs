//! `rillway token`: tokens as the built-in policy `auth-jwt` takes them.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::{Args, ValueEnum};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Map, Value, json};

use super::operate::OperateError;
use crate::config::read_private;

pub(super) const HELP: &str = "\
Examples:
  openssl rand -hex 32 > jwt.secret && chmod 640 jwt.secret
  rillway token --secret-file jwt.secret --room standup --identity ada --publish --subscribe
  rillway token --secret-file jwt.secret --room 'team-*' --identity ada --name Ada \\
      --publish camera,microphone --subscribe --publish-data --valid 30m
  openssl genpkey -algorithm ed25519 -out token.key
  rillway token --secret-file token.key --algorithm EdDSA --room standup --identity bob --subscribe

What no flag grants is not granted. The router needs the same secret, or the public key
(`openssl pkey -in token.key -pubout`), as a key of its policy auth-jwt: docs/policies.md.";

/// Fewest bytes of a secret (RFC 7518 §3.2).
const SECRET_BYTES_MIN: usize = 32;
/// Longest identity and name, bytes: those of a grant.
const NAME_BYTES_MAX: usize = 128;
/// Longest time of a token: a year.
const VALID_MAX: Duration = Duration::from_secs(366 * 24 * 3_600);

/// `rillway token`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub struct Token {
    /// The secret, on one line; or the private key, PEM in PKCS #8. Only its owner and group may read it
    #[arg(long, value_name = "FILE")]
    secret_file: PathBuf,
    /// How it signs
    #[arg(long, value_enum, default_value_t = Algorithm::HS256)]
    algorithm: Algorithm,
    /// Room that it is for; `*` in it stands for anything
    #[arg(long, value_name = "ROOM")]
    room: String,
    /// Who it is for; others see it [default: a guest's, made for each who joins with it]
    #[arg(long, value_name = "TEXT")]
    identity: Option<String>,
    /// Display name
    #[arg(long, value_name = "TEXT")]
    name: Option<String>,
    /// What may be published; without a list: everything
    #[arg(long, value_name = "SOURCES", value_enum, value_delimiter = ',', num_args = 0..)]
    publish: Option<Vec<Source>>,
    /// It may receive what others publish
    #[arg(long)]
    subscribe: bool,
    /// It may send data messages
    #[arg(long)]
    publish_data: bool,
    /// It may ask for recordings to start and stop
    #[arg(long)]
    record_control: bool,
    /// Most that it may publish, bits per second
    #[arg(long, value_name = "BPS")]
    max_publish_bps: Option<u64>,
    /// For how long it is good: `30m`, `12h`, `7d`
    #[arg(long, value_name = "TIME", value_parser = valid, default_value = "1h")]
    valid: Duration,
    /// What applications may say of the participant, told to everybody in the room; may be given several times
    #[arg(long = "attribute", value_name = "NAME=TEXT", value_parser = attribute)]
    attributes: Vec<(String, String)>,
    /// `kid` of its header, where the policy has several keys
    #[arg(long, value_name = "TEXT")]
    key_id: Option<String>,
    /// `iss`, where the policy asks for one
    #[arg(long, value_name = "TEXT")]
    issuer: Option<String>,
    /// `aud`, where the policy asks for one
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
}

/// How a token is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Algorithm {
    /// HMAC with SHA-256, by a secret
    #[value(name = "HS256")]
    HS256,
    /// RSA with SHA-256
    #[value(name = "RS256")]
    RS256,
    /// ECDSA on P-256 with SHA-256
    #[value(name = "ES256")]
    ES256,
    /// Ed25519
    #[value(name = "EdDSA")]
    EdDSA,
}

/// What a track is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Source {
    /// A camera
    Camera,
    /// A microphone
    Microphone,
    /// A shared screen
    Screen,
    /// Its sound
    ScreenAudio,
    /// Anything else
    Other,
}

fn valid(text: &str) -> Result<Duration, String> {
    let time = match text.strip_suffix('d').map(str::parse::<u64>) {
        Some(Ok(days)) => days.checked_mul(24 * 3_600).map(Duration::from_secs),
        Some(Err(_)) => None,
        None => Some(super::drain::time(text)?),
    };
    let time = time.filter(|time| *time <= VALID_MAX && !time.is_zero());
    time.ok_or_else(|| "a number and s, m, h or d, at most 366d: 30m, 12h, 7d".to_owned())
}

fn attribute(text: &str) -> Result<(String, String), String> {
    let (name, value) = text
        .split_once('=')
        .ok_or_else(|| "it must be NAME=TEXT".to_owned())?;
    if name.is_empty() || name.len() > 64 || value.len() > 1_024 {
        return Err("a name has 1 to 64 bytes, a text at most 1,024".to_owned());
    }
    Ok((name.to_owned(), value.to_owned()))
}

impl Token {
    /// Signs it.
    ///
    /// # Errors
    /// [`OperateError::Argument`]: a file or a text cannot be used.
    pub fn run(&self) -> Result<String, OperateError> {
        self.fits()?;
        let key = self.key()?;
        let mut header = Header::new(self.algorithm.foreign());
        header.kid.clone_from(&self.key_id);
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let claims = self.claims(now.unwrap_or_default());
        let token = jsonwebtoken::encode(&header, &claims, &key);
        let token = token.map_err(|error| self.file_problem(&error))?;
        Ok(token + "\n")
    }

    fn fits(&self) -> Result<(), OperateError> {
        let texts = [
            ("--room", Some(&self.room)),
            ("--identity", self.identity.as_ref()),
            ("--name", self.name.as_ref()),
        ];
        for (flag, text) in texts {
            if text.is_some_and(|text| text.is_empty() || text.len() > NAME_BYTES_MAX) {
                let why = format!("it has 1 to {NAME_BYTES_MAX} bytes");
                return Err(OperateError::argument(&flag, &why));
            }
        }
        Ok(())
    }

    fn file_problem(&self, why: &dyn std::fmt::Display) -> OperateError {
        OperateError::argument(&self.secret_file.display(), why)
    }

    fn key(&self) -> Result<EncodingKey, OperateError> {
        let is_pem = self.algorithm != Algorithm::HS256;
        let read = read_private(&self.secret_file, is_pem);
        let text = read.map_err(|why| {
            let hint = match is_pem {
                true => "",
                false => "; of a key in PEM, `--algorithm` has to say for what it is",
            };
            self.file_problem(&format!("{why}{hint}"))
        })?;
        let bytes = text.reveal().as_bytes();
        let key = match self.algorithm {
            Algorithm::HS256 if bytes.len() < SECRET_BYTES_MIN => {
                let why = format!(
                    "the secret has {} bytes, at least {SECRET_BYTES_MIN} are needed: `openssl rand -hex 32` makes one",
                    bytes.len()
                );
                return Err(self.file_problem(&why));
            }
            Algorithm::HS256 => return Ok(EncodingKey::from_secret(bytes)),
            Algorithm::RS256 => EncodingKey::from_rsa_pem(bytes),
            Algorithm::ES256 => EncodingKey::from_ec_pem(bytes),
            Algorithm::EdDSA => EncodingKey::from_ed_pem(bytes),
        };
        key.map_err(|error| {
            self.file_problem(&format!(
                "no {} private key, PEM in PKCS #8: {error}\nhelp: `openssl genpkey` writes such, `openssl pkcs8 -topk8 -nocrypt` makes them of others",
                self.algorithm.name()
            ))
        })
    }

    fn claims(&self, now: Duration) -> Value {
        let mut claims = Map::new();
        let mut put = |name: &str, text: &Option<String>| {
            if let Some(text) = text {
                claims.insert(name.to_owned(), json!(text));
            }
        };
        put("sub", &self.identity);
        put("name", &self.name);
        put("iss", &self.issuer);
        put("aud", &self.audience);
        claims.insert("iat".to_owned(), json!(now.as_secs()));
        claims.insert("exp".to_owned(), json!((now + self.valid).as_secs()));
        if !self.attributes.is_empty() {
            let attributes = self.attributes.iter().cloned();
            let attributes = attributes.map(|(name, text)| (name, Value::String(text)));
            claims.insert(
                "attributes".to_owned(),
                attributes.collect::<Map<_, _>>().into(),
            );
        }
        let publish = match self.publish.as_deref() {
            None => json!(false),
            Some([]) => json!(true),
            Some(sources) => sources.iter().map(|source| source.name()).collect(),
        };
        let mut grant = json!({
            "room": self.room,
            "publish": publish,
            "subscribe": self.subscribe,
            "publishData": self.publish_data,
            "recordControl": self.record_control,
        });
        if let Some(most) = self.max_publish_bps {
            grant["maxPublishBps"] = json!(most);
        }
        claims.insert("rillway".to_owned(), grant);
        claims.into()
    }
}

impl Algorithm {
    fn name(self) -> &'static str {
        match self {
            Algorithm::HS256 => "HS256",
            Algorithm::RS256 => "RS256",
            Algorithm::ES256 => "ES256",
            Algorithm::EdDSA => "EdDSA",
        }
    }

    fn foreign(self) -> jsonwebtoken::Algorithm {
        match self {
            Algorithm::HS256 => jsonwebtoken::Algorithm::HS256,
            Algorithm::RS256 => jsonwebtoken::Algorithm::RS256,
            Algorithm::ES256 => jsonwebtoken::Algorithm::ES256,
            Algorithm::EdDSA => jsonwebtoken::Algorithm::EdDSA,
        }
    }
}

impl Source {
    fn name(self) -> &'static str {
        match self {
            Source::Camera => "camera",
            Source::Microphone => "microphone",
            Source::Screen => "screen",
            Source::ScreenAudio => "screen_audio",
            Source::Other => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_may_be_days() {
        let hours = |text| valid(text).map(|time| time.as_secs() / 3_600);
        assert_eq!((hours("12h"), hours("7d")), (Ok(12), Ok(168)));
        for bad in ["0s", "0d", "367d", "d", "1.5d", "12"] {
            assert!(valid(bad).is_err(), "{bad}");
        }
    }

    /// A token made with these flags, and a file of this content; or why not.
    fn token(name: &str, content: &str, flags: &[&str]) -> Result<String, String> {
        use std::os::unix::fs::PermissionsExt as _;
        let id = std::process::id();
        let file = std::env::temp_dir().join(format!("rillway-token-{id}-{name}"));
        std::fs::write(&file, content).expect("writable");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&file, mode).expect("ours");
        let token = signed(&file, flags);
        std::fs::remove_file(&file).expect("ours");
        token
    }

    fn signed(file: &std::path::Path, flags: &[&str]) -> Result<String, String> {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            token: Token,
        }
        let path = file.to_str().expect("UTF-8");
        let line = ["token", "--secret-file", path, "--room", "r"];
        let line = Line::try_parse_from(line.iter().chain(flags));
        let line = line.map_err(|error| error.to_string())?;
        let token = line.token.run().map_err(|error| error.to_string())?;
        Ok(token.trim_end().to_owned())
    }

    fn claims(token: &str, key: &jsonwebtoken::DecodingKey, of: Algorithm) -> Value {
        let validation = jsonwebtoken::Validation::new(of.foreign());
        let read = jsonwebtoken::decode::<Value>(token, key, &validation);
        read.unwrap_or_else(|error| panic!("{error}")).claims
    }

    #[test]
    fn every_algorithm_signs_what_its_public_key_confirms() {
        use jsonwebtoken::DecodingKey;
        let secret = "0123456789abcdef0123456789abcdef";
        let flags = [
            "--identity",
            "ada",
            "--publish",
            "camera,screen_audio",
            "--subscribe",
        ];
        let made = token("hs", &format!("{secret}\n"), &flags).expect("signed");
        let key = DecodingKey::from_secret(secret.as_bytes());
        let read = claims(&made, &key, Algorithm::HS256);
        assert_eq!(read["sub"], "ada");
        let grant = json!({
            "room": "r", "publish": ["camera", "screen_audio"], "subscribe": true,
            "publishData": false, "recordControl": false,
        });
        assert_eq!(read["rillway"], grant);
        let seconds = |name: &str| read[name].as_u64().expect("a number");
        assert_eq!(seconds("exp") - seconds("iat"), 3_600);

        type Read = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
        let pairs: [(&str, Algorithm, &rcgen::SignatureAlgorithm, Read); 3] = [
            (
                "EdDSA",
                Algorithm::EdDSA,
                &rcgen::PKCS_ED25519,
                DecodingKey::from_ed_pem,
            ),
            (
                "ES256",
                Algorithm::ES256,
                &rcgen::PKCS_ECDSA_P256_SHA256,
                DecodingKey::from_ec_pem,
            ),
            (
                "RS256",
                Algorithm::RS256,
                &rcgen::PKCS_RSA_SHA256,
                DecodingKey::from_rsa_pem,
            ),
        ];
        for (name, algorithm, kind, read) in pairs {
            let pair = rcgen::KeyPair::generate_for(kind).expect("a key");
            let flags = ["--algorithm", name, "--publish", "--valid", "2d"];
            let made = token(name, &pair.serialize_pem(), &flags).expect("signed");
            let key = read(pair.public_key_pem().as_bytes()).expect("its public key");
            let read = claims(&made, &key, algorithm);
            assert_eq!(read["rillway"]["publish"], true, "{name}");
            // A key of another kind is none.
            let wrong = token("wrong", secret, &flags).expect_err("no PEM");
            assert!(wrong.contains("PKCS #8"), "{wrong}");
        }
    }

    #[test]
    fn a_secret_that_all_may_read_or_guess_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let short = token("short", "sesame", &[]).expect_err("too short");
        assert!(short.contains("32") && !short.contains("sesame"), "{short}");
        let file = std::env::temp_dir().join(format!("rillway-open-{}", std::process::id()));
        std::fs::write(&file, "x".repeat(64)).expect("writable");
        let mode = std::fs::Permissions::from_mode(0o644);
        std::fs::set_permissions(&file, mode).expect("ours");
        let open = signed(&file, &[]).expect_err("everybody may read it");
        std::fs::remove_file(&file).expect("ours");
        assert!(
            open.contains("everybody") && open.contains("chmod 640"),
            "{open}"
        );
    }

    #[test]
    fn attributes_have_a_name() {
        assert_eq!(attribute("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(attribute("a").is_err() && attribute("=b").is_err());
    }
}
