//! The memory that a model runs in: a few areas, allocated once per call.

use std::alloc::{alloc, alloc_zeroed, dealloc, Layout};
use std::ptr::{self, NonNull};

use crate::descriptor::{Descriptor, Tensor};
use crate::status::Status;

/// The model's kernels rely on it.
const ALIGNMENT: usize = 64;

/// Memory of a fixed size, aligned to 64 bytes.
pub struct Area {
    start: NonNull<u8>,
    layout: Layout,
}

impl Area {
    /// An area of zeros.
    pub fn zeroed(size: usize) -> Result<Area, Status> {
        // SAFETY: the layout's size is not zero.
        Area::new(size, |layout| unsafe { alloc_zeroed(layout) })
    }

    /// An area for the model alone: its bytes must be written before they are read, and clearing it would take time.
    pub fn scratch(size: usize) -> Result<Area, Status> {
        // SAFETY: the layout's size is not zero.
        Area::new(size, |layout| unsafe { alloc(layout) })
    }

    fn new(size: usize, allocate: impl Fn(Layout) -> *mut u8) -> Result<Area, Status> {
        let layout = Layout::from_size_align(size.max(ALIGNMENT), ALIGNMENT).map_err(|_| Status::OutOfMemory)?;
        let start = NonNull::new(allocate(layout)).ok_or(Status::OutOfMemory)?;
        Ok(Area { start, layout })
    }

    /// Where it starts.
    pub fn start(&self) -> *mut u8 {
        self.start.as_ptr()
    }

    /// Bytes in it.
    pub fn size(&self) -> usize {
        self.layout.size()
    }

    /// The bytes of a tensor, of those that the area was made for, once nobody writes them any more.
    pub fn bytes(&self, tensor: &Tensor) -> &[u8] {
        // SAFETY: areas of tensors are cleared when they are made.
        unsafe { &*self.tensor(tensor) }
    }

    /// The bytes of a tensor, of those that the area was made for.
    pub fn tensor(&self, tensor: &Tensor) -> *mut [u8] {
        ptr::slice_from_raw_parts_mut(self.start().wrapping_add(tensor.offset), tensor.size)
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated with this layout.
        unsafe { dealloc(self.start.as_ptr(), self.layout) }
    }
}

/// Where the weights stand.
pub enum Params {
    /// In the module's own data.
    Held(*const u8),
    /// In an area that was filled from a file.
    Read(Area),
}

impl Params {
    /// Where they start.
    pub fn start(&self) -> *const u8 {
        match self {
            Params::Held(start) => *start,
            Params::Read(area) => area.start(),
        }
    }
}

/// The four areas of a model.
pub struct Areas {
    pub inputs: Area,
    pub outputs: Area,
    pub workspace: Area,
    pub params: Params,
    pub params_size: usize,
}

impl Areas {
    /// All of a model's areas, with its inputs and its weights where they are.
    pub fn around(inputs: Area, params: Params, descriptor: &Descriptor) -> Result<Areas, Status> {
        Ok(Areas {
            inputs,
            outputs: Area::zeroed(descriptor.outputs_size)?,
            workspace: Area::scratch(descriptor.workspace_size)?,
            params,
            params_size: descriptor.params_size,
        })
    }
}
