//! How a component for tests behaves.

use super::assemble::Assembly;
use crate::kind::Kind;

/// Where values that a call returns lie, all zero.
const VALUES: u32 = 1 << 17;
/// Bytes of the largest value a list may hold: a command has 56.
const VALUE_BYTES: u32 = 64;
/// Where the parts of a request lie.
const METHOD: u32 = 1_040;
const URL: u32 = 2_048;
/// Bytes of the text that is too large, more than any call may return by default.
const HUGE_BYTES: u32 = 24 << 20;

/// How calls are answered.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Behaviour {
    /// Sends a text message back (signaling), grants the wanted room to the guest (authentication), and
    /// returns nothing otherwise.
    Well,
    /// The same, after running for that many turns of an empty loop.
    Busy(u32),
    /// Behaves well for that many calls of an instance, and then otherwise.
    After(u32, Box<Behaviour>),
    /// Denies (authentication), or closes the connection with 4000 (signaling).
    Deny,
    /// Returns that many empty values; authentication grants an empty room.
    Values(u32),
    /// Loops for ever.
    Spin,
    /// Executes `unreachable`.
    Trap,
    /// Calls itself until the stack is full.
    Recurse,
    /// Grows its memory until that is refused, writes to every page, and traps.
    Grow,
    /// Grows its memory by that many pages once and behaves well.
    GrowTo(u32),
    /// Grows a table until that is refused, and traps.
    GrowTable,
    /// Returns 24 MiB of text.
    Huge,
    /// Returns text that is no UTF-8.
    BadUtf8,
    /// Returns a variant with a case that does not exist.
    BadCase,
    /// Returns a pointer out of its memory.
    BadPointer,
    /// Writes that many lines to the log and behaves well.
    Log(u32),
    /// Asks this URL by HTTP, waits for the answer, and behaves well whatever it is.
    Fetch(String),
    /// Behaves well, but not when it starts.
    Starting(Start),
}

/// What `lifecycle.start` does.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// Returns an error with this text.
    Fail(String),
    /// Executes `unreachable`.
    Trap,
    /// Loops for ever.
    Spin,
}

const SPIN: &str = "(loop $for_ever (br $for_ever))";

/// The answer of one that behaves well.
fn well(kind: Kind) -> &'static str {
    match kind {
        // A text message (case 1, then case 0) becomes `send` (case 0) of the same text; all else nothing.
        Kind::Signaling => {
            "(i64.store (i32.const 0) (i64.const 0))
            (if (i32.and (i32.eq (i32.load8_u (local.get $p0)) (i32.const 1))
                         (i32.eqz (i32.load8_u offset=8 (local.get $p0))))
              (then
                (i32.store (i32.const 0) (i32.const 512))
                (i32.store (i32.const 4) (i32.const 1))
                (memory.fill (i32.const 512) (i32.const 0) (i32.const 64))
                (i32.store (i32.const 532) (i32.load offset=12 (local.get $p0)))
                (i32.store (i32.const 536) (i32.load offset=16 (local.get $p0)))))
            (i32.const 0)"
        }
        // `ok` of a grant with the attempt's room and guest identity.
        Kind::Authentication => {
            "(memory.fill (i32.const 0) (i32.const 0) (i32.const 128))
            (i64.store (i32.const 8) (i64.load offset=20 align=4 (local.get $p0)))
            (i64.store (i32.const 16) (i64.load offset=56 align=4 (local.get $p0)))
            (i32.store8 (i32.const 44) (i32.const 1))
            (i32.const 0)"
        }
        Kind::LayerSelection | Kind::Recording => "(i32.const 0)",
    }
}

fn values(count: u32) -> String {
    format!(
        "(i32.store (i32.const 0) (i32.const {VALUES}))
        (i32.store (i32.const 4) (i32.const {count}))
        (i32.const 0)"
    )
}

/// One value whose text starts at `at`: `send` of a text, a denial, the reason of a choice, a file's name.
fn text_at(kind: Kind, at: u32, bytes: u32) -> String {
    let (list, pointer) = match kind {
        Kind::Authentication => ("(i32.store8 (i32.const 0) (i32.const 1))", 12),
        Kind::Signaling => (ONE_VALUE, 512 + 20),
        Kind::LayerSelection => (ONE_VALUE, 512 + 20),
        Kind::Recording => (ONE_VALUE, 512 + 20),
    };
    format!(
        "{list}
        (i32.store (i32.const {pointer}) (i32.const {at}))
        (i32.store (i32.const {}) (i32.const {bytes}))
        (i32.const 0)",
        pointer + 4
    )
}

const ONE_VALUE: &str =
    "(i32.store (i32.const 0) (i32.const 512)) (i32.store (i32.const 4) (i32.const 1))";

/// A case that does not exist, in the first value.
fn bad_case(kind: Kind) -> String {
    match kind {
        Kind::Authentication => "(i32.store8 (i32.const 0) (i32.const 9)) (i32.const 0)".to_owned(),
        // `paused` of a choice, a bool, may have any value: so its list claims to lie nowhere.
        Kind::LayerSelection => bad_pointer(),
        Kind::Signaling | Kind::Recording => {
            format!(
                "{ONE_VALUE} (i32.store8 (i32.const 520) (i32.const 200)) \
                     (i32.store8 (i32.const 512) (i32.const 200)) (i32.const 0)"
            )
        }
    }
}

fn bad_pointer() -> String {
    "(i32.store (i32.const 0) (i32.const 0x7fffff00)) (i32.store (i32.const 4) (i32.const 1)) \
     (i32.const 0x7ffffff0)"
        .to_owned()
}

