//! Inputs that are images: decoded, resized, converted to the input's colours and element type.

#[cfg(feature = "image")]
mod decode;
#[cfg(feature = "image")]
mod jpeg;
mod pixels;
#[cfg(feature = "image")]
mod png;
mod resize;

#[cfg(feature = "image")]
pub use decode::read;
pub use pixels::Picture;
pub use resize::resize;
