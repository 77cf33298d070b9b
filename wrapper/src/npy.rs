//! NumPy's npy format, versions 1 to 3 to read and 1.0 to write.
//! <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>

use crate::descriptor::Tensor;
use crate::files::{Files, Source};
use crate::memory;
use crate::status::Status;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
const LONGEST_HEADER: usize = 1 << 16;
const ALIGNMENT: usize = 64;

/// Reads the header of an npy file and checks that the file holds such a tensor, in C order.
pub fn check_header<F: Files>(source: &mut Source<F>, tensor: &Tensor) -> Result<(), Status> {
    let broken = |status| if status == Status::InputTooShort { Status::BrokenNpy } else { status };
    let mut preamble = [0; 8];
    source.read_exact(&mut preamble).map_err(broken)?;
    let [magic @ .., major, _minor] = preamble;
    if magic != *MAGIC {
        return Err(Status::BrokenNpy);
    }
    let mut length = [0; 4];
    match major {
        1 => source.read_exact(&mut length[..2]),
        2 | 3 => source.read_exact(&mut length),
        _ => Err(Status::BrokenNpy),
    }
    .map_err(broken)?;
    let length = u32::from_le_bytes(length) as usize;
    if length > LONGEST_HEADER {
        return Err(Status::BrokenNpy);
    }
    let mut header = memory::zeros(length)?;
    source.read_exact(&mut header).map_err(broken)?;
    check_fields(&header, tensor)
}

/// The header's dictionary: a Python literal with the keys `descr`, `fortran_order` and `shape`.
fn check_fields(header: &[u8], tensor: &Tensor) -> Result<(), Status> {
    let mut literal = Literal { rest: header };
    let (mut dtype, mut order, mut shape) = (None, None, None);
    literal.expect(b'{')?;
    while !literal.accept(b'}') {
        let key = literal.quoted()?;
        literal.expect(b':')?;
        match key {
            b"descr" if literal.next() == Some(b'[') => return Err(Status::NpyDtype),
            b"descr" => dtype = Some(literal.quoted()? == tensor.dtype.npy().as_bytes()),
            b"fortran_order" => order = Some(literal.word() == b"False"),
            b"shape" => shape = Some(literal.is_tuple_of(&tensor.shape)?),
            _ => return Err(Status::BrokenNpy),
        }
        literal.accept(b',');
    }
    match (dtype, order, shape) {
        (Some(true), Some(true), Some(true)) => Ok(()),
        (Some(false), Some(_), Some(_)) => Err(Status::NpyDtype),
        (Some(_), Some(_), Some(false)) => Err(Status::NpyShape),
        (Some(_), Some(false), Some(_)) => Err(Status::NpyOrder),
        _ => Err(Status::BrokenNpy),
    }
}

/// What is left of a Python literal.
struct Literal<'a> {
    rest: &'a [u8],
}

impl<'a> Literal<'a> {
    fn next(&mut self) -> Option<u8> {
        while let [b' ' | b'\n', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self.rest.first().copied()
    }

    fn accept(&mut self, byte: u8) -> bool {
        let accepted = self.next() == Some(byte);
        if accepted {
            self.take(1);
        }
        accepted
    }

    fn expect(&mut self, byte: u8) -> Result<(), Status> {
        if self.accept(byte) {
            Ok(())
        } else {
            Err(Status::BrokenNpy)
        }
    }

    fn quoted(&mut self) -> Result<&'a [u8], Status> {
        let quote = self.next().filter(|it| matches!(it, b'\'' | b'"')).ok_or(Status::BrokenNpy)?;
        self.take(1);
        let length = self.rest.iter().position(|&byte| byte == quote).ok_or(Status::BrokenNpy)?;
        let text = self.take(length);
        self.take(1);
        Ok(text)
    }

    fn word(&mut self) -> &'a [u8] {
        self.next();
        let length = self.rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        self.take(length)
    }

    fn is_tuple_of(&mut self, shape: &[usize]) -> Result<bool, Status> {
        self.expect(b'(')?;
        let mut expected = shape.iter();
        let mut equal = true;
        while !self.accept(b')') {
            let extent = number(self.word())?;
            equal &= expected.next() == Some(&extent);
            if !self.accept(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(equal && expected.next().is_none())
    }

    fn take(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(count.min(self.rest.len()));
        self.rest = rest;
        taken
    }
}

/// A decimal number; one too large for this machine stands for itself by the largest, which no tensor has.
fn number(digits: &[u8]) -> Result<usize, Status> {
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(Status::BrokenNpy);
    }
    Ok(digits.iter().fold(0, |value: usize, digit| value.saturating_mul(10).saturating_add((digit - b'0').into())))
}

/// The header of an npy file of version 1.0 that holds such a tensor.
pub fn header(tensor: &Tensor) -> Result<Vec<u8>, Status> {
    let mut fields = Vec::new();
    fields.extend_from_slice(b"{'descr': '");
    fields.extend_from_slice(tensor.dtype.npy().as_bytes());
    fields.extend_from_slice(b"', 'fortran_order': False, 'shape': (");
    for (index, &extent) in tensor.shape.iter().enumerate() {
        if index > 0 {
            fields.push(b' ');
        }
        push_decimal(&mut fields, extent);
        if index == 0 || index + 1 < tensor.shape.len() {
            fields.push(b',');
        }
    }
    fields.extend_from_slice(b"), }");
    while (MAGIC.len() + 4 + fields.len() + 1) % ALIGNMENT != 0 {
        fields.push(b' ');
    }
    fields.push(b'\n');
    let length = u16::try_from(fields.len()).map_err(|_| Status::BrokenDescriptor)?;
    let mut header = Vec::new();
    header.extend_from_slice(MAGIC);
    header.extend_from_slice(&[1, 0]);
    header.extend_from_slice(&length.to_le_bytes());
    header.extend_from_slice(&fields);
    Ok(header)
}

fn push_decimal(text: &mut Vec<u8>, number: usize) {
    if number >= 10 {
        push_decimal(text, number / 10);
    }
    text.push(b'0' + (number % 10) as u8);
}
