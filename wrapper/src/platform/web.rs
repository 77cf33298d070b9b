//! JavaScript hosts: a reactor without imports. The areas of inputs and outputs stay where they are, for the host to fill and
//! read; it puts pictures into memory that it asks for. Every call that cannot be served answers with a negative [`Status`],
//! or 0 in place of an address, and the next one is served.

use std::cell::{Cell, UnsafeCell};
use std::mem;
#[cfg(feature = "pixels")]
use std::slice;

use super::linked::LinkedModel;
use crate::areas::{Area, Areas, Params};
use crate::call::Model;
use crate::descriptor::Descriptor;
#[cfg(feature = "pixels")]
use crate::descriptor::Format;
#[cfg(feature = "pixels")]
use crate::image::{resize, Picture};
#[cfg(feature = "pixels")]
use crate::memory;
use crate::status::Status;

/// Where the inputs stand; 0 if there is no memory for them.
#[no_mangle]
pub extern "C" fn inputs() -> i32 {
    instance().map_or(0, |instance| address(instance.areas.inputs.start()))
}

/// Where the outputs stand; 0 if there is no memory for them.
#[no_mangle]
pub extern "C" fn outputs() -> i32 {
    instance().map_or(0, |instance| address(instance.areas.outputs.start()))
}

/// Computes the outputs from the inputs. Returns 0.
#[no_mangle]
pub extern "C" fn run() -> i32 {
    code(instance().and_then(Instance::run))
}

/// Where the weights stand, for the host to put them there; 0 if there is no memory for them.
#[cfg(feature = "params")]
#[no_mangle]
pub extern "C" fn params() -> i32 {
    instance().map_or(0, |instance| {
        instance.has_params.set(false);
        address(instance.areas.params.start())
    })
}

/// Takes the weights that the host put there, if they are those that the module was built with. Returns 0.
#[cfg(feature = "params")]
#[no_mangle]
pub extern "C" fn check_params() -> i32 {
    code(instance().and_then(Instance::check_params))
}

/// Gives memory, for pixels; 0 if there is none.
#[no_mangle]
pub extern "C" fn allocate(bytes: i32) -> i32 {
    blocks().add(bytes).map_or(0, address)
}

/// Takes back what [`allocate`] gave for so many bytes. Returns 0.
#[no_mangle]
pub extern "C" fn release(address: i32, bytes: i32) -> i32 {
    code(blocks().remove(address, bytes))
}

/// Fills an input of format image with the RGBA pixels at an address in memory from [`allocate`]: resized and converted as
/// those of a decoded file are. Returns 0.
#[no_mangle]
pub extern "C" fn picture(input: i32, address: i32, width: i32, height: i32) -> i32 {
    code(fill(input, address, width, height))
}

#[cfg(feature = "pixels")]
fn fill(input: i32, address: i32, width: i32, height: i32) -> Result<(), Status> {
    const RGBA: usize = 4;
    let Instance { descriptor, areas, .. } = instance()?;
    let input = usize::try_from(input).ok().and_then(|index| descriptor.inputs.get(index));
    let (input, image) = match input.map(|input| (input, &input.format)) {
        Some((input, Format::Image(image))) => (input, image),
        _ => return Err(Status::UnknownInput),
    };
    let (width, height) = (width as u32 as usize, height as u32 as usize);
    Picture::check_size(width, height, descriptor.max_pixels)?;
    let size = (width * height).checked_mul(RGBA).ok_or(Status::ImageTooLarge)?;
    let samples = blocks().find(address, size).ok_or(Status::BadAddress)?;
    memory::ensure_available(WORKING_MEMORY)?;
    // SAFETY: the area was cleared when it was made, and it is none of the blocks.
    let tensor = unsafe { &mut *areas.inputs.tensor(input) };
    resize(Picture { width, height, channels: RGBA, samples }, image, input.dtype, tensor);
    Ok(())
}

#[cfg(not(feature = "pixels"))]
fn fill(_: i32, _: i32, _: i32, _: i32) -> Result<(), Status> {
    Err(Status::UnknownInput)
}

