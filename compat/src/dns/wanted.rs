//! What differs on purpose. The page of this crate gives the reasons at length.

mod rules;

use std::collections::BTreeSet;

use serde_json::Value;

use crate::dns::codes;
use crate::dns::compare::{Difference, differences};
use crate::dns::corefile::Case;
use crate::dns::question::Question;
use crate::dns::reply::{Outcome, Section};

/// A question, the configuration under which it was asked, and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The configuration.
    pub case: &'a Case,
    /// The question.
    pub question: &'a Question,
    /// The Services with names for their endpoints.
    pub services: &'a Services,
    /// What CoreDNS answered.
    pub theirs: &'a Outcome,
    /// What we answered.
    pub ours: &'a Outcome,
}

/// The Services whose endpoints have names, so all but those of type ExternalName, as `name.namespace.svc.`.
#[derive(Debug, Default)]
pub struct Services(BTreeSet<String>);

impl Services {
    /// Those of a list of objects.
    pub fn of(objects: &Value) -> Self {
        let items = objects["items"].as_array().into_iter().flatten();
        let serving =
            items.filter(|item| item["kind"] == "Service" && item["spec"]["type"] != "ExternalName");
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let name = |item: &Value| {
            format!("{}.{}.svc.", text(&item["metadata"]["name"]), text(&item["metadata"]["namespace"]))
        };
        Self(serving.map(name).collect())
    }

    /// Whether a name is that of such a Service or of an endpoint of it.
    fn have(&self, name: &str) -> bool {
        let mut rest = Some(name);
        while let Some(name) = rest {
            if self.0.iter().any(|own| name.starts_with(own)) {
                return true;
            }
            rest = name.split_once('.').map(|(_, rest)| rest);
        }
        false
    }
}

impl Asked<'_> {
    /// What differs.
    pub fn differences(&self) -> Vec<Difference> {
        differences(self.theirs, self.ours, self.case.counts_down)
    }

    /// The name that was asked for, in small letters; empty when the message was none.
    fn name(&self) -> String {
        self.question.proper().map_or_else(String::new, |proper| proper.name.to_ascii_lowercase())
    }

    /// What the name has in front of a zone of the cluster, without the dot; `None` if it is in none.
    fn in_front(&self) -> Option<String> {
        let name = self.name();
        let mut fronts = self.case.zones.iter().filter_map(|zone| {
            let front = name.strip_suffix(&format!("{zone}."))?;
            (front.is_empty() || front.ends_with('.')).then(|| front.trim_end_matches('.').to_owned())
        });
        fronts.next()
    }

    /// Whether these are the response codes, theirs and ours.
    fn becomes(&self, theirs: &str, ours: &str) -> bool {
        let (theirs, ours) = (codes::rcode_code(theirs), codes::rcode_code(ours));
        let rcode = |outcome: &Outcome| outcome.reply().map(|reply| reply.rcode);
        rcode(self.theirs) == theirs && rcode(self.ours) == ours
    }

    /// The type that was asked for; 0 when the message was none.
    fn kind(&self) -> u16 {
        self.question.proper().map_or(0, |proper| proper.kind)
    }

    /// Whether we answer with no record.
    fn is_empty(&self) -> bool {
        self.ours.reply().is_some_and(|reply| reply.of(Section::Answer).next().is_none())
    }

    /// Whether nothing does.
    pub fn agree(&self) -> bool {
        self.differences().is_empty()
    }
}

/// The reason for a difference, if it is on purpose.
pub fn reason(asked: &Asked<'_>, difference: &Difference) -> Option<&'static str> {
    rules::ALL.iter().find(|wanted| (wanted.is)(asked, difference)).map(|wanted| wanted.reason)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::question::Edns;
    use crate::dns::reply::Reply;

    fn reasons(question: &Question, theirs: Reply, ours: Reply) -> Vec<Option<&'static str>> {
        let (theirs, ours) = (Outcome::Reply(theirs), Outcome::Reply(ours));
        let case = Case::of("plain").unwrap();
        let services = &Services::default();
        let asked = Asked { case, question, services, theirs: &theirs, ours: &ours };
        asked.differences().iter().map(|difference| reason(&asked, difference)).collect()
    }

    #[test]
    fn the_size_of_edns_is_ours_and_its_do_flag_is_not() {
        let question = Question::new("web.default.svc.cluster.local.", codes::A);
        let with =
            |size, dnssec| Reply { edns: Some(Edns { size, dnssec, ..Edns::default() }), ..Reply::default() };
        let found = reasons(&question, with(4096, true), with(1232, true));
        assert_eq!(found, [Some("EDNS tells the server's own size")]);
        assert_eq!(reasons(&question, with(4096, true), with(1232, false)), [None]);
    }

    #[test]
    fn a_name_exists_for_all_types_or_for_none() {
        let empty = |rcode| Reply { rcode, ..Reply::default() };
        let found = |name, kind| reasons(&Question::new(name, kind), empty(3), empty(0));
        let reverse = "7.0.96.10.in-addr.arpa.";
        assert_eq!(found(reverse, codes::A), [Some("a name with a PTR record exists for other types too")]);
        assert_eq!(found(reverse, codes::PTR), [None]);
        assert_eq!(found("web.default.svc.cluster.local.", codes::AAAA), [None]);
    }
}
