//! The result of a call as one line of JSON: `{"return": 7, "outputs": {"scores": [[0.5, 1]]}}`.

use std::fmt::{Result, Write};

use crate::descriptor::Tensor;

/// Writes the line: what the call returns and, if there are any, tensors with their bytes, as arrays in arrays.
///
/// JSON has no numbers that are infinite or none: these are the strings "Infinity", "-Infinity" and "NaN".
pub fn write<'a>(
    line: &mut impl Write,
    value: i32,
    outputs: impl Iterator<Item = (&'a Tensor<'a>, &'a [u8])>,
) -> Result {
    write!(line, "{{\"return\": {value}")?;
    let mut before = ", \"outputs\": {";
    let mut after = "";
    for (tensor, bytes) in outputs {
        line.write_str(before)?;
        string(line, tensor.name)?;
        line.write_str(": ")?;
        array(line, tensor, &tensor.shape, bytes)?;
        (before, after) = (", ", "}");
    }
    line.write_str(after)?;
    line.write_str("}\n")
}

fn array(line: &mut impl Write, tensor: &Tensor, shape: &[usize], bytes: &[u8]) -> Result {
    let (extent, inner) = match shape {
        [extent, inner @ ..] => (*extent, inner),
        [] => return tensor.dtype.show(bytes, line),
    };
    line.write_char('[')?;
    let size = bytes.len() / extent.max(1);
    for index in 0..extent {
        if index > 0 {
            line.write_str(", ")?;
        }
        array(line, tensor, inner, bytes.get(index * size..(index + 1) * size).unwrap_or_default())?;
    }
    line.write_char(']')
}

/// A string; what is not UTF-8 becomes U+FFFD.
fn string(line: &mut impl Write, text: &[u8]) -> Result {
    line.write_char('"')?;
    for character in String::from_utf8_lossy(text).chars() {
        match character {
            '"' | '\\' => write!(line, "\\{character}")?,
            '\0'..='\x1F' => write!(line, "\\u{:04x}", u32::from(character))?,
            _ => line.write_char(character)?,
        }
    }
    line.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::descriptor::Format;
    use crate::dtype::Dtype;

    fn line(name: &str, dtype: Dtype, shape: &[usize], bytes: &[u8]) -> String {
        let shape = shape.to_vec();
        let name = name.as_bytes();
        let tensor = Tensor { name, argument: b"", dtype, offset: 0, shape, size: bytes.len(), format: Format::Raw };
        let mut text = String::new();
        write(&mut text, -3, [(&tensor, bytes)].into_iter()).unwrap();
        text
    }

    #[test]
    fn tensors_are_arrays_in_arrays() {
        let expected = "{\"return\": -3, \"outputs\": {\"y\": [[1, 2, 3], [4, 5, 255]]}}\n";
        assert_eq!(line("y", Dtype::Uint8, &[2, 3], &[1, 2, 3, 4, 5, 255]), expected);
        assert_eq!(line("y", Dtype::Bool, &[], &[1]), "{\"return\": -3, \"outputs\": {\"y\": true}}\n");
        assert_eq!(line("y", Dtype::Int8, &[2, 0], &[]), "{\"return\": -3, \"outputs\": {\"y\": [[], []]}}\n");
    }

    #[test]
    fn without_outputs_there_is_no_word_of_them() {
        let mut text = String::new();
        write(&mut text, 7, std::iter::empty()).unwrap();
        assert_eq!(text, "{\"return\": 7}\n");
    }

    #[test]
    fn floats_are_read_back_as_they_were() {
        for value in [0.1f32, -0.0, 1e-45, f32::MAX, 16_777_217.0] {
            let text = line("y", Dtype::Float32, &[], &value.to_le_bytes());
            let number = text.rsplit(' ').next().unwrap().trim_end_matches(|it| "}\n".contains(it));
            assert_eq!(number.parse::<f32>().unwrap().to_bits(), value.to_bits(), "{text}");
        }
        let bytes: Vec<u8> =
            [f64::NAN, f64::INFINITY, f64::NEG_INFINITY].iter().flat_map(|it| it.to_le_bytes()).collect();
        assert!(line("y", Dtype::Float64, &[3], &bytes).contains("[\"NaN\", \"Infinity\", \"-Infinity\"]"));
        assert!(line("y", Dtype::Float16, &[], &[0x00, 0x3E]).contains(": 1.5}"));
    }

    #[test]
    fn names_are_escaped() {
        let text = line("a\"b\\c\n", Dtype::Uint8, &[], &[1]);
        assert!(text.contains(r#""a\"b\\c\u000a": 1"#), "{text}");
    }
}
