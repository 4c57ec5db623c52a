//! From bytes to a version: read, pin, compile, survey, link, try.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::abi::{Linked, Survey, survey};
use crate::budgets::Limits;
use crate::capabilities::crypto::Keys;
use crate::capabilities::http::{Http, Tls};
use crate::context::Grants;
use crate::error::LoadError;
use crate::host::{HostConfig, HostCore, lock};
use crate::kind::{Capability, Kind};
use crate::runtime::actor;
use crate::runtime::instance::{Authentication, LayerSelection, Recording, Signaling};
use crate::spec::{PluginSpec, Source, VersionId};
use crate::version::{PluginCore, Ticket, VersionCore};

/// Longest name of a plugin, bytes.
const NAME_BYTES_MAX: usize = 64;

/// Longest list of origins, and of networks: each request goes through them.
const HTTP_LIST_MAX: usize = 64;

/// Bounds of every kind of a plugin.
pub(crate) fn limits(spec: &PluginSpec) -> [Arc<Limits>; Kind::ALL.len()] {
    Kind::ALL.map(|kind| Arc::new(Limits::resolve(kind, &spec.budgets)))
}

/// Checks what can be checked before anything is read.
pub(crate) fn check(spec: &PluginSpec, host: &HostConfig) -> Result<(), LoadError> {
    let plugin = &spec.name;
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-';
    if !(1..=NAME_BYTES_MAX).contains(&plugin.len()) || !plugin.bytes().all(fits) {
        return Err(LoadError::Invalid {
            plugin: plugin.clone(),
            problem: "a plugin's name has 1 to 64 of `a` to `z`, `0` to `9` and `-`".to_owned(),
        });
    }
    let refuse = |key, problem: String| {
        Err(LoadError::Budget {
            plugin: plugin.clone(),
            key,
            problem,
        })
    };
    let budgets = &spec.budgets;
    if budgets
        .memory_bytes
        .is_some_and(|bytes| bytes > host.instance_memory_bytes)
    {
        return refuse(
            "memory_bytes",
            format!(
                "at most policy.instance_memory_bytes ({}), which may be raised",
                host.instance_memory_bytes
            ),
        );
    }
    if budgets
        .table_elements
        .is_some_and(|elements| elements > host.instance_table_elements)
    {
        return refuse(
            "table_elements",
            format!("at most {}", host.instance_table_elements),
        );
    }
    for (key, count) in [
        ("http_origins", spec.http_origins.len()),
        ("http_private_networks", spec.http_private_networks.len()),
    ] {
        if count > HTTP_LIST_MAX {
            return refuse(key, format!("at most {HTTP_LIST_MAX}, not {count}"));
        }
    }
    if !(spec.config.is_object() || spec.config.is_null()) {
        return refuse("config", "is a table".to_owned());
    }
    Ok(())
}

/// What comes from the compiling thread.
pub(crate) struct Compiled {
    sha256: [u8; 32],
    pub(crate) linked: Linked,
    pub(crate) survey: Survey,
    http: Option<Http>,
}

/// Reads, pins, compiles and links, and does without a network. Blocks.
pub(crate) fn compile(
    engine: &Engine,
    spec: &PluginSpec,
    host: &HostConfig,
) -> Result<Compiled, LoadError> {
    let read;
    let bytes: &[u8] = match &spec.source {
        Source::Embedded { bytes, .. } => bytes,
        Source::Bytes(bytes) => bytes,
        Source::File(path) => {
            read = read_file(&spec.name, path, host.component_bytes)?;
            &read
        }
    };
    check_size(&spec.name, bytes.len() as u64, host.component_bytes)?;
    let sha256: [u8; 32] = Sha256::digest(bytes).into();
    if let Some(pinned) = spec.sha256.filter(|pinned| *pinned != sha256) {
        return Err(LoadError::Pin {
            plugin: spec.name.clone(),
            found: hex(&sha256),
            pinned: hex(&pinned),
        });
    }
    let invalid = |problem: String| LoadError::Invalid {
        plugin: spec.name.clone(),
        problem,
    };
    match bytes.get(..8) {
        // A core module: version 1, layer 0.
        Some(b"\0asm\x01\0\0\0") => {
            return Err(invalid(
                "this is a core module, no component: `rillway plugin build` wraps it".to_owned(),
            ));
        }
        Some([b'\0', b'a', b's', b'm', ..]) => {}
        _ => {
            return Err(invalid(
                "this is no WebAssembly, by its first bytes: is it the file you meant?".to_owned(),
            ));
        }
    }
    let component = Component::from_binary(engine, bytes).map_err(|error| {
        invalid(format!(
            "cannot be compiled: {error:#}: rebuild it with a current toolchain"
        ))
    })?;
    let survey = survey(&spec.name, &component, &spec.imports)?;
    let linked = Linked::new(&component, &survey, &spec.imports).map_err(|error| {
        let problem = format!("{error:#}: it was built against a WIT that is not the released one");
        invalid(problem)
    })?;
    Ok(Compiled {
        sha256,
        http: None,
        linked,
        survey,
    })
}

