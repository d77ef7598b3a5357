//! The verbs on collections and objects.

use std::sync::Arc;

use api::codec::{self, Decoded, FieldValidation, Media};
use api::schema::Kind;
use api::status::Status;
use bytes::Bytes;
use futures::StreamExt;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{Method, Response, StatusCode, request};
use serde_json::{Value, json};

use super::accept::{self, View};
use super::options::WriteOptions;
use super::path::ResourcePath;
use super::query::Query;
use super::respond::{self, Body, IncludeObject, Presenter};
use crate::registry::{
    DeleteOptions, Deleted, ListQuery, Part, Registry, Selection, WatchQuery, WatchedEvent, check_name, watch,
};

/// One request for a resource, its body read.
pub(crate) struct Call<'a> {
    pub(crate) registry: &'a Arc<Registry>,
    pub(crate) kind: &'static Kind,
    pub(crate) path: &'a ResourcePath,
    pub(crate) parts: &'a request::Parts,
    pub(crate) query: Query,
    pub(crate) body: Bytes,
}

/// The patch formats of the `Content-Type` header.
const PATCHES: [&str; 3] =
    ["application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json"];
/// The body formats of the `Content-Type` header.
const BODIES: [&str; 3] = ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf"];

/// An answer or the Status that stands for it.
pub(crate) type Answer = Result<Response<Body>, Status>;

