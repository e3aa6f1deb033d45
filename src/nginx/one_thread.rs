//! State of a process

/// A static of a process that has one thread, as nginx's have.
pub struct OneThread<T>(T);

// SAFETY: a process of nginx runs this library in one thread; the threads of a pool
// (`ngx_thread_pool_t`) never come here.
unsafe impl<T> Sync for OneThread<T> {}

impl<T> OneThread<T> {
    pub const fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> core::ops::Deref for OneThread<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}