fn body(kind: Kind, behaviour: &Behaviour) -> String {
    let well = well(kind);
    match behaviour {
        Behaviour::Well | Behaviour::Starting(_) => well.to_owned(),
        Behaviour::Busy(turns) => format!("(call $busy (i32.const {turns})) {well}"),
        Behaviour::After(calls, then) => format!(
            "(global.set $calls (i32.add (global.get $calls) (i32.const 1)))
            (if (i32.le_u (global.get $calls) (i32.const {calls}))
              (then {well} (return)))
            {}",
            body(kind, then)
        ),
        Behaviour::Deny => deny(kind),
        Behaviour::Values(count) => values(*count),
        Behaviour::Spin => format!("{SPIN} (i32.const 0)"),
        Behaviour::Trap => "unreachable".to_owned(),
        Behaviour::Recurse => "(call $recurse (i32.const 1))".to_owned(),
        Behaviour::Grow => "(call $grow) unreachable".to_owned(),
        Behaviour::GrowTo(pages) => {
            format!("(drop (memory.grow (i32.const {pages}))) {well}")
        }
        Behaviour::GrowTable => "(call $grow_table) unreachable".to_owned(),
        Behaviour::Huge => text_at(kind, VALUES, HUGE_BYTES),
        Behaviour::BadUtf8 => text_at(kind, 1_024, 4),
        Behaviour::BadCase => bad_case(kind),
        Behaviour::BadPointer => bad_pointer(),
        Behaviour::Fetch(url) => format!(
            "(call $send (i32.const {METHOD}) (i32.const 3) (i32.const {URL}) (i32.const {})
                         (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                         (i32.const 0) (i32.const 600))
            {well}",
            url.len()
        ),
        Behaviour::Log(lines) => format!("(call $flood (i32.const {lines})) {well}"),
    }
}

fn deny(kind: Kind) -> String {
    match kind {
        // `err` of `forbidden("denied")`.
        Kind::Authentication => "(i32.store8 (i32.const 0) (i32.const 1))
            (i32.store8 (i32.const 8) (i32.const 1))
            (i32.store (i32.const 12) (i32.const 1032))
            (i32.store (i32.const 16) (i32.const 6))
            (i32.const 0)"
            .to_owned(),
        // `close(4000, "denied")`.
        Kind::Signaling => format!(
            "{ONE_VALUE}
            (i32.store8 (i32.const 520) (i32.const 2))
            (i32.store16 (i32.const 528) (i32.const 4000))
            (i32.store (i32.const 532) (i32.const 1032))
            (i32.store (i32.const 536) (i32.const 6))
            (i32.const 0)"
        ),
        Kind::LayerSelection | Kind::Recording => well(kind).to_owned(),
    }
}

/// Functions that bodies call.
const FIELDS: &str = "
    (global $calls (mut i32) (i32.const 0))
    (table $table 1 funcref)
    (func $busy (param $turns i32)
      (loop $again
        (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $turns) (i32.const 0)))))
    (func $recurse (param i32) (result i32)
      (i32.add (i32.const 1) (call $recurse (i32.add (local.get 0) (i32.const 1)))))
    (func $grow
      (local $page i32)
      (loop $again
        (local.set $page (memory.grow (i32.const 1)))
        (if (i32.ne (local.get $page) (i32.const -1))
          (then
            (i32.store (i32.mul (local.get $page) (i32.const 65536)) (i32.const 1))
            (br $again)))))
    (func $grow_table
      (loop $again
        (br_if $again (i32.ne (table.grow $table (ref.null func) (i32.const 100)) (i32.const -1)))))
";

/// Needs the import.
const FLOOD: &str = "
    (func $flood (param $lines i32)
      (loop $again
        (call $write (i32.const 1) (i32.const 1032) (i32.const 6))
        (local.set $lines (i32.sub (local.get $lines) (i32.const 1)))
        (br_if $again (i32.gt_s (local.get $lines) (i32.const 0)))))
";

fn logs(behaviour: &Behaviour) -> bool {
    match behaviour {
        Behaviour::Log(_) => true,
        Behaviour::After(_, then) => logs(then),
        _ => false,
    }
}

/// The URL that it asks.
pub(super) fn url(behaviour: &Behaviour) -> Option<&str> {
    match behaviour {
        Behaviour::Fetch(url) => Some(url),
        Behaviour::After(_, then) => url(then),
        _ => None,
    }
}

fn reserved(behaviour: &Behaviour) -> u32 {
    match behaviour {
        Behaviour::Values(count) => VALUES + count * VALUE_BYTES,
        Behaviour::Huge => VALUES + HUGE_BYTES,
        Behaviour::After(_, then) => reserved(then),
        _ => 0,
    }
}

pub(super) fn assembly(kind: Kind, behaviour: &Behaviour) -> Assembly {
    let mut assembly = Assembly::new(kind, body(kind, behaviour))
        .fields(FIELDS)
        .data(1_024, [0xff, 0xfe, 0xff, 0xfe])
        .data(1_032, *b"denied")
        .reserve(reserved(behaviour));
    if logs(behaviour) {
        assembly = assembly.import("log", "write", "write").fields(FLOOD);
    }
    if let Some(url) = url(behaviour) {
        assembly = assembly.import("http", "send", "send");
        assembly = assembly.data(METHOD, *b"GET").data(URL, url.as_bytes());
    }
    if let Behaviour::Starting(start) = behaviour {
        assembly = match start {
            Start::Fail(text) => assembly.data(2_048, text.as_bytes()).start(format!(
                "(i32.store8 (i32.const 0) (i32.const 1))
                (i32.store (i32.const 4) (i32.const 2048))
                (i32.store (i32.const 8) (i32.const {}))
                (i32.const 0)",
                text.len()
            )),
            Start::Trap => assembly.start("unreachable"),
            Start::Spin => assembly.start(format!("{SPIN} (i32.const 0)")),
        };
    }
    assembly
}
