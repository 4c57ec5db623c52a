//! What the rules of rooms count.

use metrics::{Counter, Gauge};

use super::registry::Registry;
use super::table::{self, RECORDING_ORDER_RESULTS};

/// Handles of the series about policies of rooms.
#[derive(Clone)]
pub struct RulesRecorder {
    rooms: Gauge,
    layer_faults: Counter,
    recording_faults: Counter,
    choices_dropped: Counter,
    orders: [Counter; RECORDING_ORDER_RESULTS.len()],
}

impl RulesRecorder {
    pub(super) fn new(registry: &Registry) -> Self {
        RulesRecorder {
            rooms: registry.gauge(&table::RULE_ROOMS, &[]),
            layer_faults: registry.counter(&table::RULE_FAULTS, &["layers"]),
            recording_faults: registry.counter(&table::RULE_FAULTS, &["recording"]),
            choices_dropped: registry.counter(&table::LAYER_ANSWERS_DROPPED, &[]),
            orders: RECORDING_ORDER_RESULTS
                .map(|result| registry.counter(&table::RECORDING_ORDERS, &[result])),
        }
    }

    /// So many rooms have policies of their own now.
    pub fn rooms(&self, rooms: usize) {
        self.rooms.set(rooms as f64);
    }

    /// A room lost its layer policy.
    pub fn layer_fault(&self) {
        self.layer_faults.increment(1);
    }

    /// A room lost its recording policy.
    pub fn recording_fault(&self) {
        self.recording_faults.increment(1);
    }

    /// A layer policy's answer found the worker's queue full.
    pub fn choices_dropped(&self) {
        self.choices_dropped.increment(1);
    }

    /// A recording policy gave an order; `result`: one of [`RECORDING_ORDER_RESULTS`].
    pub fn recording_order(&self, result: &str) {
        let index = RECORDING_ORDER_RESULTS.iter().position(|r| *r == result);
        if let Some(counter) = index.and_then(|index| self.orders.get(index)) {
            counter.increment(1);
        }
    }
}
