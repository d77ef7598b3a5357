//! Who may call the node's API: whoever shows a certificate of the cluster and has the API server's consent.
//!
//! The questions are the kubelet's (kubelet authorization, with KEP-2862's finer subresources), asked as
//! SubjectAccessReviews, and its answers are remembered as long as the kubelet remembers them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
use jiff::Timestamp;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::{Api, Client, api::PostParams};
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::Refusal;

/// The group whose members may do everything, whether the API server can be asked or not: it would say so itself,
/// and its own certificate for nodes is of this group.
const MASTERS: &str = "system:masters";
/// How long a consent counts (the kubelet's `cacheAuthorizedTTL`).
const CONSENT: Duration = Duration::from_secs(300);
/// How long a refusal counts (the kubelet's `cacheUnauthorizedTTL`).
const REFUSAL: Duration = Duration::from_secs(30);
/// Answers that are remembered; beyond, those that would end first are forgotten.
const REMEMBERED: usize = 1024;
/// The largest question whose answer is remembered, in bytes: the caller chose what is in its certificate.
const MAX_QUESTION: usize = 10_000;
/// How long the API server may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Paths that have subresources of their own besides `proxy`, which stands for the whole of the node's API.
const FINER: [(&str, &[&str]); 9] = [
    ("/pods", &["pods", "proxy"]),
    ("/runningpods", &["pods", "proxy"]),
    ("/healthz", &["healthz", "proxy"]),
    ("/configz", &["configz", "proxy"]),
    ("/stats", &["stats"]),
    ("/metrics", &["metrics"]),
    ("/logs", &["log"]),
    ("/checkpoint", &["checkpoint"]),
    ("/", &["proxy"]),
];

/// Who a connection comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Caller {
    /// The common name of its certificate.
    name: String,
    /// The organizations of its certificate, and `system:authenticated`.
    groups: Vec<String>,
    /// The last second of its certificate, since the epoch. A connection may last longer.
    until: i64,
}

impl Caller {
    /// Reads a certificate that the TLS layer has verified; none if it names nobody.
    pub(super) fn from_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let subject = parsed.subject();
        let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
        let organizations =
            subject.iter_organization().filter_map(|group| Some(group.as_str().ok()?.to_owned()));
        let groups = organizations.chain(["system:authenticated".to_owned()]).collect();
        Some(Self { name, groups, until: parsed.validity().not_after.timestamp() })
    }
}

/// What a caller wants of the node, one subresource at a time.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Question {
    caller: Caller,
    verb: &'static str,
    subresource: &'static str,
}

impl Question {
    fn size(&self) -> usize {
        self.caller.name.len() + self.caller.groups.iter().map(String::len).sum::<usize>()
    }

    fn review(&self, node: &str) -> SubjectAccessReview {
        SubjectAccessReview {
            spec: SubjectAccessReviewSpec {
                user: Some(self.caller.name.clone()),
                groups: Some(self.caller.groups.clone()),
                resource_attributes: Some(ResourceAttributes {
                    verb: Some(self.verb.into()),
                    version: Some("v1".into()),
                    resource: Some("nodes".into()),
                    subresource: Some(self.subresource.into()),
                    name: Some(node.into()),
                    ..Default::default()
                }),
                ..Default::default()
            },
            ..Default::default()
        }
    }
}

/// Asks who may call, and remembers.
#[derive(Debug)]
pub(super) struct Gate<A> {
    ask: A,
    answers: Mutex<Answers>,
}

/// Puts a question to the API server.
pub(super) trait Ask {
    /// Whether the API server consents; an error when it cannot say.
    async fn ask(&self, review: SubjectAccessReview) -> Result<bool, String>;
    /// The node's name.
    fn node(&self) -> &str;
}

/// The API server, and which node asks it.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) client: Client,
    pub(super) node: String,
}

impl Ask for Server {
    async fn ask(&self, review: SubjectAccessReview) -> Result<bool, String> {
        let reviews = Api::<SubjectAccessReview>::all(self.client.clone());
        let parameters = PostParams::default();
        let asked = tokio::time::timeout(PATIENCE, reviews.create(&parameters, &review)).await;
        match asked.map_err(|_| format!("no answer within {} s", PATIENCE.as_secs()))? {
            Ok(review) => {
                Ok(review.status.is_some_and(|status| status.allowed && status.denied != Some(true)))
            }
            // An API server without roles has nothing to give to anyone.
            Err(kube::Error::Api(answer)) if answer.code == 404 => Ok(false),
            Err(error) => Err(error.to_string()),
        }
    }

    fn node(&self) -> &str {
        &self.node
    }
}

