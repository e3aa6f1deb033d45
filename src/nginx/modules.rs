//! Other modules of nginx, and their directives

use core::ptr::NonNull;

use ngx::ffi::{ngx_command_t, ngx_conf_t, ngx_module_t};

use super::string::c_bytes;

/// The HTTP module of this name in the cycle that is being configured.
pub fn find_module(cf: &ngx_conf_t, name: &[u8]) -> Option<&'static ngx_module_t> {
    // SAFETY: while a configuration is read, `modules` holds `modules_n` live modules.
    unsafe {
        let cycle = cf.cycle.as_ref()?;
        (0..cycle.modules_n)
            .filter_map(|i| (*cycle.modules.add(i)).as_ref())
            .find(|module| c_bytes(module.name) == name)
    }
}

/// The command of this name, from a module's table.
pub fn find_command(module: &ngx_module_t, name: &[u8]) -> Option<NonNull<ngx_command_t>> {
    let mut command = NonNull::new(module.commands)?;
    // SAFETY: a command table ends with an entry without a name (`ngx_null_command`).
    unsafe {
        while !command.as_ref().name.is_empty() {
            if command.as_ref().name.as_bytes() == name {
                return Some(command);
            }
            command = command.add(1);
        }
    }
    None
}
