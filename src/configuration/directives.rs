//! The module's directives.

use core::ffi::{c_char, c_void, CStr};
use core::fmt;
use core::ptr::{self, NonNull};
use core::str;

use ngx::core::{Pool, NGX_CONF_ERROR, NGX_CONF_OK};
use ngx::ffi::{
    ngx_command_t, ngx_conf_t, ngx_msec_t, ngx_parse_offset, ngx_parse_size, ngx_parse_time,
    ngx_str_t, ngx_uint_t, NGX_CONF_1MORE, NGX_CONF_TAKE1, NGX_CONF_TAKE12, NGX_CONF_TAKE123,
    NGX_HTTP_LOC_CONF, NGX_HTTP_LOC_CONF_OFFSET, NGX_HTTP_MAIN_CONF, NGX_HTTP_SRV_CONF,
    NGX_LOG_EMERG,
};
use ngx::http::HttpModuleMainConf;
use ngx::ngx_conf_log_error;
use websocket_guard_core::findings::{Finding, FindingSet};
use websocket_guard_core::frame::rate::{parse_count, Rate};
use websocket_guard_core::frame::CloseCode;
use websocket_guard_core::handshake::origin::OriginPolicy;
use websocket_guard_core::handshake::upgrade::Protocols;
use websocket_guard_core::handshake::Strictness;
use websocket_guard_core::text::escape::Escaped;

use crate::configuration::conf::{Guard, LevelConf};
use crate::configuration::tunnels::{Drain, Lifetime, Limit, MaxMessage, MessageRate, PingConf};
use crate::configuration::words::{Forwarded as Forwards, LogLevel, TunnelLoop};
use crate::configuration::written::Written;
use crate::nginx::{compile, elements, ngx_str, ConfigurationError};
use websocket_guard_core::words::Mode;

/// The command table, which nginx only reads; `ngx_null_command` ends it.
pub const COMMANDS: &[ngx_command_t] = &[
    command(c"websocket_guard", NGX_CONF_TAKE1, Some(set::<ModeDirective>)),
    command(c"websocket_guard_timeout", NGX_CONF_TAKE1, Some(set::<Timeout>)),
    command(c"websocket_guard_tunnel", NGX_CONF_TAKE1, Some(set::<Tunnel>)),
    http_command(c"websocket_guard_buffer_size", NGX_CONF_TAKE1, Some(set::<BufferSize>)),
    command(c"websocket_guard_close", NGX_CONF_TAKE1, Some(set::<Close>)),
    command(c"websocket_guard_frames", NGX_CONF_TAKE1, Some(set::<Frames>)),
    command(c"websocket_guard_ping", NGX_CONF_TAKE123, Some(set::<Ping>)),
    command(c"websocket_guard_max_message", NGX_CONF_TAKE12, Some(set::<MaxMessageDirective>)),
    command(c"websocket_guard_message_rate", NGX_CONF_TAKE123, Some(set::<MessageRateDirective>)),
    command(c"websocket_guard_lifetime", NGX_CONF_TAKE12, Some(set::<LifetimeDirective>)),
    command(c"websocket_guard_drain", NGX_CONF_TAKE123, Some(set::<DrainDirective>)),
    command(c"websocket_guard_upgrade", NGX_CONF_1MORE, Some(set::<Upgrade>)),
    command(c"websocket_guard_forwarded", NGX_CONF_TAKE1, Some(set::<Forwarded>)),
    command(c"websocket_guard_handshake", NGX_CONF_TAKE1, Some(set::<Handshake>)),
    command(c"websocket_guard_origin", NGX_CONF_1MORE, Some(set::<Origin>)),
    command(c"websocket_guard_log", NGX_CONF_TAKE1, Some(set::<Log>)),
    command(c"websocket_guard_ignore", NGX_CONF_1MORE, Some(set::<Ignore>)),
    ngx_command_t::empty(),
];

type Setter = unsafe extern "C" fn(*mut ngx_conf_t, *mut ngx_command_t, *mut c_void) -> *mut c_char;

