//! Images as inputs, against the pixels that `images/make.py` wrote beside each.
#![cfg(feature = "image")]

mod support;

use support::*;
use wrapper::status::Status;

const WIDTH: u32 = 20;
const HEIGHT: u32 = 13;
const FLOAT16: u32 = 2;
const INT8: u32 = 3;

const NCHW: u32 = 0;
const NHWC: u32 = 1;
const GRAY: u32 = 0;
const RGB: u32 = 1;
const BGR: u32 = 2;
const NEAREST: u32 = 0;
const BILINEAR: u32 = 1;

/// A file, what it should give, and how far off a decoder of JPEG may be. Chroma is upsampled differently by each.
const IMAGES: &[(&str, f32)] = &[
    ("gray.jpg", 1.0),
    ("full.jpg", 4.0),
    ("color.jpg", 14.0),
    ("progressive.jpg", 14.0),
    ("cmyk.jpg", 6.0),
    ("gray.png", 0.0),
    ("bits.png", 0.0),
    ("gray-alpha.png", 0.0),
    ("gray-16.png", 0.0),
    ("color.png", 0.0),
    ("color-alpha.png", 0.0),
    ("color-16.png", 0.0),
    ("palette.png", 0.0),
    ("palette-alpha.png", 0.0),
    ("interlaced.png", 0.0),
];

