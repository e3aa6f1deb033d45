//! Memory for the bytes on their way: one buffer per worker, which all tunnels read into, and what
//! a slow side has not taken yet.

use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{self, ManuallyDrop, MaybeUninit};
use core::ops::Range;
use core::ptr::NonNull;
use core::slice;

use ngx::ffi::{ngx_alloc, ngx_log_t, ngx_pagesize};
use websocket_guard_core::frame::Tail;

use crate::nginx::{AllocationFailed, OneThread};

/// For fewer pages the system is not called.
const PAGES_WORTH_A_CALL: usize = 2;

/// Memory of the heap, not of a pool: it can go back at once.
pub struct Buffer {
    memory: NonNull<u8>,
    capacity: usize,
}

impl Buffer {
    /// `log` must be live; a failure is written there.
    #[inline(never)]
    fn new(capacity: usize, log: *mut ngx_log_t) -> Result<Self, AllocationFailed> {
        // SAFETY: the logs that nginx hands out are live while its handlers run.
        let memory = NonNull::new(unsafe { ngx_alloc(capacity, log) }).ok_or(AllocationFailed)?;
        Ok(Self { memory: memory.cast(), capacity })
    }
}

impl Buffer {
    /// Gives the memory of bytes that nobody will read again back to the system, in whole pages. Their
    /// addresses stay the buffer's.
    ///
    /// # Safety
    /// Nobody may read the bytes from `start` to `end` before they are written again.
    unsafe fn release(&self, start: usize, end: usize) {
        // SAFETY: nginx has set it before it reads its configuration.
        let page = unsafe { ngx_pagesize };
        let base = self.memory.as_ptr() as usize;
        let first = (base + start).next_multiple_of(page);
        let last = (base + end.min(self.capacity)) / page * page;
        if first + PAGES_WORTH_A_CALL * page <= last {
            // SAFETY: the pages lie in the buffer, and only the bytes above are in them. Whether the
            // system takes them does not matter.
            unsafe { libc::madvise(first as *mut c_void, last - first, libc::MADV_DONTNEED) };
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: `ngx_alloc` is malloc.
        unsafe { libc::free(self.memory.as_ptr().cast::<c_void>()) };
    }
}

/// The buffer of this worker, while no tunnel is reading into it.
static SHARED: OneThread<Cell<Option<Buffer>>> = OneThread::new(Cell::new(None));

/// The worker's buffer, which goes back when the loan ends, unless bytes in it are kept.
pub struct Loan {
    buffer: ManuallyDrop<Buffer>,
    size: usize,
}

/// Lends the worker's buffer, which is made when it is needed, to read `size` bytes at once.
#[inline(always)]
pub fn borrow(size: usize, log: *mut ngx_log_t) -> Result<Loan, AllocationFailed> {
    let capacity = size + Tail::CAPACITY;
    let buffer = match SHARED.take().filter(|buffer| buffer.capacity == capacity) {
        Some(buffer) => buffer,
        None => Buffer::new(capacity, log)?,
    };
    Ok(Loan { buffer: ManuallyDrop::new(buffer), size })
}

impl Loan {
    /// All of it.
    #[inline(always)]
    pub fn whole(&mut self) -> &mut [MaybeUninit<u8>] {
        let Buffer { memory, capacity } = *self.buffer;
        // SAFETY: the memory is the buffer's alone.
        unsafe { slice::from_raw_parts_mut(memory.as_ptr().cast(), capacity) }
    }

    /// The room to read into, behind so many bytes that were put in front, at most a [`Tail`].
    #[inline(always)]
    pub fn room(&mut self, front: usize) -> &mut [MaybeUninit<u8>] {
        let end = front + self.size;
        self.whole().get_mut(front..end).unwrap_or_default()
    }

    /// What was written into it.
    ///
    /// # Safety
    /// So many bytes must have been written from its start on.
    pub unsafe fn written(&mut self, length: usize) -> &mut [u8] {
        let Buffer { memory, capacity } = *self.buffer;
        // SAFETY: so many bytes were written, as the contract above says, or the buffer ends before.
        unsafe { slice::from_raw_parts_mut(memory.as_ptr(), length.min(capacity)) }
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.buffer.capacity > 0 {
            // SAFETY: it is taken once, at the end.
            SHARED.set(Some(unsafe { ManuallyDrop::take(&mut self.buffer) }));
        }
    }
}

/// The bytes that one side sent and the other has not taken; no memory if there are none.
#[derive(Default)]
pub struct Backlog(Cell<Option<Rest>>);

struct Rest {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Rest {
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these bytes were written and lie in the buffer, which is this value's alone.
        unsafe {
            slice::from_raw_parts_mut(
                self.buffer.memory.as_ptr().add(self.start),
                self.end - self.start,
            )
        }
    }
}

impl Backlog {
    /// Keeps a copy of `bytes`.
    pub fn copy(&self, bytes: &[u8], log: *mut ngx_log_t) -> Result<(), AllocationFailed> {
        let buffer = Buffer::new(bytes.len(), log)?;
        // SAFETY: the new memory is as large as the bytes.
        unsafe { buffer.memory.as_ptr().copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        self.0.set(Some(Rest { buffer, start: 0, end: bytes.len() }));
        Ok(())
    }

    /// Keeps the bytes from `start` to `end` where they are; the worker gets another buffer. The memory
    /// around them goes back.
    ///
    /// # Safety
    /// They must have been written.
    pub unsafe fn keep(&self, loan: &mut Loan, start: usize, end: usize) {
        let nothing = Buffer { memory: NonNull::dangling(), capacity: 0 };
        let buffer = mem::replace(&mut *loan.buffer, nothing);
        // SAFETY: all but these bytes were sent, or hold nothing.
        unsafe {
            buffer.release(0, start);
            buffer.release(end, buffer.capacity);
        }
        self.0.set(Some(Rest { buffer, start, end }));
    }

    pub fn is_empty(&self) -> bool {
        // SAFETY: a worker has one thread, and the reference is not kept.
        unsafe { (*self.0.as_ptr()).is_none() }
    }

    /// Lets `look` change the bytes and choose those that stay, by where they lie among them.
    pub fn look<E>(
        &self,
        look: impl FnOnce(&mut [u8]) -> Result<Range<usize>, E>,
    ) -> Result<(), E> {
        let Some(mut rest) = self.0.take() else { return Ok(()) };
        let Range { start, end } = look(rest.bytes())?;
        (rest.start, rest.end) = (rest.start + start, rest.start + end);
        if rest.start < rest.end {
            self.0.set(Some(rest));
        }
        Ok(())
    }

    /// Lets `send` take from the bytes; it tells how many it took. The memory goes back with the
    /// last of them.
    pub fn drain<E>(&self, send: impl FnOnce(&[u8]) -> Result<usize, E>) -> Result<(), E> {
        let Some(mut rest) = self.0.take() else { return Ok(()) };
        let bytes = rest.bytes();
        let (sent, length) = (send(bytes)?, bytes.len());
        if sent < length {
            // SAFETY: these bytes were sent.
            unsafe { rest.buffer.release(rest.start, rest.start + sent) };
            rest.start += sent;
            self.0.set(Some(rest));
        }
        Ok(())
    }
}
