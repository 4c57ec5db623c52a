//! The rooms protocol seen from outside: the document's example, every message type, every error,
//! and arbitrary inputs.

mod arbitrary;
mod document;
mod harness;
mod join;
mod malformed;
mod requests;
mod subscribing;
