//! One call: a stream, its request, its answer.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use quinn::{RecvStream, SendStream};
use tokio::sync::Semaphore;

use super::frame::{self, FrameError};
use super::role::{Holder, Role};
use super::source::Sources;
use super::verbs;
use super::wire::error::Code;
use super::wire::response::Part;
use super::wire::{End, Error, Request, Response};

/// Longest request, bytes: names, ids, a log filter.
pub(crate) const REQUEST_BYTES_MAX: usize = 16 * 1024;
/// Longest request of an admin, bytes: a component of 16 MiB and its name.
pub(crate) const UPLOAD_BYTES_MAX: usize = 16 * 1024 * 1024 + 1_024;
/// Time a request has to arrive.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// Time an admin's has: a component over a slow line.
const UPLOAD_TIME: Duration = Duration::from_secs(120);
/// Time the client has to read a part before the call is given up; until then a watcher that reads
/// nothing costs one task and the parts in its window.
const STALL_TIME: Duration = Duration::from_secs(30);

/// Application error codes of streams and connections (RFC 9000 §20.2).
pub(crate) mod code {
    use quinn::VarInt;

    /// The router has ended.
    pub(crate) const ENDED: VarInt = VarInt::from_u32(0);
    /// The certificate names no role, or has expired since the connection was made.
    pub(crate) const CERTIFICATE: VarInt = VarInt::from_u32(1);
    /// The client does not read.
    pub(crate) const STALLED: VarInt = VarInt::from_u32(3);
    /// Nothing more is to be said in this direction.
    pub(crate) const DONE: VarInt = VarInt::from_u32(4);
}

/// Why a call ends without `end`.
#[derive(Debug)]
pub(super) enum Failure {
    /// The client has gone or does not read.
    Gone,
    /// It is told so.
    Error(Error),
}

impl Failure {
    /// An error for the client.
    pub(super) fn new(code: Code, message: String, help: &str) -> Failure {
        Failure::Error(Error {
            code: code.into(),
            message,
            help: help.to_owned(),
        })
    }

    /// A field that cannot be used.
    pub(super) fn invalid(message: String) -> Failure {
        Failure::new(Code::Invalid, message, "")
    }
}

/// What all calls of a router share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) sources: Arc<Sources>,
    /// One upload at a time: memory for one component is enough.
    pub(super) uploads: Arc<Semaphore>,
    /// Captures that may run.
    pub(super) captures: Arc<Semaphore>,
}

/// A call whose request has been read.
pub(super) struct Call {
    pub(super) sources: Arc<Sources>,
    pub(super) holder: Arc<Holder>,
    /// Captures that may run.
    pub(super) captures: Arc<Semaphore>,
    stream: SendStream,
    /// Since when it waits for the first part of its answer; `None`: it has it.
    waits: Option<Instant>,
}

impl Call {
    /// Sends a part of the answer, as soon as the client has read what came before.
    pub(super) async fn send(&mut self, part: Part) -> Result<(), Failure> {
        if let Some(began) = self.waits.take() {
            self.sources.recorder.answered(began.elapsed());
        }
        let bytes = frame::bytes(&Response { part: Some(part) });
        match tokio::time::timeout(STALL_TIME, self.stream.write_all(&bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(Failure::Gone),
            Err(_) => {
                // It may have been finished or reset by the client meanwhile.
                let _ = self.stream.reset(code::STALLED);
                Err(Failure::Gone)
            }
        }
    }
}

/// Serves one stream. `admitted`: the connection is within its rate.
pub(super) async fn serve(
    shared: Shared,
    holder: Arc<Holder>,
    streams: (SendStream, RecvStream),
    admitted: bool,
) {
    let (stream, mut incoming) = streams;
    let mut call = Call {
        sources: shared.sources.clone(),
        captures: shared.captures.clone(),
        holder,
        stream,
        waits: Some(Instant::now()),
    };
    let recorder = shared.sources.recorder.clone();
    let _open = recorder.began();
    let stopped = call.stream.stopped();
    let answer = answer(&shared, &mut call, &mut incoming, admitted);
    let result = tokio::select! {
        answered = answer => answered,
        // The client wants no more: whatever the verb was waiting for is dropped.
        _ = stopped => Err(Failure::Gone),
    };
    recorder.ended(outcome(&result));
    let last = match result {
        Ok(()) => Some(Part::End(End {})),
        Err(Failure::Error(error)) => Some(Part::Error(error)),
        Err(Failure::Gone) => None,
    };
    if let Some(last) = last
        && call.send(last).await.is_ok()
    {
        // Closed already, if the client has gone.
        let _ = call.stream.finish();
    }
    let _ = incoming.stop(code::DONE);
}

/// What became of a call, as metrics name it.
fn outcome(result: &Result<(), Failure>) -> &'static str {
    match result {
        Ok(()) => "done",
        Err(Failure::Gone) => "gone",
        Err(Failure::Error(error)) => match error.code() {
            Code::Forbidden => "forbidden",
            Code::Limit => "limit",
            _ => "failed",
        },
    }
}

