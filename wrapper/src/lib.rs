//! What stands around a compiled model in a WebAssembly module: it reads the inputs from the files that the arguments name,
//! runs the model, and gives the outputs. Compiled once per platform and set of features; the linker joins it with a model's
//! library afterwards.

pub mod areas;
#[cfg(all(target_arch = "wasm32", feature = "teaclave"))]
mod bytes;
pub mod call;
pub mod descriptor;
pub mod dtype;
pub mod files;
#[cfg(feature = "graph")]
pub mod graph;
pub mod heap;
#[cfg(feature = "pixels")]
pub mod image;
pub mod json_line;
#[cfg(target_arch = "wasm32")]
mod math;
pub mod memory;
pub mod npy;
#[cfg(feature = "params")]
pub mod params;
#[cfg(target_arch = "wasm32")]
mod platform;
#[cfg(feature = "params")]
pub mod sha256;
pub mod status;
#[cfg(target_arch = "wasm32")]
mod tvm;
