//! The element types of tensors: their size, their order, their names elsewhere, and how a pixel becomes one of them.

use std::fmt::{Result as Written, Write};

/// An element type, with its code in the descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Dtype {
    Float32,
    Float64,
    Float16,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Bool,
}

impl Dtype {
    const ALL: [Dtype; 12] = [
        Dtype::Float32,
        Dtype::Float64,
        Dtype::Float16,
        Dtype::Int8,
        Dtype::Int16,
        Dtype::Int32,
        Dtype::Int64,
        Dtype::Uint8,
        Dtype::Uint16,
        Dtype::Uint32,
        Dtype::Uint64,
        Dtype::Bool,
    ];

    /// The dtype of a code in the descriptor.
    pub fn from_code(code: u32) -> Option<Dtype> {
        Dtype::ALL.get(code as usize).copied()
    }

    /// Bytes of one element.
    pub fn size(self) -> usize {
        match self {
            Dtype::Int8 | Dtype::Uint8 | Dtype::Bool => 1,
            Dtype::Float16 | Dtype::Int16 | Dtype::Uint16 => 2,
            Dtype::Float32 | Dtype::Int32 | Dtype::Uint32 => 4,
            Dtype::Float64 | Dtype::Int64 | Dtype::Uint64 => 8,
        }
    }

    /// The `descr` of npy files, little-endian.
    pub fn npy(self) -> &'static str {
        match self {
            Dtype::Float32 => "<f4",
            Dtype::Float64 => "<f8",
            Dtype::Float16 => "<f2",
            Dtype::Int8 => "|i1",
            Dtype::Int16 => "<i2",
            Dtype::Int32 => "<i4",
            Dtype::Int64 => "<i8",
            Dtype::Uint8 => "|u1",
            Dtype::Uint16 => "<u2",
            Dtype::Uint32 => "<u4",
            Dtype::Uint64 => "<u8",
            Dtype::Bool => "|b1",
        }
    }

    /// Writes a number as one element. Integers are rounded half to even and saturate, as ONNX's QuantizeLinear does;
    /// bool is whether the number is not zero.
    ///
    /// `element` has at least the size of the dtype.
    pub fn store(self, value: f32, element: &mut [u8]) {
        match self {
            Dtype::Float32 => put(element, value.to_le_bytes()),
            Dtype::Float64 => put(element, f64::from(value).to_le_bytes()),
            Dtype::Float16 => put(element, half(value).to_le_bytes()),
            Dtype::Int8 => put(element, (round(value) as i8).to_le_bytes()),
            Dtype::Int16 => put(element, (round(value) as i16).to_le_bytes()),
            Dtype::Int32 => put(element, (round(value) as i32).to_le_bytes()),
            Dtype::Int64 => put(element, (round(value) as i64).to_le_bytes()),
            Dtype::Uint8 => put(element, (round(value) as u8).to_le_bytes()),
            Dtype::Uint16 => put(element, (round(value) as u16).to_le_bytes()),
            Dtype::Uint32 => put(element, (round(value) as u32).to_le_bytes()),
            Dtype::Uint64 => put(element, (round(value) as u64).to_le_bytes()),
            Dtype::Bool => put(element, [u8::from(value != 0.0)]),
        }
    }

    /// Writes an element as JSON. Numbers that JSON does not have are strings, by JavaScript's names.
    ///
    /// `element` has at least the size of the dtype.
    pub fn show(self, element: &[u8], text: &mut impl Write) -> Written {
        match self {
            Dtype::Float32 => show_float(f32::from_le_bytes(get(element)), text),
            Dtype::Float64 => match f64::from_le_bytes(get(element)) {
                value if value.is_finite() => write!(text, "{value}"),
                value => show_float(value as f32, text),
            },
            Dtype::Float16 => show_float(from_half(u16::from_le_bytes(get(element))), text),
            Dtype::Int8 => write!(text, "{}", i8::from_le_bytes(get(element))),
            Dtype::Int16 => write!(text, "{}", i16::from_le_bytes(get(element))),
            Dtype::Int32 => write!(text, "{}", i32::from_le_bytes(get(element))),
            Dtype::Int64 => write!(text, "{}", i64::from_le_bytes(get(element))),
            Dtype::Uint8 => write!(text, "{}", u8::from_le_bytes(get(element))),
            Dtype::Uint16 => write!(text, "{}", u16::from_le_bytes(get(element))),
            Dtype::Uint32 => write!(text, "{}", u32::from_le_bytes(get(element))),
            Dtype::Uint64 => write!(text, "{}", u64::from_le_bytes(get(element))),
            Dtype::Bool => write!(text, "{}", u8::from_le_bytes(get(element)) != 0),
        }
    }

    /// A key that orders elements as their values do; none for NaN.
    ///
    /// `element` has at least the size of the dtype.
    pub fn order(self, element: &[u8]) -> Option<i64> {
        match self {
            Dtype::Float32 => order_of_float(u32::from_le_bytes(get(element)).into(), 31, 0x7F80_0000),
            Dtype::Float64 => order_of_float(u64::from_le_bytes(get(element)), 63, 0x7FF0_0000_0000_0000),
            Dtype::Float16 => order_of_float(u16::from_le_bytes(get(element)).into(), 15, 0x7C00),
            Dtype::Int8 => Some(i8::from_le_bytes(get(element)).into()),
            Dtype::Int16 => Some(i16::from_le_bytes(get(element)).into()),
            Dtype::Int32 => Some(i32::from_le_bytes(get(element)).into()),
            Dtype::Int64 => Some(i64::from_le_bytes(get(element))),
            Dtype::Uint8 | Dtype::Bool => Some(u8::from_le_bytes(get(element)).into()),
            Dtype::Uint16 => Some(u16::from_le_bytes(get(element)).into()),
            Dtype::Uint32 => Some(u32::from_le_bytes(get(element)).into()),
            Dtype::Uint64 => Some((u64::from_le_bytes(get(element)) ^ 1 << 63) as i64),
        }
    }
}

