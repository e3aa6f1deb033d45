//! Opens the files of a configuration as nginx does.

use core::mem::zeroed;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use ngx::ffi::{
    ngx_close_glob, ngx_conf_full_name, ngx_conf_t, ngx_glob_t, ngx_open_glob, ngx_read_glob,
    ngx_str_t,
};
use websocket_guard_core::config::{Files, Tree};

use crate::nginx::bytes;

/// Reads the text of the configuration a second time; `None` if it cannot be read.
pub fn read(cf: &mut ngx_conf_t) -> Option<Tree> {
    // SAFETY: the cycle that is being configured is live.
    let name = bytes(unsafe { (*cf.cycle).conf_file });
    let text = text(name)?;
    Some(Tree::parse(name, text, &mut Included { cf }))
}

/// What nginx has read of a file. It reads as many bytes as the file's size says, and so none of a device or a pipe:
/// a second look there could wait for ever.
fn text(name: &[u8]) -> Option<Vec<u8>> {
    let path = Path::new(OsStr::from_bytes(name));
    if fs::metadata(path).ok()?.is_file() {
        fs::read(path).ok()
    } else {
        Some(Vec::new())
    }
}

/// Opens included files (`ngx_conf_include`).
struct Included<'a> {
    cf: &'a mut ngx_conf_t,
}

impl Files for Included<'_> {
    fn read(&mut self, pattern: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
        self.names(pattern)?
            .into_iter()
            .map(|name| {
                let text = text(&name)?;
                Some((name, text))
            })
            .collect()
    }
}

impl Included<'_> {
    fn names(&mut self, pattern: &[u8]) -> Option<Vec<Vec<u8>>> {
        let cf = &self.cf;
        // SAFETY: the pool of the configuration is live.
        let full = unsafe { ngx_str_t::from_bytes(cf.pool, &[pattern, b"\0"].concat()) };
        let mut full = ngx_str_t { len: pattern.len(), ..full? };
        // SAFETY: the cycle is live, and the name has a NUL behind it.
        if unsafe { ngx_conf_full_name(cf.cycle, &mut full, 1) } != 0 {
            return None;
        }
        if !full.as_bytes().iter().any(|byte| b"*?[".contains(byte)) {
            return Some(vec![full.as_bytes().to_vec()]);
        }
        // SAFETY: all zeroes are a value of this C type.
        let mut glob =
            ngx_glob_t { pattern: full.data, log: cf.log, test: 1, ..unsafe { zeroed() } };
        // SAFETY: the pattern ends with a NUL, as full names do, and the log is live.
        if unsafe { ngx_open_glob(&mut glob) } != 0 {
            return None;
        }
        let mut names = Vec::new();
        let mut name = ngx_str_t::empty();
        // SAFETY: the glob is open, and a name lives until it is closed.
        while unsafe { ngx_read_glob(&mut glob, &mut name) } == 0 {
            names.push(name.as_bytes().to_vec());
        }
        // SAFETY: it was opened, and nothing of it is used any more.
        unsafe { ngx_close_glob(&mut glob) };
        Some(names)
    }
}
