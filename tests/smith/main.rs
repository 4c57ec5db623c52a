//! `smith FOLDER FIRST COUNT TEMPLATE…`: writes FOLDER/SEED.wasm for COUNT seeds from FIRST on.
//!
//! Each is a core module with the exports of a template, which do whatever comes to the mind of `wasm-smith`: of
//! the template whose place, from 0, is the seed modulo their number. A seed always makes the same module.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;

use arbitrary::Unstructured;
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{BlockType, CodeSection, ExportSection, Function, MemArg, ValType};
use wasm_smith::{Config, Module};
use wasmparser::{Export, ExternalKind, FunctionBody, Parser, Validator};

/// Bytes that a module is made of; most need less.
const BYTES: usize = 16 << 10;
/// Modules that are made of one seed before giving up.
const TRIES: u64 = 64;
/// Where an allocator that is tamed keeps how much it has given away, and where that begins.
const GIVEN: u64 = (1 << 16) - 8;
const HEAP: i32 = 1 << 16;

/// What the generator may use. One seed in eight may use every proposal it knows, which mostly makes a
/// component that no host would load; the others keep to what the plugin host compiles.
fn config(exports: Vec<u8>, rng: &mut fastrand::Rng) -> Config {
    let anything = rng.u8(..8) == 0;
    Config {
        exports: Some(exports),
        max_imports: 0,
        // Neither sizes nor running times are bounded: that is for the host to do.
        memory_max_size_required: false,
        table_max_size_required: false,
        max_funcs: rng.usize(8..40),
        max_instructions: rng.usize(10..400),
        // Beside the one that it exports.
        max_memories: usize::from(anything),
        max_tables: rng.usize(1..4),
        max_data_segments: rng.usize(0..4),
        max_element_segments: rng.usize(0..4),
        // Half of them pass over what would trap at once, and get to what loops and grows.
        disallow_traps: rng.bool(),
        allow_start_export: rng.u8(..4) == 0,
        memory64_enabled: anything,
        threads_enabled: anything,
        exceptions_enabled: anything,
        gc_enabled: anything,
        reference_types_enabled: anything,
        custom_page_sizes_enabled: anything,
        wide_arithmetic_enabled: anything,
        ..Config::default()
    }
}

/// Gives some functions of a module a body that behaves, so that a host gets beyond its start.
struct Tamed {
    start: bool,
    allocator: bool,
    /// Bodies by the index of the function.
    bodies: BTreeMap<u32, Function>,
    /// Index of the next function; nothing is imported.
    next: u32,
}

impl Tamed {
    /// Three of four modules start, and three of four allocate.
    fn new(rng: &mut fastrand::Rng) -> Tamed {
        Tamed {
            start: rng.u8(..4) != 0,
            allocator: rng.u8(..4) != 0,
            bodies: BTreeMap::new(),
            next: 0,
        }
    }

    fn module(&mut self, module: &[u8]) -> Result<Vec<u8>, String> {
        let mut tamed = wasm_encoder::Module::new();
        self.parse_core_module(&mut tamed, Parser::new(0), module)
            .map_err(|error| error.to_string())?;
        Ok(tamed.finish())
    }
}

impl Reencode for Tamed {
    type Error = Infallible;

    fn parse_export(
        &mut self,
        exports: &mut ExportSection,
        export: Export<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        if export.kind == ExternalKind::Func {
            if self.start && export.name.ends_with("#start") {
                // What is called after it, to give back its result, has nothing to do.
                let tame = match export.name.starts_with("cabi_post_") {
                    true => returns(),
                    false => starts(),
                };
                self.bodies.insert(export.index, tame);
            } else if self.allocator && export.name == "cabi_realloc" {
                self.bodies.insert(export.index, allocates());
            }
        }
        reencode::utils::parse_export(self, exports, export)
    }

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), reencode::Error<Infallible>> {
        let index = self.next;
        self.next += 1;
        match self.bodies.get(&index) {
            Some(tame) => {
                code.function(tame);
                Ok(())
            }
            None => reencode::utils::parse_function_body(self, code, body),
        }
    }
}

fn word(offset: u64) -> MemArg {
    MemArg {
        offset,
        align: 2,
        memory_index: 0,
    }
}

fn returns() -> Function {
    let mut function = Function::new([]);
    function.instructions().end();
    function
}

/// `ok` at byte 0.
fn starts() -> Function {
    let mut function = Function::new([]);
    let mut code = function.instructions();
    code.i32_const(0).i32_const(0).i32_store(word(0));
    code.i32_const(0).end();
    function
}

/// `(old, old size, alignment, size)`: goes up from [`HEAP`] and never back; the memory has a page there.
fn allocates() -> Function {
    let mut function = Function::new([(1, ValType::I32)]);
    let mut code = function.instructions();
    // What was given away, rounded up to the alignment.
    code.i32_const(0).i32_load(word(GIVEN));
    code.local_get(2).i32_add().i32_const(1).i32_sub();
    code.i32_const(0).local_get(2).i32_sub().i32_and();
    code.local_tee(4).local_get(3).i32_add().local_set(3);
    code.i32_const(0).local_get(3).i32_store(word(GIVEN));
    // What the module has written over the number is not to trap here, but in the host.
    code.local_get(4).i32_const(HEAP).i32_ge_u();
    code.if_(BlockType::Empty).i32_const(0).local_set(4).end();
    code.local_get(4).i32_const(HEAP).i32_add().end();
    function
}

/// The module that a seed makes of a template.
///
/// # Errors
/// Nothing of this seed is a module by the features that are on where modules become components.
fn module(template: &[u8], seed: u64) -> Result<Vec<u8>, String> {
    let mut complaint = String::new();
    for attempt in 0..TRIES {
        let mut rng = fastrand::Rng::with_seed(seed.wrapping_mul(TRIES).wrapping_add(attempt));
        let config = config(template.to_vec(), &mut rng);
        let mut tamed = Tamed::new(&mut rng);
        let mut bytes = vec![0; BYTES];
        rng.fill(&mut bytes);
        let module = Module::new(config, &mut Unstructured::new(&bytes));
        let module = module.map_err(|error| error.to_string());
        let module = module.and_then(|module| tamed.module(&module.to_bytes()));
        let module = module.and_then(|module| match Validator::new().validate_all(&module) {
            Ok(_) => Ok(module),
            Err(error) => Err(error.to_string()),
        });
        match module {
            Ok(module) => return Ok(module),
            Err(why) => complaint = why,
        }
    }
    Err(format!("seed {seed} makes no module: {complaint}"))
}

fn run(arguments: &[String]) -> Result<(), String> {
    let [folder, first, count, templates @ ..] = arguments else {
        return Err("usage: smith FOLDER FIRST COUNT TEMPLATE…".to_owned());
    };
    let number = |text: &String| text.parse::<u64>().map_err(|error| about(text, error));
    let (first, count) = (number(first)?, number(count)?);
    let read = |path| std::fs::read(path).map_err(|error| about(path, error));
    let templates: Vec<Vec<u8>> = templates.iter().map(read).collect::<Result<_, _>>()?;
    if templates.is_empty() {
        return Err("no template: name a core module".to_owned());
    }
    for seed in first..first.saturating_add(count) {
        let template = &templates[(seed % templates.len() as u64) as usize];
        let path = Path::new(folder).join(format!("{seed}.wasm"));
        std::fs::write(&path, module(template, seed)?)
            .map_err(|error| about(path.display(), error))?;
    }
    Ok(())
}

fn about(what: impl Display, error: impl Display) -> String {
    format!("{what}: {error}")
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("smith: {why}");
            ExitCode::FAILURE
        }
    }
}
