//! Rules.

use crate::expr::Expr;
use crate::uapi::nft;
use crate::userdata;
use crate::wire::Writer;

/// A rule: expressions evaluated in turn until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The chain it is appended to.
    pub chain: String,
    /// What it matches and does.
    pub expressions: Vec<Expr>,
    /// Shown by `nft list`; empty for none.
    pub comment: &'static str,
}

impl Rule {
    /// A rule without a comment.
    pub fn new(chain: impl Into<String>, expressions: Vec<Expr>) -> Self {
        Self { chain: chain.into(), expressions, comment: "" }
    }

    /// The same rule with a comment that `nft list` shows.
    pub fn comment(self, comment: &'static str) -> Self {
        Self { comment, ..self }
    }

    pub(crate) fn write(&self, table: &str, message: &mut Writer) {
        message.string(nft::RULE_TABLE, table);
        message.string(nft::RULE_CHAIN, &self.chain);
        message.nest(nft::RULE_EXPRESSIONS, |list| {
            self.expressions.iter().for_each(|expression| expression.write(list));
        });
        if let Some(comment) = userdata::comment(self.comment) {
            message.raw(nft::RULE_USERDATA, &comment);
        }
    }
}
