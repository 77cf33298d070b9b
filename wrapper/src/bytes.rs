//! C's `memcpy` and `memset`, which the compiler calls. Those of Rust's `compiler_builtins` move four bytes a step; in an
//! interpreter, where each instruction counts, decoding an image would spend half of its time there. The linker takes these
//! instead. WebAssembly loads and stores at any address.

const WORD: usize = 8;
const BLOCK: usize = 4 * WORD;

/// Copies `size` bytes.
///
/// # Safety
///
/// As C has it: both blocks are of that size, and they do not overlap.
#[no_mangle]
pub unsafe extern "C" fn memcpy(target: *mut u8, source: *const u8, size: usize) -> *mut u8 {
    let (mut to, mut from) = (target, source);
    let end = target.add(size);
    let mut left = size;
    while left >= BLOCK {
        let (words, copies) = (from.cast::<u64>(), to.cast::<u64>());
        copies.write_unaligned(words.read_unaligned());
        copies.add(1).write_unaligned(words.add(1).read_unaligned());
        copies.add(2).write_unaligned(words.add(2).read_unaligned());
        copies.add(3).write_unaligned(words.add(3).read_unaligned());
        (to, from, left) = (to.add(BLOCK), from.add(BLOCK), left - BLOCK);
    }
    while left >= WORD {
        to.cast::<u64>().write_unaligned(from.cast::<u64>().read_unaligned());
        (to, from, left) = (to.add(WORD), from.add(WORD), left - WORD);
    }
    while to != end {
        *to = *from;
        (to, from) = (to.add(1), from.add(1));
    }
    target
}

/// Sets `size` bytes to the lowest byte of `value`.
///
/// # Safety
///
/// As C has it: the block is of that size.
#[no_mangle]
pub unsafe extern "C" fn memset(target: *mut u8, value: i32, size: usize) -> *mut u8 {
    let byte = value as u8;
    let word = u64::from(byte) * 0x0101_0101_0101_0101;
    let mut to = target;
    let end = target.add(size);
    let mut left = size;
    while left >= BLOCK {
        let words = to.cast::<u64>();
        words.write_unaligned(word);
        words.add(1).write_unaligned(word);
        words.add(2).write_unaligned(word);
        words.add(3).write_unaligned(word);
        (to, left) = (to.add(BLOCK), left - BLOCK);
    }
    while left >= WORD {
        to.cast::<u64>().write_unaligned(word);
        (to, left) = (to.add(WORD), left - WORD);
    }
    while to != end {
        *to = byte;
        to = to.add(1);
    }
    target
}
