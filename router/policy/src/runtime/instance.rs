//! One instance: its store, and how it is called within its bounds.

use std::sync::Arc;
use std::time::Duration;

use rillway_plugin_sdk::authentication::Attempt;
use rillway_plugin_sdk::layers::{Choice, View};
use rillway_plugin_sdk::recording::{Event, Order};
use rillway_plugin_sdk::signaling::{Command, Input};
use rillway_plugin_sdk::types::{Denial, Grant};
use wasmtime::{Engine, PoolConcurrencyLimitError, Store, WasmBacktrace};

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
    type Output = Vec<Choice>;

    fn deadline(limits: &Limits, input: &View) -> Duration {
        limits.call_for_view(Self::values_max(input))
    }

    fn values_max(input: &View) -> usize {
        input
            .subscribers
            .iter()
            .map(|s| s.subscriptions.len())
            .sum()
    }

    fn weigh_input(input: &View) -> usize {
        weigh::view(input)
    }

    fn weigh_output(output: &Self::Output) -> usize {
        weigh::choices(output)
    }

    fn check(output: &Self::Output, values_max: usize) -> Result<(), Excess> {
        check::choices(output, values_max)
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

/// An instance that has been started. Dropped after its first fault.
pub(crate) struct Instance {
    store: Store<Context>,
    entered: Entered,
    limits: Arc<Limits>,
    tick: Tick,
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
        tick: Tick,
    ) -> Result<Instance, Fault> {
        let (kind, budget) = (context.kind, limits.start);
        let mut store = Store::new(engine, context);
        store.limiter(|context| &mut context.memory);
        store.set_hostcall_fuel(limits.returned_bytes);
        store.epoch_deadline_callback(|mut store| Ok(store.data_mut().meter.tick()?));
        begin(&mut store, budget);
        let running = tick.begin();
        let outcome = tokio::time::timeout(budget + GRACE, async {
            let entered = linked.instantiate(&mut store, kind).await?;
            let started = entered.start(&mut store).await?;
            Ok((entered, started))
        })
        .await;
        drop(running);
        store.data_mut().meter.end();
        match outcome {
            Ok(Ok((entered, Ok(())))) => Ok(Instance {
                store,
                entered,
                limits,
                tick,
            }),
            Ok(Ok((_, Err(text)))) => Err(Fault::Start(clean(&text))),
            Ok(Err(error)) => Err(fault(&error, store.data_mut(), budget)),
            Err(_) => Err(Fault::Timeout(budget)),
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

    /// Calls it. After an error it must not be called again.
    ///
    /// # Errors
    /// [`Fault`].
    pub(crate) async fn call<I: Interface>(&mut self, input: I::Input) -> Result<I::Output, Fault> {
        let budget = I::deadline(&self.limits, &input);
        let values_max = I::values_max(&input);
        begin(&mut self.store, budget);
        let running = self.tick.begin();
        let call = I::call(&self.entered, &mut self.store, input);
        let outcome = tokio::time::timeout(budget + GRACE, call).await;
        drop(running);
        let context = self.store.data_mut();
        context.meter.end();
        match outcome {
            Ok(Ok(output)) => match I::check(&output, values_max) {
                Ok(()) => Ok(output),
                Err(excess) => Err(Fault::Excess(excess)),
            },
            Ok(Err(error)) => Err(fault(&error, context, budget)),
            Err(_) => Err(Fault::Timeout(budget)),
        }
    }
}

fn begin(store: &mut Store<Context>, budget: Duration) {
    let context = store.data_mut();
    context.memory.take_refused();
    context.meter.begin(budget);
    store.set_epoch_deadline(1);
}

/// What an error of wasmtime means.
fn fault(error: &wasmtime::Error, context: &mut Context, budget: Duration) -> Fault {
    if error.is::<Interrupted>() {
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
