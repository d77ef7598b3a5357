//! Rules of who the processes of a pod are: numbers of users and groups.

use serde_json::Value;

use crate::meta;
use crate::validate::names;
use crate::validate::report::Report;

/// The highest number of a user or a group (`IsValidUserID`). The kernel's numbers have 32 bits: a longer one could come
/// to mean root.
const MAX_ID: i64 = i32::MAX as i64;

/// The numbers in the security context of a pod or of a container.
pub(super) fn identity(path: &str, context: &Value, report: &mut Report) {
    let path = format!("{path}.securityContext");
    let mut check = |path: String, value: &Value| {
        let outside = value.as_i64().map(|number| names::between(number, 0, MAX_ID));
        for detail in outside.into_iter().flatten() {
            report.invalid(path.clone(), value, &detail);
        }
    };
    for field in ["runAsUser", "runAsGroup", "fsGroup"] {
        check(format!("{path}.{field}"), &context[field]);
    }
    for (at, group) in meta::list(context, &["supplementalGroups"]).iter().enumerate() {
        check(format!("{path}.supplementalGroups[{at}]"), group);
    }
}
