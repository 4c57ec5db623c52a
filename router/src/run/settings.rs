//! The configuration's words → what each part is set up with.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use rillway_core::id::WorkerId;
use rillway_plugin_sdk::types;
use rillway_ring::{DriverConfig, OpenError, PortSharing, Steering, StreamConfig};

use crate::config::{Config, ConfigError, DriverChoice, Key};
use crate::gateway::{self, OriginPolicy, Route};
use crate::session::JoinFacts;
use crate::turn::Minter;
use crate::worker::{self, StartError};

use super::RunError;

/// What a request may hold beside a session description, bytes.
const BODY_BYTES_SLACK: usize = 16 << 10;

/// Set-up of every worker.
///
/// # Errors
/// No address to bind.
pub(crate) fn workers(config: &Config) -> Result<Vec<worker::Settings>, RunError> {
    let addresses = media_addresses(config)?;
    let cores = if config.media.pin_cpus {
        core_affinity::get_core_ids().unwrap_or_default()
    } else {
        Vec::new()
    };
    (0..config.media.workers.get())
        .map(|index| worker(config, index, &addresses, &cores))
        .collect()
}

/// Addresses that each worker binds.
///
/// # Errors
/// There is none.
pub(super) fn media_addresses(config: &Config) -> Result<Vec<IpAddr>, ConfigError> {
    if !config.media.bind.is_empty() {
        return Ok(config.media.bind.clone());
    }
    let wanted = &config.media.interfaces;
    let key = match wanted.is_empty() {
        true => Key::MEDIA_BIND,
        false => Key::MEDIA_INTERFACES,
    };
    worker::interfaces::enumerate(wanted).map_err(|error| {
        config.refused(
            key,
            &format!("cannot find an address for media: {error}"),
            "bring a network interface up, or name the addresses",
        )
    })
}

fn worker(
    config: &Config,
    index: u16,
    addresses: &[IpAddr],
    cores: &[core_affinity::CoreId],
) -> Result<worker::Settings, RunError> {
    let id = u8::try_from(index).map_err(|_| RunError::Start {
        what: "more than 256 media workers",
        source: io::ErrorKind::InvalidInput.into(),
    })?;
    let media = &config.media;
    let port = media.port(index);
    let bound: Vec<_> = addresses
        .iter()
        .map(|&ip| SocketAddr::new(ip, port))
        .collect();
    let mut driver = DriverConfig::new(bound);
    driver.receive_socket_bytes = media.receive_buffer_bytes as usize;
    driver.send_socket_bytes = media.send_buffer_bytes as usize;
    driver.streams = media.tcp.map(|tcp| StreamConfig {
        connections: tcp.connections_max as usize,
        connections_per_address: tcp.connections_per_address_max as usize,
        port: media.tcp_port(index),
    });
    if media.shares_port() {
        driver.sharing = match index {
            0 => PortSharing::Opened,
            _ => PortSharing::Joined,
        };
    }
    let advertise = media.clone();
    Ok(worker::Settings {
        id: WorkerId(id),
        driver,
        choice: match media.driver {
            DriverChoice::Auto => rillway_ring::DriverChoice::Auto,
            DriverChoice::Ring => rillway_ring::DriverChoice::Ring,
            DriverChoice::Mmsg => rillway_ring::DriverChoice::Mmsg,
        },
        limits: config.limits,
        tap: None,
        links: worker::Links::none(),
        handover: worker::Handover::none(),
        relays: None,
        // More workers than cores share them in turn.
        core: cores.get(usize::from(index) % cores.len().max(1)).copied(),
        advertise: Box::new(move |bound| {
            SocketAddr::new(advertise.advertised(bound.ip()), bound.port())
        }),
    })
}

/// Has the kernel give datagrams to their workers behind one port, if it may be asked.
pub(super) fn steer(workers: &mut [worker::Settings]) {
    let Some(first) = workers.first() else {
        return;
    };
    // A worker's number is a byte.
    match Steering::new(&first.driver.addresses, workers.len() as u16) {
        Ok(places) => {
            for (worker, place) in workers.iter_mut().zip(places) {
                worker.driver.steering = Some(place);
            }
            tracing::info!("one UDP port for all workers: the kernel gives datagrams to theirs");
        }
        Err(error) => tracing::info!(
            %error,
            "one UDP port for all workers: they hand datagrams over to each other"
        ),
    }
}

/// A worker that did not start, as an error about the key that mends it.
pub(super) fn start_error(config: &Config, error: StartError) -> RunError {
    let StartError::Open { source: open, .. } = &error else {
        return super::start_error(error);
    };
    match open {
        OpenError::Bind { address, source } | OpenError::Listen { address, source } => {
            let key = match source.kind() {
                io::ErrorKind::AddrNotAvailable => Key::MEDIA_BIND,
                _ => Key::MEDIA_FIRST_PORT,
            };
            config.bind_error(key, *address, source).into()
        }
        OpenError::Ring(_) => config
            .refused(
                Key::MEDIA_DRIVER,
                &open.to_string(),
                "\"auto\" takes the ring where it works and \"mmsg\" where not",
            )
            .into(),
        _ => super::start_error(error),
    }
}

/// Set-up of the gateway.
pub(super) fn gateway(config: &Config, routes: Vec<Route>) -> gateway::Settings {
    let gateway = &config.gateway;
    gateway::Settings {
        routes,
        page: gateway.page,
        connections_max: gateway.connections_max as usize,
        message_bytes_max: gateway.message_bytes_max as usize,
        body_bytes_max: config.limits.sdp_bytes as usize + BODY_BYTES_SLACK,
        messages_per_second_max: gateway.messages_per_second_max,
        ping_interval: gateway.ping_interval,
        idle_timeout: gateway.idle_timeout,
        header_timeout: gateway.header_timeout,
        resume: gateway.resume,
        origins: OriginPolicy {
            allowed: gateway.allowed_origins.clone(),
            loopback: gateway.allowed_origins.is_empty() && gateway.listen.ip().is_loopback(),
        },
    }
}

/// What joining clients are told.
pub(super) fn join_facts(config: &Config, turn: Option<Arc<Minter>>) -> JoinFacts {
    let limits = &config.limits;
    JoinFacts {
        limits: types::Limits {
            data_message_bytes: limits.data_message_bytes,
            data_bytes_per_second: limits.data_bytes_per_second,
            sdp_bytes: limits.sdp_bytes,
            tracks_per_participant: limits.tracks_per_participant,
            subscriptions_per_participant: limits.subscriptions_per_participant,
        },
        ice_servers: config
            .ice_servers
            .iter()
            .map(|server| types::IceServer {
                urls: server.urls.clone(),
                username: server.username.clone(),
                credential: server.credential.as_ref().map(|s| s.reveal().to_owned()),
            })
            .collect(),
        turn,
    }
}
