//! Acting as somebody else: the `Impersonate-*` headers.
//!
//! Source: upstream's documentation of authentication ("User impersonation") and `endpoints/filters/impersonation`.
//! A header that would change who a request comes from is carried out or refuses the request; none is passed over.

use std::collections::BTreeMap;

use api::status::Status;
use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};

use crate::authorization::{self, Attributes, ResourceAttributes};
use crate::identity::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, User};

const PREFIX: &str = "impersonate-";
const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
/// What an authenticating proxy says. This server has no certificates of such proxies, so nobody may say it.
const PROXIED: [&str; 4] = ["x-remote-user", "x-remote-group", "x-remote-uid", "x-remote-extra-"];
/// What the user names of service accounts begin with.
const SERVICE_ACCOUNT: &str = "system:serviceaccount:";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// The user as whom a request is to be carried out: the one who sent it, or the one whom its headers name.
///
/// # Errors
/// 400 for headers that do not say whom, or that this server does not know; 401 for credentials that it cannot
/// check; 403 if the user may not act as that one.
pub(crate) fn effective(user: User, headers: &HeaderMap) -> Result<User, Status> {
    let wanted = Wanted::read(headers)?;
    match wanted {
        None => Ok(user),
        Some(wanted) => {
            wanted.check(&user)?;
            Ok(wanted.into_user())
        }
    }
}

/// Whom the headers name, as they name them.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    name: String,
    uid: String,
    groups: Vec<String>,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    fn read(headers: &HeaderMap) -> Result<Option<Self>, Status> {
        let mut wanted = Self::default();
        let mut asked = false;
        for (header, value) in headers {
            match header.as_str() {
                USER => once(&mut wanted.name, header, value)?,
                UID => once(&mut wanted.uid, header, value)?,
                GROUP => {
                    asked = true;
                    wanted.groups.push(text(header, value)?);
                }
                name if name.starts_with(EXTRA) => {
                    asked = true;
                    let values = wanted.extra.entry(extra_key(&name[EXTRA.len()..])).or_default();
                    values.push(text(header, value)?);
                }
                name if name.starts_with(PREFIX) || PROXIED.iter().any(|known| name.starts_with(known)) => {
                    return Err(Status::bad_request(format!(
                        "the header {name} says that the request is somebody else's, and this server does not know it"
                    )));
                }
                _ if header == AUTHORIZATION => return Err(Status::unauthorized()),
                _ => {}
            }
        }
        match (wanted.name.is_empty(), asked || !wanted.uid.is_empty()) {
            (true, true) => {
                Err(Status::bad_request("requested to impersonate without impersonating a user name"))
            }
            (true, false) => Ok(None),
            (false, _) => Ok(Some(wanted)),
        }
    }

    /// Each thing that is claimed must be allowed.
    fn check(&self, user: &User) -> Result<(), Status> {
        let may = |attributes: ResourceAttributes<'_>| {
            let attributes = ResourceAttributes { verb: "impersonate", ..attributes };
            authorization::require(user, &Attributes::Resource(attributes))
        };
        let core = ResourceAttributes::default();
        let own = ResourceAttributes { group: AUTHENTICATION, ..core };
        match service_account(&self.name) {
            Some((namespace, name)) => {
                may(ResourceAttributes { resource: "serviceaccounts", namespace, name, ..core })?;
            }
            None => may(ResourceAttributes { resource: "users", name: &self.name, ..core })?,
        }
        for name in &self.groups {
            may(ResourceAttributes { resource: "groups", name, ..core })?;
        }
        for (key, values) in &self.extra {
            for name in values {
                may(ResourceAttributes { resource: "userextras", subresource: key, name, ..own })?;
            }
        }
        if !self.uid.is_empty() {
            may(ResourceAttributes { resource: "uids", name: &self.uid, ..own })?;
        }
        Ok(())
    }

    /// The user in whole: with the groups that go without saying.
    fn into_user(self) -> User {
        let Self { name, uid, mut groups, extra } = self;
        if let Some((namespace, _)) = service_account(&name).filter(|_| groups.is_empty()) {
            groups = vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")];
        }
        let has = |wanted: &[&str]| groups.iter().any(|group| wanted.contains(&group.as_str()));
        if name == ANONYMOUS {
            if !has(&[UNAUTHENTICATED]) {
                groups.push(UNAUTHENTICATED.to_owned());
            }
        } else if !has(&[AUTHENTICATED, UNAUTHENTICATED]) {
            groups.push(AUTHENTICATED.to_owned());
        }
        User { name, uid, groups, extra }
    }
}

fn text(header: &HeaderName, value: &HeaderValue) -> Result<String, Status> {
    String::from_utf8(value.as_bytes().to_vec())
        .map_err(|_| Status::bad_request(format!("the header {header} is not UTF-8")))
}

/// Takes a value of which there is one: two users would be a guess which of them is meant.
fn once(place: &mut String, header: &HeaderName, value: &HeaderValue) -> Result<(), Status> {
    if !place.is_empty() {
        return Err(Status::bad_request(format!("the header {header} occurs more than once")));
    }
    *place = text(header, value)?;
    Ok(())
}

