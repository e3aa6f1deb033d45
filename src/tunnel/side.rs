//! One side of a tunnel: nginx's connection to the client or to the backend.

use core::mem::{size_of, zeroed, MaybeUninit};
use core::ptr::{self, NonNull};
use core::slice;

use ngx::ffi::{
    ngx_add_timer, ngx_connection_t, ngx_del_timer, ngx_event_flags, ngx_event_t,
    ngx_handle_read_event, ngx_handle_write_event, ngx_log_t, ngx_msec_t, ngx_post_event,
    ngx_posted_events, ngx_posted_next_events, ngx_queue_t, ngx_uint_t, NGX_CLOSE_EVENT, NGX_ERROR,
    NGX_USE_CLEAR_EVENT,
};

use crate::nginx::{free_tls_buffer, speaks_tls, AllocationFailed};

/// Nothing can be sent any more, or the tunnel cannot go on for another reason.
#[derive(Debug)]
pub struct Broken;

impl From<AllocationFailed> for Broken {
    fn from(_: AllocationFailed) -> Self {
        Self
    }
}

#[derive(Clone, Copy)]
pub struct Side(NonNull<ngx_connection_t>);

impl Side {
    /// # Safety
    /// `connection` must be null or an open connection, and stay so for as long as the value is
    /// used.
    pub unsafe fn new(connection: *mut ngx_connection_t) -> Option<Self> {
        NonNull::new(connection).map(Self)
    }

    pub fn as_ptr(self) -> *mut ngx_connection_t {
        self.0.as_ptr()
    }

    fn connection(&self) -> &ngx_connection_t {
        // SAFETY: the connection is open, and nginx runs nothing while this is looked at.
        unsafe { self.0.as_ref() }
    }

    pub fn read_event(&self) -> &ngx_event_t {
        // SAFETY: an open connection has both events.
        unsafe { &*self.connection().read }
    }

    pub fn write_event(&self) -> &ngx_event_t {
        // SAFETY: an open connection has both events.
        unsafe { &*self.connection().write }
    }

    pub fn log(&self) -> *mut ngx_log_t {
        self.connection().log
    }

    pub fn is_tls(&self) -> bool {
        speaks_tls(self.connection())
    }

    /// Whether something sent before the tunnel began still waits in nginx.
    pub fn is_buffered(&self) -> bool {
        self.connection().buffered() != 0
    }

    /// Gives back what nginx has kept for responses over TLS, unless something of one is still in it:
    /// [`send`](Self::send) does without.
    pub fn free_tls_buffer(&self) {
        // SAFETY: the connection is open, and nginx is in a handler of the request and not in a write.
        unsafe { free_tls_buffer(self.as_ptr()) };
    }

    /// Whether there is, or may be, something to read.
    pub fn is_readable(&self) -> bool {
        self.read_event().ready() != 0
    }

    /// Whether a chance to write means nothing: nothing waits for it, and nginx will tell of the next
    /// without being asked again.
    pub fn awaits_no_write(&self) -> bool {
        let event = self.write_event();
        // SAFETY: the connection is open.
        event.timer_set() == 0 && event.timedout() == 0 && unsafe { stays_watched(event) }
    }

    /// Whether nothing more will come.
    pub fn is_done(&self) -> bool {
        self.read_event().eof() != 0
    }

    /// Takes it for such a one, so that nginx finds the end of the tunnel.
    pub fn set_done(&self) {
        // SAFETY: an open connection has both events.
        unsafe { (*self.connection().read).set_eof(1) };
    }

    /// Takes it for one that has not taken in time what it was sent. With TLS nothing more can be said on such
    /// a connection, its end neither (`ngx_ssl_shutdown`, SSL_write(3)).
    pub fn give_up(&self) {
        // SAFETY: the connection is open, and nginx runs nothing while this is changed.
        unsafe { (*self.as_ptr()).set_timedout(1) };
    }

    /// Whether it was reset.
    pub fn has_failed(&self) -> bool {
        self.read_event().error() != 0 || self.write_event().error() != 0
    }