/// A directive of `http`, `server` and `location`, as almost all are.
const fn command(name: &'static CStr, arguments: u32, set: Option<Setter>) -> ngx_command_t {
    ngx_command_t {
        name: ngx_str(name),
        type_: (NGX_HTTP_MAIN_CONF | NGX_HTTP_SRV_CONF | NGX_HTTP_LOC_CONF | arguments)
            as ngx_uint_t,
        set,
        conf: NGX_HTTP_LOC_CONF_OFFSET,
        offset: 0,
        post: ptr::null_mut(),
    }
}

/// A directive of `http` alone.
const fn http_command(name: &'static CStr, arguments: u32, set: Option<Setter>) -> ngx_command_t {
    ngx_command_t {
        type_: (NGX_HTTP_MAIN_CONF | arguments) as ngx_uint_t,
        ..command(name, arguments, set)
    }
}

/// A directive: how its arguments are put into the configuration.
trait Directive {
    fn set(cf: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t])
        -> Result<(), Rejection>;
}

/// Why a directive is refused.
enum Rejection {
    Duplicate,
    /// What is wrong with the value, if there is more to say than that it is invalid.
    Value(ngx_str_t, String),
    /// The same, with the value in the sentence.
    Sentence(String),
    /// Whatever the value is.
    Failed(ConfigurationError),
}

impl From<ConfigurationError> for Rejection {
    fn from(error: ConfigurationError) -> Self {
        Self::Failed(error)
    }
}

/// # Safety
/// `cf` must be live and stand at a line of `command`, and `conf` be this module's configuration of the level.
unsafe extern "C" fn set<D: Directive>(
    cf: *mut ngx_conf_t,
    command: *mut ngx_command_t,
    conf: *mut c_void,
) -> *mut c_char {
    // SAFETY: all are live, and nothing else refers to `cf` and `conf`; the arguments of a line are strings, of which the
    // first is the directive's name.
    let (result, name) = unsafe {
        let (Some(cf), Some(LevelConf::Written(written))) =
            (cf.as_mut(), conf.cast::<LevelConf>().as_mut())
        else {
            return NGX_CONF_ERROR;
        };
        let args = elements::<ngx_str_t>(cf.args).get(1..).unwrap_or_default();
        (D::set(cf, written, args), (*command).name)
    };
    match result {
        Ok(()) => NGX_CONF_OK,
        Err(Rejection::Duplicate) => c"is duplicate".as_ptr().cast_mut(),
        Err(Rejection::Value(value, reason)) => {
            ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "invalid value \"{}\" in \"{}\" directive, {}",
                Escaped(value.as_bytes()),
                name,
                reason
            );
            NGX_CONF_ERROR
        }
        Err(Rejection::Sentence(reason)) => {
            ngx_conf_log_error!(
                NGX_LOG_EMERG,
                cf,
                "invalid value in \"{}\" directive, {}",
                name,
                reason
            );
            NGX_CONF_ERROR
        }
        Err(Rejection::Failed(error)) => {
            // SAFETY: `cf` is live, and nothing else refers to it.
            error.log(unsafe { &mut *cf });
            NGX_CONF_ERROR
        }
    }
}

/// Sets what was not set at this level yet.
fn set_once<T>(place: &mut Option<T>, value: T) -> Result<(), Rejection> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(Rejection::Duplicate),
    }
}

/// Moves `value` into the configuration's pool, which drops it with the configuration.
fn keep<T>(cf: &ngx_conf_t, value: T) -> Result<NonNull<T>, Rejection> {
    // SAFETY: the pool is live while the configuration is read.
    let place = unsafe { Pool::from_ngx_pool(cf.pool).allocate(value) };
    NonNull::new(place).ok_or(Rejection::Failed(ConfigurationError::Memory))
}

fn first(args: &[ngx_str_t]) -> ngx_str_t {
    args.first().copied().unwrap_or_default()
}

/// The value of `word` in a table of words, in any case, as nginx's own flags and enumerations.
fn choose<T: Copy>(word: ngx_str_t, words: &[(&str, T)]) -> Result<T, Rejection> {
    words
        .iter()
        .find(|(known, _)| word.as_bytes().eq_ignore_ascii_case(known.as_bytes()))
        .map(|(_, value)| *value)
        .ok_or_else(|| Rejection::Value(word, format!("it must be {}", Alternatives(words))))
}

