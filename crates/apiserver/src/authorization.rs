//! Who may do what: the one place that requests, reviews and impersonation ask.
//!
//! There are no roles yet. Members of `system:masters` may do everything; everybody who is known may do what upstream's
//! built-in roles `system:discovery`, `system:basic-user` and `system:public-info-viewer` allow: read what the server
//! offers, and ask about oneself.

use api::status::{Details, Reason, Status};

use crate::identity::{AUTHENTICATED, MASTERS, UNAUTHENTICATED, User};

/// What somebody wants to do, in the words of `authorization.k8s.io/v1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attributes<'a> {
    /// Something with a resource.
    Resource(ResourceAttributes<'a>),
    /// Something with a path that is no resource's.
    Path {
        /// The method of the request in small letters.
        verb: &'a str,
        /// The path of the request.
        path: &'a str,
    },
}

/// What is to be done with which resource. Empty stands for none, and in a question for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ResourceAttributes<'a> {
    pub(crate) verb: &'a str,
    pub(crate) namespace: &'a str,
    pub(crate) group: &'a str,
    pub(crate) resource: &'a str,
    pub(crate) subresource: &'a str,
    pub(crate) name: &'a str,
}

/// The answer to [`Attributes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// They may, for this reason.
    Allow(&'static str),
    /// Nothing allows it.
    NoOpinion,
}

/// What a group may do. `*` stands for all; a path may end with it.
#[derive(Debug)]
pub(crate) struct Rule {
    pub(crate) verbs: &'static [&'static str],
    pub(crate) groups: &'static [&'static str],
    pub(crate) resources: &'static [&'static str],
    pub(crate) paths: &'static [&'static str],
}

/// The rules of one group of users, and the reason that is told.
struct Grant {
    to: &'static str,
    reason: &'static str,
    rules: &'static [Rule],
}

const ALL: &[&str] = &["*"];

const PUBLIC: Rule = Rule {
    verbs: &["get"],
    groups: &[],
    resources: &[],
    paths: &["/healthz", "/livez", "/readyz", "/version", "/version/"],
};

const GRANTS: &[Grant] = &[
    Grant {
        to: MASTERS,
        reason: "members of system:masters may do everything",
        rules: &[
            Rule { verbs: ALL, groups: ALL, resources: ALL, paths: &[] },
            Rule { verbs: ALL, groups: &[], resources: &[], paths: ALL },
        ],
    },
    Grant {
        to: AUTHENTICATED,
        reason: "everybody who is known may see what the server offers, and ask about oneself",
        rules: &[
            Rule {
                verbs: &["create"],
                groups: &["authorization.k8s.io"],
                resources: &["selfsubjectaccessreviews", "selfsubjectrulesreviews"],
                paths: &[],
            },
            Rule {
                verbs: &["create"],
                groups: &["authentication.k8s.io"],
                resources: &["selfsubjectreviews"],
                paths: &[],
            },
            Rule {
                verbs: &["get"],
                groups: &[],
                resources: &[],
                paths: &["/api", "/api/*", "/apis", "/apis/*", "/openapi", "/openapi/*"],
            },
            PUBLIC,
        ],
    },
    Grant { to: UNAUTHENTICATED, reason: "everybody may ask whether the server lives", rules: &[PUBLIC] },
];

/// Whether a user may do that.
pub(crate) fn authorize(user: &User, attributes: &Attributes<'_>) -> Decision {
    let allowing = grants(user).find(|grant| grant.rules.iter().any(|rule| rule.covers(attributes)));
    allowing.map_or(Decision::NoOpinion, |grant| Decision::Allow(grant.reason))
}

/// Refuses what a user may not do.
///
/// # Errors
/// 403 in upstream's words.
pub(crate) fn require(user: &User, attributes: &Attributes<'_>) -> Result<(), Status> {
    match authorize(user, attributes) {
        Decision::Allow(_) => Ok(()),
        Decision::NoOpinion => Err(forbidden(user, attributes)),
    }
}

/// Everything that a user may do, in every namespace.
pub(crate) fn rules(user: &User) -> impl Iterator<Item = &'static Rule> {
    grants(user).flat_map(|grant| grant.rules)
}

fn grants(user: &User) -> impl Iterator<Item = &'static Grant> {
    GRANTS.iter().filter(|grant| user.groups.iter().any(|group| group == grant.to))
}

