//! WASI, preview 1: a command that gets `KEY=FILE` arguments and prints its result as a line of JSON. It calls WASI's nine
//! functions itself: that takes no libc. <https://github.com/WebAssembly/WASI/blob/main/legacy/preview1/docs.md>
//!
//! The file `-` is the standard input, and for an output a place in the line of JSON. A model's only input is read from the
//! standard input if no argument names its file.

use std::ffi::CStr;
use std::fmt;
use std::os::raw::c_char;

use super::linked::LinkedModel;
use crate::call::{compute, file_of, result, write_outputs, Argument, Model};
use crate::descriptor::Descriptor;
use crate::files::{Files, Handle};
use crate::json_line;
use crate::memory;
use crate::status::Status;

#[link(wasm_import_module = "wasi_snapshot_preview1")]
extern "C" {
    fn args_sizes_get(count: *mut usize, size: *mut usize) -> i32;
    fn args_get(words: *mut *mut c_char, text: *mut u8) -> i32;
    fn fd_prestat_get(file: i32, prestat: *mut Prestat) -> i32;
    fn fd_prestat_dir_name(file: i32, name: *mut u8, size: usize) -> i32;
    #[rustfmt::skip]
    fn path_open(
        folder: i32,
        lookup: i32,
        path: *const u8,
        size: usize,
        how: i32,
        rights: u64,
        inherited: u64,
        flags: i32,
        file: *mut i32,
    ) -> i32;
    fn fd_read(file: i32, parts: *const Part, count: usize, read: *mut usize) -> i32;
    fn fd_write(file: i32, parts: *const Part, count: usize, written: *mut usize) -> i32;
    fn fd_close(file: i32) -> i32;
    fn proc_exit(status: i32) -> !;
}

/// `prestat`: a folder that is open from the start, and the size of its name.
#[repr(C)]
struct Prestat {
    kind: u32,
    name_size: usize,
}

/// `iovec`: where bytes are read to or written from.
#[repr(C)]
struct Part {
    start: *const u8,
    size: usize,
}

const STANDARD_INPUT: i32 = 0;
const STANDARD_OUTPUT: i32 = 1;
const STANDARD_ERROR: i32 = 2;
const FIRST_FOLDER: i32 = 3;
const FOLLOW_LINKS: i32 = 1;
const CREATE: i32 = 1;
const TRUNCATE: i32 = 8;
const MAY_READ: u64 = 1 << 1;
const MAY_WRITE: u64 = 1 << 6;
const STANDARD: &[u8] = b"-";

/// Runs the model. Exits with the status' code without its sign if that fails, and says on the standard error why.
#[no_mangle]
pub extern "C" fn _start() {
    if let Err(status) = run() {
        for text in [status.text(), "\n"] {
            let _ = write(STANDARD_ERROR, text.as_bytes());
        }
        // SAFETY: nothing is left to be done.
        unsafe { proc_exit(-status.code()) }
    }
}

fn run() -> Result<(), Status> {
    let model = LinkedModel::get();
    let descriptor = Descriptor::parse(model.descriptor())?;
    let mut arguments = arguments()?;
    if let [input] = descriptor.inputs.as_slice() {
        if file_of(&arguments, input.argument).is_none() {
            arguments.push((c_string(input.argument)?, c_string(STANDARD)?));
        }
    }
    let files = Folders::open()?;
    let areas = compute(model, &descriptor, &files, &arguments)?;
    let (printed, written): (Vec<Argument>, _) =
        arguments.into_iter().partition(|(_, file)| file.to_bytes() == STANDARD);
    write_outputs(&descriptor, &areas, &files, &written)?;
    let value = result(&descriptor, &areas)?;
    let outputs = descriptor.outputs.iter().filter(|tensor| file_of(&printed, tensor.argument).is_some());
    let mut line = StandardOutput { buffer: [0; BUFFER_SIZE], used: 0 };
    json_line::write(&mut line, value, outputs.map(|tensor| (tensor, areas.outputs.bytes(tensor))))
        .and_then(|()| line.flush())
        .map_err(|fmt::Error| Status::WriteFailed)
}

/// The arguments behind the program's name, each cut in two where its first `=` stands.
fn arguments() -> Result<Vec<Argument<'static>>, Status> {
    let (mut count, mut size) = (0, 0);
    // SAFETY: writes two numbers.
    if unsafe { args_sizes_get(&mut count, &mut size) } != 0 {
        return Err(Status::OddArguments);
    }
    let text = memory::zeros(size)?.leak();
    memory::ensure_available(count.saturating_mul(64).saturating_add(4096))?;
    let mut words = vec![std::ptr::null_mut(); count];
    // SAFETY: as many words and bytes as there are.
    if unsafe { args_get(words.as_mut_ptr(), text.as_mut_ptr()) } != 0 {
        return Err(Status::OddArguments);
    }
    words.into_iter().skip(1).map(|word| unsafe { cut(word) }).collect()
}