fn put<const N: usize>(element: &mut [u8], bytes: [u8; N]) {
    if let Some(target) = element.get_mut(..N) {
        target.copy_from_slice(&bytes);
    }
}

fn get<const N: usize>(element: &[u8]) -> [u8; N] {
    element.get(..N).and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// IEEE 754 numbers are a sign and a magnitude; both zeros are one number.
fn order_of_float(bits: u64, sign: u32, infinity: u64) -> Option<i64> {
    let magnitude = bits & ((1 << sign) - 1);
    match bits >> sign {
        _ if magnitude > infinity => None,
        0 => Some(magnitude as i64),
        _ => Some(-(magnitude as i64)),
    }
}

/// To the nearest integer, half to even.
fn round(value: f32) -> f32 {
    const INTEGERS_FROM: f32 = 8_388_608.0; // 2²³: from here on every f32 is an integer
    if !(-INTEGERS_FROM..INTEGERS_FROM).contains(&value) {
        value
    } else if value < 0.0 {
        value - INTEGERS_FROM + INTEGERS_FROM
    } else {
        value + INTEGERS_FROM - INTEGERS_FROM
    }
}

/// To IEEE 754 binary16, half to even.
fn half(value: f32) -> u16 {
    const INFINITY: u32 = 0x7C00;
    let bits = value.to_bits();
    let sign = (bits >> 16) & 0x8000;
    let magnitude = bits & 0x7FFF_FFFF;
    let rounded = if magnitude > 0x7F80_0000 {
        INFINITY | 0x200
    } else if magnitude >= 0x4780_0000 {
        INFINITY
    } else if magnitude >= 0x3880_0000 {
        let rebiased = magnitude - (112 << 23);
        (rebiased + 0xFFF + (rebiased >> 13 & 1)) >> 13
    } else {
        // Subnormal in binary16: a multiple of 2⁻²⁴.
        round(f32::from_bits(magnitude) * 16_777_216.0) as u32
    };
    (sign | rounded) as u16
}

/// From IEEE 754 binary16, exactly.
fn from_half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (u32::from(bits >> 10 & 0x1F), u32::from(bits & 0x3FF));
    sign * match exponent {
        0 => fraction as f32 / 16_777_216.0,
        0x1F => f32::from_bits(0x7F80_0000 | fraction << 13),
        _ => f32::from_bits((exponent + 112) << 23 | fraction << 13),
    }
}

