//! nftables mode: few global maps, changed element by element over netlink.
//!
//! [`compile`] turns a Service into what it wants of the kernel; [`Ruleset`] takes that in and knows the
//! difference to what was loaded last; [`Kernel`] sends that difference as one atomic transaction. The layout in
//! the kernel is described in [`layout`].

pub mod layout;

mod compile;
mod kernel;
mod ruleset;
mod settings;

pub use compile::compile;
pub use kernel::{Kernel, cleanup};
pub use ruleset::{Change, Fragment, Front, FrontValue, Plan, Range, Ruleset, Way};
pub use settings::Settings;

use crate::error::Error;
use crate::mode::{Mode, Report, Touched};
use crate::sight::Sight;

/// The nftables mode at work in one network namespace.
#[derive(Debug)]
pub struct Nftables {
    ruleset: Ruleset,
    kernel: Kernel,
}

impl Nftables {
    /// Nothing is read or written before the first [`Mode::sync`].
    pub fn new(kernel: Kernel) -> Self {
        Self { ruleset: Ruleset::new(), kernel }
    }
}

impl Mode for Nftables {
    fn sync(&mut self, sight: &Sight<'_>, touched: &Touched<'_>) -> Result<Report, Error> {
        for name in touched.names(sight) {
            let fragment =
                compile(&sight.ports(&name), &sight.node.viewpoint.node, self.ruleset.fragment(&name));
            self.ruleset.replace(&name, fragment);
        }
        if matches!(touched, Touched::Everything) {
            self.kernel.trust_nothing();
        }
        self.kernel.sync(&Settings::of(sight), &mut self.ruleset)
    }
}
