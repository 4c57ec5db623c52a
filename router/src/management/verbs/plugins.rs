//! Verbs about plugins.

use rillway_policy::{BreakerState, Budgets, KindStats, Limits, Plugin, Rollout, Source};

use crate::management::call::{Call, Failure};
use crate::management::wire::error::Code;
use crate::management::wire::response::Part;
use crate::management::wire::{self, PluginReloadRequest};

pub(super) async fn list(call: &mut Call) -> Result<(), Failure> {
    let plugins = call.sources.plugins.values().map(view).collect();
    call.send(Part::Plugins(wire::Plugins { plugins })).await
}

pub(super) async fn reload(call: &mut Call, request: PluginReloadRequest) -> Result<(), Failure> {
    let percent = match request.canary_percent {
        0 => 100,
        percent @ 1..=99 => u8::try_from(percent).unwrap_or(99),
        _ => {
            return Err(Failure::invalid(
                "`canary_percent` must be 1 to 99, or 0 for everybody".to_owned(),
            ));
        }
    };
    let plugin = named(call, &request.name)?;
    let spec = (!request.component.is_empty()).then(|| {
        let mut spec = plugin.spec();
        spec.source = Source::Bytes(request.component.into());
        spec
    });
    let rollout = Rollout {
        percent,
        ..Rollout::default()
    };
    let reloaded = plugin.reload(spec, rollout).await;
    reloaded.map_err(|error| {
        let help = format!("{} still runs", plugin.version());
        Failure::new(Code::Refused, error.to_string(), &help)
    })?;
    show(call, &plugin).await
}

pub(super) async fn promote(call: &mut Call, name: &str) -> Result<(), Failure> {
    let plugin = named(call, name)?;
    plugin.promote();
    show(call, &plugin).await
}

pub(super) async fn rollback(call: &mut Call, name: &str) -> Result<(), Failure> {
    let plugin = named(call, name)?;
    if plugin.rollback().is_none() {
        return Err(Failure::new(
            Code::WrongState,
            format!("plugin {name} has no version before this one"),
            "`rillway plugin ls` shows its versions",
        ));
    }
    show(call, &plugin).await
}

fn named(call: &Call, name: &str) -> Result<Plugin, Failure> {
    call.sources.plugins.get(name).cloned().ok_or_else(|| {
        let shown: String = name.chars().take(64).filter(|c| !c.is_control()).collect();
        Failure::new(
            Code::NotFound,
            format!("there is no plugin `{shown}`"),
            "`rillway plugin ls` names them",
        )
    })
}

async fn show(call: &mut Call, plugin: &Plugin) -> Result<(), Failure> {
    let plugins = vec![view(plugin)];
    call.send(Part::Plugins(wire::Plugins { plugins })).await
}

fn view(plugin: &Plugin) -> wire::Plugin {
    let stats = plugin.stats();
    let budgets = plugin.spec().budgets;
    let sum = |number: fn(&KindStats) -> u64| stats.kinds.iter().map(number).sum();
    let versions = stats.versions.iter().map(|version| wire::PluginVersion {
        version: version.id.to_string(),
        percent: u32::from(version.percent),
        instances: version.instances as u64,
        calls: version.kinds.iter().map(|kind| kind.calls).sum(),
        faults: version.kinds.iter().map(KindStats::faults_total).sum(),
    });
    wire::Plugin {
        name: plugin.name().to_owned(),
        kinds: plugin.kinds().iter().map(ToString::to_string).collect(),
        abi: plugin.abi().to_owned(),
        version: plugin.version().to_string(),
        breaker: breaker(&stats.kinds).to_owned(),
        calls: sum(|kind| kind.calls),
        faults: sum(KindStats::faults_total),
        returns: stats.returns,
        instances: sum(|kind| kind.instances as u64),
        memory_bytes: sum(|kind| kind.memory_bytes),
        versions: versions.collect(),
        by_kind: stats.kinds.iter().map(|of| kind(of, &budgets)).collect(),
    }
}

fn kind(stats: &KindStats, budgets: &Budgets) -> wire::PluginKind {
    let counts = |counts: &[(&'static str, u64)]| {
        let counts = counts.iter();
        let counts = counts.map(|(name, count)| wire::Count {
            name: (*name).to_owned(),
            count: *count,
        });
        counts.collect()
    };
    let limits = Limits::resolve(stats.kind, budgets);
    let whole_us = |time: std::time::Duration| u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
    wire::PluginKind {
        kind: stats.kind.to_string(),
        breaker: breaker(std::slice::from_ref(stats)).to_owned(),
        calls: stats.calls,
        faults: counts(&stats.faults),
        refusals: counts(&stats.refused),
        instances: stats.instances as u64,
        memory_bytes: stats.memory_bytes,
        memory_bytes_max: stats.memory_bytes_max,
        p50_us: stats.durations.quantile_us(0.5).unwrap_or(0),
        p99_us: stats.durations.quantile_us(0.99).unwrap_or(0),
        budget: Some(wire::PluginBudget {
            call_us_max: whole_us(limits.call),
            memory_bytes_max: limits.memory_bytes as u64,
            memory_total_bytes_max: limits.memory_total_bytes as u64,
            instances_max: limits.instances as u64,
            calls_per_second_max: limits.calls_per_second.into(),
            bytes_per_second_max: limits.bytes_per_second.into(),
        }),
    }
}

/// The worst state of a plugin's breakers.
fn breaker(kinds: &[KindStats]) -> &'static str {
    let any = |state| kinds.iter().any(|kind| kind.breaker == state);
    if any(BreakerState::Open) {
        "open"
    } else if any(BreakerState::HalfOpen) {
        "half-open"
    } else {
        "closed"
    }
}
