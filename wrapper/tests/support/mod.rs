//! What the tests put in place of a platform and of a compiled model.
#![allow(dead_code)] // each test file uses a part

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::ffi::{CStr, CString};

use wrapper::areas::Areas;
use wrapper::call::{call, Model};
use wrapper::descriptor::Descriptor;
use wrapper::files::{Files, Handle};
use wrapper::status::Status;

pub const FLOAT32: u32 = 0;
pub const FLOAT64: u32 = 1;
pub const INT64: u32 = 6;
pub const UINT8: u32 = 7;
pub const RAW: &[u32] = &[0];
pub const NPY: &[u32] = &[1];

/// Files in memory. Reads and writes are short: at most `chunk` bytes.
pub struct Memory {
    pub inputs: HashMap<String, Vec<u8>>,
    pub outputs: RefCell<HashMap<String, Vec<u8>>>,
    pub chunk: usize,
    /// After so many bytes a read fails, a write fails.
    pub read_limit: usize,
    pub write_limit: usize,
    pub close_fails: bool,
    open: RefCell<HashMap<i32, (String, usize)>>,
    next: Cell<i32>,
}

impl Memory {
    pub fn new(inputs: &[(&str, &[u8])]) -> Memory {
        Memory {
            inputs: inputs.iter().map(|(name, bytes)| (name.to_string(), bytes.to_vec())).collect(),
            outputs: RefCell::default(),
            chunk: 7,
            read_limit: usize::MAX,
            write_limit: usize::MAX,
            close_fails: false,
            open: RefCell::default(),
            next: Cell::new(0),
        }
    }

    pub fn output(&self, name: &str) -> Vec<u8> {
        self.outputs.borrow()[name].clone()
    }

    fn opened(&self, name: String) -> Option<Handle> {
        let file = self.next.replace(self.next.get() + 1);
        self.open.borrow_mut().insert(file, (name, 0));
        Some(Handle(file))
    }
}

impl Files for Memory {
    fn open(&self, name: &CStr) -> Option<Handle> {
        let name = name.to_str().unwrap().to_string();
        self.inputs.contains_key(&name).then(|| self.opened(name)).flatten()
    }

    fn create(&self, name: &CStr) -> Option<Handle> {
        let name = name.to_str().unwrap().to_string();
        (!name.starts_with("forbidden")).then(|| {
            self.outputs.borrow_mut().insert(name.clone(), Vec::new());
            self.opened(name)
        })?
    }

    fn read(&self, file: Handle, bytes: &mut [u8]) -> Option<usize> {
        let mut open = self.open.borrow_mut();
        let (name, position) = open.get_mut(&file.0).expect("the file is open");
        if *position >= self.read_limit {
            return None;
        }
        let rest = &self.inputs[name][*position..];
        let count = rest.len().min(bytes.len()).min(self.chunk);
        bytes[..count].copy_from_slice(&rest[..count]);
        *position += count;
        Some(count)
    }

    fn write(&self, file: Handle, bytes: &[u8]) -> Option<usize> {
        let mut open = self.open.borrow_mut();
        let (name, position) = open.get_mut(&file.0).expect("the file is open");
        if *position >= self.write_limit {
            return None;
        }
        let count = bytes.len().min(self.chunk);
        self.outputs.borrow_mut().get_mut(name).unwrap().extend_from_slice(&bytes[..count]);
        *position += count;
        Some(count)
    }

    fn close(&self, file: Handle) -> bool {
        assert!(self.open.borrow_mut().remove(&file.0).is_some(), "closed twice");
        !self.close_fails
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            assert!(self.open.borrow().is_empty(), "a file is left open");
        }
    }
}

/// The descriptor's bytes, as ARCHITECTURE.md defines them.
#[derive(Clone)]
pub struct Interface {
    pub inputs: Vec<Vec<u8>>,
    pub outputs: Vec<Vec<u8>>,
    pub input_size: u32,
    pub output_size: u32,
    pub max_pixels: u32,
    pub returns: u32,
    pub return_output: u32,
    /// Empty unless the weights come from a file.
    pub params_argument: &'static str,
    pub params_sha256: Vec<u8>,
}

