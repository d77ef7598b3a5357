//! Kubernetes `Status` errors in upstream's own words (`k8s.io/apimachinery/pkg/api/errors`).

use std::collections::HashSet;
use std::fmt;

use serde_json::{Map, Value, json};

use crate::field::FieldError;
use crate::schema::Kind;

/// The most broken rules that one answer tells: a list with an error in every element stays readable, and short.
const MAX_TOLD: usize = 1000;

/// The group of the options that requests carry.
const META_GROUP: &str = "meta.k8s.io";

/// The machine-readable reason of a [`Status`]; the names are part of the API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The request succeeded; no reason is sent.
    Success,
    /// An error that upstream gives no reason; none is sent.
    Unknown,
    /// 404.
    NotFound,
    /// 409, the name is taken.
    AlreadyExists,
    /// 409, the object changed meanwhile or is in a state that refuses the request.
    Conflict,
    /// 422, the object breaks rules.
    Invalid,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 405.
    MethodNotAllowed,
    /// 406.
    NotAcceptable,
    /// 413.
    RequestEntityTooLarge,
    /// 415.
    UnsupportedMediaType,
    /// 410, the resource version is no longer kept.
    Expired,
    /// 429.
    TooManyRequests,
    /// 500.
    InternalError,
    /// 503.
    ServiceUnavailable,
    /// 504.
    Timeout,
}

impl Reason {
    /// The name on the wire.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success | Self::Unknown => "",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Conflict => "Conflict",
            Self::Invalid => "Invalid",
            Self::BadRequest => "BadRequest",
            Self::Unauthorized => "Unauthorized",
            Self::Forbidden => "Forbidden",
            Self::MethodNotAllowed => "MethodNotAllowed",
            Self::NotAcceptable => "NotAcceptable",
            Self::RequestEntityTooLarge => "RequestEntityTooLarge",
            Self::UnsupportedMediaType => "UnsupportedMediaType",
            Self::Expired => "Expired",
            Self::TooManyRequests => "TooManyRequests",
            Self::InternalError => "InternalError",
            Self::ServiceUnavailable => "ServiceUnavailable",
            Self::Timeout => "Timeout",
        }
    }
}

/// One of several causes of a [`Status`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable reason; may be empty.
    pub reason: String,
    /// What is wrong.
    pub message: String,
    /// Where in the object; may be empty.
    pub field: String,
}

/// What a [`Status`] is about. Empty members are not sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Details {
    /// Name of the object.
    pub name: String,
    /// Group of the resource.
    pub group: String,
    /// The resource (or, for `Invalid`, the kind).
    pub kind: String,
    /// UID of the object.
    pub uid: String,
    /// Each broken rule.
    pub causes: Vec<Cause>,
    /// Seconds after which to try again; 0 is not sent.
    pub retry_after_seconds: u32,
}

/// The answer to a request that is not an object: an error, or the success of a deletion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// HTTP status code.
    pub code: u16,
    /// Machine-readable reason.
    pub reason: Reason,
    /// What happened, for people; kubectl prints it as it is.
    pub message: String,
    /// What it is about.
    pub details: Option<Box<Details>>,
}

