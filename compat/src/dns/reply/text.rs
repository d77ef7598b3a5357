//! Replies as lines: one of the message, then one of each record.

use std::fmt::{self, Write};

use anyhow::{Context, bail};

use super::{FLAGS, Outcome, Record, Reply, Section};
use crate::dns::codes;
use crate::dns::question::{Edns, Question, from_hexadecimal, hexadecimal};

const SECTIONS: [(Section, &str); 3] =
    [(Section::Answer, "an"), (Section::Authority, "au"), (Section::Additional, "ad")];
/// Stands for the name that was asked for.
const ASKED: &str = "@";
/// Outcomes without a message.
const OTHERS: [(Outcome, &str); 3] =
    [(Outcome::Silence, "silence"), (Outcome::Closed, "closed"), (Outcome::Garbage, "garbage")];

pub(super) fn lines(outcome: &Outcome, question: &Question) -> String {
    let Outcome::Reply(reply) = outcome else {
        let word = OTHERS.iter().find(|(other, _)| other == outcome).map(|(_, word)| *word);
        return format!("{}\n", word.unwrap_or_default());
    };
    let mut text = codes::rcode_word(reply.rcode);
    for (_, word) in reply.flags.iter().zip(FLAGS).filter(|(is_set, _)| **is_set) {
        text.push(' ');
        text.push_str(word);
    }
    let mut field = |key: &str, value: &dyn fmt::Display| {
        let _ = write!(text, " {key}={value}");
    };
    if reply.opcode != 0 {
        field("opcode", &reply.opcode);
    }
    if let Some(edns) = &reply.edns {
        field("edns", &edns.size);
        if edns.version != 0 {
            field("version", &edns.version);
        }
        if edns.dnssec {
            field("do", &1);
        }
        if !edns.options.is_empty() {
            field("options", &hexadecimal(&edns.options));
        }
    }
    if let Some(echo) = &reply.echo {
        field("echo", &echo.replace(' ', "|"));
    }
    text.push('\n');
    let asked = question.proper().map(|proper| proper.name.as_str());
    for record in &reply.records {
        let name = if Some(record.name.as_str()) == asked { ASKED } else { &record.name };
        let _ = writeln!(text, "{}", Line(record, name));
    }
    text
}

struct Line<'a>(&'a Record, &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        record(self.0, self.1, f)
    }
}

/// A record with another word for its name.
pub(super) fn record(record: &Record, name: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let section = SECTIONS.iter().find(|(section, _)| *section == record.section).map(|(_, word)| *word);
    let (class, kind) = (codes::class_word(record.class), codes::type_word(record.kind));
    write!(f, "{} {name} {} {class} {kind} {}", section.unwrap_or_default(), record.ttl, record.data)
}

pub(super) fn read(lines: &[&str], question: &Question) -> anyhow::Result<Outcome> {
    let (first, records) = lines.split_first().context("a question without an answer")?;
    if let Some((outcome, _)) = OTHERS.iter().find(|(_, word)| word == first) {
        return Ok(outcome.clone());
    }
    let strange = || format!("no answer: {first}");
    let words: Vec<_> = first.split(' ').collect();
    let value = |key: &str| words.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='));
    let number = |key: &str| value(key).map_or(Ok(0), str::parse::<u16>).with_context(strange);
    let edns = match value("edns") {
        None => None,
        Some(_) => Some(Edns {
            size: number("edns")?,
            version: number("version")? as u8,
            dnssec: value("do").is_some(),
            options: from_hexadecimal(value("options").unwrap_or_default()).with_context(strange)?,
        }),
    };
    let asked = question.proper().map_or("", |proper| proper.name.as_str());
    Ok(Outcome::Reply(Reply {
        rcode: codes::rcode_code(words[0]).with_context(strange)?,
        opcode: number("opcode")? as u8,
        flags: FLAGS.map(|flag| words.contains(&flag)),
        echo: value("echo").map(|echo| echo.replace('|', " ")),
        records: records.iter().map(|line| read_record(line, asked)).collect::<Result<_, _>>()?,
        edns,
    }))
}

fn read_record(line: &str, asked: &str) -> anyhow::Result<Record> {
    let strange = || format!("no record: {line}");
    let words: Vec<_> = line.splitn(6, ' ').collect();
    let [section, name, ttl, class, kind, data] = words.as_slice() else { bail!(strange()) };
    let section = SECTIONS.iter().find(|(_, word)| word == section).map(|(section, _)| *section);
    Ok(Record {
        section: section.with_context(strange)?,
        name: if *name == ASKED { asked } else { name }.to_owned(),
        kind: codes::type_code(kind).with_context(strange)?,
        class: codes::class_code(class).with_context(strange)?,
        ttl: ttl.parse().with_context(strange)?,
        data: (*data).to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_read_as_it_is_written() {
        let question = Question::new("web.default.", codes::SRV);
        let record = |section, name: &str, kind, data: &str| Record {
            section,
            name: name.to_owned(),
            kind,
            class: codes::IN,
            ttl: 30,
            data: data.to_owned(),
        };
        let reply = Reply {
            rcode: 16,
            opcode: 4,
            flags: [true, false, true, false, true, false],
            echo: Some("Web.default. IN A".to_owned()),
            records: vec![
                record(Section::Answer, "web.default.", codes::SRV, "0 100 80 a.b."),
                record(Section::Additional, "a.b.", codes::A, "192.0.2.1"),
            ],
            edns: Some(Edns { size: 1232, version: 1, dnssec: true, options: vec![1, 2] }),
        };
        for outcome in [Outcome::Reply(reply), Outcome::Reply(Reply::default()), Outcome::Silence] {
            let text = outcome.lines(&question);
            let lines: Vec<_> = text.lines().collect();
            assert_eq!(Outcome::read(&lines, &question).unwrap(), outcome, "{text}");
        }
        assert!(Outcome::read(&["NOERROR", "an @ 30 IN"], &question).is_err());
    }
}