/// What a plugin that imports `http` reaches others with. Reads the system's authorities.
fn http(spec: &PluginSpec, survey: &Survey, host: &HostConfig) -> Result<Option<Http>, LoadError> {
    if !survey.imports.contains(&Capability::Http) {
        return Ok(None);
    }
    let refuse = |problem: String| LoadError::Budget {
        plugin: spec.name.clone(),
        key: "http_origins",
        problem,
    };
    if spec.http_origins.is_empty() {
        return Err(refuse(
            "the plugin imports `http`, and there is no origin it may reach: list them, such as \
             [\"https://backend.example\"]"
                .to_owned(),
        ));
    }
    let tls = Tls::new(&spec.http_origins, host.http_ca.as_deref()).map_err(refuse)?;
    let (origins, listed) = (&spec.http_origins, &spec.http_private_networks);
    let http = Http::new(origins.clone(), listed.clone(), tls, host.threads);
    Ok(Some(http))
}

fn check_size(plugin: &str, bytes: u64, max: u64) -> Result<(), LoadError> {
    if bytes <= max {
        return Ok(());
    }
    Err(LoadError::TooLarge {
        plugin: plugin.to_owned(),
        bytes,
        max,
    })
}

fn read_file(plugin: &str, path: &Path, max: u64) -> Result<Vec<u8>, LoadError> {
    let failed = |error| LoadError::File {
        plugin: plugin.to_owned(),
        path: path.to_owned(),
        error,
    };
    let file = File::open(path).map_err(failed)?;
    check_size(plugin, file.metadata().map_err(failed)?.len(), max)?;
    let mut bytes = Vec::new();
    // It may grow while it is read.
    file.take(max.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(failed)?;
    Ok(bytes)
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Compiles a plugin on the thread for that.
pub(crate) async fn compiled(
    host: &Arc<HostCore>,
    spec: &PluginSpec,
) -> Result<Compiled, LoadError> {
    check(spec, &host.config)?;
    let shut_down = || LoadError::ShutDown {
        plugin: spec.name.clone(),
    };
    let compiler = lock(&host.compiler).clone().ok_or_else(shut_down)?;
    let (engine, theirs, config) = (host.engine.clone(), spec.clone(), host.config.clone());
    let compiled = compiler.run(move || {
        let mut compiled = compile(&engine, &theirs, &config)?;
        compiled.http = http(&theirs, &compiled.survey, &config)?;
        Ok(compiled)
    });
    let Some(compiled) = compiled.await else {
        return Err(LoadError::Invalid {
            plugin: spec.name.clone(),
            problem: "it could not be compiled now: too many others are waiting, the host is ending, or the \
                      compiler failed; try again"
                .to_owned(),
        });
    };
    compiled
}

/// What a spec grants.
pub(crate) fn grants(spec: &PluginSpec, http: Option<Http>) -> Grants {
    let config = match &spec.config {
        serde_json::Value::Null => "{}".to_owned(),
        config => config.to_string(),
    };
    Grants {
        config,
        keys: Keys::new(spec.keys.clone()),
        http,
    }
}

impl Compiled {
    pub(crate) fn kinds(&self) -> &[Kind] {
        &self.survey.kinds
    }

    /// A version with what the spec grants.
    pub(crate) fn version(self, spec: &PluginSpec, generation: u64) -> VersionCore {
        let grants = grants(spec, self.http);
        let id = VersionId {
            generation,
            sha256: self.sha256,
        };
        VersionCore::new(id, self.linked, self.survey, limits(spec), grants)
    }
}

/// Makes one instance for each kind, which checks the types of all exports and lets the component judge
/// its configuration.
pub(crate) async fn rehearse(
    plugin: &Arc<PluginCore>,
    version: &Arc<VersionCore>,
) -> Result<(), LoadError> {
    for kind in &version.survey.kinds {
        let ticket = Ticket::rehearsal(plugin, version, *kind);
        let outcome = match kind {
            Kind::Authentication => actor::open::<Authentication>(ticket).await.map(drop),
            Kind::Signaling => actor::open::<Signaling>(ticket).await.map(drop),
            Kind::LayerSelection => actor::open::<LayerSelection>(ticket).await.map(drop),
            Kind::Recording => actor::open::<Recording>(ticket).await.map(drop),
        };
        outcome.map_err(|fault| LoadError::Trial {
            plugin: plugin.commons.name.clone(),
            fault,
        })?;
    }
    Ok(())
}
