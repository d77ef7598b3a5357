//! Label selectors: `a=b,c!=d,e in (f,g),h,!i`, and the `LabelSelector` object.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::meta;
use crate::status::Status;
use crate::validate::names;

/// Requirements on labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    /// In their order, each once.
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
    Greater,
    Less,
}

/// The operators of the `LabelSelector` object.
const OBJECT_OPERATORS: [(&str, Operator); 4] = [
    ("In", Operator::In),
    ("NotIn", Operator::NotIn),
    ("Exists", Operator::Exists),
    ("DoesNotExist", Operator::Absent),
];

impl LabelSelector {
    /// Reads the text form of query parameters.
    ///
    /// # Errors
    /// 400 for what is not of the grammar, and for keys and values that no label can have.
    pub fn parse(text: &str) -> Result<Self, Status> {
        let mut parser = Parser { rest: text };
        let requirements = parser
            .selector()
            .and_then(|list| list.iter().try_for_each(Requirement::check).map(|()| list))
            .map_err(|problem| Status::bad_request(format!("unable to parse requirement: {problem}")))?;
        Ok(Self { requirements })
    }

    /// Reads a `LabelSelector` object, or the plain map of labels that Services and
    /// ReplicationControllers have. `Null` selects nothing, an empty selector everything.
    ///
    /// # Errors
    /// 400 for an unknown operator.
    pub fn from_object(selector: &Value) -> Result<Self, Status> {
        let Some(object) = selector.as_object() else {
            let nothing = Requirement { key: String::new(), operator: Operator::In, values: Vec::new() };
            return Ok(Self { requirements: vec![nothing] });
        };
        let is_plain = object.values().all(Value::is_string);
        let labels = if is_plain { Some(selector) } else { object.get("matchLabels") };
        let mut requirements: Vec<Requirement> = labels
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
            .map(|(key, value)| Requirement {
                key: key.clone(),
                operator: Operator::In,
                values: vec![value.as_str().unwrap_or_default().to_owned()],
            })
            .collect();
        for expression in meta::list(selector, &["matchExpressions"]) {
            let name = meta::text(expression, &["operator"]);
            let (_, operator) = OBJECT_OPERATORS.iter().find(|(one, _)| *one == name).ok_or_else(|| {
                Status::bad_request(format!("{name:?} is not a valid label selector operator"))
            })?;
            let values = meta::list(expression, &["values"]).iter().filter_map(Value::as_str);
            requirements.push(Requirement {
                key: meta::text(expression, &["key"]).to_owned(),
                operator: *operator,
                values: values.map(str::to_owned).collect::<BTreeSet<_>>().into_iter().collect(),
            });
        }
        Ok(Self { requirements })
    }

    /// Whether these labels (a map, or nothing) satisfy every requirement.
    #[must_use]
    pub fn matches(&self, labels: Option<&Value>) -> bool {
        self.requirements.iter().all(|one| one.matches(labels))
    }

    /// Whether nothing is required.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.requirements.is_empty()
    }
}

impl Requirement {
    fn matches(&self, labels: Option<&Value>) -> bool {
        let found = labels.and_then(|labels| labels.get(&self.key)).and_then(Value::as_str);
        let listed = || {
            found.is_some_and(|found| self.values.binary_search_by(|value| value.as_str().cmp(found)).is_ok())
        };
        let limit = || self.values.first()?.parse::<i64>().ok();
        let number = || found?.parse::<i64>().ok();
        match self.operator {
            Operator::Exists => found.is_some(),
            Operator::Absent => found.is_none(),
            Operator::In => listed(),
            Operator::NotIn => !listed(),
            Operator::Greater => number().zip(limit()).is_some_and(|(number, limit)| number > limit),
            Operator::Less => number().zip(limit()).is_some_and(|(number, limit)| number < limit),
        }
    }

    fn check(&self) -> Result<(), String> {
        let complaint = |text: &str, complaints: Vec<String>| match complaints.into_iter().next() {
            Some(problem) => Err(format!("Invalid value: {text:?}: {problem}")),
            None => Ok(()),
        };
        complaint(&self.key, names::qualified_name(&self.key))?;
        self.values.iter().try_for_each(|value| complaint(value, names::label_value(value)))?;
        if matches!(self.operator, Operator::Greater | Operator::Less)
            && !self.values.iter().all(|value| value.parse::<i64>().is_ok())
        {
            return Err("for 'Gt', 'Lt' operators, the value must be an integer".to_owned());
        }
        Ok(())
    }
}

/// Reads the grammar of `k8s.io/apimachinery/pkg/labels` from left to right.
struct Parser<'a> {
    rest: &'a str,
}

/// What separates words.
const SPECIAL: [char; 8] = ['=', '!', '(', ')', ',', '>', '<', ' '];
/// The binary operators; longer ones first where one is a prefix of another.
const BINARY: [(&str, Operator); 7] = [
    ("==", Operator::In),
    ("=", Operator::In),
    ("!=", Operator::NotIn),
    (">", Operator::Greater),
    ("<", Operator::Less),
    ("in", Operator::In),
    ("notin", Operator::NotIn),
];