impl Interface {
    /// One input and one output, at the start of their areas.
    pub fn of(input: Vec<u8>, output: Vec<u8>) -> Interface {
        Interface {
            inputs: vec![input],
            outputs: vec![output],
            input_size: 1 << 16,
            output_size: 1 << 16,
            max_pixels: 1 << 16,
            returns: 1,
            return_output: 0,
            params_argument: "",
            params_sha256: Vec::new(),
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = words(&[
            0x314D_574F,
            64,
            64,
            self.input_size,
            self.output_size,
            0,
            self.max_pixels,
            self.returns,
            self.return_output,
        ]);
        bytes.extend(string(self.params_argument));
        bytes.extend(&self.params_sha256);
        for tensors in [&self.inputs, &self.outputs] {
            bytes.extend(words(&[tensors.len() as u32]));
            bytes.extend(tensors.concat());
        }
        bytes
    }
}

pub fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub fn floats(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// A tensor of the descriptor; `format` are its words from the format on.
pub fn tensor(argument: &str, dtype: u32, offset: u32, shape: &[u32], format: &[u32]) -> Vec<u8> {
    let mut bytes = string("name");
    bytes.extend(string(argument));
    bytes.extend(words(&[dtype, offset, shape.len() as u32]));
    bytes.extend(words(shape));
    bytes.extend(words(format));
    bytes
}

fn string(text: &str) -> Vec<u8> {
    let mut bytes = words(&[text.len() as u32]);
    bytes.extend(text.as_bytes());
    bytes.resize((bytes.len() + 3) / 4 * 4, 0);
    bytes
}

/// A model that copies its inputs' area to its outputs' area, or fails.
pub struct Copier {
    pub descriptor: Vec<u8>,
    pub fails: bool,
}

impl Model for Copier {
    fn descriptor(&self) -> &[u8] {
        &self.descriptor
    }

    fn params(&self) -> *const u8 {
        std::ptr::null()
    }

    fn run(&self, _: &Descriptor, areas: &Areas) -> Result<(), Status> {
        for area in [&areas.inputs, &areas.outputs, &areas.workspace] {
            assert_eq!(area.start() as usize % 64, 0);
        }
        let size = areas.inputs.size().min(areas.outputs.size());
        unsafe { std::ptr::copy_nonoverlapping(areas.inputs.start(), areas.outputs.start(), size) };
        if self.fails {
            return Err(Status::ModelFailed);
        }
        Ok(())
    }
}

/// Calls a copying model.
pub fn run(interface: &Interface, files: &Memory, arguments: &[(&str, &str)]) -> Result<i32, Status> {
    run_model(&Copier { descriptor: interface.bytes(), fails: false }, files, arguments)
}

pub fn run_model(model: &impl Model, files: &Memory, arguments: &[(&str, &str)]) -> Result<i32, Status> {
    let strings: Vec<(CString, CString)> =
        arguments.iter().map(|(key, file)| (CString::new(*key).unwrap(), CString::new(*file).unwrap())).collect();
    let pairs: Vec<(&CStr, &CStr)> = strings.iter().map(|(key, file)| (key.as_c_str(), file.as_c_str())).collect();
    call(model, files, &pairs)
}

/// An npy file of version 1.0 with this dictionary.
pub fn npy(header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((header.len() as u16).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

/// A sequence of numbers that looks random and is the same every time (SplitMix64).
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes a few bytes of a file, cuts it, or repeats a part.
    pub fn mutate(&mut self, file: &mut Vec<u8>) {
        for _ in 0..1 + self.below(6) {
            if file.is_empty() {
                return;
            }
            let position = self.below(file.len());
            match self.below(8) {
                0 => file.truncate(position),
                1 => {
                    let part = file[position..file.len().min(position + 20)].to_vec();
                    let target = self.below(file.len());
                    file.splice(target..target, part);
                }
                2 => file[position] = [0, 1, 0x7F, 0x80, 0xFF][self.below(5)],
                3 => file[position] ^= 1 << self.below(8),
                _ => file[position] = self.next() as u8,
            }
        }
    }
}
