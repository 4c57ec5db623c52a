//! The media ring: one io_uring, several sockets, no runtime. [`super::RingDriver`] adds the wake-up.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, RawFd};
use std::time::{Duration, Instant};

use io_uring::types::{CancelBuilder, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::buffers::{Buffers, GROUP};
use super::headers::Headers;
use super::restrict;
use crate::arrival::{self, Arrival};
use crate::bookkeeping::address::ADDRESS_BYTES;
use crate::bookkeeping::control::RECEIVE_CONTROL_BYTES;
use crate::bookkeeping::envelope;
use crate::bookkeeping::outbox::Outbox;
use crate::bookkeeping::provided::BufferId;
use crate::bookkeeping::ticket::Ticket;
use crate::config::DriverConfig;
use crate::driver::{DriverStats, Receiver, SendError, SendRun, SocketId};
use crate::message::empty_header;
use crate::patience;
use crate::probe::RingFault;
use crate::socket::{UdpSocket, is_driver_fault};

/// Submission entries: a flush of 512 messages is one system call.
pub(crate) const SUBMISSION_ENTRIES: u32 = 512;
/// Rounds of submit and reap within one `receive`, so that a socket that fails at once and for ever
/// cannot hold the thread.
const ROUNDS_MAX: usize = 64;
/// Failed receives in a row before the driver gives up.
const FAULTS_MAX: u32 = 1_000;
/// How long `shutdown` waits for cancelled receives.
const SHUTDOWN_TIME: Duration = Duration::from_secs(1);

/// Completion entries for a configuration: every buffer, every send of two flushes and every socket
/// can complete before anything is reaped.
pub(crate) fn completion_entries(config: &DriverConfig) -> u32 {
    let most =
        usize::from(config.receive_buffers) + 2 * config.send_slots + 2 * config.addresses.len();
    (most.next_power_of_two() as u32).max(2 * SUBMISSION_ENTRIES)
}

#[derive(Debug)]
struct RingSocket {
    socket: UdpSocket,
    armed: bool,
}

/// A filled receive buffer that no one has looked at yet.
#[derive(Debug, Clone, Copy)]
struct Filled {
    socket: SocketId,
    buffer: BufferId,
    bytes: usize,
}

pub(crate) struct RingCore {
    ring: IoUring,
    sockets: Vec<RingSocket>,
    addresses: Vec<SocketAddr>,
    /// `None` once the kernel has let go of them, or once they had to be leaked.
    buffers: Option<Buffers>,
    /// Lengths of the name and control fields for every receive. Boxed: the kernel is given its
    /// address.
    template: Box<libc::msghdr>,
    outbox: Outbox,
    headers: Headers,
    /// Letters of the outbox already in the submission queue.
    pushed: usize,
    /// Reaped, not yet handed over. Never longer than the number of buffers.
    filled: VecDeque<Filled>,
    faults: u32,
    fatal: Option<i32>,
    closed: bool,
    stats: DriverStats,
}

impl std::fmt::Debug for RingCore {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RingCore")
            .field("addresses", &self.addresses)
            .field("closed", &self.closed)
            .finish_non_exhaustive()
    }
}

