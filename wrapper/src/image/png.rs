//! PNG: every colour type and depth, interlaced or not; of an animation the first frame.

use png::{ColorType, Decoder, Limits, Transformations};

use super::Picture;
use crate::files::{Files, Source};
use crate::memory;
use crate::status::Status;

/// What the decoder needs beside rows and pixels: the file's buffer, the window of DEFLATE.
const WORKING_MEMORY: usize = 256 << 10;

/// Chunks beside the pixels (profiles, texts) may take this much memory.
const MOST_METADATA: usize = 4 << 20;

pub fn decode<F: Files>(source: &mut Source<F>, max_pixels: usize) -> Result<Picture, Status> {
    memory::ensure_available(WORKING_MEMORY)?;
    let mut decoder = Decoder::new(source);
    decoder.set_transformations(Transformations::EXPAND | Transformations::STRIP_16);
    decoder.set_ignore_text_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(|_| Status::BrokenImage)?.size();
    let (width, height) = (width as usize, height as usize);
    Picture::check_size(width, height, max_pixels)?;
    let row = width.saturating_mul(8);
    decoder.set_limits(Limits { bytes: row.max(MOST_METADATA) });
    let rows = row.saturating_mul(4);
    memory::ensure_available(rows)?;
    let mut reader = decoder.read_info().map_err(|_| Status::BrokenImage)?;
    let channels = match reader.output_color_type().0 {
        ColorType::Grayscale => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
        ColorType::Indexed => return Err(Status::BrokenImage),
    };
    let size = reader.output_buffer_size();
    memory::ensure_available(size.saturating_add(rows).saturating_add(WORKING_MEMORY))?;
    let mut samples = memory::zeros(size)?;
    let passes = if reader.info().interlaced { ADAM7 } else { &[Pass { x: 0, y: 0, columns: 1, rows: 1 }] };
    for pass in passes.iter().filter(|pass| pass.x < width) {
        for y in (pass.y..height).step_by(pass.rows) {
            let row = reader.next_row().map_err(|_| Status::BrokenImage)?.ok_or(Status::BrokenImage)?;
            let start = (y * width + pass.x) * channels;
            place(row.data(), samples.get_mut(start..).unwrap_or_default(), channels, pass.columns * channels);
        }
    }
    Ok(Picture { width, height, channels, samples })
}

/// A part of an interlaced image: its first column and row, and columns and rows from one to the next.
struct Pass {
    x: usize,
    y: usize,
    columns: usize,
    rows: usize,
}

/// In the order they stand in the file (PNG specification, "Interlacing and pass extraction").
const ADAM7: &[Pass] = &[
    Pass { x: 0, y: 0, columns: 8, rows: 8 },
    Pass { x: 4, y: 0, columns: 8, rows: 8 },
    Pass { x: 0, y: 4, columns: 4, rows: 8 },
    Pass { x: 2, y: 0, columns: 4, rows: 4 },
    Pass { x: 0, y: 2, columns: 2, rows: 4 },
    Pass { x: 1, y: 0, columns: 2, rows: 2 },
    Pass { x: 0, y: 1, columns: 1, rows: 2 },
];

/// Spreads a row's pixels over the picture, `step` bytes from one to the next.
fn place(row: &[u8], picture: &mut [u8], channels: usize, step: usize) {
    if step == channels {
        let size = row.len().min(picture.len());
        picture[..size].copy_from_slice(&row[..size]);
        return;
    }
    for (pixel, target) in row.chunks_exact(channels).zip(picture.chunks_mut(step)) {
        if let Some(target) = target.get_mut(..channels) {
            target.copy_from_slice(pixel);
        }
    }
}
