//! A picture's pixels at an input's positions, as the input's elements.

use super::Picture;
use crate::descriptor::{Color, Image, Layout, Resize};
use crate::dtype::Dtype;

/// Fills `tensor` with a picture, resized and converted.
pub fn resize(picture: Picture<&[u8]>, image: &Image, dtype: Dtype, tensor: &mut [u8]) {
    let mut target = Target::new(image, dtype, tensor);
    match image.resize {
        Resize::Nearest => nearest(&picture, image, &mut target),
        Resize::Bilinear => bilinear(&picture, image, &mut target),
    }
}

/// The tensor as it is filled, pixel by pixel.
struct Target<'a> {
    elements: &'a mut [u8],
    color: Color,
    /// For each channel, the element that each value of a pixel becomes, in the lowest bytes.
    tables: Vec<[u64; 256]>,
    /// Bytes of an element, from one pixel to the next, and from one channel to the next.
    size: usize,
    pixel_step: usize,
    channel_step: usize,
    next: usize,
}

impl<'a> Target<'a> {
    fn new(image: &Image, dtype: Dtype, elements: &'a mut [u8]) -> Target<'a> {
        let (size, color) = (dtype.size(), image.color);
        let (pixel_step, channel_step) = match image.layout {
            Layout::Nchw => (size, image.height * image.width * size),
            Layout::Nhwc => (color.channels() * size, size),
        };
        let normalised = image.mean.iter().zip(image.scale).take(color.channels());
        let tables = normalised.map(|(mean, scale)| table(dtype, *mean, scale)).collect();
        Target { elements, color, tables, size, pixel_step, channel_step, next: 0 }
    }

    #[inline]
    fn push(&mut self, pixel: [u8; 3]) {
        match self.color {
            Color::Gray => self.put(0, gray(pixel)),
            Color::Rgb => (0..3).for_each(|channel| self.put(channel, pixel[channel])),
            Color::Bgr => (0..3).for_each(|channel| self.put(channel, pixel[2 - channel])),
        }
        self.next += self.pixel_step;
    }

    #[inline]
    fn put(&mut self, channel: usize, value: u8) {
        let bytes = self.tables.get(channel).map_or(0, |table| table[usize::from(value)]).to_le_bytes();
        let start = self.next + channel * self.channel_step;
        // Lengths that are known here compile to single stores.
        match (self.size, self.elements.get_mut(start..start + self.size)) {
            (1, Some([element])) => *element = bytes[0],
            (2, Some(element @ [_, _])) => element.copy_from_slice(&bytes[..2]),
            (4, Some(element @ [_, _, _, _])) => element.copy_from_slice(&bytes[..4]),
            (8, Some(element @ [_, _, _, _, _, _, _, _])) => element.copy_from_slice(&bytes),
            _ => {}
        }
    }
}

/// What a pixel's values become: (p − mean) · scale as an element.
fn table(dtype: Dtype, mean: f32, scale: f32) -> [u64; 256] {
    let mut table = [0; 256];
    for (value, entry) in table.iter_mut().enumerate() {
        let mut bytes = [0; 8];
        dtype.store((value as f32 - mean) * scale, &mut bytes);
        *entry = u64::from_le_bytes(bytes);
    }
    table
}

/// ITU-R BT.601 in 16 bits fixed point, as Pillow computes it.
#[inline]
fn gray([red, green, blue]: [u8; 3]) -> u8 {
    ((u32::from(red) * 19595 + u32::from(green) * 38470 + u32::from(blue) * 7471 + 0x8000) >> 16) as u8
}

/// The source's pixels that hold the centres of the target's: ⌊(i + ½) · source / target⌋.
fn nearest(picture: &Picture<&[u8]>, image: &Image, target: &mut Target) {
    for row in Centres::new(picture.height, image.height) {
        for column in Centres::new(picture.width, image.width) {
            target.push(picture.pixel(column, row));
        }
    }
}

/// ⌊(2i + 1) · source / (2 · target)⌋ for each i below target, by additions alone.
struct Centres {
    position: usize,
    /// Of 2 · target.
    remainder: u64,
    left: usize,
    step: usize,
    step_remainder: u64,
    whole: u64,
}

impl Centres {
    fn new(source: usize, target: usize) -> Centres {
        let (source, whole) = (source as u64, 2 * target as u64);
        Centres {
            position: (source / whole) as usize,
            remainder: source % whole,
            left: target,
            step: (2 * source / whole) as usize,
            step_remainder: 2 * source % whole,
            whole,
        }
    }
}

impl Iterator for Centres {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let current = self.position;
        self.position += self.step;
        self.remainder += self.step_remainder;
        if self.remainder >= self.whole {
            self.remainder -= self.whole;
            self.position += 1;
        }
        Some(current)
    }
}

fn bilinear(picture: &Picture<&[u8]>, image: &Image, target: &mut Target) {
    for row in 0..image.height {
        let y = Position::new(row, picture.height, image.height);
        for column in 0..image.width {
            let x = Position::new(column, picture.width, image.width);
            let top = blend(picture.pixel(x.first, y.first), picture.pixel(x.second, y.first), x.share);
            let bottom = blend(picture.pixel(x.first, y.second), picture.pixel(x.second, y.second), x.share);
            // Rounded to whole numbers, as an image of 8 bits a channel is.
            let mut pixel = [0; 3];
            for (channel, value) in pixel.iter_mut().enumerate() {
                *value = (top[channel] + (bottom[channel] - top[channel]) * y.share + 0.5) as u8;
            }
            target.push(pixel);
        }
    }
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

fn blend(first: [u8; 3], second: [u8; 3], share: f32) -> [f32; 3] {
    let mut blended = [0.0; 3];
    for (channel, value) in blended.iter_mut().enumerate() {
        let (from, to) = (f32::from(first[channel]), f32::from(second[channel]));
        *value = from + (to - from) * share;
    }
    blended
}
