//! Reviews: questions about who somebody is and what they may do. They are answered and not stored.

use api::field::FieldError;
use api::status::Status;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::objects::{Answer, Call};
use super::options::WriteOptions;
use super::respond;
use crate::authorization::{self, Attributes, Decision, ResourceAttributes};
use crate::identity::User;
use crate::object::{meta_str, metadata};

impl Call<'_> {
    /// Serves a request for one of the reviews.
    pub(crate) fn review(&self, user: &User) -> Answer {
        if self.path.name.is_some() {
            return Err(Status::resource_not_found());
        }
        if self.kind.namespaced != self.namespace().is_some() {
            return Err(Status::resource_not_found());
        }
        if self.parts.method != Method::POST {
            return Err(Status::method_not_allowed());
        }
        let options = WriteOptions::read("CreateOptions", &self.query)?;
        let mut review = self.decode(self.kind, options.validation)?.object;
        let spec = &review["spec"];
        let answer = match self.kind.kind.as_str() {
            "SelfSubjectReview" => json!({ "userInfo": user_info(user) }),
            "SelfSubjectRulesReview" => rules_of(user, spec)?,
            "SelfSubjectAccessReview" => {
                self.check(access_errors(spec))?;
                decision(user, spec)
            }
            "SubjectAccessReview" | "LocalSubjectAccessReview" => {
                let mut errors = access_errors(spec);
                let subject = subject(spec);
                if subject.name.is_empty() && subject.groups.is_empty() {
                    let detail = "at least one of user or group must be specified";
                    errors.push(FieldError::invalid("spec.user", "", detail));
                }
                if let Some(namespace) = self.namespace() {
                    errors.extend(local_errors(spec, namespace));
                    let own = meta_str(&review, "namespace");
                    if !own.is_empty() && own != namespace {
                        return Err(Status::bad_request(
                            "the namespace of the provided object does not match the namespace sent on the request",
                        ));
                    }
                }
                self.check(errors)?;
                decision(&subject, spec)
            }
            // There are no tokens yet: nobody can be known by one.
            "TokenReview" => json!({ "user": {}, "error": "[invalid bearer token]" }),
            _ => return Err(Status::resource_not_found()),
        };
        review["status"] = answer;
        metadata(&mut review).insert("creationTimestamp".to_owned(), Value::Null);
        if let Some(namespace) = self.namespace() {
            metadata(&mut review).insert("namespace".to_owned(), namespace.into());
        }
        Ok(respond::json(StatusCode::CREATED, format!("{review}\n")))
    }

    fn check(&self, errors: Vec<FieldError>) -> Result<(), Status> {
        if errors.is_empty() { Ok(()) } else { Err(Status::invalid(self.kind, "", errors)) }
    }
}

/// The user as `authentication.k8s.io/v1` has it; what is empty is left out.
fn user_info(user: &User) -> Value {
    let mut info = json!({ "username": user.name, "groups": user.groups });
    if !user.uid.is_empty() {
        info["uid"] = user.uid.clone().into();
    }
    if !user.extra.is_empty() {
        info["extra"] = json!(user.extra);
    }
    info
}

fn rules_of(user: &User, spec: &Value) -> Result<Value, Status> {
    if text(spec, "namespace").is_empty() {
        return Err(Status::bad_request("no namespace on request"));
    }
    let (paths, resources): (Vec<_>, Vec<_>) =
        authorization::rules(user).partition(|rule| rule.resources.is_empty());
    let resources: Vec<Value> = resources
        .into_iter()
        .map(|rule| json!({ "verbs": rule.verbs, "apiGroups": rule.groups, "resources": rule.resources }))
        .collect();
    let paths: Vec<Value> =
        paths.into_iter().map(|rule| json!({ "verbs": rule.verbs, "nonResourceURLs": rule.paths })).collect();
    Ok(json!({ "resourceRules": resources, "nonResourceRules": paths, "incomplete": false }))
}

/// What the rules of both forms of the question are.
fn access_errors(spec: &Value) -> Vec<FieldError> {
    let about = |field: &str| !spec[field].is_null();
    match (about("resourceAttributes"), about("nonResourceAttributes")) {
        (true, true) => vec![FieldError::invalid(
            "spec.nonResourceAttributes",
            spec["nonResourceAttributes"].clone(),
            "cannot be specified in combination with resourceAttributes",
        )],
        (false, false) => vec![FieldError::invalid(
            "spec.resourceAttributes",
            Value::Null,
            "exactly one of nonResourceAttributes or resourceAttributes must be specified",
        )],
        _ => Vec::new(),
    }
}

/// A question within a namespace is about that namespace.
fn local_errors(spec: &Value, namespace: &str) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let asked = text(&spec["resourceAttributes"], "namespace");
    if !spec["resourceAttributes"].is_null() && asked != namespace {
        let detail = "must match metadata.namespace";
        errors.push(FieldError::invalid("spec.resourceAttributes.namespace", asked, detail));
    }
    if !spec["nonResourceAttributes"].is_null() {
        let value = spec["nonResourceAttributes"].clone();
        let detail = "disallowed on this kind of request";
        errors.push(FieldError::invalid("spec.nonResourceAttributes", value, detail));
    }
    errors
}