/// What a pixel's values become, channel by channel.
#[cfg(feature = "pixels")]
const WORKING_MEMORY: usize = 16 << 10;

/// What the first call makes.
struct Instance {
    descriptor: Descriptor<'static>,
    areas: Areas,
    /// The weights were put where they belong, and are the right ones.
    #[cfg(feature = "params")]
    has_params: Cell<bool>,
    /// What the model keeps in the workspace is there.
    is_prepared: Cell<bool>,
}

impl Instance {
    fn new() -> Result<Instance, Status> {
        let model = LinkedModel::get();
        let descriptor = Descriptor::parse(model.descriptor())?;
        #[cfg(feature = "params")]
        let params = Params::Read(Area::zeroed(descriptor.params_size)?);
        #[cfg(not(feature = "params"))]
        let params = Params::Held(model.params());
        let areas = Areas::around(Area::zeroed(descriptor.inputs_size)?, params, &descriptor)?;
        Ok(Instance {
            descriptor,
            areas,
            #[cfg(feature = "params")]
            has_params: Cell::new(false),
            is_prepared: Cell::new(false),
        })
    }

    fn run(&self) -> Result<(), Status> {
        #[cfg(feature = "params")]
        if !self.has_params.get() {
            return Err(Status::MissingParams);
        }
        let model = LinkedModel::get();
        if !self.is_prepared.replace(true) {
            model.prepare(&self.areas);
        }
        model.run(&self.descriptor, &self.areas)
    }

    #[cfg(feature = "params")]
    fn check_params(&self) -> Result<(), Status> {
        if let Params::Read(area) = &self.areas.params {
            crate::params::check(area, &self.descriptor)?;
        }
        self.has_params.set(true);
        Ok(())
    }
}

fn instance() -> Result<&'static Instance, Status> {
    static INSTANCE: OneThread<Option<Instance>> = OneThread(UnsafeCell::new(None));
    // SAFETY: nothing refers to it while it is none.
    let instance = unsafe { &mut *INSTANCE.0.get() };
    if instance.is_none() {
        mem::forget(instance.replace(Instance::new()?)); // none, as the compiler does not see: it would be dropped
    }
    instance.as_ref().ok_or(Status::OutOfMemory)
}

/// The memory that the host holds: each block with the bytes that it asked for.
struct Blocks(Vec<(Area, usize)>);

impl Blocks {
    fn add(&mut self, bytes: i32) -> Option<*const u8> {
        let size = usize::try_from(bytes).ok()?;
        self.0.try_reserve(1).ok()?;
        let block = Area::scratch(size).ok()?;
        let start = block.start();
        self.0.push((block, size));
        Some(start)
    }

    fn remove(&mut self, start: i32, bytes: i32) -> Result<(), Status> {
        let found = self.0.iter().position(|(block, size)| address(block.start()) == start && *size as i32 == bytes);
        self.0.swap_remove(found.ok_or(Status::BadAddress)?);
        Ok(())
    }

    /// So many bytes from an address on, if they are in a block.
    #[cfg(feature = "pixels")]
    fn find(&self, start: i32, size: usize) -> Option<&[u8]> {
        self.0.iter().find_map(|(block, block_size)| {
            // SAFETY: the host has written what it wants to be read.
            let bytes = unsafe { slice::from_raw_parts(block.start(), *block_size) };
            let offset = (start as u32 as usize).checked_sub(block.start() as usize)?;
            bytes.get(offset..offset.checked_add(size)?)
        })
    }
}

fn blocks() -> &'static mut Blocks {
    static BLOCKS: OneThread<Blocks> = OneThread(UnsafeCell::new(Blocks(Vec::new())));
    // SAFETY: each exported function asks for them once and lets them go when it returns.
    unsafe { &mut *BLOCKS.0.get() }
}

struct OneThread<T>(UnsafeCell<T>);

// SAFETY: the module has one thread, and without imports nobody calls it while it runs.
unsafe impl<T> Sync for OneThread<T> {}

fn address(start: *const u8) -> i32 {
    start as usize as i32
}

fn code(result: Result<(), Status>) -> i32 {
    result.map_or_else(Status::code, |()| 0)
}
