//! A picture's pixels at an input's positions, as the input's elements.

use super::Picture;
use crate::descriptor::{Color, Image, Layout, Resize};
use crate::dtype::Dtype;

/// Fills `tensor` with a picture, resized and converted.
pub fn resize(picture: &Picture, image: &Image, dtype: Dtype, tensor: &mut [u8]) {
    let channels = image.color.channels();
    let (pixel_step, channel_step) = match image.layout {
        Layout::Nchw => (1, image.height * image.width),
        Layout::Nhwc => (channels, 1),
    };
    let size = dtype.size();
    for y in 0..image.height {
        for x in 0..image.width {
            let values = convert(sample(picture, image, x, y), image.color);
            let position = (y * image.width + x) * pixel_step;
            for (channel, value) in values.iter().take(channels).enumerate() {
                let start = (position + channel * channel_step) * size;
                if let Some(element) = tensor.get_mut(start..start + size) {
                    dtype.store((f32::from(*value) - image.mean[channel]) * image.scale[channel], element);
                }
            }
        }
    }
}

/// The colours of a pixel in the tensor's order. Gray is ITU-R BT.601 in 16 bits fixed point, as Pillow computes it.
fn convert([red, green, blue]: [u8; 3], color: Color) -> [u8; 3] {
    match color {
        Color::Gray => {
            let sum = u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000;
            [(sum >> 16) as u8; 3]
        }
        Color::Rgb => [red, green, blue],
        Color::Bgr => [blue, green, red],
    }
}

fn sample(picture: &Picture, image: &Image, x: usize, y: usize) -> [u8; 3] {
    match image.resize {
        Resize::Nearest => {
            picture.pixel(nearest(x, picture.width, image.width), nearest(y, picture.height, image.height))
        }
        Resize::Bilinear => bilinear(
            picture,
            Position::new(x, picture.width, image.width),
            Position::new(y, picture.height, image.height),
        ),
    }
}

/// The source's pixel that holds the centre of a target's pixel: ⌊(i + ½) · source / target⌋.
fn nearest(index: usize, source: usize, target: usize) -> usize {
    ((2 * index as u64 + 1) * source as u64 / (2 * target as u64)) as usize
}

/// A place between two neighbouring pixels of the source.
struct Position {
    first: usize,
    second: usize,
    /// The second's share, 0 to 1.
    share: f32,
}

impl Position {
    /// (i + ½) · source / target − ½, within the source.
    fn new(index: usize, source: usize, target: usize) -> Position {
        let last = source - 1;
        let exact = (index as f64 + 0.5) * source as f64 / target as f64 - 0.5;
        let clamped = exact.max(0.0).min(last as f64);
        let first = clamped as usize;
        Position { first, second: (first + 1).min(last), share: (clamped - first as f64) as f32 }
    }
}

/// Rounded to whole numbers, as an image of 8 bits a channel is.
fn bilinear(picture: &Picture, x: Position, y: Position) -> [u8; 3] {
    let top = blend(picture.pixel(x.first, y.first), picture.pixel(x.second, y.first), x.share);
    let bottom = blend(picture.pixel(x.first, y.second), picture.pixel(x.second, y.second), x.share);
    let mut pixel = [0; 3];
    for (channel, value) in pixel.iter_mut().enumerate() {
        *value = (top[channel] + (bottom[channel] - top[channel]) * y.share + 0.5) as u8;
    }
    pixel
}

fn blend(first: [u8; 3], second: [u8; 3], share: f32) -> [f32; 3] {
    let mut blended = [0.0; 3];
    for (channel, value) in blended.iter_mut().enumerate() {
        let (from, to) = (f32::from(first[channel]), f32::from(second[channel]));
        *value = from + (to - from) * share;
    }
    blended
}