    /// Looks whether it was reset, where nothing is read from it. What it sent before is gone then (tcp(7)).
    pub fn find_reset(&self) -> bool {
        let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
        let mut byte = 0_u8;
        // SAFETY: there is room for one byte; an open connection has both events.
        unsafe {
            let received =
                libc::recv(self.connection().fd, ptr::addr_of_mut!(byte).cast(), 1, flags);
            let is_reset = received == -1 && *libc::__errno_location() == libc::ECONNRESET;
            if is_reset {
                (*self.connection().read).set_error(1);
                (*self.connection().read).set_eof(1);
            }
            is_reset
        }
    }

    /// Whether bytes are on their way to it, of which it has taken some within so many milliseconds.
    pub fn is_slow(&self, milliseconds: ngx_msec_t) -> bool {
        let fd = self.connection().fd;
        // SAFETY: the structure is plain data and as large as the kernel is told; so is the number.
        unsafe {
            let mut queued: libc::c_int = 0;
            if libc::ioctl(fd, libc::TIOCOUTQ, &mut queued) != 0 || queued == 0 {
                return false;
            }
            let mut info: libc::tcp_info = zeroed();
            let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
            let rc = libc::getsockopt(
                fd,
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                (&mut info as *mut libc::tcp_info).cast(),
                &mut length,
            );
            rc == 0 && (info.tcpi_last_ack_recv as ngx_msec_t) < milliseconds
        }
    }

    /// Waits for no event with a limit of time any more.
    pub fn stop_timers(&self) {
        // SAFETY: an open connection has both events.
        unsafe {
            for event in [self.connection().read, self.connection().write] {
                if (*event).timer_set() != 0 {
                    ngx_del_timer(event);
                }
            }
        }
    }

    /// Has the read handler called after so many milliseconds, if not before.
    pub fn read_within(&self, timeout: ngx_msec_t) {
        // SAFETY: an open connection has both events.
        unsafe { ngx_add_timer(self.connection().read, timeout) };
    }

    /// Forgets that a time for reading is over.
    pub fn forget_read_timeout(&self) {
        // SAFETY: an open connection has both events.
        unsafe { (*self.connection().read).set_timedout(0) };
    }

