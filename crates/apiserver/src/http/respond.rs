//! Answers: bodies, statuses, tables.

use api::schema::Kind;
use api::status::Status;
use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::{Accepted, Encoding, View};

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// A body that is whole.
pub(crate) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// A body that is written piece by piece.
pub(crate) fn streamed(pieces: impl Stream<Item = Bytes> + Send + 'static) -> Body {
    use futures::StreamExt;
    BodyExt::boxed_unsync(StreamBody::new(pieces.map(|piece| Ok(Frame::data(piece)))))
}

/// An answer with a body of a given media type.
pub(crate) fn with_type(code: StatusCode, media: &str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    if let Ok(value) = HeaderValue::from_str(media) {
        response.headers_mut().insert(CONTENT_TYPE, value);
    }
    response
}

/// An answer in JSON.
pub(crate) fn json(code: StatusCode, bytes: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "application/json", full(bytes))
}

/// A document made for this answer.
pub(crate) fn value(document: &Value) -> Response<Body> {
    json(StatusCode::OK, format!("{document}\n"))
}

/// Plain text.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    with_type(code, "text/plain; charset=utf-8", full(text))
}

/// A Status as the whole answer.
pub(crate) fn status(status: &Status) -> Response<Body> {
    let code = StatusCode::from_u16(status.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = json(code, format!("{}\n", status.to_value()));
    let retry = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
    if retry > 0 {
        response.headers_mut().insert(RETRY_AFTER, retry.into());
    }
    response
}

/// Adds warnings that kubectl shows (RFC 7234, section 5.5; code 299).
pub(crate) fn with_warnings(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    for warning in warnings {
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_str(&format!("299 - \"{quoted}\"")) {
            response.headers_mut().append(WARNING, value);
        }
    }
    response
}

/// How much of each object a table carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IncludeObject {
    /// Nothing.
    None,
    /// Its metadata.
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads the parameter `includeObject`.
    pub(crate) fn parse(text: Option<&str>) -> Result<Self, Status> {
        match text {
            None | Some("Metadata") => Ok(Self::Metadata),
            Some("None") => Ok(Self::None),
            Some("Object") => Ok(Self::Object),
            Some(other) => Err(Status::bad_request(format!("unrecognized includeObject value: {other:?}"))),
        }
    }
}

/// Shows objects in the view that a client has asked for.
pub(crate) struct Presenter {
    pub(crate) kind: &'static Kind,
    pub(crate) accepted: Accepted,
    pub(crate) include: IncludeObject,
}

impl Presenter {
    /// Whether stored bytes are already what the client wants.
    pub(crate) fn is_plain(&self) -> bool {
        self.accepted.view == View::Object && self.accepted.encoding == Encoding::Json
    }

    /// One object as an answer.
    pub(crate) fn object(&self, code: StatusCode, bytes: Bytes) -> Result<Response<Body>, Status> {
        if self.is_plain() {
            return Ok(json(code, bytes));
        }
        let object = self.parse(&bytes)?;
        let shown = match self.accepted.view {
            View::Table => {
                let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                self.table(&[object], &metadata, true)
            }
            View::Metadata => partial(&object),
            View::Object | View::Discovery(_) => object,
        };
        Ok(self.encode(code, &shown))
    }

    /// A list as an answer.
    pub(crate) fn list(&self, items: &[Bytes], metadata: &Value) -> Result<Response<Body>, Status> {
        if self.is_plain() {
            return Ok(json(StatusCode::OK, crate::object::list(self.kind, items, metadata)));
        }
        let objects = items.iter().map(|item| self.parse(item)).collect::<Result<Vec<_>, _>>()?;
        let shown = match self.accepted.view {
            View::Table => self.table(&objects, metadata, true),
            View::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "items": objects.iter().map(partial).collect::<Vec<_>>(),
            }),
            View::Object | View::Discovery(_) => json!({
                "kind": self.kind.list_kind, "apiVersion": self.kind.api_version(), "metadata": metadata,
                "items": objects,
            }),
        };
        Ok(self.encode(StatusCode::OK, &shown))
    }

    /// The object of one watch event; only a watch's first table names its columns.
    pub(crate) fn event(&self, bytes: &Bytes, first: bool) -> Result<Bytes, Status> {
        if self.accepted.view == View::Object {
            return Ok(bytes.clone());
        }
        let object = self.parse(bytes)?;
        let shown = match self.accepted.view {
            View::Table => {
                let metadata = json!({ "resourceVersion": object["metadata"]["resourceVersion"] });
                self.table(&[object], &metadata, first)
            }
            _ => partial(&object),
        };
        Ok(shown.to_string().into())
    }

    fn table(&self, objects: &[Value], metadata: &Value, with_columns: bool) -> Value {
        let now = Timestamp::now();
        let columns = if with_columns { api::table::columns(self.kind) } else { Vec::new() };
        let rows: Vec<Value> = objects
            .iter()
            .map(|object| {
                let mut row = json!({ "cells": api::table::row(self.kind, object, now) });
                match self.include {
                    IncludeObject::None => {}
                    IncludeObject::Metadata => row["object"] = partial(object),
                    IncludeObject::Object => row["object"] = object.clone(),
                }
                row
            })
            .collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn encode(&self, code: StatusCode, shown: &Value) -> Response<Body> {
        match self.accepted.encoding {
            Encoding::Json => json(code, format!("{shown}\n")),
            Encoding::Yaml => match serde_saphyr::to_string(shown) {
                Ok(yaml) => with_type(code, "application/yaml", full(yaml)),
                Err(error) => status(&Status::internal(error)),
            },
        }
    }

    fn parse(&self, bytes: &Bytes) -> Result<Value, Status> {
        serde_json::from_slice(bytes).map_err(Status::internal)
    }
}

fn partial(object: &Value) -> Value {
    json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"] })
}