/// The key in a header's name is percent-encoded; one that is not well encoded is kept as it is.
fn extra_key(encoded: &str) -> String {
    let bytes = encoded.as_bytes();
    let well = bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%').all(|(at, _)| {
        bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    });
    match percent_encoding::percent_decode_str(encoded).decode_utf8() {
        Ok(key) if well => key.into_owned(),
        _ => encoded.to_owned(),
    }
}

/// The namespace and name in the user name of a service account.
fn service_account(user: &str) -> Option<(&str, &str)> {
    let (namespace, name) = user.strip_prefix(SERVICE_ACCOUNT)?.split_once(':')?;
    (api::validate::names::dns1123_label(namespace).is_empty()
        && api::validate::names::dns1123_subdomain(name).is_empty())
    .then_some((namespace, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), value.parse().unwrap());
        }
        headers
    }

    fn admin() -> User {
        User::in_process("admin")
    }

    #[test]
    fn a_master_becomes_the_user_that_is_named_and_keeps_no_rights() {
        let lines = [
            ("Impersonate-User", "jane"),
            ("Impersonate-Group", "dev"),
            ("Impersonate-Group", "ops"),
            ("Impersonate-Uid", "17"),
            ("Impersonate-Extra-Acme.com%2FScope", "a"),
            ("Impersonate-Extra-Acme.com%2FScope", "b"),
        ];
        let user = effective(admin(), &headers(&lines)).unwrap();
        assert_eq!((user.name.as_str(), user.uid.as_str()), ("jane", "17"));
        assert_eq!(user.groups, ["dev", "ops", AUTHENTICATED]);
        assert_eq!(user.extra["acme.com/scope"], ["a", "b"]);
        let nodes = ResourceAttributes { verb: "delete", resource: "nodes", ..ResourceAttributes::default() };
        assert_eq!(authorization::require(&user, &Attributes::Resource(nodes)).unwrap_err().code, 403);
    }

    #[test]
    fn groups_that_go_without_saying_are_there() {
        for (name, groups, expected) in [
            ("jane", &[][..], &[AUTHENTICATED][..]),
            ("jane", &[UNAUTHENTICATED], &[UNAUTHENTICATED]),
            (ANONYMOUS, &[], &[UNAUTHENTICATED]),
            (
                "system:serviceaccount:dev:web",
                &[],
                &["system:serviceaccounts", "system:serviceaccounts:dev", AUTHENTICATED],
            ),
            ("system:serviceaccount:dev:web", &["ops"], &["ops", AUTHENTICATED]),
            ("system:serviceaccount:dev", &[], &[AUTHENTICATED]),
        ] {
            let mut lines = vec![("impersonate-user", name)];
            lines.extend(groups.iter().map(|group| ("impersonate-group", *group)));
            assert_eq!(effective(admin(), &headers(&lines)).unwrap().groups, expected, "{name} {groups:?}");
        }
    }

    #[test]
    fn who_may_not_is_told_in_upstreams_words() {
        let bob = User::known("bob", [AUTHENTICATED.to_owned()]);
        for (name, message) in [
            (
                "jane",
                "users \"jane\" is forbidden: User \"bob\" cannot impersonate resource \"users\" in API group \"\" at the cluster scope",
            ),
            (
                "system:serviceaccount:dev:web",
                "serviceaccounts \"web\" is forbidden: User \"bob\" cannot impersonate resource \"serviceaccounts\" in API group \"\" in the namespace \"dev\"",
            ),
        ] {
            let refused = effective(bob.clone(), &headers(&[(USER, name)])).unwrap_err();
            assert_eq!((refused.code, refused.message.as_str()), (403, message));
        }
    }

    #[test]
    fn every_header_that_says_who_somebody_is_is_carried_out_or_refused() {
        for (lines, code) in [
            (&[("impersonate-group", "system:masters")][..], 400),
            (&[("impersonate-uid", "1")], 400),
            (&[("impersonate-extra-scopes", "x")], 400),
            (&[("impersonate-user", "a"), ("impersonate-user", "b")], 400),
            (&[("impersonate-user", "a"), ("impersonate-userinfo", "b")], 400),
            (&[("impersonate-node", "a")], 400),
            (&[("x-remote-user", "admin")], 400),
            (&[("x-remote-extra-scopes", "x")], 400),
            (&[("authorization", "Bearer abc")], 401),
        ] {
            assert_eq!(effective(admin(), &headers(lines)).unwrap_err().code, code, "{lines:?}");
        }
        assert_eq!(
            effective(admin(), &headers(&[("accept", "x"), ("impersonate-user", "")])).unwrap(),
            admin()
        );
    }

    #[test]
    fn keys_that_are_not_well_encoded_stay_as_they_are() {
        for (encoded, key) in [("a%2fb", "a/b"), ("a%zz", "a%zz"), ("a%", "a%"), ("a%ff", "a%ff"), ("", "")] {
            assert_eq!(extra_key(encoded), key);
        }
    }
}
