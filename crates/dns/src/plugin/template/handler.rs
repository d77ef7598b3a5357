//! `template` at work.

use super::TemplateRule;
use super::records::Templates;
use crate::plugin::{Handled, Handler, Parts, Request};

/// Makes the handler of `template`.
pub(in crate::plugin) fn handler(value: &[TemplateRule], _: &Parts) -> Option<Box<dyn Handler>> {
    (!value.is_empty()).then(|| Box::new(Templates::new(value.to_vec())) as Box<dyn Handler>)
}

impl Handler for Templates {
    fn begin(&self, request: &Request<'_>, out: &mut Vec<u8>) -> Handled {
        let answered = self.answer(request.query, request.client.address, request.limit, out);
        if answered { Handled::Reply } else { Handled::Next }
    }
}
