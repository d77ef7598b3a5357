//! Images: archives made on the spot, and archives imported into the runtime.

pub mod pause;

mod archive;
mod import;
mod inspect;
mod reference;
mod stand_ins;
mod tar;
mod watch;

pub(crate) use archive::ARCHITECTURE;
pub use archive::{File, Image};
pub(crate) use import::{BOOK, Importer, Looked};
pub use import::{Imported, digest, has_imported, import_all};
pub use inspect::inspect;
#[cfg(feature = "fuzz")]
pub(crate) use inspect::{names, paths};
pub use reference::normalize;
pub use stand_ins::{STAND_INS, write_stand_ins};
pub use tar::Fault;
pub(crate) use watch::follow;
