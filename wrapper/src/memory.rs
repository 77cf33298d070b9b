//! Memory asked for before it is used: where none is left a call fails, and the process does not end.

use crate::status::Status;

/// Fails if `size` bytes are not to be had, for code that would end the process when they are not.
pub fn ensure_available(size: usize) -> Result<(), Status> {
    Vec::<u8>::new().try_reserve_exact(size).map_err(|_| Status::OutOfMemory)
}

/// A vector of zeros.
pub fn zeros(size: usize) -> Result<Vec<u8>, Status> {
    ensure_available(size)?;
    Ok(vec![0; size])
}
