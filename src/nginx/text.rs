//! Text that is written into memory which is there already, or into a pool: what the standard library makes
//! for a `String` ends the worker where memory runs out.

use core::fmt::{self, Display, Write};
use core::slice;

use ngx::ffi::{ngx_pnalloc, ngx_pool_t, ngx_str_t};

/// Fills a piece of memory; what does not fit is cut.
pub struct Filler<'a> {
    room: &'a mut [u8],
    length: usize,
}

impl<'a> Filler<'a> {
    pub fn new(room: &'a mut [u8]) -> Self {
        Self { room, length: 0 }
    }

    /// How much was written.
    pub fn length(&self) -> usize {
        self.length
    }
}

impl Write for Filler<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.room.get_mut(self.length..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(text.bytes()) {
            *place = byte;
            self.length += 1;
        }
        Ok(())
    }
}

/// Counts what would be written.
struct Length(usize);

impl Write for Length {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 += text.len();
        Ok(())
    }
}

/// Prints a value into a pool; `None` if memory runs out.
///
/// # Safety
/// `pool` must be live, and outlive what is made of the result.
pub unsafe fn print(pool: *mut ngx_pool_t, value: &impl Display) -> Option<ngx_str_t> {
    let mut length = Length(0);
    write!(length, "{value}").ok()?;
    if length.0 == 0 {
        return Some(ngx_str_t::empty());
    }
    // SAFETY: the pool is live; the memory is as large as was asked for, and bytes of any value are bytes.
    unsafe {
        let data = ngx_pnalloc(pool, length.0).cast::<u8>();
        if data.is_null() {
            return None;
        }
        data.write_bytes(0, length.0);
        let mut filler = Filler::new(slice::from_raw_parts_mut(data, length.0));
        write!(filler, "{value}").ok()?;
        Some(ngx_str_t { len: filler.length(), data })
    }
}