impl Call<'_> {
    /// Serves a request for a collection.
    pub(crate) async fn collection(&self) -> Answer {
        let one_collection = !self.kind.namespaced || self.namespace().is_some();
        match self.parts.method {
            Method::GET if self.query.flag("watch") => self.watch(None).await,
            Method::GET => self.list().await,
            Method::POST if one_collection => self.create().await,
            Method::DELETE if one_collection && self.kind.verbs().contains(&"deletecollection") => {
                self.delete_collection().await
            }
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// Serves a request for one object.
    pub(crate) async fn object(&self, name: &str) -> Answer {
        match self.parts.method {
            Method::GET if self.query.flag("watch") => self.watch(Some(name)).await,
            Method::GET => {
                self.registry.check_reached(self.query.revision()?)?;
                let record = self.registry.record(self.kind, self.namespace(), name).await?;
                self.presenter()?.object(StatusCode::OK, record.value)
            }
            Method::PUT => self.replace(name, Part::Main).await,
            Method::PATCH => self.patch(name, Part::Main).await,
            Method::DELETE => self.delete(name).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    /// Serves a request for a part of an object that is stored with it.
    pub(crate) async fn part(&self, name: &str, part: Part) -> Answer {
        match self.parts.method {
            Method::GET => {
                let record = self.registry.record(self.kind, self.namespace(), name).await?;
                self.presenter()?.object(StatusCode::OK, record.value)
            }
            Method::PUT => self.replace(name, part).await,
            Method::PATCH => self.patch(name, part).await,
            _ => Err(Status::method_not_allowed()),
        }
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.path.namespace.as_deref()
    }

    fn presenter(&self) -> Result<Presenter, Status> {
        let header = self.parts.headers.get(ACCEPT).and_then(|value| value.to_str().ok());
        let accepted = accept::negotiate(header, |view| !matches!(view, View::Discovery(_)))?;
        let include = IncludeObject::parse(self.query.get("includeObject"))?;
        Ok(Presenter { kind: self.kind, accepted, include })
    }

    /// The body as an object of a kind.
    pub(crate) fn decode(&self, kind: &Kind, validation: FieldValidation) -> Result<Decoded, Status> {
        let media = self.content_type().map_or(Some(Media::Json), Media::parse);
        let media = media.ok_or_else(|| Status::unsupported_media_type(&BODIES))?;
        codec::decode(self.registry.schema, kind, media, &self.body, validation)
    }

    /// The format of the body, if the client names one.
    pub(crate) fn content_type(&self) -> Option<&str> {
        self.parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    async fn list(&self) -> Answer {
        let presenter = self.presenter()?;
        let query = ListQuery::new(self.kind, &self.query)?;
        let listed = self.registry.list(self.kind, self.namespace(), &query).await?;
        let mut metadata = json!({ "resourceVersion": listed.revision.to_string() });
        if let Some(token) = listed.token {
            metadata["continue"] = token.into();
        }
        if let Some(remaining) = listed.remaining {
            metadata["remainingItemCount"] = remaining.into();
        }
        let items: Vec<Bytes> = listed.records.into_iter().map(|record| record.value).collect();
        presenter.list(items, &metadata, &self.registry.workshop)
    }

    async fn watch(&self, name: Option<&str>) -> Answer {
        let presenter = self.presenter()?;
        let query = WatchQuery::new(self.kind, &self.query, name)?;
        let events = watch(self.registry, self.kind, self.namespace(), query).await?;
        let mut first = true;
        let lines = events.map(move |event| {
            let line = line(&presenter, &event, first);
            first = first && event.kind == "BOOKMARK";
            line
        });
        let media = "application/json;stream=watch";
        Ok(respond::with_type(StatusCode::OK, media, respond::streamed(lines)))
    }

    async fn create(&self) -> Answer {
        let presenter = self.presenter()?;
        let WriteOptions { dry_run, validation } = WriteOptions::read("CreateOptions", &self.query)?;
        let Decoded { object, warnings } = self.decode(self.kind, validation)?;
        let bytes = self.registry.create(self.kind, self.namespace(), object, dry_run).await?;
        self.written(&presenter, StatusCode::CREATED, bytes, warnings)
    }

    async fn replace(&self, name: &str, part: Part) -> Answer {
        let presenter = self.presenter()?;
        let WriteOptions { dry_run, validation } = WriteOptions::read("UpdateOptions", &self.query)?;
        let Decoded { object, warnings } = self.decode(self.kind, validation)?;
        let (created, bytes) =
            self.registry.replace(self.kind, self.namespace(), name, part, object, dry_run).await?;
        let code = if created { StatusCode::CREATED } else { StatusCode::OK };
        self.written(&presenter, code, bytes, warnings)
    }

    async fn patch(&self, name: &str, part: Part) -> Answer {
        let presenter = self.presenter()?;
        let patch = Patch::read(self.content_type(), &self.body)?;
        let WriteOptions { dry_run, validation } = WriteOptions::read("PatchOptions", &self.query)?;
        let warnings = std::sync::Mutex::new(Vec::new());
        let bytes = self
            .registry
            .change(self.kind, self.namespace(), name, part, dry_run, |old| {
                let mut new = old.clone();
                patch.apply(self.registry.schema, self.kind, &mut new)?;
                check_name(&new, name, self.namespace())?;
                let decoded = codec::conform(self.registry.schema, self.kind, new, validation)?;
                if let Ok(mut warnings) = warnings.lock() {
                    *warnings = decoded.warnings;
                }
                Ok(decoded.object)
            })
            .await?;
        self.written(&presenter, StatusCode::OK, bytes, warnings.into_inner().unwrap_or_default())
    }

    /// The answer to a write, with what its client should know about the object.
    fn written(
        &self,
        presenter: &Presenter,
        code: StatusCode,
        bytes: Bytes,
        mut warnings: Vec<String>,
    ) -> Answer {
        let object: Value = serde_json::from_slice(&bytes).map_err(Status::internal)?;
        warnings.extend(api::warnings::of_object(self.kind, &object));
        Ok(respond::with_warnings(presenter.object(code, bytes)?, &warnings))
    }

    /// The options of a deletion: from the body, else from the query.
    pub(crate) fn delete_options(&self) -> Result<DeleteOptions, Status> {
        let mut options = json!({});
        if self.body.is_empty() {
            for name in ["propagationPolicy", "dryRun"] {
                if let Some(value) = self.query.get(name) {
                    options[name] = if name == "dryRun" { json!([value]) } else { value.into() };
                }
            }
            options["gracePeriodSeconds"] = self.query.number("gracePeriodSeconds")?.into();
            if self.query.get("orphanDependents").is_some() {
                options["orphanDependents"] = self.query.flag("orphanDependents").into();
            }
        } else {
            let kind = self.registry.schema.kind("meta.k8s.io", "v1", "DeleteOptions");
            let kind = kind.ok_or_else(|| Status::internal("DeleteOptions are not in the schema"))?;
            options = self.decode(kind, FieldValidation::Ignore)?.object;
        }
        DeleteOptions::from_value(&options)
    }

    async fn delete(&self, name: &str) -> Answer {
        let options = self.delete_options()?;
        match self.registry.delete(self.kind, self.namespace(), name, &options).await? {
            Deleted::Object(bytes) => Ok(respond::json(StatusCode::OK, bytes)),
            Deleted::Gone(uid) => Ok(respond::status(&Status::success(self.kind, name, &uid))),
        }
    }

    async fn delete_collection(&self) -> Answer {
        let options = self.delete_options()?;
        super::options::check_list(&self.query)?;
        let selection = Arc::new(Selection::new(self.kind, &self.query, None)?);
        let items =
            self.registry.delete_collection(self.kind, self.namespace(), &selection, &options).await?;
        let metadata = json!({ "resourceVersion": self.registry.store.revision().to_string() });
        let presenter =
            Presenter { kind: self.kind, accepted: accept::PLAIN_JSON, include: IncludeObject::None };
        presenter.list(items, &metadata, &self.registry.workshop)
    }
}

/// One line of a watch.
fn line(presenter: &Presenter, event: &WatchedEvent, first: bool) -> Bytes {
    let object = match event.kind {
        "ERROR" => Ok(event.object.clone()),
        "BOOKMARK" if presenter.is_plain() => Ok(event.object.clone()),
        _ => presenter.event(&event.object, first),
    };
    let (kind, object) = match object {
        Ok(object) => (event.kind, object),
        Err(status) => ("ERROR", status.to_value().to_string().into()),
    };
    let mut line = Vec::with_capacity(object.len() + 32);
    line.extend_from_slice(b"{\"type\":\"");
    line.extend_from_slice(kind.as_bytes());
    line.extend_from_slice(b"\",\"object\":");
    line.extend_from_slice(object.trim_ascii_end());
    line.extend_from_slice(b"}\n");
    line.into()
}

/// A patch that has been read but not applied.
pub(crate) enum Patch {
    Json(Value),
    Merge(Value),
    Strategic(Value),
}

impl Patch {
    /// Reads a patch in one of the formats of [`PATCHES`].
    pub(crate) fn read(content_type: Option<&str>, body: &Bytes) -> Result<Self, Status> {
        let media = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
        let form: fn(Value) -> Self = match media {
            "application/json-patch+json" => Self::Json,
            "application/merge-patch+json" => Self::Merge,
            "application/strategic-merge-patch+json" => Self::Strategic,
            _ => return Err(Status::unsupported_media_type(&PATCHES)),
        };
        let patch: Value = serde_json::from_slice(body)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        if media != PATCHES[0] && !patch.is_object() {
            return Err(Status::bad_request("error decoding patch: it must be a JSON object"));
        }
        Ok(form(patch))
    }

    /// Changes `target`, an object of that kind.
    pub(crate) fn apply(
        &self,
        schema: &api::schema::Schema,
        kind: &Kind,
        target: &mut Value,
    ) -> Result<(), Status> {
        match self {
            Self::Json(patch) => api::patch::json_patch(target, patch),
            Self::Merge(patch) => {
                api::patch::merge(target, patch);
                Ok(())
            }
            Self::Strategic(patch) => api::patch::strategic(schema, kind, target, patch),
        }
    }
}
