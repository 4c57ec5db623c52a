//! One instance: its store, and how it is called within its bounds.

use std::sync::Arc;
use std::time::Duration;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Decision, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, Trap, WasmBacktrace};

use super::engine::Tick;
use super::meter::{GRACE, Interrupted};
use crate::abi::{Entered, Linked};
use crate::budgets::Limits;
use crate::capabilities::log::clean;
use crate::check;
use crate::context::Context;
use crate::error::{Excess, Fault, Refusal};
use crate::kind::Kind;
use crate::weigh;

/// Fuel for each microsecond of a budget: about what a core executes in it.
pub const FUEL_PER_US: u64 = 1_000;

/// One of the four interfaces: what goes in and out, and its bounds.
pub(crate) trait Interface: Send + 'static {
    const KIND: Kind;
    /// Whether one instance serves many, so that it is replaced from time to time.
    const REUSED: bool = false;
    type Input: Send + 'static;
    type Output: Send + 'static;

    /// Time of a call.
    fn deadline(limits: &Limits, _input: &Self::Input) -> Duration {
        limits.call
    }

    /// Values a call may return, where that depends on what it was asked.
    fn values_max(input: &Self::Input) -> usize;

    /// Bytes of an input, roughly.
    fn weigh_input(input: &Self::Input) -> usize;

    /// Bytes of an output, roughly.
    fn weigh_output(output: &Self::Output) -> usize;

    /// Checks what the router could not answer if it were wrong.
    fn check(output: &Self::Output, values_max: usize) -> Result<(), Excess>;

    /// Enters the component.
    fn call(
        entered: &Entered,
        store: &mut Store<Context>,
        input: Self::Input,
    ) -> impl Future<Output = wasmtime::Result<Self::Output>>;
}

pub(crate) struct Authentication;

impl Interface for Authentication {
    const KIND: Kind = Kind::Authentication;
    const REUSED: bool = true;
    type Input = Attempt;
    type Output = Result<Grant, Denial>;

    fn values_max(_: &Attempt) -> usize {
        1
    }

    fn weigh_input(input: &Attempt) -> usize {
        weigh::attempt(input)
    }

    fn weigh_output(output: &Self::Output) -> usize {
        weigh::decision(output)
    }

    fn check(output: &Self::Output, _: usize) -> Result<(), Excess> {
        check::decision(output)
    }

    async fn call(
        entered: &Entered,
        store: &mut Store<Context>,
        input: Attempt,
    ) -> wasmtime::Result<Self::Output> {
        entered.authenticate(store, input).await
    }
}

pub(crate) struct Signaling;

impl Interface for Signaling {
    const KIND: Kind = Kind::Signaling;
    type Input = Input;
    type Output = Vec<Command>;

    fn values_max(_: &Input) -> usize {
        check::COMMANDS_MAX
    }

    fn weigh_input(input: &Input) -> usize {
        weigh::input(input)
    }

    fn weigh_output(output: &Self::Output) -> usize {
        weigh::commands(output)
    }

    fn check(output: &Self::Output, values_max: usize) -> Result<(), Excess> {
        check::commands(output, values_max)
    }

    async fn call(
        entered: &Entered,
        store: &mut Store<Context>,
        input: Input,
    ) -> wasmtime::Result<Self::Output> {
        entered.handle(store, input).await
    }
}

pub(crate) struct LayerSelection;

impl Interface for LayerSelection {
    const KIND: Kind = Kind::LayerSelection;
    type Input = View;
    type Output = Decision;

    fn deadline(limits: &Limits, input: &View) -> Duration {
        limits.call_for_view(Self::values_max(input))
    }

    fn values_max(input: &View) -> usize {
        let shown = input.subscribers.iter().map(|s| s.subscriptions.len());
        shown.sum::<usize>().max(input.subscriptions as usize)
    }

    fn weigh_input(input: &View) -> usize {
        weigh::view(input)
    }

    fn weigh_output(output: &Self::Output) -> usize {
        weigh::choices(&output.choices)
    }

    fn check(output: &Self::Output, values_max: usize) -> Result<(), Excess> {
        check::choices(&output.choices, values_max)
    }

    async fn call(
        entered: &Entered,
        store: &mut Store<Context>,
        input: View,
    ) -> wasmtime::Result<Self::Output> {
        entered.choose(store, input).await
    }
}

pub(crate) struct Recording;

impl Interface for Recording {
    const KIND: Kind = Kind::Recording;
    type Input = Event;
    type Output = Vec<Order>;

    fn values_max(_: &Event) -> usize {
        check::ORDERS_MAX
    }

    fn weigh_input(input: &Event) -> usize {
        weigh::event(input)
    }

    fn weigh_output(output: &Self::Output) -> usize {
        weigh::orders(output)
    }

    fn check(output: &Self::Output, values_max: usize) -> Result<(), Excess> {
        check::orders(output, values_max)
    }

    async fn call(
        entered: &Entered,
        store: &mut Store<Context>,
        input: Event,
    ) -> wasmtime::Result<Self::Output> {
        entered.decide(store, input).await
    }
}

