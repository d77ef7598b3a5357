//! Questions and what CoreDNS answered, kept in files: one of the objects, one of each configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::dns::corefile::Case;
use crate::dns::question::Question;
use crate::dns::reply::Outcome;

const OBJECTS: &str = "objects.json";
const ANSWERS: &str = "answers";
/// Stands before a question.
const MARK: &str = "? ";

/// Questions with their answers, in the order in which they were asked.
pub type Answers = Vec<(Question, Outcome)>;

/// Writes objects.
///
/// # Errors
/// The file cannot be written.
pub fn write_objects(folder: &Path, objects: &Value) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    // One object a line can be read, and a change of it can be seen.
    let items = objects["items"].as_array().into_iter().flatten();
    let lines: Vec<_> = items.map(|item| bare(item).to_string()).collect();
    fs::write(
        folder.join(OBJECTS),
        format!("{{\"kind\":\"List\",\"items\":[\n{}\n]}}\n", lines.join(",\n")),
    )?;
    Ok(())
}

/// An object without what only the API server needs.
fn bare(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|field, _| ["name", "namespace", "labels", "annotations"].contains(&field.as_str()));
    }
    if object["kind"] == "Pod" {
        let spec = object["spec"].take();
        object["spec"] = json!({"nodeName": spec["nodeName"], "containers": []});
    }
    object
}

/// Reads objects.
///
/// # Errors
/// The file cannot be read.
pub fn read_objects(folder: &Path) -> anyhow::Result<Value> {
    let path = objects(folder);
    let text = fs::read_to_string(&path).with_context(|| format!("{}", path.display()))?;
    Ok(serde_json::from_str(&text)?)
}

/// The file of the objects.
pub fn objects(folder: &Path) -> PathBuf {
    folder.join(OBJECTS)
}

/// Writes what was answered under a configuration.
///
/// # Errors
/// The file cannot be written.
pub fn write(folder: &Path, case: &Case, answers: &Answers) -> anyhow::Result<()> {
    let text: String = answers
        .iter()
        .map(|(question, outcome)| format!("{MARK}{question}\n{}", outcome.lines(question)))
        .collect();
    Ok(fs::write(folder.join(case.name).with_extension(ANSWERS), text)?)
}

/// Reads what was answered under each configuration.
///
/// # Errors
/// A file cannot be read, or its configuration is not known any more.
pub fn read(folder: &Path) -> anyhow::Result<Vec<(&'static Case, Answers)>> {
    let mut cases = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("{}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_none_or(|extension| extension != ANSWERS) {
            continue;
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        let case = Case::of(name).with_context(|| format!("there is no configuration {name}"))?;
        let text = fs::read_to_string(&path)?;
        cases.push((case, answers(&text).with_context(|| format!("{}", path.display()))?));
    }
    cases.sort_by_key(|(case, _)| case.name);
    Ok(cases)
}

fn answers(text: &str) -> anyhow::Result<Answers> {
    let mut answers = Answers::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(question) = line.strip_prefix(MARK) else { bail!("no question: {line}") };
        let question: Question = question.parse()?;
        let mut answer = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with(MARK)) {
            answer.push(line);
        }
        let outcome = Outcome::read(&answer, &question)?;
        answers.push((question, outcome));
    }
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dns::codes::A;
    use crate::dns::reply::Reply;

    #[test]
    fn a_recording_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let case = Case::of("plain").unwrap();
        let answers = vec![
            (Question::new("web.default.svc.cluster.local.", A), Outcome::Reply(Reply::default())),
            (Question::bytes(&[1]), Outcome::Silence),
        ];
        write(folder.path(), case, &answers).unwrap();
        let read = read(folder.path()).unwrap();
        assert_eq!((read[0].0.name, &read[0].1), ("plain", &answers));
        assert!(super::answers("NOERROR").is_err());
    }
}
