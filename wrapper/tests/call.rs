//! A call from its arguments to its result, with files in memory and a model that copies its input.
#![cfg(not(feature = "params"))]

mod support;

use support::*;
use wrapper::status::Status;

/// Four numbers in, the same four out.
fn four(input: &[u32], output: &[u32]) -> Interface {
    Interface::of(tensor("input", FLOAT32, 0, &[1, 4], input), tensor("output", FLOAT32, 0, &[1, 4], output))
}

fn argmax(values: [f32; 4]) -> Result<i32, Status> {
    run(&four(RAW, RAW), &Memory::new(&[("in", &floats(&values))]), &[("input", "in")])
}

#[test]
fn the_result_is_the_index_of_the_largest_element() {
    assert_eq!(argmax([1.0, -2.0, 5.0, 3.0]), Ok(2));
    assert_eq!(argmax([-4.0, -2.0, -3.0, -9.0]), Ok(1));
}

#[test]
fn the_first_of_equals_wins() {
    assert_eq!(argmax([0.0, 7.0, 7.0, 7.0]), Ok(1));
    assert_eq!(argmax([-0.0, 0.0, -1.0, -0.0]), Ok(0));
    assert_eq!(argmax([f32::NEG_INFINITY; 4]), Ok(0));
}

#[test]
fn nan_is_never_the_largest() {
    assert_eq!(argmax([f32::NAN, -1.0, f32::NAN, -2.0]), Ok(1));
    assert_eq!(argmax([f32::NAN; 4]), Err(Status::NoLargest));
}

#[test]
fn without_argmax_the_result_is_zero() {
    let mut interface = four(RAW, RAW);
    interface.returns = 0;
    assert_eq!(run(&interface, &Memory::new(&[("in", &floats(&[1.0; 4]))]), &[("input", "in")]), Ok(0));
}

#[test]
fn argmax_reads_the_output_it_is_told() {
    let mut interface = four(RAW, RAW);
    interface.outputs.push(tensor("", INT64, 0, &[2], RAW));
    interface.return_output = 1;
    let bytes: Vec<u8> = [i64::MIN, i64::MAX].iter().flat_map(|it| it.to_le_bytes()).collect();
    assert_eq!(run(&interface, &Memory::new(&[("in", &bytes)]), &[("input", "in")]), Ok(1));
}

#[test]
fn an_output_whose_argument_is_empty_is_not_written() {
    let files = Memory::new(&[("in", &floats(&[1.0, 2.0, 3.0, 4.0]))]);
    assert_eq!(run(&four(RAW, RAW), &files, &[("input", "in"), ("output", "")]), Ok(3));
    assert_eq!(run(&four(RAW, RAW), &files, &[("input", ""), ("output", "")]), Err(Status::InputNotOpened));
}

#[test]
fn outputs_are_written_where_an_argument_names_a_file() {
    let data = floats(&[1.0, 2.0, 3.0, 4.0]);
    let files = Memory::new(&[("in", &data)]);
    assert_eq!(run(&four(RAW, RAW), &files, &[("output", "out"), ("input", "in")]), Ok(3));
    assert_eq!(files.output("out"), data);

    let files = Memory::new(&[("in", &data)]);
    assert_eq!(run(&four(RAW, NPY), &files, &[("input", "in"), ("output", "out")]), Ok(3));
    let written = files.output("out");
    let (header, rest) = written.split_at(written.len() - data.len());
    assert_eq!(rest, data);
    assert_eq!(header.len() % 64, 0);
    assert_eq!(&header[..10], b"\x93NUMPY\x01\x00\x76\x00");
    let text = String::from_utf8(header[10..].to_vec()).unwrap();
    assert_eq!(text.trim_end_matches(' ').trim_end(), "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }");
    assert!(text.ends_with(" \n"));
}

#[test]
fn what_is_written_as_npy_is_read_as_npy() {
    for shape in [&[][..], &[4], &[2, 2], &[1, 2, 1, 2]] {
        let count = shape.iter().product::<u32>() as usize;
        let data = floats(&[1.0, 2.0, 3.0, 4.0][..count]);
        let written = |format| tensor("output", FLOAT32, 0, shape, format);
        let read = |format| tensor("input", FLOAT32, 0, shape, format);
        let files = Memory::new(&[("in", &data)]);
        let arguments = [("input", "in"), ("output", "out")];
        assert_eq!(run(&Interface::of(read(RAW), written(NPY)), &files, &arguments), Ok(count as i32 - 1));
        let again = Memory::new(&[("in", &files.output("out"))]);
        assert_eq!(run(&Interface::of(read(NPY), written(RAW)), &again, &arguments), Ok(count as i32 - 1), "{shape:?}");
        assert_eq!(again.output("out"), data);
    }
}