impl Status {
    /// 404: no object of that name.
    #[must_use]
    pub fn not_found(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} not found", kind.qualified_resource());
        Self::new(404, Reason::NotFound, message).about(kind, name)
    }

    /// 409: the name is taken.
    #[must_use]
    pub fn already_exists(kind: &Kind, name: &str) -> Self {
        let message = format!("{} {name:?} already exists", kind.qualified_resource());
        Self::new(409, Reason::AlreadyExists, message).about(kind, name)
    }

    /// 409: the state of the object refuses the request, for the reason in `detail`.
    #[must_use]
    pub fn conflict(kind: &Kind, name: &str, detail: &str) -> Self {
        let resource = kind.qualified_resource();
        let message = format!("Operation cannot be fulfilled on {resource} {name:?}: {detail}");
        Self::new(409, Reason::Conflict, message).about(kind, name)
    }

    /// 409: the object is no longer the one that the client saw.
    #[must_use]
    pub fn object_modified(kind: &Kind, name: &str) -> Self {
        let detail =
            "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(kind, name, detail)
    }

    /// 409: the object that is to be deleted is not the one that the client means. Upstream words
    /// this with the kind in place of the resource.
    #[must_use]
    pub fn precondition_failed(kind: &Kind, name: &str, detail: &str) -> Self {
        let qualified = kind.qualified_kind();
        let mut status = Self::conflict(kind, name, "").about_kind(&kind.kind);
        status.message = format!("Operation cannot be fulfilled on {qualified} {name:?}: {detail}");
        status
    }

    /// 422: the object breaks these rules.
    #[must_use]
    pub fn invalid(kind: &Kind, name: &str, errors: Vec<FieldError>) -> Self {
        Self::breaks_rules((&kind.group, &kind.kind), &kind.qualified_kind(), name, errors)
    }

    /// 422: the options of the request break these rules. `kind` is one of meta.k8s.io/v1, such as
    /// `CreateOptions`.
    #[must_use]
    pub fn invalid_options(kind: &str, errors: Vec<FieldError>) -> Self {
        Self::breaks_rules((META_GROUP, kind), &format!("{kind}.{META_GROUP}"), "", errors)
    }

    /// 422: what the request says of a part of an object breaks these rules. `kind` is one of the core group that is no
    /// object, such as `PodLogOptions`.
    #[must_use]
    pub fn invalid_part(kind: &str, name: &str, errors: Vec<FieldError>) -> Self {
        Self::breaks_rules(("", kind), kind, name, errors)
    }

    fn breaks_rules(
        (group, kind): (&str, &str),
        qualified_kind: &str,
        name: &str,
        mut errors: Vec<FieldError>,
    ) -> Self {
        let untold = errors.len().saturating_sub(MAX_TOLD);
        errors.truncate(MAX_TOLD);
        let mut seen = HashSet::new();
        let mut texts: Vec<String> =
            errors.iter().map(ToString::to_string).filter(|text| seen.insert(text.clone())).collect();
        if untold > 0 {
            texts.push(format!("and {untold} more"));
        }
        let all =
            if let [only] = texts.as_slice() { only.clone() } else { format!("[{}]", texts.join(", ")) };
        let message = format!("{qualified_kind} {name:?} is invalid: {all}");
        let causes = errors
            .into_iter()
            .map(|error| Cause {
                reason: error.kind.reason().to_owned(),
                message: error.body(),
                field: error.path,
            })
            .collect();
        let details = Details {
            name: name.to_owned(),
            group: group.to_owned(),
            kind: kind.to_owned(),
            causes,
            ..Details::default()
        };
        Self { details: Some(Box::new(details)), ..Self::new(422, Reason::Invalid, message) }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::new(400, Reason::BadRequest, message)
    }

    /// 401: the client did not prove who it is.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(401, Reason::Unauthorized, "Unauthorized")
    }

    /// 403: the client may not do this.
    #[must_use]
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { details: Some(Box::default()), ..Self::new(403, Reason::Forbidden, message) }
    }

    /// 405: the path does not serve this method.
    #[must_use]
    pub fn method_not_allowed() -> Self {
        let message = "the server does not allow this method on the requested resource";
        Self { details: Some(Box::default()), ..Self::new(405, Reason::MethodNotAllowed, message) }
    }

    /// 415: the body's content type is none of `accepted`.
    #[must_use]
    pub fn unsupported_media_type(accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        );
        Self::new(415, Reason::UnsupportedMediaType, message)
    }

    /// 406: the client accepts none of `offered`.
    #[must_use]
    pub fn not_acceptable(offered: &[&str]) -> Self {
        let message = format!("only the following media types are accepted: {}", offered.join(", "));
        Self::new(406, Reason::NotAcceptable, message)
    }

    /// 413: the body is too large.
    #[must_use]
    pub fn too_large(message: impl fmt::Display) -> Self {
        Self::new(413, Reason::RequestEntityTooLarge, format!("Request entity too large: {message}"))
    }

    /// 410: the resource version is no longer kept.
    #[must_use]
    pub fn expired(message: impl Into<String>) -> Self {
        Self::new(410, Reason::Expired, message)
    }

    /// 404: no such group, version or resource.
    #[must_use]
    pub fn resource_not_found() -> Self {
        let message = "the server could not find the requested resource";
        Self { details: Some(Box::default()), ..Self::new(404, Reason::NotFound, message) }
    }

    /// 500: the server failed.
    #[must_use]
    pub fn internal(message: impl fmt::Display) -> Self {
        let cause = Cause { message: message.to_string(), ..Cause::default() };
        let details = Details { causes: vec![cause], ..Details::default() };
        let message = format!("Internal error occurred: {message}");
        Self { details: Some(Box::new(details)), ..Self::new(500, Reason::InternalError, message) }
    }

    /// 429: try again in a second.
    #[must_use]
    pub fn too_many_requests() -> Self {
        let message = "Too many requests, please try again later.";
        let details = Details { retry_after_seconds: 1, ..Details::default() };
        Self { details: Some(Box::new(details)), ..Self::new(429, Reason::TooManyRequests, message) }
    }

    /// 504: the request took too long.
    #[must_use]
    pub fn timeout(message: impl fmt::Display) -> Self {
        Self {
            details: Some(Box::default()),
            ..Self::new(504, Reason::Timeout, format!("Timeout: {message}"))
        }
    }

    /// 503: the server cannot answer now.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(503, Reason::ServiceUnavailable, message)
    }

    /// 200: the object was deleted.
    #[must_use]
    pub fn success(kind: &Kind, name: &str, uid: &str) -> Self {
        let mut status = Self::new(200, Reason::Success, "").about(kind, name);
        if let Some(details) = &mut status.details {
            uid.clone_into(&mut details.uid);
        }
        status
    }

    /// A status of any kind, without details.
    #[must_use]
    pub fn new(code: u16, reason: Reason, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: None }
    }

    /// The status as the object that travels.
    #[must_use]
    pub fn to_value(&self) -> Value {
        let mut object = Map::new();
        object.insert("kind".to_owned(), json!("Status"));
        object.insert("apiVersion".to_owned(), json!("v1"));
        object.insert("metadata".to_owned(), json!({}));
        let success = self.reason == Reason::Success;
        object.insert("status".to_owned(), json!(if success { "Success" } else { "Failure" }));
        put(&mut object, "message", &self.message);
        put(&mut object, "reason", self.reason.as_str());
        if let Some(details) = &self.details {
            object.insert("details".to_owned(), details.to_value());
        }
        if !success {
            object.insert("code".to_owned(), json!(self.code));
        }
        Value::Object(object)
    }

    fn about_kind(mut self, kind: &str) -> Self {
        if let Some(details) = &mut self.details {
            kind.clone_into(&mut details.kind);
        }
        self
    }

    fn about(mut self, kind: &Kind, name: &str) -> Self {
        self.details = Some(Box::new(Details {
            name: name.to_owned(),
            group: kind.group.clone(),
            kind: kind.plural.clone(),
            ..Details::default()
        }));
        self
    }
}

