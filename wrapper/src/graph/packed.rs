//! TVM's packed functions: how they become known and how they are called. Layouts: `tvm/ffi/c_api.h` and `dlpack.h` of
//! TVM 0.27.

use std::cell::UnsafeCell;
use std::ffi::CStr;
use std::mem;
use std::os::raw::{c_char, c_void};
use std::ptr;

use crate::dtype::Dtype;
use crate::status::Status;

const PREFIX: &[u8] = b"__tvm_ffi_";
const CPU: i32 = 1;

/// `int (*)(void* handle, const TVMFFIAny* args, int32_t num_args, TVMFFIAny* result)`; 0 on success.
pub type PackedFunction = unsafe extern "C" fn(*mut c_void, *const Value, i32, *mut Value) -> i32;

/// `TVMFFIAny`: a value with its type.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Value {
    type_index: i32,
    padding: u32,
    /// A pointer fills the lower bytes, little-endian.
    value: u64,
}

impl Value {
    const NONE: Value = Value { type_index: 0, padding: 0, value: 0 };

    /// A `DLTensor*`.
    fn tensor(tensor: &Tensor) -> Value {
        Value { type_index: 7, padding: 0, value: tensor as *const Tensor as usize as u64 }
    }

    /// The tensor's data, for kernels that are written in Rust.
    ///
    /// # Safety
    ///
    /// The value is a tensor of this executor's.
    pub unsafe fn data(&self) -> *mut u8 {
        (*(self.value as usize as *const Tensor)).data
    }
}

/// `DLTensor`. Shape and strides belong to the graph.
#[repr(C)]
pub struct Tensor {
    pub data: *mut u8,
    device_type: i32,
    device_id: i32,
    rank: i32,
    dtype_code: u8,
    dtype_bits: u8,
    dtype_lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

impl Tensor {
    /// A tensor in C order. `shape` and `strides` are as long as each other and outlive it.
    pub fn new(data: *mut u8, dtype: Dtype, shape: &[i64], strides: &[i64]) -> Tensor {
        let (signed, unsigned, float, boolean) = (0, 1, 2, 6);
        let dtype_code = match dtype {
            Dtype::Float16 | Dtype::Float32 | Dtype::Float64 => float,
            Dtype::Int8 | Dtype::Int16 | Dtype::Int32 | Dtype::Int64 => signed,
            Dtype::Uint8 | Dtype::Uint16 | Dtype::Uint32 | Dtype::Uint64 => unsigned,
            Dtype::Bool => boolean,
        };
        Tensor {
            data,
            device_type: CPU,
            device_id: 0,
            rank: shape.len() as i32,
            dtype_code,
            dtype_bits: dtype.size() as u8 * 8,
            dtype_lanes: 1,
            shape: shape.as_ptr(),
            strides: strides.as_ptr(),
            byte_offset: 0,
        }
    }
}

/// A packed function and its arguments.
pub struct Call {
    function: PackedFunction,
    arguments: Vec<Value>,
}

impl Call {
    /// A call of a kernel; none if no such kernel is registered. The tensors outlive the call.
    pub fn new(kernel: &[u8], tensors: &[&Tensor]) -> Option<Call> {
        let function = REGISTRY.find(kernel)?;
        Some(Call { function, arguments: tensors.iter().map(|tensor| Value::tensor(tensor)).collect() })
    }

    pub fn run(&self) -> Result<(), Status> {
        let mut result = Value::NONE;
        let count = self.arguments.len() as i32;
        // SAFETY: the kernel was compiled for these arguments, and checks them.
        match unsafe { (self.function)(ptr::null_mut(), self.arguments.as_ptr(), count, &mut result) } {
            0 => Ok(()),
            _ => Err(Status::ModelFailed),
        }
    }
}

/// What the constructors of the model's object registered.
struct Registry(UnsafeCell<Vec<(*const c_char, *const c_void)>>);

static REGISTRY: Registry = Registry(UnsafeCell::new(Vec::new()));

// SAFETY: modules have one thread; tests on the host register before they start a second one.
unsafe impl Sync for Registry {}

impl Registry {
    fn find(&self, kernel: &[u8]) -> Option<PackedFunction> {
        // SAFETY: registered names are C strings and last; symbols with the prefix are packed functions.
        unsafe {
            (*self.0.get())
                .iter()
                .find(|(name, _)| CStr::from_ptr(*name).to_bytes().strip_prefix(PREFIX) == Some(kernel))
                .map(|(_, symbol)| mem::transmute::<*const c_void, PackedFunction>(*symbol))
        }
    }
}

/// Registers a symbol of TVM's system library; called by the constructors of the model's object.
///
/// # Safety
///
/// `name` is a C string and lasts as long as the module.
#[no_mangle]
pub unsafe extern "C" fn TVMFFIEnvModRegisterSystemLibSymbol(name: *const c_char, symbol: *const c_void) -> i32 {
    (*REGISTRY.0.get()).push((name, symbol));
    0
}