impl AsRawFd for RingCore {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

/// The ring's flags. COOP_TASKRUN with TASKRUN_FLAG, not DEFER_TASKRUN: a deferring ring never raises
/// the edge that epoll, and so tokio, waits for. It is disabled until it is known what it may do ([`restrict`]).
pub(crate) fn build_ring(config: &DriverConfig) -> io::Result<IoUring> {
    IoUring::builder()
        .dontfork()
        .setup_r_disabled()
        .setup_single_issuer()
        .setup_coop_taskrun()
        .setup_taskrun_flag()
        .setup_submit_all()
        .setup_cqsize(completion_entries(config))
        .build(SUBMISSION_ENTRIES)
}

/// A ring like the worker runtime's, for the probe: does the memory limit allow both?
pub(crate) fn build_runtime_ring() -> io::Result<IoUring> {
    IoUring::builder()
        .setup_coop_taskrun()
        .build(crate::runtime::RING_ENTRIES)
}

impl RingCore {
    /// Takes over bound, blocking sockets and arms a receive on each.
    pub(crate) fn new(config: &DriverConfig, sockets: Vec<UdpSocket>) -> Result<Self, RingFault> {
        let at = |step| move |error| RingFault::new(step, error, config);
        let ring = patience::for_memory(|| build_ring(config)).map_err(at("io_uring_setup"))?;
        let descriptors: Vec<RawFd> = sockets.iter().map(AsRawFd::as_raw_fd).collect();
        ring.submitter()
            .register_files(&descriptors)
            .map_err(at("registering the sockets"))?;
        let mut buffers = Buffers::new(config.receive_buffers, config.receive_buffer_bytes)
            .map_err(at("mmap"))?;
        patience::for_memory(|| buffers.register(&ring.submitter()))
            .map_err(at("registering the buffer ring"))?;
        restrict::enable(&ring).map_err(at("restricting the ring"))?;
        let mut template = Box::new(empty_header());
        template.msg_namelen = ADDRESS_BYTES as libc::socklen_t;
        template.msg_controllen = RECEIVE_CONTROL_BYTES as _;
        let mut core = Self {
            addresses: sockets.iter().map(|socket| socket.address).collect(),
            sockets: sockets
                .into_iter()
                .map(|socket| RingSocket {
                    socket,
                    armed: false,
                })
                .collect(),
            ring,
            buffers: Some(buffers),
            template,
            outbox: Outbox::new(config.send_slots, config.send_arena_bytes),
            headers: Headers::new(config.send_slots),
            pushed: 0,
            filled: VecDeque::with_capacity(usize::from(config.receive_buffers)),
            faults: 0,
            fatal: None,
            closed: false,
            stats: DriverStats::default(),
        };
        core.collect().map_err(at("io_uring_enter"))?;
        if let Some(errno) = core.fatal {
            let error = io::Error::from_raw_os_error(errno);
            return Err(RingFault::new("multishot receive", error, config));
        }
        Ok(core)
    }

    pub(crate) fn local_addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.stats
    }

    pub(crate) fn receive(
        &mut self,
        budget: usize,
        receiver: &mut dyn Receiver,
    ) -> io::Result<usize> {
        let mut delivered = 0;
        for _ in 0..ROUNDS_MAX {
            if self.closed {
                break;
            }
            self.collect()?;
            if let Some(errno) = self.fatal {
                return Err(io::Error::from_raw_os_error(errno));
            }
            delivered += self.hand_over(budget - delivered, receiver);
            if delivered >= budget || !self.has_work() {
                break;
            }
        }
        Ok(delivered)
    }

    pub(crate) fn send(&mut self, run: SendRun<'_>) -> Result<(), SendError> {
        if self.closed {
            return Err(SendError::Closed);
        }
        let Some(socket) = self.sockets.get(usize::from(run.socket.0)) else {
            return Err(SendError::Invalid);
        };
        arrival::enqueue(
            &mut self.outbox,
            run,
            socket.socket.segmentation,
            &mut self.stats,
        )
    }