#[test]
fn two_inputs_stand_at_their_offsets() {
    let mut interface = four(RAW, RAW);
    interface.inputs = vec![tensor("b", FLOAT32, 8, &[2], RAW), tensor("a", FLOAT32, 0, &[2], RAW)];
    let files = Memory::new(&[("x", &floats(&[1.0, 2.0])), ("y", &floats(&[3.0, 4.0]))]);
    assert_eq!(run(&interface, &files, &[("a", "x"), ("b", "y"), ("output", "out")]), Ok(3));
    assert_eq!(files.output("out"), floats(&[1.0, 2.0, 3.0, 4.0]));
}

#[test]
fn long_files_are_read_past_the_buffer() {
    let data: Vec<u8> = (0..20_000u32).map(|it| (it * 7) as u8).collect();
    let mut interface =
        Interface::of(tensor("input", UINT8, 0, &[20_000], RAW), tensor("output", UINT8, 0, &[20_000], RAW));
    interface.returns = 0;
    for chunk in [1, 4096, 5000, usize::MAX] {
        let mut files = Memory::new(&[("in", &data)]);
        files.chunk = chunk;
        assert_eq!(run(&interface, &files, &[("input", "in"), ("output", "out")]), Ok(0));
        assert_eq!(files.output("out"), data);
    }
}

#[test]
fn wrong_arguments_have_their_codes() {
    let data = floats(&[0.0; 4]);
    let cases: [(&[(&str, &str)], Status); 6] = [
        (&[], Status::MissingArgument),
        (&[("output", "out")], Status::MissingArgument),
        (&[("input", "in"), ("other", "x")], Status::UnknownArgument),
        (&[("input", "in"), ("", "x")], Status::UnknownArgument),
        (&[("input", "in"), ("input", "in")], Status::RepeatedArgument),
        (&[("input", "absent")], Status::InputNotOpened),
    ];
    for (arguments, status) in cases {
        assert_eq!(run(&four(RAW, RAW), &Memory::new(&[("in", &data)]), arguments), Err(status), "{arguments:?}");
    }
}

#[test]
fn raw_files_must_have_the_tensors_size() {
    for (size, result) in [(0, Err(Status::InputTooShort)), (15, Err(Status::InputTooShort)), (16, Ok(0))] {
        assert_eq!(run(&four(RAW, RAW), &Memory::new(&[("in", &vec![0; size])]), &[("input", "in")]), result);
    }
    let files = Memory::new(&[("in", &[0; 17])]);
    assert_eq!(run(&four(RAW, RAW), &files, &[("input", "in")]), Err(Status::InputTooLong));
}

#[test]
fn npy_files_must_hold_the_tensor() {
    let data = floats(&[1.0, 2.0, 3.0, 4.0]);
    let good = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }\n";
    let cases: &[(Vec<u8>, Result<i32, Status>)] = &[
        (npy(good, &data), Ok(3)),
        (npy("{\"shape\":(1,4),'fortran_order':False,'descr':'<f4'}", &data), Ok(3)),
        (npy(&good.replace("<f4", "<f8"), &data), Err(Status::NpyDtype)),
        (npy(&good.replace("<f4", ">f4"), &data), Err(Status::NpyDtype)),
        (npy(&good.replace("'<f4'", "[('a', '<f4')]"), &data), Err(Status::NpyDtype)),
        (npy(&good.replace("False", "True"), &data), Err(Status::NpyOrder)),
        (npy(&good.replace("(1, 4)", "(4, 1)"), &data), Err(Status::NpyShape)),
        (npy(&good.replace("(1, 4)", "(4,)"), &data), Err(Status::NpyShape)),
        (npy(&good.replace("(1, 4)", "(1, 4, 1)"), &data), Err(Status::NpyShape)),
        (npy(&good.replace("(1, 4)", "()"), &data), Err(Status::NpyShape)),
        (npy(&good.replace("(1, 4)", "(1, 99999999999999999999999)"), &data), Err(Status::NpyShape)),
        (npy(&good.replace("(1, 4)", "(1, -4)"), &data), Err(Status::BrokenNpy)),
        (npy(&good.replace("(1, 4)", "(1 4)"), &data), Err(Status::BrokenNpy)),
        (npy(&good.replace("shape", "form"), &data), Err(Status::BrokenNpy)),
        (npy("{'descr': '<f4', 'fortran_order': False}", &data), Err(Status::BrokenNpy)),
        (npy("{", &data), Err(Status::BrokenNpy)),
        (npy("", &data), Err(Status::BrokenNpy)),
        (npy(good, &data[1..]), Err(Status::InputTooShort)),
        (npy(good, &[&data[..], b"x"].concat()), Err(Status::InputTooLong)),
        (npy(good, &data)[..5].to_vec(), Err(Status::BrokenNpy)),
        (npy(good, &data)[..30].to_vec(), Err(Status::BrokenNpy)),
        (data.clone(), Err(Status::BrokenNpy)),
        (b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF{}".to_vec(), Err(Status::BrokenNpy)),
        (b"\x93NUMPY\x09\x00\x02\x00{}".to_vec(), Err(Status::BrokenNpy)),
    ];
    for (file, result) in cases {
        let files = Memory::new(&[("in", file)]);
        assert_eq!(run(&four(NPY, RAW), &files, &[("input", "in")]), *result, "{}", String::from_utf8_lossy(file));
    }
}

