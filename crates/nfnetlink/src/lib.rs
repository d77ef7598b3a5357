//! nf_tables, conntrack, ipset and IPVS over netlink, in pure Rust. Knows nothing of Kubernetes.
//!
//! The crate has layers, each usable without the one above it:
//!
//! * [`wire`] writes and reads netlink messages and attributes;
//! * [`Table`], [`Chain`], [`Set`], [`Rule`] and the expressions in [`expr`] say what an nf_tables ruleset
//!   is, and [`Batch`] turns changes of it into one atomic transaction;
//! * [`Socket`] hands a transaction to the kernel of the network namespace it was opened in, names the object
//!   when the kernel refuses, and reads a table back.
//!
//! A [`Ruleset`] is a table as a value: it takes the same transactions, refuses what the kernel refuses, prints
//! as `nft list table` prints, and [`simulate`] walks packets through it. [`Monitor`] hears what others change,
//! [`Tracer`] which rules live packets meet.
//!
//! Beside nf_tables there are [`ipset`] sets, the virtual servers of [`ipvs`], and [`Dummy`] interfaces, which hold
//! the addresses of those.
//!
//! ```
//! use nfnetlink::{Chain, ChainType, Element, Family, Hook, KeyType, DataType, Rule, Ruleset, Set, SetContent, Table};
//! use nfnetlink::expr::{LookupResult, PayloadBase, Register};
//! use nfnetlink::{Expr, Transaction, Verdict, priority};
//!
//! // A table whose chain drops what comes from an address of a set. `Batch` takes the same calls for the kernel:
//! // `Socket::open()?.commit(batch)?`.
//! let table = Table::new(Family::Ip, "guard");
//! let mut ruleset = Ruleset::new();
//! ruleset.add_table(&table);
//! ruleset.add_set(&table, &Set::new("bad", KeyType::of(&[DataType::Ipv4Addr]), SetContent::Keys, ""));
//! ruleset.add_elements(&table, "bad", &[Element::key(vec![192, 0, 2, 1])]);
//! ruleset.add_chain(&table, &Chain::base("in", ChainType::Filter, Hook::Input, priority::FILTER));
//! let source = Expr::Payload { base: PayloadBase::Network, offset: 12, length: 4, to: Register(0) };
//! let is_bad = Expr::Lookup { set: "bad".into(), from: Register(0), result: LookupResult::Contained };
//! ruleset.add_rule(&table, &Rule::new("in", vec![source, is_bad, Expr::Verdict(Verdict::Drop)]));
//!
//! assert!(ruleset.to_string().contains("ip saddr @bad drop"));
//! ```
//!
//! Nothing here runs a program or needs a C library. What is written prints readably with `nft list table`:
//! types, byte orders and comments travel with the objects as the user data `nft` itself would store.

pub mod conntrack;
pub mod expr;
pub mod ipset;
pub mod ipvs;
pub mod simulate;
pub mod wire;

mod batch;
mod chain;
mod datatype;
mod dummy;
mod dump;
mod element;
mod error;
mod family;
mod generation;
mod listen;
mod live;
mod ranges;
mod rule;
mod ruleset;
mod set;
mod socket;
mod sys;
mod table;
mod text;
mod transaction;
mod uapi;
mod userdata;
mod verdict;

pub use batch::Batch;
pub use chain::{BaseChain, Chain, ChainType, Hook, priority};
pub use datatype::{DataType, KeyType};
pub use dummy::Dummy;
pub use element::{Element, ElementData};
pub use error::{Error, Refusal};
pub use expr::Expr;
pub use family::Family;
pub use generation::Generation;
pub use listen::{ForeignChange, Headers, Monitor, Object, TraceEvent, TraceKind, Tracer};
pub use live::{Counter, Live};
pub use ranges::range_elements;
pub use rule::Rule;
pub use ruleset::{HeldChain, HeldSet, Ruleset};
pub use set::{Set, SetContent};
pub use socket::Socket;
pub use table::Table;
pub use transaction::Transaction;
pub use verdict::Verdict;
