//! Answers: bodies, statuses, tables.

use std::sync::Arc;

use api::schema::Kind;
use api::status::Status;
use bytes::Bytes;
use futures::Stream;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WARNING};
use http::{Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::accept::{Accepted, Encoding, View};
use super::pieces::{self, Form, Render};
use crate::workshop::Workshop;

/// The body of every answer.
pub type Body = UnsyncBoxBody<Bytes, std::io::Error>;

/// How many bytes of stored objects an answer refers to until it was sent; an extension of answers whose own length does
/// not tell.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weight(pub(crate) usize);

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

/// The warnings of an answer have at most so many bytes together (upstream's limit).
const MAX_WARNINGS: usize = 4096;
/// When they have more, each is cut to so many bytes (upstream's limit).
const MAX_LONG_WARNING: usize = 256;

/// Adds warnings that kubectl shows (RFC 7234, section 5.5; code 299).
pub(crate) fn with_warnings(mut response: Response<Body>, warnings: &[String]) -> Response<Body> {
    let whole: usize = warnings.iter().map(String::len).sum();
    let most = if whole > MAX_WARNINGS { MAX_LONG_WARNING } else { MAX_WARNINGS };
    let mut room = MAX_WARNINGS;
    for warning in warnings {
        let shown = &warning[..warning.floor_char_boundary(most)];
        let Some(rest) = room.checked_sub(shown.len()) else { break };
        room = rest;
        let quoted = shown.replace('\\', "\\\\").replace('"', "\\\"");
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

    /// A list as an answer, sent piece by piece.
    ///
    /// # Errors
    /// An object of a short list cannot be read.
    pub(crate) fn list(
        self,
        items: Vec<Bytes>,
        metadata: &Value,
        workshop: &Arc<Workshop>,
    ) -> Result<Response<Body>, Status> {
        let (encoding, view) = (self.accepted.encoding, self.accepted.view);
        let head = match view {
            View::Table => json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                "columnDefinitions": api::table::columns(self.kind),
            }),
            View::Metadata => json!({
                "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            }),
            View::Object | View::Discovery(_) => json!({
                "kind": self.kind.list_kind, "apiVersion": self.kind.api_version(), "metadata": metadata,
            }),
        };
        let field = if view == View::Table { "rows" } else { "items" };
        let (media, head, between, tail) = match encoding {
            Encoding::Json => {
                let mut open = head.to_string();
                open.pop();
                open.push_str(&format!(",\"{field}\":["));
                ("application/json", open, ",", "]}\n")
            }
            Encoding::Yaml => {
                let head = serde_saphyr::to_string(&head).map_err(Status::internal)?;
                let none = if items.is_empty() { " []" } else { "" };
                ("application/yaml", format!("{}\n{field}:{none}\n", head.trim_end()), "", "")
            }
        };
        let plain = self.is_plain();
        let render: Render = Arc::new(move |item| self.item(item));
        let form = Form {
            head: head.into(),
            between,
            tail: Bytes::from_static(tail.as_bytes()),
            render: (!plain).then_some(render),
        };
        let (length, weight) = (form.length(&items), pieces::weight(&items));
        let mut response = with_type(StatusCode::OK, media, pieces::body(form, items, workshop)?);
        if let Some(length) = length {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        response.extensions_mut().insert(Weight(weight));
        Ok(response)
    }

    /// One object as it stands in a list: as JSON, or as an element of a list in YAML.
    fn item(&self, bytes: &Bytes) -> Result<Bytes, Status> {
        let object = self.parse(bytes)?;
        let shown = match self.accepted.view {
            View::Table => self.row(&object, Timestamp::now()),
            View::Metadata => partial(&object),
            View::Object | View::Discovery(_) => object,
        };
        match self.accepted.encoding {
            Encoding::Json => Ok(shown.to_string().into()),
            Encoding::Yaml => {
                let yaml = serde_saphyr::to_string(&[shown]).map_err(Status::internal)?;
                Ok(format!("{}\n", yaml.trim_end_matches('\n')).into())
            }
        }
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
        let rows: Vec<Value> = objects.iter().map(|object| self.row(object, now)).collect();
        json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
            "columnDefinitions": columns, "rows": rows,
        })
    }

    fn row(&self, object: &Value, now: Timestamp) -> Value {
        let mut row = json!({ "cells": api::table::row(self.kind, object, now) });
        match self.include {
            IncludeObject::None => {}
            IncludeObject::Metadata => row["object"] = partial(object),
            IncludeObject::Object => row["object"] = object.clone(),
        }
        row
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

#[cfg(test)]
mod tests {
    use super::*;

    fn presenter(encoding: Encoding, view: View) -> Presenter {
        let kind = api::schema::Schema::builtin().resource("", "v1", "configmaps").unwrap();
        Presenter { kind, accepted: Accepted { encoding, view }, include: IncludeObject::Metadata }
    }

    fn object(n: usize) -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "1\n- x: \"y\"\n", "empty": ""},
            "metadata": {"name": format!("m{n}"), "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {}},
        })
    }

    #[tokio::test]
    async fn every_form_of_a_list_is_one_document_whatever_its_length() {
        let metadata = json!({"resourceVersion": "7", "continue": "x"});
        for count in [0, 1, 2, 2000] {
            let objects: Vec<Value> = (0..count).map(object).collect();
            let items: Vec<Bytes> = objects.iter().map(|object| object.to_string().into()).collect();
            for view in [View::Object, View::Table, View::Metadata] {
                let mut read = Vec::new();
                for encoding in [Encoding::Json, Encoding::Yaml] {
                    let response =
                        presenter(encoding, view).list(items.clone(), &metadata, &Arc::default()).unwrap();
                    let length = response.headers().get(CONTENT_LENGTH).cloned();
                    let text = response.into_body().collect().await.unwrap().to_bytes();
                    if let Some(length) = length {
                        assert_eq!(length, text.len().to_string().as_str());
                    }
                    read.push(match encoding {
                        Encoding::Json => serde_json::from_slice::<Value>(&text).unwrap(),
                        Encoding::Yaml => {
                            let text = std::str::from_utf8(&text).unwrap();
                            let options = serde_saphyr::options! { budget: None };
                            serde_saphyr::from_str_with_options(text, options).unwrap()
                        }
                    });
                }
                assert_eq!(read[0]["metadata"], metadata);
                let field = if view == View::Table { "rows" } else { "items" };
                assert_eq!(read[0][field].as_array().unwrap().len(), count);
                match view {
                    View::Object => assert_eq!(read[0]["items"], Value::from(objects.clone())),
                    View::Metadata if count > 0 => assert_eq!(read[0]["items"][0], partial(&objects[0])),
                    View::Table if count > 0 => assert_eq!(read[0]["rows"][0]["cells"][0], "m0"),
                    _ => {}
                }
                assert_eq!(read[0], read[1], "{view:?} of {count}");
            }
        }
    }
}
