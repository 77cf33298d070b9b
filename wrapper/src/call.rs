//! One call of a model, from its arguments to its result.

use std::ffi::CStr;

use crate::areas::{Area, Areas, Params};
use crate::descriptor::{Descriptor, Format, Tensor};
use crate::files::{write_file, Files, Source};
use crate::npy;
use crate::status::Status;

/// A compiled model.
pub trait Model {
    /// Its descriptor; more bytes may follow.
    fn descriptor(&self) -> &[u8];

    /// Its weights, aligned to 64 bytes, as many as the descriptor says; not asked for if they come from a file.
    fn params(&self) -> *const u8;

    /// Computes the outputs from the inputs.
    fn run(&self, descriptor: &Descriptor, areas: &Areas) -> Result<(), Status>;
}

/// A key and the name of a file.
pub type Argument<'a> = (&'a CStr, &'a CStr);

/// Reads the inputs from the files that the arguments name, runs the model and writes the outputs that arguments name.
///
/// Returns the index of the largest element of the output that the descriptor chooses, the first of equals, NaN never; or 0
/// if it chooses none.
pub fn call(model: &impl Model, files: &impl Files, arguments: &[Argument]) -> Result<i32, Status> {
    let descriptor = Descriptor::parse(model.descriptor())?;
    let areas = compute(model, &descriptor, files, arguments)?;
    write_outputs(&descriptor, &areas, files, arguments)?;
    result(&descriptor, &areas)
}

/// Reads the inputs and runs the model.
pub fn compute(
    model: &impl Model,
    descriptor: &Descriptor,
    files: &impl Files,
    arguments: &[Argument],
) -> Result<Areas, Status> {
    check(descriptor, arguments)?;
    let inputs = Area::zeroed(descriptor.inputs_size)?;
    for tensor in &descriptor.inputs {
        let name = file_of(arguments, tensor.argument).ok_or(Status::MissingArgument)?;
        // SAFETY: the area was cleared, and nobody else refers to it.
        let bytes = unsafe { &mut *inputs.tensor(tensor) };
        read(files, name, tensor, descriptor.max_pixels, bytes)?;
    }
    // After the inputs: what decoding a picture took is free again.
    let params = params(model, descriptor, files, arguments)?;
    let areas = Areas::around(inputs, params, descriptor)?;
    model.run(descriptor, &areas)?;
    Ok(areas)
}

#[cfg(feature = "params")]
fn params(
    _: &impl Model,
    descriptor: &Descriptor,
    files: &impl Files,
    arguments: &[Argument],
) -> Result<Params, Status> {
    let name = file_of(arguments, descriptor.params_file.argument).ok_or(Status::MissingParams)?;
    crate::params::read(files, name, descriptor).map(Params::Read)
}

#[cfg(not(feature = "params"))]
fn params(model: &impl Model, _: &Descriptor, _: &impl Files, _: &[Argument]) -> Result<Params, Status> {
    Ok(Params::Held(model.params()))
}

/// Writes the outputs that arguments name. In Teaclave a task has a value for each argument of its function: an empty one
/// asks for nothing.
pub fn write_outputs(
    descriptor: &Descriptor,
    areas: &Areas,
    files: &impl Files,
    arguments: &[Argument],
) -> Result<(), Status> {
    for tensor in &descriptor.outputs {
        if let Some(name) = file_of(arguments, tensor.argument).filter(|name| !name.to_bytes().is_empty()) {
            write(files, name, tensor, areas.outputs.bytes(tensor))?;
        }
    }
    Ok(())
}

/// What [`call`] returns.
pub fn result(descriptor: &Descriptor, areas: &Areas) -> Result<i32, Status> {
    match descriptor.argmax.and_then(|index| descriptor.outputs.get(index)) {
        Some(tensor) => argmax(tensor, areas.outputs.bytes(tensor)),
        None => Ok(0),
    }
}

/// Every argument is the model's and is given once.
fn check(descriptor: &Descriptor, arguments: &[Argument]) -> Result<(), Status> {
    for (index, (key, _)) in arguments.iter().enumerate() {
        if key.to_bytes().is_empty() || !keys(descriptor).any(|known| known == key.to_bytes()) {
            return Err(Status::UnknownArgument);
        }
        if arguments.iter().take(index).any(|(earlier, _)| earlier == key) {
            return Err(Status::RepeatedArgument);
        }
    }
    Ok(())
}

/// The keys of the arguments that the model has.
fn keys<'a>(descriptor: &'a Descriptor) -> impl Iterator<Item = &'a [u8]> {
    let tensors = descriptor.inputs.iter().chain(&descriptor.outputs).map(|tensor| tensor.argument);
    #[cfg(feature = "params")]
    let tensors = tensors.chain([descriptor.params_file.argument]);
    tensors
}

/// The file that the argument of a key names.
pub fn file_of<'a>(arguments: &[Argument<'a>], key: &[u8]) -> Option<&'a CStr> {
    arguments.iter().find(|(its, _)| its.to_bytes() == key).map(|&(_, file)| file)
}

fn read<F: Files>(files: &F, name: &CStr, tensor: &Tensor, max_pixels: usize, bytes: &mut [u8]) -> Result<(), Status> {
    let mut source = Source::open(files, name)?;
    match &tensor.format {
        #[cfg(feature = "image")]
        Format::Image(image) => {
            return crate::image::read(&mut source, image, tensor.dtype, max_pixels, bytes);
        }
        #[cfg(not(feature = "image"))]
        Format::Image(_) => return Err(Status::BrokenDescriptor),
        Format::Npy => npy::check_header(&mut source, tensor)?,
        Format::Raw => {}
    }
    let _ = max_pixels; // is about images only
    source.read_exact(bytes)?;
    if source.peek()?.is_empty() {
        Ok(())
    } else {
        Err(Status::InputTooLong)
    }
}

fn write<F: Files>(files: &F, name: &CStr, tensor: &Tensor, bytes: &[u8]) -> Result<(), Status> {
    match tensor.format {
        Format::Npy => write_file(files, name, &[&npy::header(tensor)?, bytes]),
        _ => write_file(files, name, &[bytes]),
    }
}

fn argmax(tensor: &Tensor, bytes: &[u8]) -> Result<i32, Status> {
    let mut largest: Option<(usize, i64)> = None;
    for (index, element) in bytes.chunks_exact(tensor.dtype.size()).enumerate() {
        if let Some(key) = tensor.dtype.order(element) {
            if largest.map_or(true, |(_, most)| key > most) {
                largest = Some((index, key));
            }
        }
    }
    let (index, _) = largest.ok_or(Status::NoLargest)?;
    i32::try_from(index).map_err(|_| Status::NoLargest)
}
