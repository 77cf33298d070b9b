//! Apache Teaclave's WebAssembly executor: an entry point that gets keys and values as C strings, and five functions for
//! files.

use std::ffi::CStr;
use std::os::raw::c_char;

use super::linked::LinkedModel;
use crate::call::call;
use crate::files::{Files, Handle};
use crate::status::Status;

#[link(wasm_import_module = "env")]
extern "C" {
    fn teaclave_open_input(name: *const c_char) -> i32;
    fn teaclave_create_output(name: *const c_char) -> i32;
    fn teaclave_read_file(file: i32, bytes: *mut u8, size: i32) -> i32;
    fn teaclave_write_file(file: i32, bytes: *const u8, size: i32) -> i32;
    fn teaclave_close_file(file: i32) -> i32;
}

/// Runs the model.
///
/// `argv` holds `argc` C strings: the arguments' keys and values in turn. Returns the result, or a negative [`Status`].
///
/// # Safety
///
/// The strings end with a zero and stay as they are until this returns.
#[no_mangle]
pub unsafe extern "C" fn entrypoint(argc: i32, argv: *const *const c_char) -> i32 {
    run(LinkedModel::get(), argc, argv).unwrap_or_else(Status::code)
}

unsafe fn run(model: &LinkedModel, argc: i32, argv: *const *const c_char) -> Result<i32, Status> {
    if argc < 0 || argc % 2 != 0 {
        return Err(Status::OddArguments);
    }
    let mut arguments = Vec::new();
    for pair in 0..argc as usize / 2 {
        let [key, file] = [0, 1].map(|of_pair| CStr::from_ptr(*argv.add(2 * pair + of_pair)));
        arguments.push((key, file));
    }
    call(model, &TeaclaveFiles, &arguments)
}

/// Files by the executor's functions, which give −1 on failure.
struct TeaclaveFiles;

impl Files for TeaclaveFiles {
    fn open(&self, name: &CStr) -> Option<Handle> {
        // SAFETY: a C string.
        handle(unsafe { teaclave_open_input(name.as_ptr()) })
    }

    fn create(&self, name: &CStr) -> Option<Handle> {
        // SAFETY: a C string.
        handle(unsafe { teaclave_create_output(name.as_ptr()) })
    }

    fn read(&self, file: Handle, bytes: &mut [u8]) -> Option<usize> {
        // SAFETY: no more bytes than there are.
        count(unsafe { teaclave_read_file(file.0, bytes.as_mut_ptr(), size(bytes)) })
    }

    fn write(&self, file: Handle, bytes: &[u8]) -> Option<usize> {
        // SAFETY: no more bytes than there are.
        count(unsafe { teaclave_write_file(file.0, bytes.as_ptr(), size(bytes)) })
    }

    fn close(&self, file: Handle) -> bool {
        // SAFETY: takes no memory.
        unsafe { teaclave_close_file(file.0) >= 0 }
    }
}

fn handle(result: i32) -> Option<Handle> {
    (result >= 0).then(|| Handle(result))
}

fn count(result: i32) -> Option<usize> {
    usize::try_from(result).ok()
}

fn size(bytes: &[u8]) -> i32 {
    i32::try_from(bytes.len()).unwrap_or(i32::MAX)
}