impl Rule {
    fn covers(&self, attributes: &Attributes<'_>) -> bool {
        let has = |list: &[&str], word: &str| list.iter().any(|one| *one == "*" || *one == word);
        match attributes {
            Attributes::Resource(asked) => {
                let part;
                let resource = match asked.subresource {
                    "" => asked.resource,
                    subresource => {
                        part = format!("{}/{subresource}", asked.resource);
                        &part
                    }
                };
                has(self.verbs, asked.verb) && has(self.groups, asked.group) && has(self.resources, resource)
            }
            Attributes::Path { verb, path } => {
                let matches = |known: &&str| match known.strip_suffix('*') {
                    Some(start) => path.starts_with(start),
                    None => path == known,
                };
                has(self.verbs, verb) && self.paths.iter().any(matches)
            }
        }
    }
}

fn forbidden(user: &User, attributes: &Attributes<'_>) -> Status {
    let (details, about, refused) = match attributes {
        Attributes::Path { verb, path } => {
            (Details::default(), "forbidden".to_owned(), format!("{verb} path {path:?}"))
        }
        Attributes::Resource(asked) => {
            let details = Details {
                name: asked.name.to_owned(),
                group: asked.group.to_owned(),
                kind: asked.resource.to_owned(),
                ..Details::default()
            };
            let dot = if asked.group.is_empty() { "" } else { "." };
            let name = if asked.name.is_empty() { String::new() } else { format!(" {:?}", asked.name) };
            let slash = if asked.subresource.is_empty() { "" } else { "/" };
            let scope = match asked.namespace {
                "" => "at the cluster scope".to_owned(),
                namespace => format!("in the namespace {namespace:?}"),
            };
            (
                details,
                format!("{}{dot}{}{name} is forbidden", asked.resource, asked.group),
                format!(
                    "{} resource \"{}{slash}{}\" in API group {:?} {scope}",
                    asked.verb, asked.resource, asked.subresource, asked.group
                ),
            )
        }
    };
    let message = format!("{about}: User {:?} cannot {refused}", user.name);
    Status { details: Some(Box::new(details)), ..Status::new(403, Reason::Forbidden, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(verb: &'a str, resource: &'a str) -> ResourceAttributes<'a> {
        ResourceAttributes { verb, resource, ..ResourceAttributes::default() }
    }

    fn jane() -> User {
        User::known("jane", ["dev".to_owned(), AUTHENTICATED.to_owned()])
    }

    #[test]
    fn masters_may_do_everything_and_others_are_told_what_they_may_not() {
        let services = ResourceAttributes { namespace: "dev", ..asked("list", "services") };
        require(&User::in_process("portolan"), &Attributes::Resource(services)).unwrap();
        let node = ResourceAttributes { name: "n1", subresource: "proxy", ..asked("get", "nodes") };
        let scale = ResourceAttributes { group: "apps", ..asked("list", "deployments") };
        for (attributes, message) in [
            (
                Attributes::Resource(services),
                "services is forbidden: User \"jane\" cannot list resource \"services\" in API group \"\" in the namespace \"dev\"",
            ),
            (
                Attributes::Resource(node),
                "nodes \"n1\" is forbidden: User \"jane\" cannot get resource \"nodes/proxy\" in API group \"\" at the cluster scope",
            ),
            (
                Attributes::Resource(scale),
                "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \"apps\" at the cluster scope",
            ),
            (
                Attributes::Path { verb: "get", path: "/metrics" },
                "forbidden: User \"jane\" cannot get path \"/metrics\"",
            ),
        ] {
            assert_eq!(require(&jane(), &attributes).unwrap_err().message, message);
        }
    }

    #[test]
    fn everybody_who_is_known_may_read_discovery_and_ask_about_oneself() {
        let review = ResourceAttributes {
            group: "authorization.k8s.io",
            ..asked("create", "selfsubjectaccessreviews")
        };
        let other = ResourceAttributes { resource: "subjectaccessreviews", ..review };
        let nobody = User::known("nobody", [UNAUTHENTICATED.to_owned()]);
        for (attributes, known, unknown) in [
            (Attributes::Resource(review), true, false),
            (Attributes::Resource(other), false, false),
            (Attributes::Path { verb: "get", path: "/apis/apps/v1" }, true, false),
            (Attributes::Path { verb: "post", path: "/apis/apps/v1" }, false, false),
            (Attributes::Path { verb: "get", path: "/version" }, true, true),
            (Attributes::Path { verb: "get", path: "/apiserver" }, false, false),
        ] {
            let may = |user: &User| matches!(authorize(user, &attributes), Decision::Allow(_));
            assert_eq!((may(&jane()), may(&nobody)), (known, unknown), "{attributes:?}");
        }
    }

    #[test]
    fn a_question_about_everything_is_answered_by_rules_for_everything_only() {
        let all = Attributes::Resource(ResourceAttributes { group: "*", ..asked("*", "*") });
        assert!(matches!(authorize(&User::in_process("portolan"), &all), Decision::Allow(_)));
        assert_eq!(authorize(&jane(), &all), Decision::NoOpinion);
    }
}
