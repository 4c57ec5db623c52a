//! bpf(2), as far as it is needed. Attributes are zero but for what a command reads (`union bpf_attr`).
#![allow(unsafe_code)]

use std::ffi::{c_int, c_long};
use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

use socket2::Socket;

use super::program::{Instruction, KEY_BYTES};

const MAP_CREATE: c_int = 0;
const MAP_LOOKUP: c_int = 1;
const MAP_UPDATE: c_int = 2;
const MAP_DELETE: c_int = 3;
const PROGRAM_LOAD: c_int = 5;

/// BPF_MAP_TYPE_LRU_HASH.
const LRU_HASH: u32 = 9;
/// BPF_MAP_TYPE_REUSEPORT_SOCKARRAY.
const SOCKET_ARRAY: u32 = 20;
/// BPF_PROG_TYPE_SK_REUSEPORT.
const REUSEPORT_PROGRAM: u32 = 21;
/// No helper that is used wants another.
const LICENCE: &[u8] = b"MIT\0";

/// For [`MAP_CREATE`].
#[repr(C)]
struct Map {
    kind: u32,
    key_bytes: u32,
    value_bytes: u32,
    entries: u32,
    flags: u32,
}

/// For lookup, update and deletion.
#[repr(C)]
struct Entry {
    map: u32,
    padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// For [`PROGRAM_LOAD`].
#[repr(C)]
struct Program {
    kind: u32,
    instructions: u32,
    code: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
}

/// # Safety
/// What the command reads and writes by addresses in `attributes` must live through the call, with the lengths that the
/// command expects.
unsafe fn bpf<A>(command: c_int, attributes: &A) -> io::Result<c_long> {
    // SAFETY: `attributes` lives through the call and its own length is passed; the rest is the caller's promise.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<A>(),
        )
    };
    match result {
        0.. => Ok(result),
        _ => Err(io::Error::last_os_error()),
    }
}

/// # Safety
/// As of [`bpf`], for a command that returns a descriptor.
unsafe fn descriptor<A>(command: c_int, attributes: &A) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let made = unsafe { bpf(command, attributes)? };
    // SAFETY: the kernel has just made it for us, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(made as c_int) })
}

fn map(kind: u32, key_bytes: u32, value_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    let attributes = Map {
        kind,
        key_bytes,
        value_bytes,
        entries,
        flags: 0,
    };
    // SAFETY: this command reads no addresses.
    unsafe { descriptor(MAP_CREATE, &attributes) }
}

/// A table with values of 32 bits, which forgets what was used least lately.
pub(super) fn table(key_bytes: u32, entries: u32) -> io::Result<OwnedFd> {
    map(LRU_HASH, key_bytes, size_of::<u32>() as u32, entries)
}

/// A table of sockets.
pub(super) fn sockets(entries: u32) -> io::Result<OwnedFd> {
    let number = size_of::<u32>() as u32;
    map(SOCKET_ARRAY, number, size_of::<u64>() as u32, entries)
}

/// Loads a program.
pub(super) fn load(code: &[Instruction]) -> io::Result<OwnedFd> {
    let attributes = Program {
        kind: REUSEPORT_PROGRAM,
        instructions: code.len() as u32,
        code: code.as_ptr() as u64,
        licence: LICENCE.as_ptr() as u64,
        log_level: 0,
        log_bytes: 0,
        log: 0,
    };
    // SAFETY: the code lives through the call and has as many instructions as said; the licence ends with a zero; no log
    // is asked for.
    unsafe { descriptor(PROGRAM_LOAD, &attributes) }
}

type Key = [u8; KEY_BYTES as usize];

fn entry<K, V>(map: BorrowedFd<'_>, key: &K, value: *mut V) -> Entry {
    Entry {
        map: map.as_raw_fd() as u32,
        padding: 0,
        key: std::ptr::from_ref(key) as u64,
        value: value as u64,
        flags: 0,
    }
}

/// Sets an entry of a [`table`].
pub(super) fn put(table: BorrowedFd<'_>, key: &Key, value: &u32) -> io::Result<()> {
    let mut value = *value;
    let attributes = entry(table, key, &raw mut value);
    // SAFETY: key and value live through the call, and have the lengths with which the table was made.
    unsafe { bpf(MAP_UPDATE, &attributes).map(drop) }
}

/// An entry of a [`table`].
pub(super) fn get(table: BorrowedFd<'_>, key: &Key) -> io::Result<Option<u32>> {
    let mut value = 0_u32;
    let attributes = entry(table, key, &raw mut value);
    // SAFETY: as in `put`; the value is written to.
    match unsafe { bpf(MAP_LOOKUP, &attributes) } {
        Ok(_) => Ok(Some(value)),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Takes an entry out of a [`table`], if it is there.
pub(super) fn remove(table: BorrowedFd<'_>, key: &Key) -> io::Result<()> {
    let attributes = entry::<_, u32>(table, key, std::ptr::null_mut());
    // SAFETY: as in `put`; this command has no value.
    match unsafe { bpf(MAP_DELETE, &attributes) } {
        Err(error) if error.raw_os_error() != Some(libc::ENOENT) => Err(error),
        _ => Ok(()),
    }
}

/// Puts a socket of a reuseport group into a table of [`sockets`]. The table does not keep it open.
pub(super) fn put_socket(table: BorrowedFd<'_>, place: u32, socket: &Socket) -> io::Result<()> {
    let mut value = socket.as_raw_fd() as u64;
    let attributes = entry(table, &place, &raw mut value);
    // SAFETY: as in `put`, with the lengths of that table.
    unsafe { bpf(MAP_UPDATE, &attributes).map(drop) }
}

/// Has the kernel ask a program which socket of this one's group gets a datagram.
pub(super) fn attach(socket: &Socket, program: BorrowedFd<'_>) -> io::Result<()> {
    crate::socket::option(
        socket,
        libc::SOL_SOCKET,
        libc::SO_ATTACH_REUSEPORT_EBPF,
        program.as_raw_fd(),
    )
}