    /// Reads once; `None` if there is nothing, now or for ever.
    #[inline(always)]
    pub fn receive<'b>(&self, room: &'b mut [MaybeUninit<u8>]) -> Option<&'b [u8]> {
        let recv = self.connection().recv?;
        // SAFETY: there is that much room; what the function says that it read is written.
        unsafe {
            let received = recv(self.as_ptr(), room.as_mut_ptr().cast(), room.len());
            match usize::try_from(received) {
                Ok(0) => None,
                Ok(length) => Some(slice::from_raw_parts(room.as_ptr().cast(), length)),
                Err(_) => {
                    if received == NGX_ERROR as isize {
                        (*(*self.as_ptr()).read).set_eof(1);
                    }
                    None
                }
            }
        }
    }

    /// Sends as much as the other end takes now.
    #[inline(always)]
    pub fn send(&self, bytes: &[u8]) -> Result<usize, Broken> {
        let mut sent = self.send_once(bytes)?;
        while sent > 0 && sent < bytes.len() {
            match self.send_once(bytes.get(sent..).unwrap_or_default())? {
                0 => break,
                more => sent += more,
            }
        }
        Ok(sent)
    }

    #[inline(always)]
    fn send_once(&self, bytes: &[u8]) -> Result<usize, Broken> {
        let send = self.connection().send.ok_or(Broken)?;
        if bytes.is_empty() || self.write_event().ready() == 0 {
            return Ok(0);
        }
        // SAFETY: the function only reads the bytes.
        let sent = unsafe { send(self.as_ptr(), bytes.as_ptr().cast_mut(), bytes.len()) };
        match usize::try_from(sent) {
            Ok(sent) => Ok(sent),
            Err(_) if sent == NGX_ERROR as isize => Err(Broken),
            Err(_) => Ok(0),
        }
    }

    /// Has nginx call the read handler soon, without waiting for an event.
    pub fn post_read(&self) {
        // SAFETY: the queue is one of nginx's.
        unsafe { self.post(ptr::addr_of_mut!(ngx_posted_events)) }
    }

    /// The same, after all other events that are waiting.
    pub fn post_read_last(&self) {
        // SAFETY: the queue is one of nginx's.
        unsafe { self.post(ptr::addr_of_mut!(ngx_posted_next_events)) }
    }

    /// # Safety
    /// `queue` must be a queue of posted events.
    unsafe fn post(&self, queue: *mut ngx_queue_t) {
        // SAFETY: the connection is open, so the event is a live one.
        unsafe { ngx_post_event(self.connection().read, queue) }
    }

    /// Whether there is room to write, and nobody waits for it: nothing is to be done to learn when there is
    /// none. How much room there must be (SO_SNDLOWAT) matters to those who wait.
    #[inline(always)]
    pub fn takes(&self) -> bool {
        let event = self.write_event();
        event.ready() != 0 && event.timer_set() == 0 && event.posted() == 0 && is_edge_triggered()
    }

    /// Has nginx watch for room to write, for at most `timeout`, if there is one, while there is none.
    #[inline(never)]
    pub fn watch_write(&self, low_water: usize, timeout: Option<ngx_msec_t>) -> Result<(), Broken> {
        let event = self.connection().write;
        // SAFETY: the connection is open.
        unsafe {
            if (low_water != 0 || !stays_watched(event))
                && ngx_handle_write_event(event, low_water) != 0
            {
                return Err(Broken);
            }
            if let Some(timeout) = timeout {
                set_timer(event, timeout);
            }
        }
        Ok(())
    }

    /// Has nginx watch for bytes, for at most `timeout`, if there is one.
    #[inline(always)]
    pub fn watch_read(&self, timeout: Option<ngx_msec_t>) -> Result<(), Broken> {
        let event = self.connection().read;
        // SAFETY: the connection is open.
        unsafe {
            if !stays_watched(event) {
                let over = (*event).eof() != 0 || (*event).error() != 0;
                let flags = if over { NGX_CLOSE_EVENT } else { 0 };
                if ngx_handle_read_event(event, flags as ngx_uint_t) != 0 {
                    return Err(Broken);
                }
            }
            if let Some(timeout) = timeout {
                set_timer(event, timeout);
            }
        }
        Ok(())
    }
}

/// Whether nginx has nothing to do to go on watching an event: an edge-triggered method watches a
/// connection for good (`ngx_handle_read_event`).
///
/// # Safety
/// `event` must be an event of an open connection.
#[inline(always)]
unsafe fn stays_watched(event: *const ngx_event_t) -> bool {
    // SAFETY: the event is live, since its connection is open.
    is_edge_triggered() && unsafe { (*event).active() != 0 || (*event).ready() != 0 }
}

/// Whether the method that nginx learns of events by tells of each of them once.
#[inline(always)]
fn is_edge_triggered() -> bool {
    // SAFETY: nginx sets it when it starts.
    unsafe { ngx_event_flags & NGX_USE_CLEAR_EVENT as ngx_uint_t != 0 }
}

/// Times an event that is waited for or will come, and only such a one. A worker that shuts down
/// leaves once no timer is set (`ngx_event_no_timers_left`).
///
/// # Safety
/// `event` must be an event of an open connection.
#[inline(always)]
unsafe fn set_timer(event: *mut ngx_event_t, timeout: ngx_msec_t) {
    // SAFETY: the event is live, since its connection is open, and its handler is set.
    unsafe {
        let waiting = (*event).active() != 0 && (*event).ready() == 0;
        if waiting || (*event).posted() != 0 {
            ngx_add_timer(event, timeout);
        } else if (*event).timer_set() != 0 {
            ngx_del_timer(event);
        }
    }
}