/// # Safety
///
/// `word` is a C string that nobody else refers to and that lasts.
unsafe fn cut(word: *mut c_char) -> Result<Argument<'static>, Status> {
    let length = CStr::from_ptr(word).to_bytes().iter().position(|&byte| byte == b'=').ok_or(Status::OddArguments)?;
    let equals = word.add(length);
    *equals = 0;
    Ok((CStr::from_ptr(word), CStr::from_ptr(equals.add(1))))
}

/// A C string that lasts.
fn c_string(text: &[u8]) -> Result<&'static CStr, Status> {
    let copy = memory::zeros(text.len() + 1)?.leak();
    copy.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
    CStr::from_bytes_with_nul(copy).map_err(|_| Status::BrokenDescriptor)
}

/// The files in the folders that the module was given.
struct Folders(Vec<(i32, Vec<u8>)>);

impl Folders {
    fn open() -> Result<Folders, Status> {
        let mut folders = Vec::new();
        for folder in FIRST_FOLDER.. {
            let mut prestat = Prestat { kind: 0, name_size: 0 };
            // SAFETY: writes a prestat.
            if unsafe { fd_prestat_get(folder, &mut prestat) } != 0 {
                break;
            }
            let mut name = memory::zeros(prestat.name_size)?;
            // SAFETY: as many bytes as there are.
            if prestat.kind == 0 && unsafe { fd_prestat_dir_name(folder, name.as_mut_ptr(), name.len()) } == 0 {
                folders.try_reserve(1).map_err(|_| Status::OutOfMemory)?;
                folders.push((folder, name));
            }
        }
        Ok(Folders(folders))
    }

    /// Opens a file below the folder whose name goes furthest along its path.
    fn open_path(&self, path: &CStr, how: i32, rights: u64) -> Option<Handle> {
        let below = |(folder, name): &(i32, Vec<u8>)| Some((*folder, below(path.to_bytes(), name)?));
        let (folder, rest) = self.0.iter().filter_map(below).min_by_key(|(_, rest)| rest.len())?;
        let mut file = 0;
        // SAFETY: a path of that size.
        let error = unsafe { path_open(folder, FOLLOW_LINKS, rest.as_ptr(), rest.len(), how, rights, 0, 0, &mut file) };
        (error == 0).then(|| Handle(file))
    }
}

/// What is left of a path below a folder; none if it does not lead there. As in wasi-libc, `.` and `/` are the same folder.
fn below<'a>(path: &'a [u8], folder: &[u8]) -> Option<&'a [u8]> {
    let rest = trimmed(path).strip_prefix(trimmed(folder))?;
    let whole = trimmed(folder).last().map_or(true, |&last| last == b'/') || rest.first() == Some(&b'/');
    (whole && !trimmed(rest).is_empty()).then(|| trimmed(rest))
}

/// A path without what it starts with in `/` and `./`.
fn trimmed(path: &[u8]) -> &[u8] {
    match path {
        [b'/', rest @ ..] | [b'.', b'/', rest @ ..] => trimmed(rest),
        b"." => b"",
        _ => path,
    }
}

impl Files for Folders {
    fn open(&self, name: &CStr) -> Option<Handle> {
        if name.to_bytes() == STANDARD {
            return Some(Handle(STANDARD_INPUT));
        }
        self.open_path(name, 0, MAY_READ)
    }

    fn create(&self, name: &CStr) -> Option<Handle> {
        self.open_path(name, CREATE | TRUNCATE, MAY_WRITE)
    }

    fn read(&self, file: Handle, bytes: &mut [u8]) -> Option<usize> {
        let mut count = 0;
        // SAFETY: no more bytes than there are.
        let error = unsafe { fd_read(file.0, &Part { start: bytes.as_mut_ptr(), size: bytes.len() }, 1, &mut count) };
        (error == 0).then(|| count)
    }

    fn write(&self, file: Handle, bytes: &[u8]) -> Option<usize> {
        write(file.0, bytes)
    }

    fn close(&self, file: Handle) -> bool {
        // SAFETY: takes no memory.
        file.0 == STANDARD_INPUT || unsafe { fd_close(file.0) } == 0
    }
}

fn write(file: i32, bytes: &[u8]) -> Option<usize> {
    let mut count = 0;
    // SAFETY: no more bytes than there are.
    let error = unsafe { fd_write(file, &Part { start: bytes.as_ptr(), size: bytes.len() }, 1, &mut count) };
    (error == 0).then(|| count)
}

const BUFFER_SIZE: usize = 4096;

/// The standard output, in pieces of some size.
struct StandardOutput {
    buffer: [u8; BUFFER_SIZE],
    used: usize,
}

impl StandardOutput {
    fn flush(&mut self) -> fmt::Result {
        let mut left = self.buffer.get(..self.used).unwrap_or_default();
        while !left.is_empty() {
            let count = write(STANDARD_OUTPUT, left).filter(|&count| count > 0).ok_or(fmt::Error)?;
            left = left.get(count..).ok_or(fmt::Error)?;
        }
        self.used = 0;
        Ok(())
    }
}

impl fmt::Write for StandardOutput {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for &byte in text.as_bytes() {
            if self.used == BUFFER_SIZE {
                self.flush()?;
            }
            if let Some(place) = self.buffer.get_mut(self.used) {
                *place = byte;
            }
            self.used += 1;
        }
        Ok(())
    }
}
