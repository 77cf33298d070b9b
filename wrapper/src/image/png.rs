//! PNG: every colour type and depth, interlaced or not; of an animation the first frame.

use png::{ColorType, Decoder, Limits, Transformations};

use super::Picture;
use crate::files::{Files, Source};
use crate::memory;
use crate::status::Status;

/// Chunks beside the pixels (profiles, texts) may take this much memory.
const MOST_METADATA: usize = 4 << 20;

pub fn decode<F: Files>(source: &mut Source<F>, max_pixels: usize) -> Result<Picture, Status> {
    let mut decoder = Decoder::new(source);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(|_| Status::BrokenImage)?.size();
    let (width, height) = (width as usize, height as usize);
    Picture::check_size(width, height, max_pixels)?;
    let row = width.saturating_mul(8);
    decoder.set_limits(Limits { bytes: row.max(MOST_METADATA) });
    memory::ensure_available(row.saturating_mul(4))?;
    let mut reader = decoder.read_info().map_err(|_| Status::BrokenImage)?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err(Status::BrokenImage),
    };
    let mut samples = memory::zeros(reader.output_buffer_size())?;
    reader.next_frame(&mut samples).map_err(|_| Status::BrokenImage)?;
    Ok(Picture { width, height, channels, samples })
}
