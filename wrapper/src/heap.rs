//! The allocator: a list of free blocks by address, the first that fits is taken. A module allocates a few large areas and,
//! where it decodes a picture, some buffers; the allocator of Rust's library would be the largest part of a small module.

use std::alloc::Layout;
use std::mem::{align_of, size_of};
use std::ptr::{self, NonNull};

/// Of every block's start and size.
const UNIT: usize = 16;

/// What a free block begins with.
struct Free {
    size: usize,
    next: *mut Free,
}

const _: () = assert!(size_of::<Free>() <= UNIT && align_of::<Free>() <= UNIT);

/// Memory that grows at its end.
pub struct Heap<G> {
    /// Gives the address of so many more bytes of zeros, or of more than that, and how many they are.
    grow: G,
    /// The free blocks, by address. No two of them meet.
    free: *mut Free,
    /// Nothing is in use from here to `end`.
    top: usize,
    end: usize,
    /// Nothing was ever in use from here to `end`.
    fresh: usize,
}

impl<G: FnMut(usize) -> Option<(usize, usize)>> Heap<G> {
    /// A heap without memory.
    pub const fn new(grow: G) -> Heap<G> {
        Heap { grow, free: ptr::null_mut(), top: 0, end: 0, fresh: 0 }
    }

    /// A block.
    pub fn allocate(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let (size, align) = (rounded(layout.size())?, layout.align().max(UNIT));
        let start = self.take_free(size, align).or_else(|| self.take_top(size, align))?;
        NonNull::new(start as *mut u8)
    }

    /// A block of zeros.
    pub fn allocate_zeroed(&mut self, layout: Layout) -> Option<NonNull<u8>> {
        let used = self.fresh;
        let block = self.allocate(layout)?;
        let start = block.as_ptr() as usize;
        // Memory may have grown elsewhere: then `fresh` moved there, and all of the block is new.
        if start < used {
            // SAFETY: within the block.
            unsafe { ptr::write_bytes(block.as_ptr(), 0, layout.size().min(used - start)) };
        }
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// It was allocated here with this layout, and is not in use.
    pub unsafe fn release(&mut self, block: NonNull<u8>, layout: Layout) {
        // It was rounded before.
        self.add(block.as_ptr() as usize, rounded(layout.size()).unwrap_or(0));
    }

    /// Makes a block that ends where nothing is in use larger or smaller where it is. Returns whether it did.
    ///
    /// # Safety
    ///
    /// It was allocated here with this layout.
    pub unsafe fn resize(&mut self, block: NonNull<u8>, layout: Layout, size: usize) -> bool {
        let start = block.as_ptr() as usize;
        match (rounded(layout.size()), rounded(size)) {
            (Some(old), Some(new)) if start + old == self.top && new <= self.end - start => {
                self.top = start + new;
                self.fresh = self.fresh.max(self.top);
                true
            }
            _ => false,
        }
    }

    fn take_free(&mut self, size: usize, align: usize) -> Option<usize> {
        let mut link = ptr::addr_of_mut!(self.free);
        // SAFETY: every link leads to a free block or ends the list.
        unsafe {
            while let Some(block) = (*link).as_ref() {
                let (first, last) = (block as *const Free as usize, block as *const Free as usize + block.size);
                let start = first.checked_add(align - 1)? & !(align - 1);
                if start.checked_add(size).map_or(false, |end| end <= last) {
                    *link = block.next;
                    self.add(first, start - first);
                    self.add(start + size, last - start - size);
                    return Some(start);
                }
                link = ptr::addr_of_mut!((**link).next);
            }
        }
        None
    }

    fn take_top(&mut self, size: usize, align: usize) -> Option<usize> {
        loop {
            let start = self.top.checked_add(align - 1)? & !(align - 1);
            let end = start.checked_add(size)?;
            if end <= self.end {
                let gap = self.top;
                self.top = end;
                self.fresh = self.fresh.max(end);
                self.add(gap, start - gap);
                return Some(start);
            }
            let (more, bytes) = (self.grow)(end - self.end)?;
            if more != self.end {
                let (rest, until) = (self.top, self.end);
                (self.top, self.fresh) = (more, more);
                self.end = more;
                self.add(rest, until - rest);
            }
            self.end = more + bytes;
        }
    }

    /// Puts what is not in use where it belongs.
    fn add(&mut self, mut start: usize, mut size: usize) {
        if size == 0 {
            return;
        }
        let mut link = ptr::addr_of_mut!(self.free);
        // SAFETY: every link leads to a free block or ends the list; what is added is in none of them.
        unsafe {
            while let Some(block) = (*link).as_ref() {
                let at = block as *const Free as usize;
                if at + block.size == start {
                    (start, size) = (at, block.size + size);
                    *link = block.next;
                } else if start + size == at {
                    size += block.size;
                    *link = block.next;
                } else if at > start {
                    break;
                } else {
                    link = ptr::addr_of_mut!((**link).next);
                }
            }
            if start + size == self.top {
                self.top = start;
                return;
            }
            let block = start as *mut Free;
            block.write(Free { size, next: *link });
            *link = block;
        }
    }
}

fn rounded(size: usize) -> Option<usize> {
    Some(size.max(1).checked_add(UNIT - 1)? & !(UNIT - 1))
}

#[cfg(target_arch = "wasm32")]
mod module {
    use super::{Heap, NonNull};
    use std::alloc::{GlobalAlloc, Layout};
    use std::arch::wasm32;
    use std::cell::UnsafeCell;
    use std::ptr;

    const PAGE: usize = 1 << 16;

    type Grow = fn(usize) -> Option<(usize, usize)>;
    struct Module(UnsafeCell<Heap<Grow>>);

    // SAFETY: a module has one thread.
    unsafe impl Sync for Module {}

    #[global_allocator]
    static HEAP: Module = Module(UnsafeCell::new(Heap::new(grow as Grow)));

    fn grow(bytes: usize) -> Option<(usize, usize)> {
        let pages = bytes / PAGE + usize::from(bytes % PAGE != 0);
        match wasm32::memory_grow(0, pages) {
            usize::MAX => None,
            before => Some((before * PAGE, pages * PAGE)),
        }
    }

    // SAFETY: blocks do not overlap, and are of the layouts asked for.
    unsafe impl GlobalAlloc for Module {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            (*self.0.get()).allocate(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
        }

        unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
            (*self.0.get()).allocate_zeroed(layout).map_or(ptr::null_mut(), NonNull::as_ptr)
        }

        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            (*self.0.get()).release(NonNull::new_unchecked(block), layout);
        }

        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            if (*self.0.get()).resize(NonNull::new_unchecked(block), layout, size) {
                return block;
            }
            let other = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !other.is_null() {
                ptr::copy_nonoverlapping(block, other, layout.size().min(size));
                self.dealloc(block, layout);
            }
            other
        }
    }
}
