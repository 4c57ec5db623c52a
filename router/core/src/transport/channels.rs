//! Data channels of a client, with queues of our own behind SCTP's buffer.

use std::collections::VecDeque;
use std::sync::Arc;

use str0m::Rtc;
use str0m::channel::ChannelId;

use crate::limits::{
    CHANNELS_PER_TRANSPORT, SCTP_BUFFER_BYTES, SCTP_RELIABLE_BYTES, UNRELIABLE_QUEUE_BYTES,
};

/// The two channels that mean something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Label {
    /// Ordered, all of it.
    Reliable,
    /// Soon outdated.
    Unreliable,
}

impl Label {
    /// From the channel's label.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "reliable" => Some(Label::Reliable),
            "unreliable" => Some(Label::Unreliable),
            _ => None,
        }
    }
}

/// One open channel.
#[derive(Debug)]
struct Channel {
    id: ChannelId,
    label: Label,
    queue: VecDeque<Arc<[u8]>>,
    queued_bytes: usize,
}

/// What became of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sent {
    /// Sent or queued; so many older ones had to go for it.
    Taken {
        /// Dropped from the queue.
        displaced: u64,
    },
    /// The queue is full.
    Dropped,
    /// No such channel is open.
    Absent,
}

/// The open channels of one transport.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    open: Vec<Channel>,
    /// Open channels of other labels, whose data goes nowhere.
    strangers: Vec<ChannelId>,
}

impl Channels {
    /// A channel was opened; of two with one label the newer counts. Returns the other.
    pub(crate) fn open(&mut self, id: ChannelId, label: Label) -> Option<ChannelId> {
        let replaced = self.open.iter().find(|channel| channel.label == label);
        let replaced = replaced.map(|channel| channel.id);
        self.open.retain(|channel| channel.label != label);
        self.open.push(Channel {
            id,
            label,
            queue: VecDeque::new(),
            queued_bytes: 0,
        });
        replaced
    }

    /// A channel was closed.
    pub(crate) fn close(&mut self, id: ChannelId) {
        self.open.retain(|channel| channel.id != id);
        self.strangers.retain(|known| *known != id);
    }

    /// A channel of no meaning was opened. False: too many of them.
    pub(crate) fn admit_stranger(&mut self, id: ChannelId) -> bool {
        if self.strangers.len() >= CHANNELS_PER_TRANSPORT {
            return false;
        }
        self.strangers.push(id);
        true
    }

    /// The label of a channel that means something.
    pub(crate) fn label_of(&self, id: ChannelId) -> Option<Label> {
        let channel = self.open.iter().find(|channel| channel.id == id)?;
        Some(channel.label)
    }

    /// Whether anything waits.
    pub(crate) fn is_waiting(&self) -> bool {
        self.open.iter().any(|channel| !channel.queue.is_empty())
    }

    /// Queues a message; [`Channels::pump`] sends it.
    pub(crate) fn push(&mut self, label: Label, message: &Arc<[u8]>, most: usize) -> Sent {
        let Some(channel) = self.open.iter_mut().find(|channel| channel.label == label) else {
            return Sent::Absent;
        };
        let mut displaced = 0;
        match label {
            Label::Reliable => {
                if channel.queued_bytes + message.len() > most {
                    return Sent::Dropped;
                }
            }
            Label::Unreliable => {
                // At least one message fits, however small the bound.
                let most = most.min(UNRELIABLE_QUEUE_BYTES);
                while channel.queued_bytes + message.len() > most {
                    let Some(oldest) = channel.queue.pop_front() else {
                        break;
                    };
                    channel.queued_bytes -= oldest.len();
                    displaced += 1;
                }
            }
        }
        channel.queued_bytes += message.len();
        channel.queue.push_back(message.clone());
        Sent::Taken { displaced }
    }

    /// Gives SCTP what it has room for. Returns how many messages it refused for good.
    pub(crate) fn pump(&mut self, rtc: &mut Rtc) -> u64 {
        let mut refused = 0;
        // What is soon outdated goes first.
        for label in [Label::Unreliable, Label::Reliable] {
            let Some(entry) = self.open.iter_mut().find(|channel| channel.label == label) else {
                continue;
            };
            let room = match label {
                Label::Unreliable => SCTP_BUFFER_BYTES,
                Label::Reliable => SCTP_RELIABLE_BYTES,
            };
            while let Some(message) = entry.queue.front() {
                let Some(mut channel) = rtc.channel(entry.id) else {
                    break;
                };
                let buffered = channel.buffered_amount();
                if buffered > 0 && buffered + message.len() > room {
                    channel.set_buffered_amount_low_threshold(room / 2);
                    break;
                }
                match channel.write(true, message) {
                    Ok(true) => {}
                    Ok(false) => {
                        channel.set_buffered_amount_low_threshold(room / 2);
                        break;
                    }
                    // Larger than the client takes, or the stream is closing.
                    Err(_) => refused += 1,
                }
                entry.queued_bytes -= message.len();
                entry.queue.pop_front();
            }
        }
        refused
    }
}