/// The user whom a question is about: exactly as it says.
fn subject(spec: &Value) -> User {
    let strings = |list: &Value| -> Vec<String> {
        list.as_array().into_iter().flatten().filter_map(|one| Some(one.as_str()?.to_owned())).collect()
    };
    User {
        name: text(spec, "user").to_owned(),
        uid: text(spec, "uid").to_owned(),
        groups: strings(&spec["groups"]),
        extra: spec["extra"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, values)| (key.clone(), strings(values)))
            .collect(),
    }
}

/// The status of a question, asked of the one authorizer.
fn decision(user: &User, spec: &Value) -> Value {
    let resource = &spec["resourceAttributes"];
    let attributes = if resource.is_null() {
        let path = &spec["nonResourceAttributes"];
        Attributes::Path { verb: text(path, "verb"), path: text(path, "path") }
    } else {
        Attributes::Resource(ResourceAttributes {
            verb: text(resource, "verb"),
            namespace: text(resource, "namespace"),
            group: text(resource, "group"),
            resource: text(resource, "resource"),
            subresource: text(resource, "subresource"),
            name: text(resource, "name"),
        })
    };
    match authorization::authorize(user, &attributes) {
        Decision::Allow(reason) => json!({ "allowed": true, "reason": reason }),
        Decision::NoOpinion => json!({ "allowed": false }),
    }
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::Request;
    use http_body_util::{BodyExt, Full};

    use super::*;
    use crate::http::dispatch::{Client, handle, tests::server};

    const AUTHORIZATION: &str = "/apis/authorization.k8s.io/v1";

    /// Asks as a master who acts as that user; the answer's code and body.
    async fn ask(server: &crate::ApiServer, user: &str, path: &str, spec: &Value) -> (u16, Value) {
        let request = Request::post(path).header("impersonate-user", user);
        let body = Full::<Bytes>::from(json!({ "spec": spec }).to_string());
        let client = Client::in_process(User::in_process("admin"));
        let answer = handle(&server.shared, request.body(body).unwrap(), &client).await;
        let code = answer.status().as_u16();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        (code, serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn reviews_speak_of_the_user_that_is_acted_as() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let delete = json!({"resourceAttributes": {"verb": "delete", "resource": "nodes"}});
        let own = format!("{AUTHORIZATION}/selfsubjectaccessreviews");
        let (code, review) = ask(&server, "nobody", &own, &delete).await;
        assert_eq!((code, &review["status"]), (201, &json!({"allowed": false})));
        let rules = format!("{AUTHORIZATION}/selfsubjectrulesreviews");
        let (code, review) = ask(&server, "nobody", &rules, &json!({"namespace": "default"})).await;
        assert_eq!(code, 201);
        assert!(!review["status"]["resourceRules"].to_string().contains('*'), "{review}");
        let who = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
        let (_, review) = ask(&server, "jane", who, &json!({})).await;
        let known = json!({"username": "jane", "groups": ["system:authenticated"]});
        assert_eq!(review["status"]["userInfo"], known);
        let others = format!("{AUTHORIZATION}/subjectaccessreviews");
        assert_eq!(
            ask(&server, "nobody", &others, &delete).await.0,
            403,
            "others are none of their business"
        );
    }

    #[tokio::test]
    async fn a_review_of_somebody_is_answered_by_the_groups_that_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let server = server(folder.path()).await;
        let all = format!("{AUTHORIZATION}/subjectaccessreviews");
        let local = format!("{AUTHORIZATION}/namespaces/dev/localsubjectaccessreviews");
        let proxy = json!({"verb": "get", "resource": "nodes", "subresource": "proxy", "name": "n1"});
        let dev = json!({"verb": "get", "resource": "pods", "namespace": "dev"});
        let path = json!({"verb": "get", "path": "/metrics"});
        for (where_to, spec, code, allowed) in [
            (&all, json!({"groups": ["system:masters"], "resourceAttributes": proxy}), 201, true),
            (&all, json!({"user": "jane", "groups": ["dev"], "resourceAttributes": proxy}), 201, false),
            (
                &all,
                json!({"user": "root", "groups": ["system:masters"], "nonResourceAttributes": path}),
                201,
                true,
            ),
            (&all, json!({"user": "jane", "nonResourceAttributes": path}), 201, false),
            (&all, json!({"resourceAttributes": proxy}), 422, false),
            (&all, json!({"user": "jane"}), 422, false),
            (
                &all,
                json!({"user": "jane", "resourceAttributes": proxy, "nonResourceAttributes": path}),
                422,
                false,
            ),
            (&local, json!({"groups": ["system:masters"], "resourceAttributes": dev}), 201, true),
            (&local, json!({"groups": ["system:masters"], "resourceAttributes": proxy}), 422, false),
            (&local, json!({"user": "jane", "nonResourceAttributes": path}), 422, false),
        ] {
            let spec: &Value = &spec;
            let request = Request::post(where_to.as_str());
            let body = Full::<Bytes>::from(json!({ "spec": spec }).to_string());
            let client = Client::in_process(User::in_process("agent"));
            let answer = handle(&server.shared, request.body(body).unwrap(), &client).await;
            assert_eq!(answer.status().as_u16(), code, "{spec}");
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let review: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(review["status"]["allowed"] == true, allowed, "{spec} {review}");
        }
    }
}
