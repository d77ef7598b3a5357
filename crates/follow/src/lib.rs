//! Following the Kubernetes API: lists and watches that recover by themselves, and Events about what was found.
//!
//! [`objects`], [`metadata`] and [`slim_objects`] are the three ways to follow a kind: whole objects, only their
//! metadata, or the slim form that the Service model reads. Each is an endless stream of [`Event`]s, and all three
//! recover in the same way. [`Listing`] tells what is gone after a new list. A [`Recorder`] writes Kubernetes Events.
//!
//! Invariants:
//! * A stream never ends, and never yields an error: a failure is logged here and tried again, with pauses that grow to
//!   two seconds and no further.
//! * An object that cannot be read costs that object, never the list or the watch that it is in.
//! * Nobody waits for a [`Recorder`]: an Event that cannot be written is dropped.

mod recorder;
mod retry;
mod selection;
mod sys;
mod watch;

pub use recorder::{EventType, Recorder, reference};
pub use selection::Selection;
pub use service::{Event, Listing};
pub use sys::give_back_memory;
pub use watch::{metadata, objects, slim_objects};
