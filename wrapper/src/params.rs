//! Weights that are not part of the module: another owner's file, which must be the very one that the module was built with.

use std::ffi::CStr;
use std::slice;

use crate::areas::Area;
use crate::descriptor::Descriptor;
use crate::files::{Files, Source};
use crate::sha256::sha256;
use crate::status::Status;

/// Reads the weights from their file, straight to where they stay.
pub fn read(files: &impl Files, name: &CStr, descriptor: &Descriptor) -> Result<Area, Status> {
    let mut source = Source::open(files, name)?;
    let area = Area::zeroed(descriptor.params_size)?;
    // SAFETY: the area was cleared, and nobody else refers to it.
    let bytes = unsafe { slice::from_raw_parts_mut(area.start(), descriptor.params_size) };
    match source.read_exact(bytes) {
        Err(Status::InputTooShort) => return Err(Status::WrongParams),
        read => read?,
    }
    if !source.peek()?.is_empty() {
        return Err(Status::WrongParams);
    }
    check(&area, descriptor)?;
    Ok(area)
}

/// The area holds the weights that the module was built with.
pub fn check(area: &Area, descriptor: &Descriptor) -> Result<(), Status> {
    // SAFETY: the area was cleared when it was made, and is as large as the weights.
    let bytes = unsafe { slice::from_raw_parts(area.start(), descriptor.params_size) };
    if sha256(bytes) == descriptor.params_file.sha256 {
        Ok(())
    } else {
        Err(Status::WrongParams)
    }
}
