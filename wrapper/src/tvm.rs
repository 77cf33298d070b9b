//! TVM's runtime, as far as compiled kernels call it. Signatures: `tvm/runtime/c_backend_api.h` and `tvm/ffi/c_api.h` of
//! TVM 0.27.

use std::alloc::{alloc, dealloc, Layout};
use std::os::raw::{c_char, c_void};
use std::ptr;

/// Of what kernels allocate; the size of the block stands in the bytes before it.
const ALIGNMENT: usize = 64;

/// Gives a kernel memory for its time; null if there is none.
#[no_mangle]
pub extern "C" fn TVMBackendAllocWorkspace(_: i32, _: i32, size: u64, _: i32, _: i32) -> *mut c_void {
    let layout = usize::try_from(size).ok().and_then(workspace_layout);
    // SAFETY: the layout has room for its own size before the block.
    layout.map_or(ptr::null_mut(), |layout| unsafe {
        let start = alloc(layout);
        if start.is_null() {
            return ptr::null_mut();
        }
        start.cast::<usize>().write(layout.size());
        start.add(ALIGNMENT).cast()
    })
}

/// Takes it back.
///
/// # Safety
///
/// `block` comes from [`TVMBackendAllocWorkspace`].
#[no_mangle]
pub unsafe extern "C" fn TVMBackendFreeWorkspace(_: i32, _: i32, block: *mut c_void) -> i32 {
    if !block.is_null() {
        let start = block.cast::<u8>().sub(ALIGNMENT);
        dealloc(start, Layout::from_size_align_unchecked(start.cast::<usize>().read(), ALIGNMENT));
    }
    0
}

fn workspace_layout(size: usize) -> Option<Layout> {
    Layout::from_size_align(size.checked_add(ALIGNMENT)?, ALIGNMENT).ok()
}

/// Takes a kernel's words about its failure. The kernel's return value says the same, and there is nobody to read them.
#[no_mangle]
pub extern "C" fn TVMFFIErrorSetRaisedFromCStrParts(_: *const c_char, _: *const *const c_char, _: i32) {}
