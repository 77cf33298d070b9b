//! The interface of the model that a module holds, read from the bytes that the build put beside it. ARCHITECTURE.md, "The
//! descriptor", defines the format.

use crate::dtype::Dtype;
use crate::memory;
use crate::status::Status;

const MAGIC: u32 = 0x314D_574F;
const MOST_TENSORS: u32 = 1 << 16;
const MOST_DIMENSIONS: u32 = 64;
/// For what is read, unless there are hundreds of tensors.
const WORKING_MEMORY: usize = 64 << 10;

/// What a model takes and gives.
#[derive(Debug)]
pub struct Descriptor<'a> {
    pub params_size: usize,
    #[cfg(feature = "params")]
    pub params_file: ParamsFile<'a>,
    pub workspace_size: usize,
    pub inputs_size: usize,
    pub outputs_size: usize,
    pub graph_size: usize,
    pub max_pixels: usize,
    /// The output whose largest element's index is the result; without one the result is 0.
    pub argmax: Option<usize>,
    pub inputs: Vec<Tensor<'a>>,
    pub outputs: Vec<Tensor<'a>>,
}

/// The file that the weights come from.
#[cfg(feature = "params")]
#[derive(Debug)]
pub struct ParamsFile<'a> {
    /// The key of the argument that names it.
    pub argument: &'a [u8],
    pub sha256: [u8; 32],
}

/// An input or an output.
#[derive(Debug)]
pub struct Tensor<'a> {
    /// As in the ONNX file.
    pub name: &'a [u8],
    /// The key of the argument that names its file; empty for an output that is never written.
    pub argument: &'a [u8],
    pub dtype: Dtype,
    /// Bytes from the start of the area.
    pub offset: usize,
    pub shape: Vec<usize>,
    /// Bytes.
    pub size: usize,
    pub format: Format,
}

/// How a tensor stands in its file.
#[derive(Debug)]
pub enum Format {
    Raw,
    Npy,
    Image(Image),
}

/// How an image becomes a tensor.
#[derive(Debug)]
pub struct Image {
    pub layout: Layout,
    pub color: Color,
    pub resize: Resize,
    pub height: usize,
    pub width: usize,
    /// Per channel of `color`.
    pub scale: [f32; 3],
    pub mean: [f32; 3],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    Nchw,
    Nhwc,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Gray,
    Rgb,
    Bgr,
}

impl Color {
    pub fn channels(self) -> usize {
        match self {
            Color::Gray => 1,
            Color::Rgb | Color::Bgr => 3,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resize {
    Nearest,
    Bilinear,
}

impl<'a> Descriptor<'a> {
    /// Reads a descriptor from the start of `bytes`.
    pub fn parse(bytes: &'a [u8]) -> Result<Descriptor<'a>, Status> {
        memory::ensure_available(WORKING_MEMORY)?;
        Words { bytes }.descriptor().ok_or(Status::BrokenDescriptor)
    }
}

/// What is left to read.
struct Words<'a> {
    bytes: &'a [u8],
}

impl<'a> Words<'a> {
    fn descriptor(&mut self) -> Option<Descriptor<'a>> {
        if self.word()? != MAGIC {
            return None;
        }
        let params_size = self.size()?;
        let workspace_size = self.size()?;
        let inputs_size = self.size()?;
        let outputs_size = self.size()?;
        let graph_size = self.size()?;
        let max_pixels = self.size()?;
        let returns = self.word()?;
        let return_output = self.size()?;
        #[cfg(feature = "params")]
        let params_file = self.params_file()?;
        #[cfg(not(feature = "params"))]
        if !self.string()?.is_empty() {
            return None;
        }
        let inputs = self.tensors(inputs_size)?;
        let outputs = self.tensors(outputs_size)?;
        let argmax = match returns {
            0 => None,
            1 if return_output < outputs.len() => Some(return_output),
            _ => return None,
        };
        if inputs.iter().any(|input| input.argument.is_empty()) {
            return None;
        }
        Some(Descriptor {
            params_size,
            #[cfg(feature = "params")]
            params_file,
            workspace_size,
            inputs_size,
            outputs_size,
            graph_size,
            max_pixels,
            argmax,
            inputs,
            outputs,
        })
    }

    #[cfg(feature = "params")]
    fn params_file(&mut self) -> Option<ParamsFile<'a>> {
        let argument = self.string().filter(|argument| !argument.is_empty())?;
        let sha256 = self.bytes.get(..32)?.try_into().ok()?;
        self.bytes = self.bytes.get(32..)?;
        Some(ParamsFile { argument, sha256 })
    }

    fn tensors(&mut self, area_size: usize) -> Option<Vec<Tensor<'a>>> {
        let count = self.count(MOST_TENSORS)?;
        let mut tensors = Vec::new();
        for _ in 0..count {
            tensors.push(self.tensor(area_size)?);
        }
        Some(tensors)
    }

    fn tensor(&mut self, area_size: usize) -> Option<Tensor<'a>> {
        let name = self.string()?;
        let argument = self.string()?;
        let dtype = Dtype::from_code(self.word()?)?;
        let offset = self.size()?;
        let rank = self.count(MOST_DIMENSIONS)?;
        let mut shape = Vec::new();
        let mut size = dtype.size();
        for _ in 0..rank {
            let extent = self.size()?;
            size = size.checked_mul(extent)?;
            shape.push(extent);
        }
        if offset.checked_add(size)? > area_size {
            return None;
        }
        let format = match self.word()? {
            0 => Format::Raw,
            1 => Format::Npy,
            2 if cfg!(feature = "pixels") => Format::Image(self.image(&shape)?),
            _ => return None,
        };
        Some(Tensor { name, argument, dtype, offset, shape, size, format })
    }

    fn image(&mut self, shape: &[usize]) -> Option<Image> {
        let layout = *[Layout::Nchw, Layout::Nhwc].get(self.size()?)?;
        let color = *[Color::Gray, Color::Rgb, Color::Bgr].get(self.size()?)?;
        let resize = *[Resize::Nearest, Resize::Bilinear].get(self.size()?)?;
        let (batch, rest) = shape.split_at(shape.len().checked_sub(3)?);
        let (channels, height, width) = match (layout, rest) {
            (Layout::Nchw, &[channels, height, width]) | (Layout::Nhwc, &[height, width, channels]) => {
                (channels, height, width)
            }
            _ => return None,
        };
        if batch.iter().any(|&extent| extent != 1) || channels != color.channels() || self.size()? != channels {
            return None;
        }
        let scale = self.floats(channels)?;
        let mean = self.floats(channels)?;
        Some(Image { layout, color, resize, height, width, scale, mean })
    }

    fn floats(&mut self, count: usize) -> Option<[f32; 3]> {
        let mut values = [0.0; 3];
        for value in values.iter_mut().take(count) {
            *value = f32::from_bits(self.word()?);
        }
        Some(values)
    }

    fn string(&mut self) -> Option<&'a [u8]> {
        let length = self.size()?;
        let padded = length.checked_add(3)? & !3;
        let text = self.bytes.get(..length)?;
        self.bytes = self.bytes.get(padded..)?;
        Some(text)
    }

    fn count(&mut self, most: u32) -> Option<u32> {
        self.word().filter(|&count| count <= most)
    }

    fn size(&mut self) -> Option<usize> {
        self.word().map(|word| word as usize)
    }

    fn word(&mut self) -> Option<u32> {
        let word = self.bytes.get(..4)?.try_into().ok()?;
        self.bytes = self.bytes.get(4..)?;
        Some(u32::from_le_bytes(word))
    }
}
