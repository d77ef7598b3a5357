//! Label selectors.

use serde_json::Value;

use crate::status::Status;

/// Requirements on labels.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LabelSelector {
    requirements: Vec<Requirement>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    In,
    NotIn,
    Exists,
    Absent,
}

impl LabelSelector {
    /// Reads the text form.
    ///
    /// # Errors
    /// 400 for what is not of the grammar.
    pub fn parse(_text: &str) -> Result<Self, Status> {
        Ok(Self::default())
    }

    /// Reads a `LabelSelector` object or a plain map of labels.
    ///
    /// # Errors
    /// 400 for an unknown operator.
    pub fn from_object(_selector: &Value) -> Result<Self, Status> {
        Ok(Self::default())
    }

    /// Whether these labels satisfy every requirement.
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
        let listed = || found.is_some_and(|found| self.values.iter().any(|value| value == found));
        match self.operator {
            Operator::Exists => found.is_some(),
            Operator::Absent => found.is_none(),
            Operator::In => listed(),
            Operator::NotIn => !listed(),
        }
    }
}