impl<A: Ask> Gate<A> {
    /// A gate that has no answers yet.
    pub(super) fn new(ask: A) -> Self {
        Self { ask, answers: Mutex::default() }
    }

    /// Whether this caller may send a request of this method to this path.
    ///
    /// # Errors
    /// 401 for nobody, 403 for who may not, 500 while that cannot be known; in the kubelet's words.
    pub(super) async fn admit(
        &self,
        caller: Option<&Caller>,
        method: &Method,
        path: &str,
    ) -> Result<(), Refusal> {
        let now = Timestamp::now().as_second();
        let Some(caller) = caller.filter(|caller| now <= caller.until) else {
            return Err((StatusCode::UNAUTHORIZED, "Unauthorized".into()));
        };
        if caller.groups.iter().any(|group| group == MASTERS) {
            return Ok(());
        }
        let (verb, subresources) = (verb(method), subresources(path));
        for &subresource in subresources {
            let question = Question { caller: caller.clone(), verb, subresource };
            let allowed = self.answer(question).await.map_err(|error| {
                let name = &caller.name;
                tracing::warn!(user = name, verb, subresource, "cannot ask who may call this node: {error}");
                let sentence = format!(
                    "Authorization error (user={name}, verb={verb}, resource=nodes, subresource={subresource})"
                );
                (StatusCode::INTERNAL_SERVER_ERROR, sentence)
            })?;
            if allowed {
                return Ok(());
            }
        }
        let (name, list) = (&caller.name, subresources.join(" "));
        let sentence =
            format!("Forbidden (user={name}, verb={verb}, resource=nodes, subresource(s)=[{list}])");
        Err((StatusCode::FORBIDDEN, sentence))
    }

    async fn answer(&self, question: Question) -> Result<bool, String> {
        if let Some(known) = self.lock().find(&question, Instant::now()) {
            return Ok(known);
        }
        let allowed = self.ask.ask(question.review(self.ask.node())).await?;
        self.lock().remember(question, allowed, Instant::now());
        Ok(allowed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers, and until when they count.
#[derive(Debug, Default)]
struct Answers(HashMap<Question, (bool, Instant)>);

impl Answers {
    fn find(&self, question: &Question, now: Instant) -> Option<bool> {
        self.0.get(question).filter(|(_, until)| now < *until).map(|(allowed, _)| *allowed)
    }

    fn remember(&mut self, question: Question, allowed: bool, now: Instant) {
        if question.size() > MAX_QUESTION {
            return;
        }
        if self.0.len() >= REMEMBERED {
            self.0.retain(|_, (_, until)| now < *until);
        }
        if self.0.len() >= REMEMBERED
            && let Some(first) =
                self.0.iter().min_by_key(|(_, (_, until))| *until).map(|(first, _)| first.clone())
        {
            self.0.remove(&first);
        }
        self.0.insert(question, (allowed, now + if allowed { CONSENT } else { REFUSAL }));
    }
}

/// The API's verb for an HTTP method.
fn verb(method: &Method) -> &'static str {
    match *method {
        Method::POST => "create",
        Method::GET => "get",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}

/// The subresources of nodes any of which gives access to a path.
fn subresources(path: &str) -> &'static [&'static str] {
    let below = |root: &str| {
        let rest = path.strip_prefix(root);
        rest.is_some_and(|rest| root == "/" || rest.is_empty() || rest.starts_with('/'))
    };
    FINER.iter().find(|(root, _)| below(root)).map_or(&["proxy"], |(_, subresources)| subresources)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Consents to `nodes/pods` alone, or knows nothing.
    #[derive(Default)]
    struct Known {
        asked: AtomicUsize,
        down: bool,
    }

    impl Ask for Known {
        async fn ask(&self, review: SubjectAccessReview) -> Result<bool, String> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let attributes = review.spec.resource_attributes.unwrap();
            assert_eq!(
                (attributes.name.as_deref(), attributes.resource.as_deref()),
                (Some("n1"), Some("nodes"))
            );
            if self.down {
                Err("it is down".into())
            } else {
                Ok(attributes.subresource.as_deref() == Some("pods"))
            }
        }

        fn node(&self) -> &'static str {
            "n1"
        }
    }

    fn caller(name: &str, group: &str) -> Caller {
        Caller {
            name: name.into(),
            groups: vec![group.into(), "system:authenticated".into()],
            until: i64::MAX,
        }
    }