/// What ends a call that runs on.
pub(crate) enum Pace {
    /// Time, told by the epoch.
    Ticks(Tick),
    /// Fuel, [`FUEL_PER_US`] of it for each microsecond of the budget.
    Fuel,
}

impl Pace {
    /// Runs a call to its end, or to the end of its time with some patience.
    async fn run<T>(&self, budget: Duration, call: impl Future<Output = T>) -> Option<T> {
        match self {
            Pace::Ticks(tick) => {
                let _running = tick.begin();
                tokio::time::timeout(budget + GRACE, call).await.ok()
            }
            Pace::Fuel => Some(call.await),
        }
    }

    fn begin(&self, store: &mut Store<Context>, budget: Duration) {
        let context = store.data_mut();
        context.memory.take_refused();
        match self {
            Pace::Ticks(_) => {
                context.meter.begin(budget);
                store.set_epoch_deadline(1);
            }
            // Fails on an engine without fuel only, and this pace has one with it.
            Pace::Fuel => drop(store.set_fuel(fuel(budget))),
        }
    }
}

/// Fuel for a time.
fn fuel(budget: Duration) -> u64 {
    let us = u64::try_from(budget.as_micros()).unwrap_or(u64::MAX);
    us.saturating_mul(FUEL_PER_US)
}

/// An instance that has been started. Dropped after its first fault.
pub(crate) struct Instance {
    store: Store<Context>,
    entered: Entered,
    limits: Arc<Limits>,
    pace: Pace,
}

impl Instance {
    /// Makes one and calls its `lifecycle.start`, together within the time for starting.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn start(
        linked: &Linked,
        engine: &Engine,
        context: Context,
        limits: Arc<Limits>,
        pace: Pace,
    ) -> Result<Instance, Fault> {
        let (kind, budget) = (context.kind, limits.start);
        let mut store = Store::new(engine, context);
        store.limiter(|context| &mut context.memory);
        store.set_hostcall_fuel(limits.returned_bytes);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().meter.tick()?));
        pace.begin(&mut store, budget);
        let starting = async {
            let entered = linked.instantiate(&mut store, kind).await?;
            let started = entered.start(&mut store).await?;
            Ok((entered, started))
        };
        let outcome = pace.run(budget, starting).await;
        store.data_mut().meter.end();
        match outcome {
            Some(Ok((entered, Ok(())))) => Ok(Instance {
                store,
                entered,
                limits,
                pace,
            }),
            Some(Ok((_, Err(text)))) => Err(Fault::Start(clean(&text))),
            Some(Err(error)) => Err(fault(&error, store.data_mut(), budget)),
            None => Err(Fault::Timeout(budget)),
        }
    }

    /// Linear memory, bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.store.data().memory.bytes()
    }

    /// What it has sent and received over HTTP since the last question, bytes.
    pub(crate) fn take_exchanged(&mut self) -> usize {
        self.store.data_mut().take_exchanged()
    }

    /// Tells it the time, if that is told.
    pub(crate) fn tell(&mut self, now: Duration) {
        self.store.data_mut().senses.tell(now);
    }

    /// Fuel that is left of the last call's, where it runs on fuel.
    pub(crate) fn fuel_left(&self) -> u64 {
        self.store.get_fuel().unwrap_or(0)
    }

    /// Fuel that a call with this input has.
    pub(crate) fn fuel_for<I: Interface>(&self, input: &I::Input) -> u64 {
        fuel(I::deadline(&self.limits, input))
    }

    /// Calls it. After an error it must not be called again.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn call<I: Interface>(&mut self, input: I::Input) -> Result<I::Output, Fault> {
        let budget = I::deadline(&self.limits, &input);
        let values_max = I::values_max(&input);
        self.pace.begin(&mut self.store, budget);
        let call = I::call(&self.entered, &mut self.store, input);
        let outcome = self.pace.run(budget, call).await;
        let context = self.store.data_mut();
        context.meter.end();
        match outcome {
            Some(Ok(output)) => match I::check(&output, values_max) {
                Ok(()) => Ok(output),
                Err(excess) => Err(Fault::Excess(excess)),
            },
            Some(Err(error)) => Err(fault(&error, context, budget)),
            None => Err(Fault::Timeout(budget)),
        }
    }
}

/// What an error of wasmtime means.
fn fault(error: &wasmtime::Error, context: &mut Context, budget: Duration) -> Fault {
    let out_of_fuel = error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel);
    if out_of_fuel || error.is::<Interrupted>() {
        return Fault::Timeout(budget);
    }
    if let Some(excess) = error.downcast_ref::<Excess>() {
        return Fault::Excess(*excess);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return Fault::Refused(Refusal::Instances);
    }
    if context.memory.take_refused() {
        return Fault::Memory;
    }
    let cause = error.root_cause().to_string();
    // wasmtime keeps the type to itself.
    if cause.contains("too much data") || cause.contains("fuel allocated for hostcalls") {
        return Fault::Excess(Excess::Bytes);
    }
    let frame = error
        .downcast_ref::<WasmBacktrace>()
        .and_then(|trace| trace.frames().first())
        .and_then(|frame| frame.func_name());
    Fault::Trapped(clean(&match frame {
        Some(function) => format!("{cause}, in `{function}`"),
        None => cause,
    }))
}
