//! The modes by name: starting one, compiling for one, removing one.

use crate::config::{Config, ModeName};
use crate::error::Error;
use crate::mode::Mode;
use crate::nftables::{Kernel, Nftables};

/// Gets a mode ready for the network namespace of the calling thread. Nothing is written yet.
///
/// # Errors
/// [`Error`] says what the kernel lacks, and which mode would work.
pub fn start(config: &Config) -> Result<Box<dyn Mode>, Error> {
    match config.mode {
        ModeName::Nftables => Ok(Box::new(Nftables::new(Kernel::new(nfnetlink::Socket::open().map_err(Error::Load)?)))),
        other => Err(Error::Mode(format!("mode {other} is not there yet; use nftables"))),
    }
}