#[test]
fn npy_version_2_has_a_longer_length() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }\n";
    let mut file = b"\x93NUMPY\x02\x00".to_vec();
    file.extend((header.len() as u32).to_le_bytes());
    file.extend(header.as_bytes());
    file.extend(floats(&[9.0, 2.0, 3.0, 4.0]));
    assert_eq!(run(&four(NPY, RAW), &Memory::new(&[("in", &file)]), &[("input", "in")]), Ok(0));
}

#[test]
fn failing_files_have_their_codes() {
    let data = floats(&[0.0; 4]);
    let both = [("input", "in"), ("output", "out")];
    for read_limit in [0, 7, 14] {
        let mut files = Memory::new(&[("in", &data)]);
        files.read_limit = read_limit;
        assert_eq!(run(&four(RAW, RAW), &files, &both), Err(Status::ReadFailed));
        let mut files =
            Memory::new(&[("in", &npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4)}", &data))]);
        files.read_limit = read_limit;
        assert_eq!(run(&four(NPY, RAW), &files, &both), Err(Status::ReadFailed));
    }
    for (output, status) in [(RAW, Status::WriteFailed), (NPY, Status::WriteFailed)] {
        let mut files = Memory::new(&[("in", &data)]);
        files.write_limit = 7;
        assert_eq!(run(&four(RAW, output), &files, &both), Err(status));
    }
    let mut files = Memory::new(&[("in", &data)]);
    files.close_fails = true;
    assert_eq!(run(&four(RAW, RAW), &files, &both), Err(Status::WriteFailed));
    let files = Memory::new(&[("in", &data)]);
    assert_eq!(
        run(&four(RAW, RAW), &files, &[("input", "in"), ("output", "forbidden")]),
        Err(Status::OutputNotCreated)
    );
}

#[test]
fn a_failing_model_has_its_code() {
    let model = Copier { descriptor: four(RAW, RAW).bytes(), fails: true };
    let files = Memory::new(&[("in", &floats(&[0.0; 4]))]);
    assert_eq!(run_model(&model, &files, &[("input", "in")]), Err(Status::ModelFailed));
}

#[test]
fn a_broken_descriptor_has_its_code() {
    let whole = four(RAW, RAW).bytes();
    let status = |descriptor: Vec<u8>| {
        run_model(&Copier { descriptor, fails: false }, &Memory::new(&[("in", &[0; 16])]), &[("input", "in")])
    };
    assert_eq!(status(whole.clone()), Ok(0));
    for length in 0..whole.len() {
        assert_eq!(status(whole[..length].to_vec()), Err(Status::BrokenDescriptor), "{length} bytes");
    }
    let changed = |change: &dyn Fn(&mut Interface)| {
        let mut interface = four(RAW, RAW);
        change(&mut interface);
        status(interface.bytes())
    };
    let broken = Err(Status::BrokenDescriptor);
    assert_eq!(changed(&|it| it.returns = 2), broken);
    assert_eq!(changed(&|it| it.return_output = 1), broken);
    assert_eq!(changed(&|it| it.input_size = 15), broken);
    assert_eq!(changed(&|it| it.output_size = 15), broken);
    assert_eq!(changed(&|it| it.inputs[0] = tensor("", FLOAT32, 0, &[4], RAW)), broken);
    assert_eq!(changed(&|it| it.inputs[0] = tensor("input", 12, 0, &[4], RAW)), broken);
    assert_eq!(changed(&|it| it.inputs[0] = tensor("input", FLOAT32, u32::MAX, &[4], RAW)), broken);
    assert_eq!(changed(&|it| it.inputs[0] = tensor("input", FLOAT32, 0, &[u32::MAX; 8], RAW)), broken);
    assert_eq!(changed(&|it| it.inputs[0] = tensor("input", FLOAT32, 0, &[4], &[3])), broken);
}

#[test]
fn statuses_are_distinct_negative_and_told() {
    let mut codes: Vec<i32> = Status::ALL.iter().map(|status| status.code()).collect();
    assert!(codes.iter().all(|code| *code < 0));
    codes.dedup();
    assert_eq!(codes.len(), Status::ALL.len());
    assert!(Status::ALL.iter().all(|status| !status.text().is_empty() && !status.text().ends_with('.')));
}

#[test]
fn mutated_npy_files_never_panic() {
    let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 4), }\n";
    let seed = npy(header, &floats(&[1.0, 2.0, 3.0, 4.0]));
    let mut random = Random(1);
    for _ in 0..20_000 {
        let mut file = seed.clone();
        random.mutate(&mut file);
        let _ = run(&four(NPY, RAW), &Memory::new(&[("in", &file)]), &[("input", "in")]);
    }
}