    /// Submits what is queued. The kernel copies payloads while it executes a send, and executes it
    /// within the submitting call: MSG_DONTWAIT rules out a later retry. So once the submission queue
    /// is empty, headers and arena are free again.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        while self.pushed < self.outbox.letters().len() {
            let before = self.pushed;
            self.push_letters();
            self.submit()?;
            self.reap();
            if self.pushed == before && !self.ring.submission().is_empty() {
                // The kernel takes nothing (out of memory): the letters stay, `send` says Full.
                return Ok(());
            }
        }
        if !self.outbox.is_empty() {
            if !self.ring.submission().is_empty() {
                self.submit()?;
                self.reap();
            }
            if self.ring.submission().is_empty() {
                self.outbox.clear();
                self.pushed = 0;
            }
        }
        Ok(())
    }

    /// Whether `receive` has something to do. Reads two words of shared memory; no system call.
    pub(crate) fn has_work(&mut self) -> bool {
        if self.closed || self.fatal.is_some() || !self.filled.is_empty() {
            return true;
        }
        if self.sockets.iter().any(|socket| !socket.armed) {
            return true;
        }
        let submission = self.ring.submission();
        let waiting = submission.taskrun() || submission.cq_overflow();
        drop(submission);
        waiting || !self.ring.completion().is_empty()
    }

    /// Sleeps until a completion comes or `time` is over. For the probe, which has no runtime.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<()> {
        let time = Timespec::from(time);
        let arguments = SubmitArgs::new().timespec(&time);
        self.stats.syscalls += 1;
        match self.ring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => Ok(()),
            Err(error) if error.raw_os_error() == Some(libc::ETIME) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Cancels the receives, waits for them, takes the buffers back and lets the sockets go.
    pub(crate) fn shutdown(&mut self) {
        if std::mem::replace(&mut self.closed, true) {
            return;
        }
        let released = self.release();
        if released.is_err() {
            // Rather 16 MiB lost at exit than memory that the kernel may still write to.
            tracing::warn!(
                error = released.err().map(tracing::field::display),
                "io_uring did not give back its receive buffers in time: leaking them"
            );
            std::mem::forget(self.buffers.take());
            std::mem::forget(std::mem::replace(
                &mut self.template,
                Box::new(empty_header()),
            ));
        }
        self.buffers = None;
        self.filled.clear();
    }

    fn release(&mut self) -> io::Result<()> {
        let deadline = Instant::now() + SHUTDOWN_TIME;
        while self.sockets.iter().any(|socket| socket.armed) {
            if Instant::now() >= deadline {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stats.syscalls += 1;
            let time = Timespec::from(SHUTDOWN_TIME);
            let cancelled = self
                .ring
                .submitter()
                .register_sync_cancel(Some(time), CancelBuilder::any());
            match cancelled {
                Ok(()) => {}
                // Ended by themselves in between: their last completions are on their way.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            self.wait(Duration::from_millis(1))?;
            self.reap();
        }
        self.stats.syscalls += 2;
        self.ring.submitter().unregister_buf_ring(GROUP)?;
        // Else the ports stay taken until the kernel has torn the ring down in the background.
        self.ring.submitter().unregister_files()
    }

    /// Arms what is not armed, enters the kernel if it has something to do, and reaps.
    fn collect(&mut self) -> io::Result<()> {
        self.arm()?;
        let submission = self.ring.submission();
        let enter = !submission.is_empty() || submission.taskrun() || submission.cq_overflow();
        drop(submission);
        if enter {
            self.submit()?;
        }
        self.reap();
        Ok(())
    }

    fn arm(&mut self) -> io::Result<()> {
        let any_buffer = self
            .buffers
            .as_ref()
            .is_some_and(|buffers| buffers.with_kernel() > 0);
        if !any_buffer {
            return Ok(());
        }
        for index in 0..self.sockets.len() {
            if self.sockets[index].armed {
                continue;
            }
            let template: *const libc::msghdr = &raw const *self.template;
            let entry = opcode::RecvMsgMulti::new(Fixed(index as u32), template, GROUP)
                .build()
                .user_data(Ticket::Receive(SocketId(index as u16)).into());
            if !self.push(&entry) {
                self.submit()?;
                if !self.push(&entry) {
                    break;
                }
            }
            self.sockets[index].armed = true;
        }
        Ok(())
    }

    fn push(&mut self, entry: &squeue::Entry) -> bool {
        // SAFETY: what an entry points to must stay valid until it is submitted, and for a receive
        // until it ends. Receives point to `template` (boxed, alive and unchanged as long as the
        // ring) and write to `buffers`, which outlive every armed receive (`shutdown`, Drop). Sends
        // point to `headers` and through them to `outbox`; both stay until the submission queue is
        // empty (`flush`), after which the kernel has copied everything.
        unsafe { self.ring.submission().push(entry).is_ok() }
    }

    fn push_letters(&mut self) {
        while let Some(letter) = self.outbox.letters().get(self.pushed) {
            let header = self.headers.fill(self.pushed, letter, self.outbox.arena());
            let ticket = Ticket::Send {
                socket: letter.socket,
                datagrams: letter.datagrams as u16,
                segmented: letter.control.is_some(),
            };
            let entry = opcode::SendMsg::new(Fixed(u32::from(letter.socket.0)), header)
                .flags(libc::MSG_DONTWAIT as u32)
                .build()
                .flags(squeue::Flags::SKIP_SUCCESS)
                .user_data(ticket.into());
            if !self.push(&entry) {
                return;
            }
            self.pushed += 1;
        }
    }

    /// One io_uring_enter; again where the kernel first wants completions reaped.
    fn submit(&mut self) -> io::Result<()> {
        for _ in 0..3 {
            self.stats.syscalls += 1;
            match self.ring.submit() {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EAGAIN)) => {
                    self.reap();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Empties the completion queue: filled buffers are kept for `receive`, the rest is counted.
    fn reap(&mut self) {
        let Self {
            ring,
            sockets,
            filled,
            stats,
            ..
        } = self;
        for completion in ring.completion() {
            let result = completion.result();
            match Ticket::from(completion.user_data()) {
                Ticket::Send {
                    socket,
                    datagrams,
                    segmented,
                } => {
                    if result < 0 {
                        stats.send_errors += u64::from(datagrams);
                        if let Some(owner) = sockets.get_mut(usize::from(socket.0)) {
                            let error = io::Error::from_raw_os_error(-result);
                            owner.socket.note_send_error(&error, segmented);
                        }
                    }
                }
                Ticket::Receive(socket) => {
                    let flags = completion.flags();
                    if let Some(owner) = sockets.get_mut(usize::from(socket.0)) {
                        owner.armed = cqueue::more(flags);
                    }
                    if let Some(buffer) = cqueue::buffer_select(flags) {
                        filled.push_back(Filled {
                            socket,
                            buffer: BufferId(buffer),
                            bytes: usize::try_from(result).unwrap_or(0),
                        });
                        self.faults = 0;
                    } else if result == -libc::ENOBUFS {
                        stats.receive_rearmed += 1;
                    } else if result < 0 && !self.closed {
                        self.faults += 1;
                        let error = io::Error::from_raw_os_error(-result);
                        let hopeless = result == -libc::EINVAL || is_driver_fault(&error);
                        if hopeless || self.faults > FAULTS_MAX {
                            self.fatal = Some(-result);
                        }
                    }
                }
                Ticket::Other => {}
            }
        }
    }

    fn hand_over(&mut self, budget: usize, receiver: &mut dyn Receiver) -> usize {
        let Some(buffers) = &mut self.buffers else {
            return 0;
        };
        let mut delivered = 0;
        while delivered < budget {
            let Some(next) = self.filled.pop_front() else {
                break;
            };
            self.stats.received_batches += 1;
            let Some(mut lease) = buffers.lease(next.buffer, next.bytes) else {
                debug_assert!(false, "the kernel gave a buffer that it did not have");
                continue;
            };
            let Some(envelope) = envelope::open(&lease) else {
                continue;
            };
            let mut arrival = Arrival {
                source: envelope.source,
                payload: &mut lease[envelope.payload],
                controls: envelope.controls,
                truncated: envelope.truncated,
            };
            delivered += arrival::deliver(next.socket, &mut arrival, &mut self.stats, receiver);
        }
        buffers.publish();
        delivered
    }
}

#[cfg(test)]
impl RingCore {
    pub(crate) fn first_socket(&mut self) -> &mut UdpSocket {
        &mut self.sockets[0].socket
    }

    /// What the kernel answers to this operation, beside the driver's own.
    pub(super) fn attempt(&mut self, entry: &squeue::Entry) -> i32 {
        const MARK: u64 = u64::MAX;
        let entry = entry.clone().user_data(MARK);
        // SAFETY: what it points to is the caller's until the answer is here, which is waited for.
        unsafe { self.ring.submission().push(&entry).expect("room") };
        for _ in 0..1_000 {
            self.ring.submit_and_wait(1).expect("entered");
            let mut completions = self.ring.completion();
            if let Some(answer) = completions.find(|completion| completion.user_data() == MARK) {
                return answer.result();
            }
        }
        panic!("no answer")
    }

    /// The ring, to ask the kernel for other things.
    pub(super) fn submitter(&self) -> io_uring::Submitter<'_> {
        self.ring.submitter()
    }
}

impl Drop for RingCore {
    fn drop(&mut self) {
        self.shutdown();
    }
}
