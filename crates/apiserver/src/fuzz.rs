//! What reads the heads of requests, for a fuzzer: functions that panic when a rule is broken.

use api::schema::Schema;
use api::status::Status;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use crate::authorization::{self, Attributes, ResourceAttributes};
use crate::http::connect::check_log;
use crate::http::impersonation;
use crate::http::options::WriteOptions;
use crate::http::query::Query;
use crate::identity::User;
use crate::registry::{ListQuery, WatchQuery};

/// A query string, read as that of every request.
pub fn query(text: &str) {
    let query = Query::parse(Some(text));
    let Some(pods) = Schema::builtin().resource("", "v1", "pods") else { return };
    refused(ListQuery::new(pods, &query).map(drop));
    refused(check_log("web", &query));
    refused(query.number("gracePeriodSeconds").map(drop));
    refused(WriteOptions::read("PatchOptions", &query).map(drop));
    match WatchQuery::new(pods, &query, None) {
        Ok(watch) => {
            let end = tokio::time::Instant::now().checked_add(watch.timeout());
            assert!(end.is_some(), "every clock can add the time of a watch");
        }
        Err(status) => refused(Err(status)),
    }
}

/// The headers of a request of a master and of one who is none.
pub fn headers<'a>(lines: impl Iterator<Item = (&'a [u8], &'a [u8])>) {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        if let (Ok(name), Ok(value)) = (HeaderName::from_bytes(name), HeaderValue::from_bytes(value)) {
            headers.append(name, value);
        }
    }
    let claims = headers.keys().any(|name| name.as_str().starts_with("impersonate-"));
    let jane = User::known("jane", [crate::identity::AUTHENTICATED.to_owned()]);
    for user in [User::in_process("admin"), jane] {
        match impersonation::effective(user.clone(), &headers) {
            Ok(same) if !claims => assert_eq!(same, user, "nobody else is spoken of"),
            Ok(other) if other != user => {
                let masters = other.groups.iter().any(|group| group == crate::identity::MASTERS);
                let all = ResourceAttributes { verb: "*", group: "*", resource: "*", ..Default::default() };
                let may = authorization::require(&other, &Attributes::Resource(all)).is_ok();
                assert_eq!(may, masters, "no rights of the first user are left");
                assert!(user.name == "admin", "jane may be nobody else");
            }
            Ok(_) => {}
            Err(status) => refused(Err(status)),
        }
    }
}

fn refused(result: Result<(), Status>) {
    if let Err(status) = result {
        assert!((400..500).contains(&status.code), "{status:?}");
        assert!(!status.message.is_empty());
    }
}
