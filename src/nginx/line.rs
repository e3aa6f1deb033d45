//! The line of the configuration that nginx names in a message.

use ngx::ffi::{ngx_conf_t, ngx_str_t};

/// Has `run` complain of another line than the last one that nginx has read, as it must once that line's block is
/// closed and merged.
pub fn at_line<T>(
    cf: &mut ngx_conf_t,
    file: ngx_str_t,
    line: u32,
    run: impl FnOnce(&mut ngx_conf_t) -> T,
) -> T {
    let conf_file = cf.conf_file;
    // SAFETY: while a configuration is read, it has a file, or null; nothing else refers to it meanwhile.
    let last = unsafe { conf_file.as_mut() }.map(|conf_file| {
        let last = (conf_file.file.name, conf_file.line);
        (conf_file.file.name, conf_file.line) = (file, line as usize);
        last
    });
    let result = run(cf);
    // SAFETY: the file is live as long as it is read, and nothing refers to it meanwhile.
    if let (Some(conf_file), Some(last)) = (unsafe { conf_file.as_mut() }, last) {
        (conf_file.file.name, conf_file.line) = last;
    }
    result
}
