//! The model that the linker joined with the wrapper. ARCHITECTURE.md, "The model's ABI", defines the symbols.

use std::slice;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::areas::Areas;
use crate::call::Model;
use crate::descriptor::Descriptor;
use crate::status::Status;

extern "C" {
    static onnx_wasm_descriptor: [u8; 0];
    #[cfg(not(feature = "params"))]
    static onnx_wasm_params: [u8; 0];

    /// The linker's: the end of all that the module holds from its start.
    static __data_end: [u8; 0];
    /// The linker's: what the model's object wants to run before anything else.
    fn __wasm_call_ctors();
}

/// The one model of this module.
pub struct LinkedModel(());

impl LinkedModel {
    /// The model, ready to run.
    pub fn get() -> &'static LinkedModel {
        // The linker would wrap the entry point and call the constructors on every call, did nobody refer to them.
        static READY: AtomicBool = AtomicBool::new(false);
        if !READY.swap(true, Ordering::Relaxed) {
            // SAFETY: once, before anything of the model's.
            unsafe { __wasm_call_ctors() }
        }
        &LinkedModel(())
    }

    /// Computes what the model keeps in the workspace from run to run.
    #[cfg(all(feature = "web", not(feature = "graph")))]
    pub fn prepare(&self, areas: &Areas) {
        extern "C" {
            fn onnx_wasm_prepare(inputs: *mut u8, outputs: *mut u8, params: *const u8, workspace: *mut u8) -> i32;
        }
        // SAFETY: the areas are of the descriptor's sizes.
        unsafe {
            onnx_wasm_prepare(
                areas.inputs.start(),
                areas.outputs.start(),
                areas.params.start(),
                areas.workspace.start(),
            )
        };
    }

    /// The graph's kernels all run in each run.
    #[cfg(all(feature = "web", feature = "graph"))]
    pub fn prepare(&self, _: &Areas) {}
}

impl Model for LinkedModel {
    fn descriptor(&self) -> &[u8] {
        // SAFETY: static data ends after the descriptor.
        unsafe {
            let start = onnx_wasm_descriptor.as_ptr();
            slice::from_raw_parts(start, __data_end.as_ptr() as usize - start as usize)
        }
    }

    #[cfg(feature = "params")]
    fn params(&self) -> *const u8 {
        std::ptr::null()
    }

    #[cfg(not(feature = "params"))]
    fn params(&self) -> *const u8 {
        // SAFETY: only its address is taken.
        unsafe { onnx_wasm_params.as_ptr() }
    }

    #[cfg(not(feature = "graph"))]
    fn run(&self, _: &Descriptor, areas: &Areas) -> Result<(), Status> {
        extern "C" {
            fn onnx_wasm_run(inputs: *mut u8, outputs: *mut u8, params: *const u8, workspace: *mut u8) -> i32;
        }
        // SAFETY: the areas are of the descriptor's sizes.
        let result = unsafe {
            onnx_wasm_run(areas.inputs.start(), areas.outputs.start(), areas.params.start(), areas.workspace.start())
        };
        if result == 0 {
            Ok(())
        } else {
            Err(Status::ModelFailed)
        }
    }

    #[cfg(feature = "graph")]
    fn run(&self, descriptor: &Descriptor, areas: &Areas) -> Result<(), Status> {
        extern "C" {
            static onnx_wasm_graph: [u8; 0];
        }
        // SAFETY: as long as the descriptor says.
        let json = unsafe { slice::from_raw_parts(onnx_wasm_graph.as_ptr(), descriptor.graph_size) };
        crate::graph::run(json, areas)
    }
}