impl Details {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        put(&mut object, "name", &self.name);
        put(&mut object, "group", &self.group);
        put(&mut object, "kind", &self.kind);
        put(&mut object, "uid", &self.uid);
        if !self.causes.is_empty() {
            object.insert("causes".to_owned(), self.causes.iter().map(Cause::to_value).collect());
        }
        if self.retry_after_seconds > 0 {
            object.insert("retryAfterSeconds".to_owned(), json!(self.retry_after_seconds));
        }
        Value::Object(object)
    }
}

impl Cause {
    fn to_value(&self) -> Value {
        let mut object = Map::new();
        put(&mut object, "reason", &self.reason);
        put(&mut object, "message", &self.message);
        put(&mut object, "field", &self.field);
        Value::Object(object)
    }
}

fn put(object: &mut Map<String, Value>, key: &str, text: &str) {
    if !text.is_empty() {
        object.insert(key.to_owned(), json!(text));
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Schema;

    #[test]
    fn texts_are_upstreams() {
        let schema = Schema::builtin();
        let service = schema.kind("", "v1", "Service").unwrap();
        let deployment = schema.kind("apps", "v1", "Deployment").unwrap();
        let port = FieldError::invalid("spec.ports[0].port", 0, "must be between 1 and 65535, inclusive");
        let name = FieldError::required("metadata.name", "name or generateName is required");
        let table = [
            (Status::not_found(service, "x"), 404, "services \"x\" not found"),
            (Status::already_exists(deployment, "x"), 409, "deployments.apps \"x\" already exists"),
            (
                Status::object_modified(service, "x"),
                409,
                "Operation cannot be fulfilled on services \"x\": the object has been modified; \
                 please apply your changes to the latest version and try again",
            ),
            (
                Status::invalid(service, "x", vec![port.clone()]),
                422,
                "Service \"x\" is invalid: spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                Status::invalid(deployment, "", vec![name, port]),
                422,
                "Deployment.apps \"\" is invalid: [metadata.name: Required value: name or generateName is required, \
                 spec.ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive]",
            ),
            (
                Status::method_not_allowed(),
                405,
                "the server does not allow this method on the requested resource",
            ),
            (
                Status::precondition_failed(deployment, "x", "it is another"),
                409,
                "Operation cannot be fulfilled on Deployment.apps \"x\": it is another",
            ),
            (
                Status::invalid_options(
                    "PatchOptions",
                    vec![FieldError::forbidden("force", "may not be specified for non-apply patch")],
                ),
                422,
                "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch",
            ),
            (Status::internal("disk full"), 500, "Internal error occurred: disk full"),
        ];
        for (status, code, message) in table {
            assert_eq!((status.code, status.to_string().as_str()), (code, message));
        }
    }

    #[test]
    fn an_invalid_status_names_each_cause() {
        let service = Schema::builtin().kind("", "v1", "Service").unwrap();
        let value = Status::invalid(service, "x", vec![FieldError::required("spec.ports", "")]).to_value();
        assert_eq!(
            value["details"],
            json!({"name": "x", "kind": "Service", "causes": [
                {"reason": "FieldValueRequired", "message": "Required value", "field": "spec.ports"}]})
        );
        assert_eq!((&value["status"], &value["code"]), (&json!("Failure"), &json!(422)));
    }

    #[test]
    fn success_has_no_code() {
        let service = Schema::builtin().kind("", "v1", "Service").unwrap();
        let value = Status::success(service, "x", "u").to_value();
        assert_eq!(value["status"], "Success");
        assert!(value.get("code").is_none() && value.get("reason").is_none());
        assert_eq!(value["details"], json!({"name": "x", "kind": "services", "uid": "u"}));
    }
}
