//! Weights that come from a file: taken if they are the very ones, refused if they are not.
#![cfg(feature = "params")]

mod support;

use std::slice;

use support::*;
use wrapper::areas::Areas;
use wrapper::call::Model;
use wrapper::descriptor::Descriptor;
use wrapper::sha256::sha256;
use wrapper::status::Status;

const SIZE: u32 = 64; // what the descriptors of these tests say

fn weights() -> Vec<u8> {
    (0..SIZE as u8).map(|byte| byte.wrapping_mul(37)).collect()
}

/// A model whose output is its weights.
struct Weights(Vec<u8>);

impl Model for Weights {
    fn descriptor(&self) -> &[u8] {
        &self.0
    }

    fn params(&self) -> *const u8 {
        panic!("the module holds none")
    }

    fn run(&self, descriptor: &Descriptor, areas: &Areas) -> Result<(), Status> {
        assert_eq!(areas.params.start() as usize % 64, 0);
        let params = unsafe { slice::from_raw_parts(areas.params.start(), descriptor.params_size) };
        unsafe { areas.outputs.start().copy_from(params.as_ptr(), params.len()) };
        Ok(())
    }
}

fn interface() -> Interface {
    let (input, output) = (tensor("input", UINT8, 0, &[1], RAW), tensor("output", UINT8, 0, &[SIZE], RAW));
    let mut interface = Interface::of(input, output);
    interface.params_argument = "weights";
    interface.params_sha256 = sha256(&weights()).to_vec();
    interface
}

fn run(files: &Memory, arguments: &[(&str, &str)]) -> Result<i32, Status> {
    run_model(&Weights(interface().bytes()), files, arguments)
}

/// What comes of a file of weights.
fn given(file: &[u8]) -> Result<i32, Status> {
    run(&Memory::new(&[("in", &[0]), ("file", file)]), &[("input", "in"), ("weights", "file")])
}

#[test]
fn the_very_weights_are_read() {
    for chunk in [1, 7, 1 << 20] {
        let mut files = Memory::new(&[("in", &[0]), ("file", &weights())]);
        files.chunk = chunk;
        let result = run(&files, &[("weights", "file"), ("output", "out"), ("input", "in")]);
        assert!(result.is_ok(), "{result:?}");
        assert_eq!(files.output("out"), weights());
    }
}

#[test]
fn others_are_refused() {
    let right = weights();
    assert!(given(&right).is_ok());
    for position in 0..right.len() {
        let mut other = right.clone();
        other[position] ^= 0x10;
        assert_eq!(given(&other), Err(Status::WrongParams));
    }
    assert_eq!(given(&right[1..]), Err(Status::WrongParams));
    assert_eq!(given(&[&right[..], &[0]].concat()), Err(Status::WrongParams));
    assert_eq!(given(&[]), Err(Status::WrongParams));
}

#[test]
fn a_file_that_cannot_be_had_has_its_code() {
    let files = || Memory::new(&[("in", &[0]), ("file", &weights())]);
    assert_eq!(run(&files(), &[("input", "in")]), Err(Status::MissingParams));
    assert_eq!(run(&files(), &[("input", "in"), ("weights", "absent")]), Err(Status::InputNotOpened));
    let twice = [("input", "in"), ("weights", "file"), ("weights", "file")];
    assert_eq!(run(&files(), &twice), Err(Status::RepeatedArgument));
    let mut failing = files();
    failing.read_limit = 1;
    assert_eq!(run(&failing, &[("input", "in"), ("weights", "file")]), Err(Status::ReadFailed));
}

#[test]
fn a_descriptor_without_the_file_is_broken() {
    let whole = interface().bytes();
    let files = || Memory::new(&[("in", &[0]), ("file", &weights())]);
    let arguments = [("input", "in"), ("weights", "file")];
    for length in 0..whole.len() {
        let model = Weights(whole[..length].to_vec());
        assert_eq!(run_model(&model, &files(), &arguments), Err(Status::BrokenDescriptor));
    }
    let unnamed = Interface { params_argument: "", params_sha256: Vec::new(), ..interface() };
    assert_eq!(run_model(&Weights(unnamed.bytes()), &files(), &arguments), Err(Status::BrokenDescriptor));
}