fn fixture(name: &str) -> Vec<u8> {
    std::fs::read(format!("{}/tests/images/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// How an image becomes a tensor; by default 20 × 13 float32 pixels as they are.
#[derive(Clone, Copy)]
struct Reading {
    dtype: u32,
    layout: u32,
    color: u32,
    resize: u32,
    width: u32,
    height: u32,
    scale: [f32; 3],
    mean: [f32; 3],
}

const GRAY_PIXELS: Reading = Reading {
    dtype: FLOAT32,
    layout: NCHW,
    color: GRAY,
    resize: NEAREST,
    width: WIDTH,
    height: HEIGHT,
    scale: [1.0; 3],
    mean: [0.0; 3],
};
const RGB_PIXELS: Reading = Reading { color: RGB, layout: NHWC, ..GRAY_PIXELS };

impl Reading {
    fn interface(&self) -> Interface {
        let channels = if self.color == GRAY { 1 } else { 3 };
        let shape = match self.layout {
            NCHW => [1, channels, self.height, self.width],
            _ => [1, self.height, self.width, channels],
        };
        let mut format = vec![2, self.layout, self.color, self.resize, channels];
        for values in [self.scale, self.mean] {
            format.extend(values.iter().take(channels as usize).map(|value| value.to_bits()));
        }
        let mut interface = Interface::of(
            tensor("input", self.dtype, 0, &shape, &format),
            tensor("output", self.dtype, 0, &shape, RAW),
        );
        interface.returns = 0;
        interface
    }

    fn bytes(&self, file: &[u8]) -> Result<Vec<u8>, Status> {
        let files = Memory::new(&[("in", file)]);
        run(&self.interface(), &files, &[("input", "in"), ("output", "out")])?;
        Ok(files.output("out"))
    }

    fn values(&self, file: &[u8]) -> Result<Vec<f32>, Status> {
        let bytes = self.bytes(file)?;
        Ok(bytes.chunks_exact(4).map(|chunk| f32::from_le_bytes(chunk.try_into().unwrap())).collect())
    }
}

fn worst(values: &[f32], expected: &[u8]) -> f32 {
    assert_eq!(values.len(), expected.len());
    values.iter().zip(expected).map(|(value, pixel)| (value - f32::from(*pixel)).abs()).fold(0.0, f32::max)
}

#[test]
fn every_kind_of_image_gives_its_pixels() {
    for (name, tolerance) in IMAGES {
        for (reading, suffix) in [(RGB_PIXELS, "rgb"), (GRAY_PIXELS, "gray")] {
            let worst = worst(&reading.values(&fixture(name)).unwrap(), &fixture(&format!("{name}.{suffix}")));
            assert!(worst <= *tolerance, "{name} as {suffix}: off by {worst}");
        }
    }
}

#[test]
fn channels_stand_where_the_layout_says() {
    let file = fixture("color.png");
    let expected = RGB_PIXELS.values(&file).unwrap();
    let planes = Reading { layout: NCHW, ..RGB_PIXELS }.values(&file).unwrap();
    let reversed = Reading { color: BGR, ..RGB_PIXELS }.values(&file).unwrap();
    let pixels = (WIDTH * HEIGHT) as usize;
    for pixel in 0..pixels {
        for channel in 0..3 {
            assert_eq!(planes[channel * pixels + pixel], expected[pixel * 3 + channel]);
            assert_eq!(reversed[pixel * 3 + 2 - channel], expected[pixel * 3 + channel]);
        }
    }
}

#[test]
fn each_channel_has_its_mean_and_scale() {
    let file = fixture("color.png");
    let (scale, mean) = ([0.5, -2.0, 0.017_124_754], [123.675, 0.0, 103.53]);
    let scaled = Reading { scale, mean, ..RGB_PIXELS }.values(&file).unwrap();
    for (index, (value, pixel)) in scaled.iter().zip(RGB_PIXELS.values(&file).unwrap()).enumerate() {
        assert_eq!(*value, (pixel - mean[index % 3]) * scale[index % 3]);
    }
}

#[test]
fn gray_of_color_takes_the_mean_of_one_channel() {
    let scaled = Reading { scale: [2.0; 3], mean: [100.0; 3], ..GRAY_PIXELS }.values(&fixture("color.png")).unwrap();
    let expected = fixture("color.png.gray");
    assert!(scaled.iter().zip(&expected).all(|(value, pixel)| *value == (f32::from(*pixel) - 100.0) * 2.0));
}

#[test]
fn pixels_become_the_inputs_dtype() {
    let file = fixture("gray.png");
    let expected = fixture("gray.png.gray");
    let as_dtype = |dtype, scale| Reading { dtype, scale: [scale; 3], ..GRAY_PIXELS }.bytes(&file).unwrap();
    assert_eq!(as_dtype(UINT8, 1.0), expected);
    let int8: Vec<u8> = expected.iter().map(|pixel| *pixel.min(&127)).collect();
    assert_eq!(as_dtype(INT8, 1.0), int8);
    let int64: Vec<u8> = expected.iter().flat_map(|pixel| (-i64::from(*pixel)).to_le_bytes()).collect();
    assert_eq!(as_dtype(INT64, -1.0), int64);
    let float64: Vec<u8> = expected.iter().flat_map(|pixel| (f64::from(*pixel) / 2.0).to_le_bytes()).collect();
    assert_eq!(as_dtype(FLOAT64, 0.5), float64);
    // Whole numbers up to 255 are exact in binary16: the exponent and the bits after the first.
    let float16: Vec<u8> = expected
        .iter()
        .flat_map(|&pixel| match pixel.checked_ilog2_of() {
            None => [0, 0],
            Some(log) => (((log + 15) << 10) | (u16::from(pixel) << (10 - log) & 0x3FF)).to_le_bytes(),
        })
        .collect();
    assert_eq!(as_dtype(FLOAT16, 1.0), float16);
}

trait Logarithm {
    fn checked_ilog2_of(self) -> Option<u16>;
}

impl Logarithm for u8 {
    fn checked_ilog2_of(self) -> Option<u16> {
        (self > 0).then(|| 7 - self.leading_zeros() as u16)
    }
}

#[test]
fn nearest_takes_the_pixel_at_the_centre() {
    let source = fixture("color.png.gray");
    for (width, height) in [(WIDTH, HEIGHT), (7, 5), (1, 1), (40, 26), (41, 9), (3, 60)] {
        let resized = Reading { width, height, ..GRAY_PIXELS }.values(&fixture("color.png")).unwrap();
        for y in 0..height {
            for x in 0..width {
                let from_x = ((f64::from(x) + 0.5) * f64::from(WIDTH) / f64::from(width)).floor() as u32;
                let from_y = ((f64::from(y) + 0.5) * f64::from(HEIGHT) / f64::from(height)).floor() as u32;
                let expected = source[(from_y * WIDTH + from_x) as usize];
                assert_eq!(resized[(y * width + x) as usize], f32::from(expected), "{x}, {y} of {width} × {height}");
            }
        }
    }
}

#[test]
fn bilinear_blends_the_four_neighbours() {
    let source = fixture("color.png.rgb");
    let at = |x: f64, y: f64, channel: u32| f64::from(source[((y as u32 * WIDTH + x as u32) * 3 + channel) as usize]);
    for (width, height) in [(WIDTH, HEIGHT), (7, 5), (1, 1), (40, 26), (41, 9)] {
        let resized = Reading { width, height, resize: BILINEAR, ..RGB_PIXELS }.values(&fixture("color.png")).unwrap();
        let mut values = resized.iter();
        for y in 0..height {
            for x in 0..width {
                let place = |index: u32, from: u32, to: u32| {
                    let exact = (f64::from(index) + 0.5) * f64::from(from) / f64::from(to) - 0.5;
                    exact.max(0.0).min(f64::from(from - 1))
                };
                let (from_x, from_y) = (place(x, WIDTH, width), place(y, HEIGHT, height));
                let (left, top) = (from_x.floor(), from_y.floor());
                let right = (left + 1.0).min(f64::from(WIDTH - 1));
                let bottom = (top + 1.0).min(f64::from(HEIGHT - 1));
                for channel in 0..3 {
                    let row =
                        |y: f64| at(left, y, channel) * (1.0 - from_x.fract()) + at(right, y, channel) * from_x.fract();
                    let expected = row(top) * (1.0 - from_y.fract()) + row(bottom) * from_y.fract();
                    let value = f64::from(*values.next().unwrap());
                    assert_eq!(value.fract(), 0.0);
                    assert!((value - expected).abs() <= 0.501, "{value} for {expected}");
                }
            }
        }
    }
}

#[test]
fn what_is_not_an_image_has_its_code() {
    let png = fixture("color.png");
    let jpeg = fixture("color.jpg");
    let cases: &[(&[u8], Status)] = &[
        (b"", Status::UnknownImage),
        (b"GIF89a", Status::UnknownImage),
        (b"\x89PN", Status::BrokenImage),
        (b"\xFF\xD8", Status::BrokenImage),
        (&png[..40], Status::BrokenImage),
        (&png[..png.len() / 2], Status::BrokenImage),
        (&jpeg[..60], Status::BrokenImage),
        (&jpeg[..jpeg.len() - 20], Status::BrokenImage),
    ];
    for (file, status) in cases {
        assert_eq!(GRAY_PIXELS.bytes(file), Err(*status), "{} bytes", file.len());
    }
}

#[test]
fn a_failing_read_is_not_a_broken_image() {
    for name in ["color.png", "color.jpg"] {
        let mut files = Memory::new(&[("in", &fixture(name))]);
        files.read_limit = 50;
        assert_eq!(run(&GRAY_PIXELS.interface(), &files, &[("input", "in")]), Err(Status::ReadFailed));
    }
}

#[test]
fn images_of_too_many_pixels_are_refused() {
    for name in ["color.png", "interlaced.png", "color.jpg", "progressive.jpg"] {
        let mut interface = GRAY_PIXELS.interface();
        let files = Memory::new(&[("in", &fixture(name))]);
        interface.max_pixels = WIDTH * HEIGHT;
        assert_eq!(run(&interface, &files, &[("input", "in")]), Ok(0));
        interface.max_pixels -= 1;
        assert_eq!(run(&interface, &files, &[("input", "in")]), Err(Status::ImageTooLarge));
    }
    // A header alone, of 4 294 967 295 × 2 147 483 647 pixels.
    let mut huge = fixture("color.png")[..33].to_vec();
    huge[16..24].copy_from_slice(&[0x7F, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF]);
    let checksum = crc32(&huge[12..29]).to_be_bytes();
    huge[29..33].copy_from_slice(&checksum);
    assert_eq!(GRAY_PIXELS.bytes(&huge), Err(Status::ImageTooLarge));
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[test]
fn a_descriptor_of_an_impossible_image_has_its_code() {
    let shapes: &[&[u32]] = &[&[13, 20], &[2, 1, 13, 20], &[1, 2, 13, 20]];
    for shape in shapes {
        let format = [2, NCHW, GRAY, NEAREST, 1, 1.0f32.to_bits(), 0];
        let interface =
            Interface::of(tensor("input", FLOAT32, 0, shape, &format), GRAY_PIXELS.interface().outputs[0].clone());
        let files = Memory::new(&[("in", &fixture("gray.png"))]);
        assert_eq!(run(&interface, &files, &[("input", "in")]), Err(Status::BrokenDescriptor), "{shape:?}");
    }
}

#[test]
fn mutated_images_never_panic() {
    let mut random = Random(2);
    let interface = GRAY_PIXELS.interface();
    for (name, _) in IMAGES {
        let seed = fixture(name);
        for _ in 0..400 {
            let mut file = seed.clone();
            random.mutate(&mut file);
            let mut files = Memory::new(&[("in", &file)]);
            files.chunk = usize::MAX;
            let _ = run(&interface, &files, &[("input", "in")]);
        }
    }
}