/// Prints `"a", "b" or "c"`.
struct Alternatives<'a, T>(&'a [(&'a str, T)]);

impl<T> fmt::Display for Alternatives<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (word, _)) in self.0.iter().enumerate() {
            let separator = match n {
                0 => "",
                n if n + 1 == self.0.len() => " or ",
                _ => ", ",
            };
            write!(f, "{separator}\"{word}\"")?;
        }
        Ok(())
    }
}

/// `websocket_guard off | check | auto | on`
struct ModeDirective;

impl Directive for ModeDirective {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        set_once(&mut written.mode, choose(first(args), &Mode::WORDS)?)
    }
}

/// `websocket_guard_timeout TIME`
struct Timeout;

impl Directive for Timeout {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let mut value = first(args);
        // SAFETY: the function reads the value and keeps nothing of it.
        let milliseconds = unsafe { ngx_parse_time(&mut value, 0) };
        match ngx_msec_t::try_from(milliseconds) {
            Ok(0) => Err(Rejection::Value(value, "a tunnel needs a time to live".into())),
            Ok(milliseconds) => set_once(&mut written.timeout, milliseconds),
            Err(_) => Err(Rejection::Value(value, "write a time such as \"90s\" or \"1h\"".into())),
        }
    }
}

/// `websocket_guard_tunnel pump | native`
struct Tunnel;

impl Directive for Tunnel {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        set_once(&mut written.tunnel, choose(first(args), &TunnelLoop::WORDS)?)
    }
}

/// `websocket_guard_buffer_size SIZE`
struct BufferSize;

impl BufferSize {
    /// OpenSSL counts in `int`.
    const MAX: usize = 1 << 30;
}

impl Directive for BufferSize {
    fn set(cf: &mut ngx_conf_t, _: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let mut value = first(args);
        // SAFETY: the function reads the value and keeps nothing of it.
        let size = usize::try_from(unsafe { ngx_parse_size(&mut value) });
        let main = Guard::main_conf_mut(cf)
            .ok_or(ConfigurationError::Missing("ngx_http_websocket_guard_module"))?;
        match size {
            Ok(0) => Err(Rejection::Value(value, "a tunnel needs a buffer".into())),
            Ok(size @ 1..=Self::MAX) => set_once(&mut main.buffer_size, size),
            _ => Err(Rejection::Value(value, "write a size such as \"64k\"".into())),
        }
    }
}

/// `websocket_guard_close on | off`
struct Close;

impl Directive for Close {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        set_once(&mut written.close, choose(first(args), &[("on", true), ("off", false)])?)
    }
}

/// `websocket_guard_frames check | strict`
struct Frames;

impl Directive for Frames {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let words = [("check", false), ("strict", true)];
        set_once(&mut written.strict_frames, choose(first(args), &words)?)
    }
}

/// A time in milliseconds.
fn time(word: ngx_str_t) -> Result<ngx_msec_t, Rejection> {
    let mut value = word;
    // SAFETY: the function reads the value and keeps nothing of it.
    let milliseconds = unsafe { ngx_parse_time(&mut value, 0) };
    ngx_msec_t::try_from(milliseconds)
        .map_err(|_| Rejection::Value(word, "write a time such as \"90s\" or \"1h\"".into()))
}

/// What follows the name of a parameter, as in `jitter=5s`.
fn parameter(word: ngx_str_t, name: &str) -> Option<ngx_str_t> {
    let value = word.as_bytes().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?;
    Some(ngx_str_t { len: value.len(), data: value.as_ptr().cast_mut() })
}

/// Whether the directive says `off`, and only that.
fn is_off(args: &[ngx_str_t]) -> Result<bool, Rejection> {
    let is_off = first(args).as_bytes().eq_ignore_ascii_case(b"off");
    match args.get(1) {
        Some(word) if is_off => Err(Rejection::Value(*word, "nothing may follow \"off\"".into())),
        _ => Ok(is_off),
    }
}

/// The number of bytes that a size is, with `k`, `m` or `g`; negative if it is none.
fn parse_offset(word: ngx_str_t) -> i64 {
    let mut value = word;
    // SAFETY: the function reads the value and keeps nothing of it.
    unsafe { ngx_parse_offset(&mut value) }
}

