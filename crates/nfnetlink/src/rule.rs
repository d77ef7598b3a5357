//! Rules.

use std::borrow::Cow;

use crate::batch::Anonymous;
use crate::expr::Expr;
use crate::live::Live;
use crate::uapi::nft;
use crate::userdata;
use crate::wire::{Message, Writer};

/// A rule: expressions evaluated in turn until one does not match.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    /// The chain it is appended to.
    pub chain: String,
    /// What it matches and does.
    pub expressions: Vec<Expr>,
    /// Shown by `nft list`; empty for none.
    pub comment: Cow<'static, str>,
    /// The kernel's number of the rule, if it was read from the kernel.
    pub handle: Live<Option<u64>>,
}

impl Rule {
    /// A rule without a comment.
    pub fn new(chain: impl Into<String>, expressions: Vec<Expr>) -> Self {
        Self { chain: chain.into(), expressions, comment: Cow::Borrowed(""), handle: Live(None) }
    }

    /// The same rule with a comment that `nft list` shows.
    pub fn comment(self, comment: impl Into<Cow<'static, str>>) -> Self {
        Self { comment: comment.into(), ..self }
    }

    pub(crate) fn write(&self, table: &str, anonymous: &Anonymous, message: &mut Writer) {
        message.string(nft::RULE_TABLE, table);
        message.string(nft::RULE_CHAIN, &self.chain);
        message.nest(nft::RULE_EXPRESSIONS, |list| {
            self.expressions.iter().for_each(|expression| expression.write(anonymous, list));
        });
        if let Some(comment) = userdata::comment(&self.comment) {
            message.raw(nft::RULE_USERDATA, &comment);
        }
    }
}

impl Rule {
    /// `None` if the message is no rule.
    pub(crate) fn read(message: &Message<'_>) -> Option<Self> {
        let attributes = message.attributes();
        let chain = attributes.find(nft::RULE_CHAIN)?.string()?.to_owned();
        let expressions = attributes.find(nft::RULE_EXPRESSIONS).map(|list| list.nested());
        let expressions =
            expressions.into_iter().flatten().map(|element| Expr::read(element.nested())).collect();
        let userdata = attributes.find(nft::RULE_USERDATA);
        let comment = userdata.map(|userdata| userdata::read_comment(userdata.value)).unwrap_or_default();
        let handle = Live(attributes.find(nft::RULE_HANDLE).and_then(|handle| handle.be64()));
        Some(Self { chain, expressions, comment: comment.into(), handle })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::expr::Reject;

    /// The name of an expression as an attribute, padded.
    const MASQ: [u8; 12] = [9, 0, 1, 0, b'm', b'a', b's', b'q', 0, 0, 0, 0];
    const REJECT: [u8; 12] = [11, 0, 1, 0, b'r', b'e', b'j', b'e', b'c', b't', 0, 0];
    const IMMEDIATE: [u8; 16] = [14, 0, 1, 0, b'i', b'm', b'm', b'e', b'd', b'i', b'a', b't', b'e', 0, 0, 0];

    #[test]
    fn rules_are_what_nft_sends() {
        // nft 1.0.6: masquerade fully-random; reject; return
        let cases: [(Expr, &[u8]); 3] = [
            (
                Expr::Masquerade { fully_random: true },
                &[&[0x1c, 0, 1, 0x80][..], &MASQ, &[0x0c, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 0x10]].concat(),
            ),
            (
                Expr::Reject(Reject::PortUnreachable),
                &[
                    &[0x24, 0, 1, 0x80][..],
                    &REJECT,
                    &[0x14, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 2, 5, 0, 2, 0, 1, 0, 0, 0],
                ]
                .concat(),
            ),
            (
                Expr::Verdict(Verdict::Return),
                &[
                    &[0x30, 0, 1, 0x80][..],
                    &IMMEDIATE,
                    &[0x1c, 0, 2, 0x80, 8, 0, 1, 0, 0, 0, 0, 0, 0x10, 0, 2, 0x80, 0x0c, 0, 2, 0x80],
                    &[8, 0, 1, 0, 0xff, 0xff, 0xff, 0xfb],
                ]
                .concat(),
            ),
        ];
        for (expression, captured) in cases {
            let mut writer = Writer::new();
            let rule = Rule::new("p", vec![expression]);
            rule.write("t", &Anonymous::default(), &mut writer);
            let head = [6, 0, 1, 0, b't', 0, 0, 0, 6, 0, 2, 0, b'p', 0, 0, 0];
            let list = [(captured.len() + 4) as u8, 0, 4, 0x80];
            assert_eq!(writer.bytes(), [&head[..], &list, captured].concat());
        }
    }
}
