//! Images: archives made on the spot, and archives imported into the runtime.

pub mod pause;

mod archive;
mod import;
mod reference;
mod stand_ins;
mod tar;

pub(crate) use archive::ARCHITECTURE;
pub use archive::{File, Image};
pub use import::{Imported, import_all};
pub use reference::normalize;
pub use stand_ins::{STAND_INS, write_stand_ins};
