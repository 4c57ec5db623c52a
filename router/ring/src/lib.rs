//! UDP drivers for media workers. The only crate of Rillway that may hold unsafe code.

mod driver;

pub use driver::{DriverStats, Receiver, SendError, SendRun, SocketId, UdpDriver};