/// The sides that a directive is about: the client, the backend.
const SIDES: [(&str, (bool, bool)); 3] =
    [("client", (true, false)), ("backend", (false, true)), ("both", (true, true))];

/// `websocket_guard_ping off | TIME [client | backend | both] [timeout=TIME]`
struct Ping;

impl Directive for Ping {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let value = first(args);
        if is_off(args)? {
            return set_once(&mut written.ping, None);
        }
        let interval = time(value)?;
        if interval == 0 {
            return Err(Rejection::Value(value, "a side needs time to be silent".into()));
        }
        let (mut sides, mut timeout) = (None, None);
        for &word in args.iter().skip(1) {
            match parameter(word, "timeout") {
                Some(value) => match time(value)? {
                    0 => return Err(Rejection::Value(value, "an answer takes time".into())),
                    time => set_once(&mut timeout, time)?,
                },
                None => set_once(&mut sides, choose(word, &SIDES)?)?,
            }
        }
        let (client, backend) = sides.unwrap_or((true, false));
        let ping = PingConf { interval, client, backend, timeout };
        set_once(&mut written.ping, Some(ping))
    }
}

/// `websocket_guard_max_message off | SIZE [client | backend | both]`
struct MaxMessageDirective;

impl Directive for MaxMessageDirective {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let value = first(args);
        if is_off(args)? {
            return set_once(&mut written.max_message, None);
        }
        let size = match u64::try_from(parse_offset(value)) {
            Ok(0) => return Err(Rejection::Value(value, "no message is that small".into())),
            Ok(size) => size,
            Err(_) => {
                return Err(Rejection::Value(
                    value,
                    "write a size such as \"64k\" or \"1m\"".into(),
                ))
            }
        };
        let (client, backend) = match args.get(1) {
            Some(word) => choose(*word, &SIDES)?,
            None => (true, false),
        };
        set_once(&mut written.max_message, Some(MaxMessage { size, client, backend }))
    }
}

/// `websocket_guard_message_rate off | Nr/s | Nr/m [burst=N] [delay | close]`
struct MessageRateDirective;

impl Directive for MessageRateDirective {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let value = first(args);
        if is_off(args)? {
            return set_once(&mut written.message_rate, None);
        }
        let mut rate = Rate::parse(value.as_bytes()).ok_or_else(|| {
            Rejection::Value(value, "write a rate such as \"10r/s\" or \"30r/m\"".into())
        })?;
        let (mut burst, mut closes) = (None, None);
        for &word in args.iter().skip(1) {
            match parameter(word, "burst") {
                Some(value) => {
                    let count = parse_count(value.as_bytes()).ok_or_else(|| {
                        Rejection::Value(word, "a burst is a number of messages, from 1 on".into())
                    })?;
                    set_once(&mut burst, count)?;
                }
                None => set_once(&mut closes, choose(word, &[("delay", false), ("close", true)])?)?,
            }
        }
        if let Some(burst) = burst {
            rate = rate.with_burst(burst);
        }
        let conf = MessageRate { rate, closes: closes.unwrap_or(false) };
        set_once(&mut written.message_rate, Some(conf))
    }
}

/// `websocket_guard_lifetime off | TIME | $variable [jitter=TIME]`
struct LifetimeDirective;

impl Directive for LifetimeDirective {
    fn set(
        cf: &mut ngx_conf_t,
        written: &mut Written,
        args: &[ngx_str_t],
    ) -> Result<(), Rejection> {
        let value = first(args);
        let limit = if value.as_bytes().eq_ignore_ascii_case(b"off") {
            None
        } else if value.as_bytes().contains(&b'$') {
            Some(Limit::Variable(compile(cf, value)?))
        } else {
            match time(value)? {
                0 => return Err(Rejection::Value(value, "a tunnel needs a time to live".into())),
                limit => Some(Limit::After(limit)),
            }
        };
        let jitter = match args.get(1).copied() {
            None => 0,
            Some(word) => match parameter(word, "jitter") {
                Some(jitter) if limit.is_some() => time(jitter)?,
                _ => {
                    return Err(Rejection::Value(
                        word,
                        "only \"jitter=TIME\" may follow a time or a variable".into(),
                    ))
                }
            },
        };
        set_once(&mut written.lifetime, limit.map(|limit| Lifetime { limit, jitter }))
    }
}

