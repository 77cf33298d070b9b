//! A decoded image.

use crate::status::Status;

/// An image of 8 bits a channel, row by row from the top.
pub struct Picture<Samples = Vec<u8>> {
    pub width: usize,
    pub height: usize,
    /// 1: gray; 2: gray, alpha; 3: red, green, blue; 4: red, green, blue, alpha.
    pub channels: usize,
    pub samples: Samples,
}

impl Picture {
    /// Fails if an image has no pixels or too many.
    pub fn check_size(width: usize, height: usize, max_pixels: usize) -> Result<(), Status> {
        match width.checked_mul(height) {
            Some(0) => Err(Status::BrokenImage),
            Some(pixels) if pixels <= max_pixels => Ok(()),
            _ => Err(Status::ImageTooLarge),
        }
    }

    /// The same image, its samples borrowed.
    #[cfg(feature = "image")]
    pub fn borrowed(&self) -> Picture<&[u8]> {
        Picture { width: self.width, height: self.height, channels: self.channels, samples: &self.samples }
    }
}

impl Picture<&[u8]> {
    /// Red, green and blue of a pixel; black if there is no such pixel.
    #[inline]
    pub fn pixel(&self, x: usize, y: usize) -> [u8; 3] {
        let start = (y * self.width + x) * self.channels;
        match self.samples.get(start..start + self.channels) {
            Some(&[gray]) | Some(&[gray, _]) => [gray; 3],
            Some(&[red, green, blue]) | Some(&[red, green, blue, _]) => [red, green, blue],
            _ => [0; 3],
        }
    }
}
