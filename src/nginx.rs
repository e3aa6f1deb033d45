//! Typed access to nginx for what the `ngx` crate does not cover.

mod array;
pub mod bits;
mod complex_value;
mod connection;
pub mod delivery;
mod error;
mod header;
mod line;
mod log;
mod modules;
mod one_thread;
mod pool;
mod string;
pub mod text;
mod timer;
mod version;

pub use array::{array_of, elements, is_unset, push_front};
pub use complex_value::{compile, evaluate};
pub use connection::{free_tls_buffer, speaks_tls};
pub use error::ConfigurationError;
pub use header::{fields, has_line, hash, HeaderLines, Line};
pub use line::at_line;
pub use log::write_line;
pub use modules::{find_command, find_module};
pub use one_thread::OneThread;
pub use pool::{place, place_in, AllocationFailed};
pub use string::{bytes, c_bytes, configured, keyval, ngx_str};
pub use timer::Timer;
pub use version::http_version;