    fn admit(gate: &Gate<Known>, caller: Option<&Caller>, method: Method, path: &str) -> Result<(), Refusal> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(gate.admit(caller, &method, path))
    }

    #[test]
    fn the_questions_are_the_kubelets() {
        for (path, expected) in [
            ("/pods", &["pods", "proxy"][..]),
            ("/pods/", &["pods", "proxy"]),
            ("/podsx", &["proxy"]),
            ("/runningpods", &["pods", "proxy"]),
            ("/healthz/ping", &["healthz", "proxy"]),
            ("/configz", &["configz", "proxy"]),
            ("/logs/syslog", &["log"]),
            ("/metrics/cadvisor", &["metrics"]),
            ("/stats/summary", &["stats"]),
            ("/exec/default/web/main", &["proxy"]),
            ("/containerLogs/default/web/main", &["proxy"]),
            ("/portForward/default/web", &["proxy"]),
            ("/", &["proxy"]),
            ("*", &["proxy"]),
        ] {
            assert_eq!(subresources(path), expected, "{path}");
        }
        assert_eq!((verb(&Method::POST), verb(&Method::GET), verb(&Method::HEAD)), ("create", "get", ""));
    }

    #[test]
    fn who_may_not_is_told_so_and_nobody_is_not_asked_about() {
        let gate = Gate::new(Known::default());
        let jane = caller("jane", "dev");
        assert_eq!(admit(&gate, Some(&jane), Method::GET, "/pods"), Ok(()));
        let (status, sentence) = admit(&gate, Some(&jane), Method::POST, "/exec/d/p/c").unwrap_err();
        assert_eq!(status, StatusCode::FORBIDDEN);
        assert_eq!(sentence, "Forbidden (user=jane, verb=create, resource=nodes, subresource(s)=[proxy])");
        let (_, sentence) = admit(&gate, Some(&jane), Method::GET, "/healthz").unwrap_err();
        assert!(sentence.ends_with("subresource(s)=[healthz proxy])"), "{sentence}");
        assert_eq!(gate.ask.asked.load(Ordering::Relaxed), 4);
        let expired = Caller { until: 0, ..caller("kube-apiserver-kubelet-client", MASTERS) };
        for nobody in [None, Some(&expired)] {
            let (status, sentence) = admit(&gate, nobody, Method::GET, "/pods").unwrap_err();
            assert_eq!((status, sentence.as_str()), (StatusCode::UNAUTHORIZED, "Unauthorized"));
        }
        assert_eq!(gate.ask.asked.load(Ordering::Relaxed), 4);
    }

    #[test]
    fn without_the_api_server_only_masters_pass_and_nothing_is_remembered() {
        let gate = Gate::new(Known { down: true, ..Known::default() });
        let jane = caller("jane", "dev");
        let (status, sentence) = admit(&gate, Some(&jane), Method::GET, "/pods").unwrap_err();
        assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
        assert_eq!(sentence, "Authorization error (user=jane, verb=get, resource=nodes, subresource=pods)");
        assert_eq!(admit(&gate, Some(&caller("x", MASTERS)), Method::POST, "/exec/d/p/c"), Ok(()));
        assert!(gate.lock().0.is_empty());
    }

    #[test]
    fn answers_count_for_a_while_and_their_number_is_bounded() {
        let now = Instant::now();
        let question = |number: usize| Question {
            caller: caller(&format!("u{number}"), "dev"),
            verb: "get",
            subresource: "proxy",
        };
        let mut answers = Answers::default();
        answers.remember(question(0), true, now);
        answers.remember(question(1), false, now);
        let at = |seconds: u64| now + Duration::from_secs(seconds);
        assert_eq!(
            [answers.find(&question(0), at(299)), answers.find(&question(0), at(300))],
            [Some(true), None]
        );
        assert_eq!(
            [answers.find(&question(1), at(29)), answers.find(&question(1), at(30))],
            [Some(false), None]
        );
        for number in 0..2 * REMEMBERED {
            answers.remember(question(number), true, now);
        }
        assert_eq!(answers.0.len(), REMEMBERED);
        let long = Question { caller: caller(&"x".repeat(MAX_QUESTION + 1), "dev"), ..question(0) };
        answers.remember(long.clone(), true, now);
        assert_eq!(answers.find(&long, now), None);
    }

    #[test]
    fn a_caller_is_the_subject_of_its_certificate() {
        let mut parameters = rcgen::CertificateParams::default();
        parameters.distinguished_name.push(rcgen::DnType::CommonName, "jane");
        parameters.distinguished_name.push(rcgen::DnType::OrganizationName, "dev");
        let certificate = parameters.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
        let caller = Caller::from_certificate(certificate.der()).unwrap();
        assert_eq!(
            (caller.name.as_str(), caller.groups),
            ("jane", vec!["dev".into(), "system:authenticated".into()])
        );
        assert!(caller.until > Timestamp::now().as_second());
    }
}
