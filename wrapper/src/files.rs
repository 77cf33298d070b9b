//! Files as a platform has them, and an open input that is read through a small buffer and closed when it is dropped.

use std::ffi::CStr;

use crate::status::Status;

/// A platform's files.
pub trait Files {
    /// Opens an input.
    fn open(&self, name: &CStr) -> Option<Handle>;

    /// Creates an output.
    fn create(&self, name: &CStr) -> Option<Handle>;

    /// Reads up to `bytes.len()` bytes; 0 at the end of the file.
    fn read(&self, file: Handle, bytes: &mut [u8]) -> Option<usize>;

    /// Writes up to `bytes.len()` bytes.
    fn write(&self, file: Handle, bytes: &[u8]) -> Option<usize>;

    /// Closes a file; false if what was written may be lost.
    fn close(&self, file: Handle) -> bool;
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handle(pub i32);

const BUFFER_SIZE: usize = 4096;

/// An input's file, read from its start to its end.
pub struct Source<'f, F: Files> {
    files: &'f F,
    file: Handle,
    buffer: [u8; BUFFER_SIZE],
    /// What was read ahead.
    start: usize,
    end: usize,
    failed: bool,
}

impl<'f, F: Files> Source<'f, F> {
    pub fn open(files: &'f F, name: &CStr) -> Result<Source<'f, F>, Status> {
        let file = files.open(name).ok_or(Status::InputNotOpened)?;
        Ok(Source { files, file, buffer: [0; BUFFER_SIZE], start: 0, end: 0, failed: false })
    }

    /// The bytes that come next, at least one unless the file is at its end; they stay unread.
    pub fn peek(&mut self) -> Result<&[u8], Status> {
        if self.start == self.end {
            let read = self.files.read(self.file, &mut self.buffer);
            self.start = 0;
            self.end = self.checked(read, BUFFER_SIZE)?;
        }
        Ok(self.ahead())
    }

    /// Fills `bytes`.
    pub fn read_exact(&mut self, mut bytes: &mut [u8]) -> Result<(), Status> {
        while !bytes.is_empty() {
            let count = if self.start == self.end && bytes.len() >= BUFFER_SIZE {
                let read = self.files.read(self.file, bytes);
                self.checked(read, bytes.len())?
            } else {
                self.read_some(bytes)?
            };
            if count == 0 {
                return Err(Status::InputTooShort);
            }
            bytes = bytes.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Whether a read failed, for what reads through `std::io::Read` and loses the reason.
    pub fn failed(&self) -> bool {
        self.failed
    }

    fn read_some(&mut self, bytes: &mut [u8]) -> Result<usize, Status> {
        let ahead = self.peek()?;
        let count = ahead.len().min(bytes.len());
        for (target, byte) in bytes.iter_mut().zip(ahead) {
            *target = *byte;
        }
        self.start += count;
        Ok(count)
    }

    fn ahead(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    fn checked(&mut self, read: Option<usize>, most: usize) -> Result<usize, Status> {
        read.filter(|&count| count <= most).ok_or_else(|| {
            self.failed = true;
            Status::ReadFailed
        })
    }
}

impl<F: Files> Drop for Source<'_, F> {
    fn drop(&mut self) {
        self.files.close(self.file);
    }
}

#[cfg(feature = "image")]
impl<F: Files> std::io::Read for Source<'_, F> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        self.read_some(bytes).map_err(|_| std::io::ErrorKind::Other.into())
    }

    /// The JPEG decoder reads byte by byte.
    #[inline]
    fn read_exact(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        if let ([byte], Some(&next)) = (&mut *bytes, self.ahead().first()) {
            *byte = next;
            self.start += 1;
            return Ok(());
        }
        Source::read_exact(self, bytes).map_err(|_| std::io::ErrorKind::UnexpectedEof.into())
    }
}

/// Writes a file from one piece after the other.
pub fn write_file<F: Files>(files: &F, name: &CStr, pieces: &[&[u8]]) -> Result<(), Status> {
    let file = files.create(name).ok_or(Status::OutputNotCreated)?;
    let written = pieces.iter().all(|piece| write_all(files, file, piece));
    let closed = files.close(file);
    if written && closed {
        Ok(())
    } else {
        Err(Status::WriteFailed)
    }
}

fn write_all<F: Files>(files: &F, file: Handle, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        match files.write(file, bytes) {
            Some(count) if count > 0 && count <= bytes.len() => bytes = bytes.get(count..).unwrap_or_default(),
            _ => return false,
        }
    }
    true
}
