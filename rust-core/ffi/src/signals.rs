//! Signals on the core's own threads.

/// A reader that goes away is an error of the write on this thread, and not the end of the process. Go sees to that on its
/// threads alone: on others SIGPIPE would kill k6.
pub(crate) fn block_sigpipe() {
    #[cfg(not(miri))]
    {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        // SAFETY: `set` is writable, and initialised by the first call before the others read it; the mask that was there
        // before is not asked for, and the calls keep no pointer. They fail for unknown signals alone.
        unsafe {
            libc::sigemptyset(set.as_mut_ptr());
            libc::sigaddset(set.as_mut_ptr(), libc::SIGPIPE);
            libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        }
    }
}
