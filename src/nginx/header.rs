//! Tables of headers: `ngx_list_t` of `ngx_table_elt_t`

use core::marker::PhantomData;
use core::ptr::NonNull;

use ngx::ffi::{ngx_list_part_t, ngx_list_t, ngx_table_elt_t, ngx_uint_t};
use websocket_guard_core::http::field::{FieldLine, Fields};
use websocket_guard_core::http::token::same;

use super::string::bytes;

/// The lines of a header table (`ngx_list_t` of `ngx_table_elt_t`), as pointers, because nginx
/// keeps aliases to its lines.
#[derive(Clone)]
pub struct HeaderLines<'a> {
    part: *const ngx_list_part_t,
    index: usize,
    lifetime: PhantomData<&'a ngx_list_t>,
}

impl<'a> HeaderLines<'a> {
    /// # Safety
    /// `list` must be a list of `ngx_table_elt_t`.
    pub unsafe fn new(list: &'a ngx_list_t) -> Self {
        Self { part: &list.part, index: 0, lifetime: PhantomData }
    }
}

impl Iterator for HeaderLines<'_> {
    type Item = NonNull<ngx_table_elt_t>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            // SAFETY: the parts of a live list are linked and end with null.
            let part = unsafe { self.part.as_ref()? };
            if self.index < part.nelts {
                // SAFETY: the part holds `nelts` initialized elements.
                let line = unsafe { part.elts.cast::<ngx_table_elt_t>().add(self.index) };
                self.index += 1;
                return NonNull::new(line);
            }
            self.part = part.next;
            self.index = 0;
        }
    }
}

/// The lines of a table of headers.
pub fn fields(table: &'static ngx_list_t) -> impl Fields<'static> {
    // SAFETY: the tables of requests and upstreams hold header lines.
    unsafe { HeaderLines::new(table) }.map(Line)
}

/// A line of a table of headers, which lives as long as the table.
#[derive(Clone, Copy)]
pub struct Line(pub NonNull<ngx_table_elt_t>);

impl FieldLine<'static> for Line {
    #[inline(always)]
    fn value(self, name: &str) -> Option<&'static [u8]> {
        // SAFETY: the line lives as long as its table.
        let line = unsafe { self.0.as_ref() };
        let found = line.hash != 0 && same(line.key.as_bytes(), name.as_bytes());
        found.then(|| bytes(line.value))
    }
}

/// The hash of a name in lower case (`ngx_hash`).
pub const fn hash(name: &[u8]) -> ngx_uint_t {
    let (mut hash, mut rest): (ngx_uint_t, &[u8]) = (0, name);
    while let [byte, others @ ..] = rest {
        hash = hash.wrapping_mul(31).wrapping_add(*byte as ngx_uint_t);
        rest = others;
    }
    hash
}

/// Whether a table has a line of a name with this [`hash`], or of another one that has the same.
#[inline]
pub fn has_line(table: &ngx_list_t, hash: ngx_uint_t) -> bool {
    let mut part: *const ngx_list_part_t = &table.part;
    // SAFETY: the parts of a live list are linked and end with null.
    while let Some(lines) = unsafe { part.as_ref() } {
        // SAFETY: a part of a table of headers holds `nelts` lines.
        let is_it = |n| unsafe { (*lines.elts.cast::<ngx_table_elt_t>().add(n)).hash } == hash;
        if (0..lines.nelts).any(is_it) {
            return true;
        }
        part = lines.next;
    }
    false
}