/// `websocket_guard_drain off | TIME [code=CODE] [wait=TIME]`
struct DrainDirective;

impl Directive for DrainDirective {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let value = first(args);
        let is_off = value.as_bytes().eq_ignore_ascii_case(b"off");
        let spread = if is_off { 0 } else { time(value)? };
        let (mut code, mut wait) = (None, None);
        for &word in args.iter().skip(1) {
            if let (Some(value), false) = (parameter(word, "code"), is_off) {
                set_once(&mut code, close_code(value)?)?;
            } else if let (Some(value), false) = (parameter(word, "wait"), is_off) {
                set_once(&mut wait, time(value)?)?;
            } else {
                let hint = "only \"code=CODE\" and \"wait=TIME\" may follow a time";
                return Err(Rejection::Value(word, hint.into()));
            }
        }
        let drain =
            Drain { spread, code: code.unwrap_or(CloseCode::RESTART), wait: wait.unwrap_or(5000) };
        set_once(&mut written.drain, (!is_off).then_some(drain))
    }
}

/// A code that may be sent in a Close.
fn close_code(word: ngx_str_t) -> Result<CloseCode, Rejection> {
    let code = str::from_utf8(word.as_bytes()).ok().and_then(|text| text.parse().ok());
    code.map(CloseCode).filter(|code| code.is_allowed()).ok_or_else(|| {
        let hint = "a Close may have 1000 to 1003, 1007 to 1014 and 3000 to 4999";
        Rejection::Value(word, hint.into())
    })
}

/// `websocket_guard_upgrade TOKEN ...`
struct Upgrade;

impl Directive for Upgrade {
    fn set(
        cf: &mut ngx_conf_t,
        written: &mut Written,
        args: &[ngx_str_t],
    ) -> Result<(), Rejection> {
        for word in args {
            Protocols::new([word.as_bytes()])
                .map_err(|error| Rejection::Value(*word, error.to_string()))?;
        }
        let protocols = Protocols::new(args.iter().map(|word| word.as_bytes()))
            .map_err(|error| Rejection::Value(first(args), error.to_string()))?;
        set_once(&mut written.protocols, keep(cf, protocols)?)
    }
}

/// `websocket_guard_forwarded off | host | on`
struct Forwarded;

impl Directive for Forwarded {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        set_once(&mut written.forwarded, choose(first(args), &Forwards::WORDS)?)
    }
}

/// `websocket_guard_handshake strict | lenient`
struct Handshake;

impl Directive for Handshake {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let words = [("strict", Strictness::Strict), ("lenient", Strictness::Lenient)];
        set_once(&mut written.strictness, choose(first(args), &words)?)
    }
}

/// `websocket_guard_origin any | same | none | ORIGIN ...`
struct Origin;

impl Directive for Origin {
    fn set(
        cf: &mut ngx_conf_t,
        written: &mut Written,
        args: &[ngx_str_t],
    ) -> Result<(), Rejection> {
        let policy = OriginPolicy::new(args.iter().map(|word| word.as_bytes()))
            .map_err(|error| Rejection::Sentence(error.to_string()))?;
        let policy = if policy.is_any() { None } else { Some(keep(cf, policy)?) };
        set_once(&mut written.origin, policy)
    }
}

/// `websocket_guard_log LEVEL | off`
struct Log;

impl Directive for Log {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        set_once(&mut written.log, choose(first(args), &LogLevel::WORDS)?)
    }
}

/// `websocket_guard_ignore FINDING ...`; several lines of one level add up.
struct Ignore;

impl Directive for Ignore {
    fn set(_: &mut ngx_conf_t, written: &mut Written, args: &[ngx_str_t]) -> Result<(), Rejection> {
        let ignored = written.ignore.get_or_insert_with(FindingSet::default);
        for word in args {
            let finding = Finding::from_slug(word.as_bytes()).ok_or_else(|| {
                let hint = match Finding::nearest(word.as_bytes()) {
                    Some(nearest) => format!("did you mean \"{}\"?", nearest.slug()),
                    None => "it is not the name of a finding".into(),
                };
                Rejection::Value(*word, hint)
            })?;
            ignored.insert(finding);
        }
        Ok(())
    }
}
