//! Sets, maps and their elements.

use std::fmt::{self, Write};

use super::value;
use crate::datatype::DataType;
use crate::element::{Element, ElementData};
use crate::ruleset::HeldSet;
use crate::set::{Set, SetContent};

/// The named set with its elements.
pub(super) fn declaration(held: &HeldSet, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let set = &held.set;
    writeln!(f, "\t{} {} {{", if set.is_map() { "map" } else { "set" }, set.name)?;
    write!(f, "\t\ttype {}", names(&set.key.0))?;
    match &set.content {
        SetContent::Keys | SetContent::Ranges => writeln!(f)?,
        SetContent::Data(data) => writeln!(f, " : {}", names(&data.0))?,
        SetContent::Verdict => writeln!(f, " : verdict")?,
    }
    if let Some(size) = set.size {
        writeln!(f, "\t\tsize {size}")?;
    }
    let flags = [
        (set.content == SetContent::Ranges, "interval"),
        (set.dynamic, "dynamic"),
        (set.timeout.is_some(), "timeout"),
    ];
    let flags: Vec<_> = flags.into_iter().filter(|(on, _)| *on).map(|(_, name)| name).collect();
    if !flags.is_empty() {
        writeln!(f, "\t\tflags {}", flags.join(","))?;
    }
    if set.counter {
        writeln!(f, "\t\tcounter")?;
    }
    if let Some(timeout) = set.timeout.filter(|timeout| !timeout.is_zero()) {
        writeln!(f, "\t\ttimeout {}", value::time(timeout))?;
    }
    if !set.comment.is_empty() {
        writeln!(f, "\t\tcomment \"{}\"", set.comment)?;
    }
    let elements = elements(held);
    if !elements.is_empty() {
        let per_line = per_line(set);
        f.write_str("\t\telements = { ")?;
        for (index, element) in elements.iter().enumerate() {
            match index {
                0 => {}
                _ if index % per_line == 0 => f.write_str(",\n\t\t\t     ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(element)?;
        }
        writeln!(f, " }}")?;
    }
    writeln!(f, "\t}}")
}

/// The elements of an anonymous set in braces.
pub(super) fn inline(held: &HeldSet) -> String {
    format!("{{ {} }}", elements(held).join(", "))
}

fn names(fields: &[DataType]) -> String {
    fields.iter().map(|field| field.name()).collect::<Vec<_>>().join(" . ")
}

/// How many elements `nft` puts into a line.
fn per_line(set: &Set) -> usize {
    match &*set.key.0 {
        [DataType::Ipv4Addr] => 2,
        [DataType::InetProto | DataType::InetService | DataType::Mark | DataType::Integer] => 5,
        _ => 1,
    }
}

fn elements(held: &HeldSet) -> Vec<String> {
    let sorted = held.sorted();
    if held.set.content == SetContent::Ranges {
        return ranges(&held.set, &sorted);
    }
    sorted
        .into_iter()
        .map(|element| text(&held.set, value::concatenation(&held.set.key, &element.key), element))
        .collect()
}

/// Each start of a range with the end that follows it; a range without an end goes up to the highest value.
fn ranges(set: &Set, sorted: &[&Element]) -> Vec<String> {
    let Some(kind) = set.key.0.first() else { return Vec::new() };
    let starts = sorted.iter().enumerate().filter(|(_, element)| element.data != ElementData::RangeEnd);
    starts
        .map(|(index, element)| {
            let last = match sorted.get(index + 1) {
                Some(end) => value::bytes(value::number(&end.key).wrapping_sub(1), element.key.len()),
                None => vec![0xff; element.key.len()],
            };
            text(set, value::range(*kind, &element.key, &last), element)
        })
        .collect()
}

/// An element, whose key reads `key`.
fn text(set: &Set, key: String, element: &Element) -> String {
    let mut text = key;
    // Writing to a string cannot fail.
    let _ = describe(set, element, &mut text);
    text
}

fn describe(set: &Set, element: &Element, text: &mut String) -> fmt::Result {
    if let Some(counter) = element.counter.0 {
        write!(text, " counter packets {} bytes {}", counter.packets, counter.bytes)?;
    }
    if let Some(timeout) = element.timeout {
        write!(text, " timeout {}", value::time(timeout))?;
    }
    if let Some(expires) = element.expires.0 {
        write!(text, " expires {}", value::time(expires))?;
    }
    if !element.comment.is_empty() {
        write!(text, " comment \"{}\"", element.comment)?;
    }
    match (&element.data, &set.content) {
        (ElementData::Value(data), SetContent::Data(kind)) => {
            write!(text, " : {}", value::concatenation(kind, data))
        }
        (ElementData::Verdict(verdict), _) => write!(text, " : {verdict}"),
        _ => Ok(()),
    }
}