fn show_float(value: f32, text: &mut impl Write) -> Written {
    match value {
        value if value.is_finite() => write!(text, "{value}"),
        value if value.is_nan() => text.write_str("\"NaN\""),
        value if value > 0.0 => text.write_str("\"Infinity\""),
        _ => text.write_str("\"-Infinity\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored<const N: usize>(dtype: Dtype, value: f32) -> [u8; N] {
        let mut element = [0; N];
        dtype.store(value, &mut element);
        element
    }

    #[test]
    fn integers_round_half_to_even_and_saturate() {
        for (value, expected) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (200.0, 127), (-1e9, -128)] {
            assert_eq!(i8::from_le_bytes(stored(Dtype::Int8, value)), expected, "{value}");
        }
        assert_eq!(u64::from_le_bytes(stored(Dtype::Uint64, 1e30)), u64::MAX);
        assert_eq!(i32::from_le_bytes(stored(Dtype::Int32, f32::NAN)), 0);
        assert_eq!(i32::from_le_bytes(stored(Dtype::Int32, 16_777_216.0)), 16_777_216);
        assert_eq!(stored(Dtype::Bool, 0.25), [1]);
    }

    #[test]
    fn half_precision_rounds_to_even() {
        let cases = [
            (0.0, 0x0000),
            (-0.0, 0x8000),
            (1.0, 0x3C00),
            (1.0 / 255.0, 0x1C04),
            (65504.0, 0x7BFF),
            (65519.9, 0x7BFF),
            (65520.0, 0x7C00),
            (1e9, 0x7C00),
            (-2.0, 0xC000),
            (6.103_515_6e-5, 0x0400),
            (5.960_464_5e-8, 0x0001),
            (2.980_232_2e-8, 0x0000),
            (1.000_488_3, 0x3C00),
            (1.001_464_8, 0x3C02),
        ];
        for (value, expected) in cases {
            assert_eq!(half(value), expected, "{value}");
        }
        assert!(half(f32::NAN) & 0x7FFF > 0x7C00);
        assert!((0..=u16::MAX).filter(|bits| bits & 0x7FFF <= 0x7C00).all(|bits| half(from_half(bits)) == bits));
        assert!(from_half(0x7E00).is_nan());
    }

    #[test]
    fn order_is_that_of_the_values() {
        let ascending = [f32::NEG_INFINITY, -2.0, -1e-40, 0.0, 1e-40, 0.5, 3.0, f32::INFINITY];
        let keys: Vec<_> = ascending.iter().map(|it| Dtype::Float32.order(&it.to_le_bytes()).unwrap()).collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]));
        assert_eq!(Dtype::Float32.order(&(-0.0f32).to_le_bytes()), Dtype::Float32.order(&0.0f32.to_le_bytes()));
        assert_eq!(Dtype::Float64.order(&f64::NAN.to_le_bytes()), None);
        assert_eq!(Dtype::Float16.order(&0x7E00u16.to_le_bytes()), None);
        assert!(Dtype::Uint64.order(&u64::MAX.to_le_bytes()) > Dtype::Uint64.order(&0u64.to_le_bytes()));
        assert!(Dtype::Int64.order(&(-1i64).to_le_bytes()) < Dtype::Int64.order(&0i64.to_le_bytes()));
    }
}
