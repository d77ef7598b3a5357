//! Reading the directive `template`.

use super::TemplateRule;
use super::records::check;
use crate::corefile::{Directive, Fault, Scope};
use crate::plugin::rewrite::pattern;
use crate::wire::{class, kind, rcode};

/// Reads `template CLASS TYPE [ZONE...] { OPTION... }`.
pub(in crate::plugin) fn read(
    value: &mut Vec<TemplateRule>,
    directive: &Directive,
    scope: &mut Scope<'_>,
) -> Result<(), Fault> {
    let [class_name, kind_name, zones @ ..] = directive.some("CLASS TYPE [ZONE...]")? else {
        return Err(directive.fault("write `template CLASS TYPE [ZONE...]`"));
    };
    let any = |name: &str, by_name| match name.eq_ignore_ascii_case("ANY") {
        true => Ok(None),
        false => directive.code(name, by_name).map(Some),
    };
    let mut template = TemplateRule {
        zones: scope.zones_or_own(directive, zones)?,
        class: any(class_name, class::by_name)?,
        kind: any(kind_name, kind::by_name)?,
        matches: Vec::new(),
        answer: Vec::new(),
        additional: Vec::new(),
        authority: Vec::new(),
        rcode: rcode::NOERROR,
        fall_through: None,
    };
    for option in &directive.options {
        let records = |all: &mut Vec<String>| {
            for text in option.some("RECORD")? {
                check(text).map_err(|error| option.fault(error))?;
                all.push(text.clone());
            }
            Ok(())
        };
        match &*option.name {
            "match" => {
                for text in option.some("PATTERN...")? {
                    template.matches.push(pattern(option, text)?);
                }
            }
            "answer" => records(&mut template.answer)?,
            "additional" => records(&mut template.additional)?,
            "authority" => records(&mut template.authority)?,
            "rcode" => template.rcode = option.code(&option.exactly::<1>("RCODE")?[0], rcode::by_name)?,
            "fallthrough" => template.fall_through = Some(option.fall_through()?),
            _ => {
                let known = ["match", "answer", "additional", "authority", "rcode", "fallthrough"];
                return Err(directive.unknown_option(option, &known));
            }
        }
    }
    value.push(template);
    Ok(())
}