impl<'a> Parser<'a> {
    fn selector(&mut self) -> Result<Vec<Requirement>, String> {
        let mut requirements = Vec::new();
        if self.peek().is_empty() {
            return Ok(requirements);
        }
        loop {
            requirements.push(self.requirement()?);
            match self.take() {
                "" => return Ok(requirements),
                "," if !matches!(self.peek(), "" | ",") => {}
                "," => return Err(format!("found '{}', expected: identifier after ','", self.peek())),
                other => return Err(format!("found '{other}', expected: ',' or 'end of string'")),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, String> {
        let absent = self.peek() == "!";
        if absent {
            self.take();
        }
        let key = self.take();
        if key.is_empty() || is_special(key) {
            return Err(format!("found '{key}', expected: identifier"));
        }
        let key = key.to_owned();
        if absent || matches!(self.peek(), "" | ",") {
            let operator = if absent { Operator::Absent } else { Operator::Exists };
            return Ok(Requirement { key, operator, values: Vec::new() });
        }
        let symbol = self.take();
        let (_, operator) = BINARY
            .iter()
            .find(|(one, _)| *one == symbol)
            .ok_or_else(|| format!("found '{symbol}', expected: in, notin, =, ==, !=, gt, lt"))?;
        let values = if matches!(symbol, "in" | "notin") { self.set()? } else { vec![self.value()?] };
        Ok(Requirement { key, operator: *operator, values })
    }

    /// The value after `=`; nothing means the empty value.
    fn value(&mut self) -> Result<String, String> {
        match self.peek() {
            "" | "," => Ok(String::new()),
            word if is_special(word) => Err(format!("found '{word}', expected: identifier")),
            _ => Ok(self.take().to_owned()),
        }
    }

    /// The values in parentheses.
    fn set(&mut self) -> Result<Vec<String>, String> {
        let open = self.take();
        if open != "(" {
            return Err(format!("found '{open}' expected: '('"));
        }
        let mut values = BTreeSet::new();
        loop {
            let value = match self.peek() {
                "," | ")" => String::new(),
                word if word.is_empty() || is_special(word) => {
                    return Err(format!("found '{word}', expected: ',', ')' or identifier"));
                }
                _ => self.take().to_owned(),
            };
            values.insert(value);
            match self.take() {
                ")" => return Ok(values.into_iter().collect()),
                "," => {}
                other => return Err(format!("found '{other}', expected: ',' or ')'")),
            }
        }
    }

    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start_matches(' ');
        let symbol = ["==", "!="].into_iter().find(|symbol| rest.starts_with(symbol));
        let end = match (symbol, rest.chars().next()) {
            (Some(symbol), _) => symbol.len(),
            (None, Some(first)) if SPECIAL.contains(&first) => 1,
            _ => rest.find(SPECIAL).unwrap_or(rest.len()),
        };
        &rest[..end]
    }

    fn take(&mut self) -> &'a str {
        let word = self.peek();
        self.rest = &self.rest.trim_start_matches(' ')[word.len()..];
        word
    }
}

fn is_special(word: &str) -> bool {
    word.starts_with(SPECIAL)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_operator_selects() {
        let labels = json!({"app": "web", "tier": "front", "n": "5", "empty": ""});
        let table = [
            ("", true),
            ("app=web", true),
            ("app==web", true),
            ("app = web , tier = front", true),
            ("app=db", false),
            ("app!=db", true),
            ("nosuch!=x", true),
            ("app!=web", false),
            ("app in (web, db)", true),
            ("app in (db)", false),
            ("app notin (db)", true),
            ("nosuch notin (x)", true),
            ("nosuch in (x)", false),
            ("app", true),
            ("nosuch", false),
            ("!nosuch", true),
            ("!app", false),
            ("n>4", true),
            ("n<4", false),
            ("app>4", false),
            ("empty=", true),
            ("app=,tier=front", false),
            ("empty in (,x)", true),
            ("kubernetes.io/name!=x,app", true),
            ("in in (in)", false),
        ];
        for (text, expected) in table {
            let selector = LabelSelector::parse(text).expect(text);
            assert_eq!(selector.matches(Some(&labels)), expected, "{text}");
        }
        assert!(LabelSelector::parse("!a").unwrap().matches(None));
        assert!(LabelSelector::parse(" ").unwrap().is_everything());
    }

    #[test]
    fn what_is_not_of_the_grammar_is_a_bad_request() {
        for text in [
            "=", "a=b=c", "a in", "a in (", "a in (b", "a b", ",", "a,", "a,,b", "!", "a in b", "a=-", "-a",
            "a>b", "a=(b)",
        ] {
            let error = LabelSelector::parse(text).expect_err(text);
            assert_eq!(error.code, 400);
            assert!(error.message.starts_with("unable to parse requirement: "), "{error}");
        }
    }

    #[test]
    fn objects_and_plain_maps_select_alike() {
        let labels = json!({"app": "web"});
        let table = [
            (json!({}), true),
            (json!({"app": "web"}), true),
            (json!({"app": "db"}), false),
            (json!({"matchLabels": {"app": "web"}}), true),
            (json!({"matchLabels": {"app": "db"}}), false),
            (json!({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["db"]}]}), true),
            (
                json!({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}),
                false,
            ),
            (json!(null), false),
        ];
        for (object, expected) in table {
            assert_eq!(
                LabelSelector::from_object(&object).unwrap().matches(Some(&labels)),
                expected,
                "{object}"
            );
        }
        assert!(
            LabelSelector::from_object(&json!({"matchExpressions": [{"key": "a", "operator": "Is"}]}))
                .is_err()
        );
    }
}
