//! The plugin host with components made in the test, well-behaved and hostile.

mod abi;
mod breaker;
mod calls;
mod capabilities;
mod faults;
mod http;
mod inline;
mod load;
mod reload;
mod smith;
mod support;
