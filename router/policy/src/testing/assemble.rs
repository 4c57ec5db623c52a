//! From text to a component.

use std::fmt::Write as _;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::abi::{AbiVariant, WasmType};
use wit_parser::{Function, Resolve, SourceMap, WorldId, WorldItem, WorldKey};

use crate::kind::Kind;

/// First byte of the heap unless an assembly reserves more.
const HEAP: u32 = 1 << 16;
const PAGE: u32 = 1 << 16;

/// A component of one kind, by its parts. All are WebAssembly text.
///
/// The module has a memory of its own: bytes 0 to 1,023 are for results, up to 4,095 for `data`, and up to
/// the heap for whatever the body likes; they are zero at first. Lists and texts of arguments lie on the
/// heap, which is given back after each call.
#[derive(Debug, Clone)]
pub struct Assembly {
    kind: Kind,
    /// Version of the package, another than the released one for tests of that.
    version: String,
    imports: Vec<(String, String, String)>,
    data: Vec<(u32, Vec<u8>)>,
    fields: String,
    start: String,
    body: String,
    heap: u32,
}

impl Assembly {
    /// One that starts well and whose only function has this body. It finds its arguments as locals `$p0`,
    /// `$p1`, … (see the canonical ABI) and leaves a pointer to its result; a list at byte 0, which is empty
    /// unless it wrote there, is what `(i32.const 0)` returns.
    #[must_use]
    pub fn new(kind: Kind, body: impl Into<String>) -> Assembly {
        Assembly {
            kind,
            version: rillway_policy_wit::VERSION.to_owned(),
            imports: Vec::new(),
            data: Vec::new(),
            fields: String::new(),
            start: "(i32.const 0)".to_owned(),
            body: body.into(),
            heap: HEAP,
        }
    }

    /// Imports `function` of a capability as `$name`.
    #[must_use]
    pub fn import(mut self, capability: &str, function: &str, name: &str) -> Assembly {
        let import = (capability.to_owned(), function.to_owned(), name.to_owned());
        self.imports.push(import);
        self
    }

    /// Bytes at an address.
    #[must_use]
    pub fn data(mut self, address: u32, bytes: impl Into<Vec<u8>>) -> Assembly {
        self.data.push((address, bytes.into()));
        self
    }

    /// Further fields of the module: globals, functions.
    #[must_use]
    pub fn fields(mut self, fields: &str) -> Assembly {
        self.fields.push_str(fields);
        self
    }

    /// Body of `lifecycle.start`, which leaves a pointer to its result.
    #[must_use]
    pub fn start(mut self, body: impl Into<String>) -> Assembly {
        self.start = body.into();
        self
    }

    /// Keeps the heap above this address.
    #[must_use]
    pub fn reserve(mut self, heap: u32) -> Assembly {
        self.heap = heap.max(HEAP);
        self
    }

    /// Says that it was built for another version of the package.
    #[must_use]
    pub fn version(mut self, version: &str) -> Assembly {
        version.clone_into(&mut self.version);
        self
    }

