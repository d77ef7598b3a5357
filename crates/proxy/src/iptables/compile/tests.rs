//! The rules of Services, compared with kube-proxy's.

use serde_json::{Value, json};

use service::Family;

use crate::iptables::compile;
use crate::iptables::scene::{COUNTING, Scene, service, slice};
use crate::mode::Touched;
use crate::xtables::Platform;
use crate::xtables::text::Tables;

mod golden;
mod sequences;
mod variants;
