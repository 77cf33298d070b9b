//! A JPEG or PNG file as an input's tensor.

use super::{jpeg, png, resize, Picture};
use crate::descriptor::Image;
use crate::dtype::Dtype;
use crate::files::{Files, Source};
use crate::status::Status;

/// Reads a JPEG or PNG file into a tensor.
///
/// A pixel is 8 bits a channel (of 16 the upper 8 count); alpha is ignored, as Pillow's `convert` does. Images of more than
/// `max_pixels` are refused before memory is taken for them.
pub fn read<F: Files>(
    source: &mut Source<F>,
    image: &Image,
    dtype: Dtype,
    max_pixels: usize,
    tensor: &mut [u8],
) -> Result<(), Status> {
    let picture = decode(source, max_pixels).map_err(|status| match status {
        Status::BrokenImage if source.failed() => Status::ReadFailed,
        _ => status,
    })?;
    resize(picture.borrowed(), image, dtype, tensor);
    Ok(())
}

fn decode<F: Files>(source: &mut Source<F>, max_pixels: usize) -> Result<Picture, Status> {
    match source.peek()?.first() {
        Some(0xFF) => jpeg::decode(source, max_pixels),
        Some(0x89) => png::decode(source, max_pixels),
        _ => Err(Status::UnknownImage),
    }
}
