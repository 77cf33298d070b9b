//! The executor `graph`, with kernels written here in place of compiled ones.
#![cfg(feature = "graph")]

mod support;

use std::os::raw::c_void;
use std::slice;
use std::sync::Once;

use wrapper::areas::{Area, Areas, Params};
use wrapper::graph::{self, PackedFunction, TVMFFIEnvModRegisterSystemLibSymbol, Value};
use wrapper::status::Status;

/// out = in + bias, four float32 each.
unsafe extern "C" fn add(_: *mut c_void, arguments: *const Value, count: i32, _: *mut Value) -> i32 {
    if count != 3 {
        return -1;
    }
    let [input, bias, output] = [0, 1, 2].map(|index| (*arguments.add(index)).data().cast::<f32>());
    for index in 0..4 {
        *output.add(index) = *input.add(index) + *bias.add(index);
    }
    0
}

unsafe extern "C" fn fail(_: *mut c_void, _: *const Value, _: i32, _: *mut Value) -> i32 {
    -1
}

fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| unsafe {
        for (name, function) in [("__tvm_ffi_add\0", add as PackedFunction), ("__tvm_ffi_fail\0", fail)] {
            TVMFFIEnvModRegisterSystemLibSymbol(name.as_ptr().cast(), function as *const c_void);
        }
    });
}

/// Nodes 0 (input) and 1 (weights); 2 adds them, 3 is a view of 2, 4 adds 2's view and the weights, 5 copies to the output.
const GRAPH: &str = r#"{
  "nodes": [
    {"op": "null", "name": "in \"put\"", "inputs": []},
    {"op": "null", "name": "weights", "inputs": []},
    {"op": "tvm_op", "name": "a", "inputs": [[0, 0, 0], [1, 0, 0]],
     "attrs": {"func_name": "add", "num_inputs": "2", "num_outputs": "1", "flatten_data": "0"}},
    {"op": "tvm_op", "name": "v", "inputs": [[2, 0, 0]], "attrs": {"func_name": "__nop"}},
    {"op": "tvm_op", "name": "b", "inputs": [[3, 0, 0], [1, 0, 0]], "attrs": {"func_name": "add"}},
    {"op": "tvm_op", "name": "c", "inputs": [[4, 0, 0]], "attrs": {"func_name": "__copy"}}
  ],
  "arg_nodes": [0, 1], "heads": [[5, 0, 0]], "node_row_ptr": [0, 1, 2, 3, 4, 5, 6],
  "attrs": {
    "dltype": ["list_str", ["float32", "float32", "float32", "float32", "float32", "float32"]],
    "shape": ["list_shape", [[4], [4], [2, 2], [4], [4], [1, 4]]],
    "storage_id": ["list_int", [0, 1, 2, 2, 3, 4]],
    "storage_kind": ["list_str", ["inputs", "params", "workspace", "workspace", "workspace", "outputs"]],
    "storage_offset": ["list_int", [0, 64, 0, 0, 64, 32]]
  },
  "areas": {"inputs": 16, "outputs": 48, "params": 80, "workspace": 80}
}"#;

fn run(json: &str) -> Result<Vec<f32>, Status> {
    register();
    let params: Vec<f32> = (0..20).map(|index| index as f32).collect(); // 16, 17, 18, 19 at byte 64
    let areas = Areas {
        inputs: Area::zeroed(64).unwrap(),
        outputs: Area::zeroed(64).unwrap(),
        workspace: Area::scratch(128).unwrap(),
        params: Params::Held(params.as_ptr().cast()),
        params_size: 80,
    };
    unsafe { areas.inputs.start().cast::<[f32; 4]>().write([1.0, 2.0, 3.0, 4.0]) };
    graph::run(json.as_bytes(), &areas)?;
    Ok(unsafe { slice::from_raw_parts(areas.outputs.start().add(32).cast::<f32>(), 4) }.to_vec())
}

#[test]
fn kernels_run_in_order_on_their_storage() {
    assert_eq!(run(GRAPH), Ok(vec![33.0, 36.0, 39.0, 42.0]));
}

#[test]
fn a_failing_kernel_has_its_code() {
    assert_eq!(run(&GRAPH.replacen("\"add\"", "\"fail\"", 1)), Err(Status::ModelFailed));
}

#[test]
fn a_broken_graph_has_its_code() {
    for (from, to) in [
        ("\"add\"", "\"absent\""),
        ("[0, 64, 0, 0, 64, 32]", "[0, 65, 0, 0, 64, 32]"),
        ("[0, 64, 0, 0, 64, 32]", "[0, 64, 0, 0, 64]"),
        ("[0, 64, 0, 0, 64, 32]", "[0, 64, 0, 0, 113, 32]"),
        ("\"workspace\"", "\"elsewhere\""),
        ("\"float32\"", "\"float33\""),
        ("[2, 2]", "[2, 18446744073709551615]"),
        ("[[4, 0, 0]]", "[[6, 0, 0]]"),
        ("[[4, 0, 0]]", "[[5, 18446744073709551615, 0]]"),
        ("[0, 1, 2, 3, 4, 5, 6]", "[0, 1, 2, 3, 4, 5]"),
        ("[1, 4]]", "[1, 3]]"),
        ("\"nodes\": [", "\"nodes\": "),
    ] {
        assert!(GRAPH.contains(from), "{from}");
        assert_eq!(run(&GRAPH.replacen(from, to, 1)), Err(Status::BrokenGraph), "{from} → {to}");
    }
    for length in 0..GRAPH.len() {
        assert_eq!(run(&GRAPH[..length]), Err(Status::BrokenGraph));
    }
}
