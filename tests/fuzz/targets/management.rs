//! The management protocol: messages in a stream, from operators' side and from the router's.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use prost::Message;

// Of the router, which would have to be compiled with wasmtime and all.
#[allow(dead_code, unreachable_pub)]
#[path = "../../../router/src/management/frame.rs"]
mod frame;
#[allow(dead_code)]
#[path = "../../../router/src/management/wire/mod.rs"]
pub mod wire;

use wire::{Request, Response};

/// Longest message taken, bytes: what the router takes of requests.
const BYTES_MAX: usize = 16 * 1_024;

/// Input: whether it is of requests or of responses, and a stream.
pub fn run(input: &[u8]) {
    let Some((side, stream)) = input.split_first() else {
        return;
    };
    match side % 2 {
        0 => read::<Request>(stream),
        _ => read::<Response>(stream),
    }
}

fn read<M: Message + Default>(stream: &[u8]) {
    let mut rest = stream;
    let mut read = Vec::new();
    while let Ok(Some(bytes)) = now(frame::read_bytes(&mut rest, BYTES_MAX)) {
        assert!(bytes.len() <= BYTES_MAX && bytes.len() < stream.len());
        let Ok(message) = M::decode(bytes.as_slice()) else {
            continue;
        };
        // Of its own writing there is one form, which means the same.
        let written = message.encode_to_vec();
        let again = M::decode(written.as_slice()).expect("what we write can be read");
        assert_eq!(again.encode_to_vec(), written);
        read.push(message);
    }
    let mut sent = Vec::new();
    for message in &read {
        sent.extend(frame::bytes(message));
    }
    let mut rest = sent.as_slice();
    for message in &read {
        let bytes = now(frame::read_bytes(&mut rest, sent.len())).expect("whole");
        assert_eq!(bytes, Some(message.encode_to_vec()));
    }
    assert!(rest.is_empty());
}

/// What never waits, as there is nothing to wait for.
fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("it waits"),
    }
}
