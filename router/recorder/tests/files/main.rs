//! The recorder with real files: crashes, full and read-only disks, few descriptors.
//!
//! What may not happen to the process of the tests happens to another one of the same program: see `child`.

mod child;
mod kill;
mod limits;
mod normal;
mod support;
