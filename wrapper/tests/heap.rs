//! The allocator: blocks that do not overlap, and memory that is used again.

use std::alloc::Layout;
use std::ptr::NonNull;

use wrapper::heap::Heap;

const SIZE: usize = 1 << 20;
const PAGE: usize = 1 << 12;

/// Memory of a fixed size that is handed out page by page; after some pages, one is left out.
fn memory(pages_before_gap: usize) -> impl FnMut(usize) -> Option<(usize, usize)> {
    let memory: &'static mut [u8] = Box::leak(vec![0; SIZE + PAGE].into_boxed_slice());
    let start = (memory.as_ptr() as usize + PAGE - 1) & !(PAGE - 1);
    let mut given = 0;
    move |bytes| {
        if given == pages_before_gap {
            given += 1;
        }
        let pages = (bytes + PAGE - 1) / PAGE;
        if pages > SIZE / PAGE - given {
            return None;
        }
        given += pages;
        Some((start + (given - pages) * PAGE, pages * PAGE))
    }
}

/// Numbers without a pattern: the multiply-with-carry generator of Marsaglia.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 = (self.0 & 0xFFFF_FFFF) * 4_294_957_665 + (self.0 >> 32);
        (self.0 & 0xFFFF_FFFF) as usize % end
    }
}

#[test]
fn blocks_keep_what_is_written_to_them() {
    for seed in 1..20 {
        let mut numbers = Numbers(seed);
        let mut heap = Heap::new(memory(seed as usize));
        let mut blocks: Vec<(NonNull<u8>, Layout, u8)> = Vec::new();
        for turn in 0..3000 {
            if !blocks.is_empty() && numbers.below(5) < 2 {
                let (block, layout, mark) = blocks.swap_remove(numbers.below(blocks.len()));
                let bytes = unsafe { std::slice::from_raw_parts(block.as_ptr(), layout.size()) };
                assert!(bytes.iter().all(|byte| *byte == mark));
                unsafe { heap.release(block, layout) };
                continue;
            }
            let layout = Layout::from_size_align(numbers.below(3000), 1 << numbers.below(8)).unwrap();
            let zeroed = numbers.below(2) == 0;
            let block = if zeroed { heap.allocate_zeroed(layout) } else { heap.allocate(layout) };
            if let Some(block) = block {
                assert_eq!(block.as_ptr() as usize % layout.align(), 0);
                let bytes = unsafe { std::slice::from_raw_parts_mut(block.as_ptr(), layout.size()) };
                assert!(!zeroed || bytes.iter().all(|byte| *byte == 0));
                bytes.fill(turn as u8);
                blocks.push((block, layout, turn as u8));
            }
        }
    }
}

#[test]
fn released_memory_is_whole_again() {
    let mut numbers = Numbers(7);
    let mut heap = Heap::new(memory(usize::MAX));
    let layouts: Vec<_> = (0..200).map(|_| Layout::from_size_align(1 + numbers.below(4000), 16).unwrap()).collect();
    let mut blocks: Vec<_> = layouts.into_iter().map(|it| (heap.allocate(it).unwrap(), it)).collect();
    let lowest = blocks.iter().map(|(block, _)| block.as_ptr()).min().unwrap();
    while !blocks.is_empty() {
        let (block, layout) = blocks.swap_remove(numbers.below(blocks.len()));
        unsafe { heap.release(block, layout) };
    }
    let all = Layout::from_size_align(SIZE, 16).unwrap();
    assert_eq!(heap.allocate(all).map(NonNull::as_ptr), Some(lowest));
}

#[test]
fn the_last_block_grows_where_it_is() {
    let mut heap = Heap::new(memory(usize::MAX));
    let layout = Layout::from_size_align(100, 1).unwrap();
    let first = heap.allocate(layout).unwrap();
    assert!(unsafe { heap.resize(first, layout, 3000) });
    let second = heap.allocate(layout).unwrap();
    assert!(second.as_ptr() as usize >= first.as_ptr() as usize + 3000);
    assert!(!unsafe { heap.resize(first, Layout::from_size_align(3000, 1).unwrap(), 3100) });
}

#[test]
fn what_there_is_no_memory_for_is_refused() {
    let mut heap = Heap::new(memory(usize::MAX));
    for size in [SIZE + 1, isize::MAX as usize - 63] {
        assert!(heap.allocate(Layout::from_size_align(size, 64).unwrap()).is_none());
    }
    assert!(heap.allocate(Layout::from_size_align(SIZE, 64).unwrap()).is_some());
}
