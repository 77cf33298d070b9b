//! JPEG: baseline and progressive; gray, YCbCr, RGB, CMYK and YCCK.

use jpeg_decoder::{CodingProcess, Decoder, PixelFormat};

use super::Picture;
use crate::files::{Files, Source};
use crate::memory;
use crate::status::Status;

pub fn decode<F: Files>(source: &mut Source<F>, max_pixels: usize) -> Result<Picture, Status> {
    memory::ensure_available(WORKING_MEMORY)?;
    let mut decoder = Decoder::new(source);
    decoder.read_info().map_err(|_| Status::BrokenImage)?;
    let info = decoder.info().ok_or(Status::BrokenImage)?;
    let (width, height) = (usize::from(info.width), usize::from(info.height));
    Picture::check_size(width, height, max_pixels)?;
    let components = info.pixel_format.pixel_bytes();
    memory::ensure_available(decoder_needs(width, height, components, info.coding_process))?;
    let mut samples = decoder.decode().map_err(|_| Status::BrokenImage)?;
    let channels = match info.pixel_format {
        PixelFormat::L8 => 1,
        PixelFormat::RGB24 => 3,
        PixelFormat::CMYK32 => {
            cmyk_to_rgb(&mut samples);
            3
        }
        PixelFormat::L16 => return Err(Status::BrokenImage),
    };
    Ok(Picture { width, height, channels, samples })
}

/// What the decoder needs beside samples: mainly its Huffman tables.
const WORKING_MEMORY: usize = 128 << 10;

/// At most: whole blocks of up to 32 × 32 samples of each component, the picture made of them, and for progressive files
/// the coefficients of each sample.
fn decoder_needs(width: usize, height: usize, components: usize, process: CodingProcess) -> usize {
    let padded = ((width + 31) & !31).saturating_mul((height + 31) & !31);
    let bytes_per_sample = if process == CodingProcess::DctProgressive { 4 } else { 2 };
    padded.saturating_mul(components * bytes_per_sample).saturating_add(WORKING_MEMORY)
}

/// In place, as Pillow does: what black leaves of white, less the colour's part of it.
fn cmyk_to_rgb(samples: &mut Vec<u8>) {
    let pixels = samples.len() / 4;
    for pixel in 0..pixels {
        for channel in 0..3 {
            let ink = u32::from(255 - samples[pixel * 4 + channel]);
            let light = u32::from(255 - samples[pixel * 4 + 3]);
            samples[pixel * 3 + channel] = ((ink * light + 127) / 255) as u8;
        }
    }
    samples.truncate(pixels * 3);
}
