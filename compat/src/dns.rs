//! Does our DNS do what CoreDNS does?
//!
//! Random objects ([`generate`]) are given to a real API server that CoreDNS and our server watch with the same
//! Corefile ([`corefile`]); both get every question that the objects suggest ([`questions`]), and every reply must
//! agree ([`compare`]). What differs on purpose has a rule each ([`wanted`]). Names that are not the cluster's are
//! answered by a scripted server ([`upstream`]). Questions and CoreDNS' answers can be recorded ([`recording`]).

pub mod ask;
pub mod codes;
pub mod compare;
pub mod corefile;
pub mod generate;
pub mod live;
pub mod name;
pub mod question;
pub mod questions;
pub mod recording;
pub mod replay;
pub mod reply;
pub mod servers;
pub mod upstream;
pub mod verdicts;
pub mod wanted;
