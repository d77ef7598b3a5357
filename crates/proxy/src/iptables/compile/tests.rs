//! The rules of Services, compared with kube-proxy's.

use serde_json::{Value, json};

use super::*;
use crate::iptables::scene::{COUNTING, Scene, service, slice};
use crate::xtables::text::Tables;

mod golden;
mod sequences;
mod variants;
