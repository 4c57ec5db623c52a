//! The layer policy of one room.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use rillway_core::api::{Choices, RoomOrderKind, RoomView};
use rillway_plugin_sdk::layers::Scope;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::changes::Told;
use super::orders::Orders;
use super::seams::{LayerFactory, LayerInstance, Pace, RuleFault};
use super::{LayerRule, translate};

/// A room whose layers a policy selects; ends with it.
pub(super) struct LayerRoom {
    inbox: Rc<Inbox>,
    task: JoinHandle<()>,
}

impl LayerRoom {
    /// Begins. Within a `LocalSet`.
    pub(super) fn open(rule: &LayerRule, room: Rc<str>, orders: Orders, retry: Duration) -> Self {
        let inbox = Rc::new(Inbox::default());
        let task = Task {
            factory: rule.factory.clone(),
            room,
            inbox: inbox.clone(),
            orders,
            pace: Pace::new(retry),
        };
        let every = rule.every.get();
        let task = tokio::task::spawn_local(async move {
            let watch = RoomOrderKind::WatchLayers { every };
            task.orders.send(watch).await;
            task.run().await;
        });
        LayerRoom { inbox, task }
    }

    /// A newer view of the room.
    pub(super) fn show(&self, view: RoomView) {
        self.inbox.put(view);
    }
}

impl Drop for LayerRoom {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The newest view that nobody has seen.
#[derive(Default)]
struct Inbox {
    view: RefCell<Option<RoomView>>,
    news: Notify,
}

impl Inbox {
    fn put(&self, view: RoomView) {
        *self.view.borrow_mut() = Some(view);
        self.news.notify_one();
    }

    async fn take(&self) -> RoomView {
        loop {
            let view = self.view.borrow_mut().take();
            match view {
                Some(view) => return view,
                None => self.news.notified().await,
            }
        }
    }
}

struct Task {
    factory: Rc<dyn LayerFactory>,
    room: Rc<str>,
    inbox: Rc<Inbox>,
    orders: Orders,
    pace: Pace,
}

impl Task {
    /// One instance after the other.
    async fn run(mut self) {
        loop {
            let fault = match self.factory.open(&self.room).await {
                Ok(instance) => self.serve(instance).await,
                Err(fault) => fault,
            };
            if fault == RuleFault::Retired {
                // What it chose stays in force until its successor has seen the room.
                self.orders.send(RoomOrderKind::ShowAgain).await;
            } else {
                self.orders.recorder.layer_fault();
                let (policy, room) = (self.factory.policy(), &*self.room);
                tracing::warn!(policy = &*policy, room, %fault, "the built-in policy selects layers");
                self.orders.send(RoomOrderKind::PolicyFailed).await;
            }
            let wait = self.pace.failed(&fault);
            if !wait.is_zero() {
                tokio::time::sleep(wait).await;
            }
        }
    }

    /// Shows an instance the newest view again and again, until it fails or is to be replaced.
    async fn serve(&mut self, mut instance: Box<dyn LayerInstance>) -> RuleFault {
        let mut retired = instance.retired();
        // What it knows, while it wants to be told changes alone.
        let mut told: Option<Told> = None;
        loop {
            // A view that nobody took is its successor's.
            let view = tokio::select! {
                biased;
                () = &mut retired => return RuleFault::Retired,
                view = self.inbox.take() => view,
            };
            let (sequence, most) = (view.sequence, translate::subscriptions(&view));
            let (shown, whole) = match &mut told {
                Some(told) => (told.changes(view), None),
                None => (translate::view(&view), Some(view)),
            };
            let decision = match instance.choose(shown).await {
                Ok(decision) => decision,
                Err(fault) => return fault,
            };
            let choices = decision.choices;
            if choices.len() > most as usize {
                let excess = format!("{} choices for {most} subscriptions", choices.len());
                return RuleFault::Failed(excess);
            }
            self.pace.succeeded();
            match (decision.next, whole) {
                (Scope::Whole, _) => told = None,
                (Scope::Changes, Some(whole)) => told = Some(Told::of(whole)),
                (Scope::Changes, None) => {}
            }
            self.orders.choose(Choices {
                view: sequence,
                policy: instance.policy(),
                choices: choices.into_iter().map(translate::choice).collect(),
            });
        }
    }
}