    /// The component.
    ///
    /// # Panics
    /// The text is wrong.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        match self.wrap(&self.module()) {
            Ok(component) => component,
            Err(why) => panic!("{why}"),
        }
    }

    /// The core module of [`Assembly::build`], which becomes a component by [`Assembly::wrap`].
    ///
    /// # Panics
    /// The text is wrong.
    #[must_use]
    pub fn module(&self) -> Vec<u8> {
        let (resolve, world) = self.resolve();
        let text = self.text(&resolve, world);
        match wat::parse_str(&text) {
            Ok(module) => module,
            Err(error) => panic!("{error}\n{text}"),
        }
    }

    /// A component of this kind and version, of another core module: it has the exports of
    /// [`Assembly::module`], whatever they do.
    ///
    /// # Errors
    /// What it lacks, or why it is no module.
    pub fn wrap(&self, module: &[u8]) -> Result<Vec<u8>, String> {
        let (resolve, world) = self.resolve();
        let mut module = module.to_vec();
        embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .map_err(|error| format!("{error:#}"))?;
        let encoder = ComponentEncoder::default().validate(true);
        let encoded = encoder.module(&module).and_then(|mut e| e.encode());
        encoded.map_err(|error| format!("{error:#}"))
    }

    fn resolve(&self) -> (Resolve, WorldId) {
        let mut sources = SourceMap::new();
        let released = format!("rillway:policy@{}", rillway_policy_wit::VERSION);
        let wanted = format!("rillway:policy@{}", self.version);
        for (name, text) in rillway_policy_wit::FILES {
            sources.push_str(name, text.replace(&released, &wanted));
        }
        let mut resolve = Resolve::default();
        let Ok(group) = sources.parse() else {
            panic!("the WIT of this repository does not parse");
        };
        let package = resolve.push_group(group).expect("the WIT is whole");
        let world = format!("{}-plugin", self.kind.name());
        let world = resolve
            .select_world(&[package], Some(&world))
            .expect("a world for each kind");
        (resolve, world)
    }

    fn text(&self, resolve: &Resolve, world: WorldId) -> String {
        let mut text = "(module\n".to_owned();
        for (capability, function, name) in &self.imports {
            let interface = format!("rillway:policy/{capability}@{}", self.version);
            let found = functions(resolve, world, Side::Import);
            let (_, found) = found
                .into_iter()
                .find(|(i, f)| *i == interface && f.name == *function)
                .unwrap_or_else(|| panic!("no {interface}#{function}"));
            let signature = signature(resolve, found, AbiVariant::GuestImport, None);
            let _ = writeln!(
                text,
                "(import \"{interface}\" \"{function}\" (func ${name} {signature}))"
            );
        }
        self.runtime(&mut text);
        for (interface, function) in functions(resolve, world, Side::Export) {
            let body = match interface.contains("/lifecycle@") {
                true => &self.start,
                false => &self.body,
            };
            let signature = signature(resolve, function, AbiVariant::GuestExport, Some("p"));
            let name = format!("{interface}#{}", function.name);
            let _ = writeln!(text, "(func (export \"{name}\") {signature}\n{body})");
            let _ = writeln!(
                text,
                "(func (export \"cabi_post_{name}\") (param i32) (global.set $heap (i32.const {})))",
                self.heap
            );
        }
        text.push(')');
        text
    }

    /// Memory, data and an allocator that only goes up.
    fn runtime(&self, text: &mut String) {
        let pages = self.heap / PAGE + 1;
        let _ = writeln!(
            text,
            "(memory (export \"memory\") {pages})
            (global $heap (mut i32) (i32.const {}))
            (func (export \"cabi_realloc\")
              (param $old i32) (param $old_size i32) (param $align i32) (param $size i32) (result i32)
              (local $at i32)
              (local.set $at (i32.and
                (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
                (i32.sub (i32.const 0) (local.get $align))))
              (global.set $heap (i32.add (local.get $at) (local.get $size)))
              (if (i32.gt_u (global.get $heap) (i32.mul (memory.size) (i32.const {PAGE})))
                (then (if (i32.eq (i32.const -1) (memory.grow
                    (i32.add (i32.div_u (local.get $size) (i32.const {PAGE})) (i32.const 1))))
                  (then unreachable))))
              (local.get $at))",
            self.heap
        );
        for (address, bytes) in &self.data {
            let bytes: String = bytes.iter().map(|byte| format!("\\{byte:02x}")).collect();
            let _ = writeln!(text, "(data (i32.const {address}) \"{bytes}\")");
        }
        text.push_str(&self.fields);
        text.push('\n');
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Import,
    Export,
}

/// Every function of a world's interfaces, with the interface's name.
fn functions(resolve: &Resolve, world: WorldId, side: Side) -> Vec<(String, &Function)> {
    let world = &resolve.worlds[world];
    let items = match side {
        Side::Import => &world.imports,
        Side::Export => &world.exports,
    };
    let mut found = Vec::new();
    for (key, item) in items {
        if let (WorldKey::Interface(_), WorldItem::Interface { id, .. }) = (key, item) {
            let name = resolve.name_world_key(key);
            let functions = resolve.interfaces[*id].functions.values();
            found.extend(functions.map(|function| (name.clone(), function)));
        }
    }
    found
}

/// Parameters and results as the canonical ABI flattens them.
fn signature(
    resolve: &Resolve,
    function: &Function,
    side: AbiVariant,
    names: Option<&str>,
) -> String {
    let flat = resolve.wasm_signature(side, function);
    let of = |t: &WasmType| match t {
        WasmType::I64 | WasmType::PointerOrI64 => "i64",
        WasmType::F32 => "f32",
        WasmType::F64 => "f64",
        WasmType::I32 | WasmType::Pointer | WasmType::Length => "i32",
    };
    let mut text = String::new();
    for (index, param) in flat.params.iter().enumerate() {
        let name = names.map(|prefix| format!("${prefix}{index} "));
        let _ = write!(text, "(param {}{}) ", name.unwrap_or_default(), of(param));
    }
    for result in &flat.results {
        let _ = write!(text, "(result {}) ", of(result));
    }
    text
}