/// Reads the request and carries it out.
async fn answer(
    shared: &Shared,
    call: &mut Call,
    incoming: &mut RecvStream,
    admitted: bool,
) -> Result<(), Failure> {
    if !admitted {
        let error = Failure::new(
            Code::Limit,
            "too many calls per second on this connection".to_owned(),
            "wait a second; `management.calls_per_second_max` is the bound",
        );
        return Err(error);
    }
    if call.holder.has_expired(SystemTime::now()) {
        let error = Failure::new(
            Code::Forbidden,
            "the certificate has expired".to_owned(),
            "issue another one: `rillway ca issue`",
        );
        return Err(error);
    }
    let request = match request(shared, call.holder.role, incoming).await {
        Ok(request) => request,
        Err(failure) => return Err(failure),
    };
    let Some(verb) = request.verb else {
        let error = Failure::new(
            Code::Unimplemented,
            format!(
                "this router ({}) does not know the verb",
                env!("CARGO_PKG_VERSION")
            ),
            "update the router, or ask it with a client of its version",
        );
        return Err(error);
    };
    verbs::run(call, verb).await
}

/// Reads the request, within time and bounds of the role.
async fn request(
    shared: &Shared,
    role: Role,
    incoming: &mut RecvStream,
) -> Result<Request, Failure> {
    let small = frame::read_bytes(incoming, REQUEST_BYTES_MAX);
    let first = tokio::time::timeout(REQUEST_TIME, small).await;
    let bytes = match first.map_err(|_| late())? {
        Ok(bytes) => bytes,
        // The length has been read, the rest not.
        Err(FrameError::TooLong { length, .. })
            if role == Role::Admin && length <= UPLOAD_BYTES_MAX =>
        {
            let _slot = shared.uploads.try_acquire().map_err(|_| {
                let text = "another upload is under way".to_owned();
                Failure::new(Code::Limit, text, "wait until it is through")
            })?;
            let rest = frame::read_body(incoming, length);
            let rest = tokio::time::timeout(UPLOAD_TIME, rest).await;
            Some(rest.map_err(|_| late())?.map_err(|e| unreadable(&e))?)
        }
        Err(error) => return Err(unreadable(&error)),
    };
    let bytes = bytes.ok_or_else(|| Failure::invalid("the stream holds no request".to_owned()))?;
    prost::Message::decode(bytes.as_slice()).map_err(|error| unreadable(&error.into()))
}

fn late() -> Failure {
    let text = "the request took too long to arrive".to_owned();
    Failure::new(Code::Timeout, text, "send it whole, at once")
}

fn unreadable(error: &FrameError) -> Failure {
    match error {
        FrameError::Stream(_) => Failure::Gone,
        FrameError::TooLong { .. } => Failure::new(
            Code::Limit,
            error.to_string(),
            "only an admin may send more, for a component of at most 16 MiB",
        ),
        _ => Failure::invalid(error.to_string()),
    }
}
