//! Tokens of a pod's ServiceAccount, for its projected volumes (TokenRequest API): asked for when a volume is made, kept
//! while they last, and asked for anew before they end.

use std::collections::BTreeMap;

use api::seconds::Seconds;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::{
    authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
    core::v1::{Pod, ServiceAccount},
};
use kube::{Api, Client, ResourceExt, api::PostParams};

use super::names;

/// How long a token lasts for which the pod names no time, in seconds.
const DEFAULT_SECONDS: i64 = 3600;
/// No token is kept for longer, however long it lasts (the kubelet's `maxTTL`).
const LONGEST_KEPT: SignedDuration = SignedDuration::from_hours(24);
/// After a failure a token is asked for again no sooner.
const AGAIN: SignedDuration = SignedDuration::from_secs(30);

/// What a token is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Purpose {
    /// Empty: the API server.
    audience: String,
    seconds: i64,
}

impl Purpose {
    /// Of a source of a projected volume.
    pub(super) fn new(audience: Option<&str>, seconds: Option<i64>) -> Self {
        let audience = audience.unwrap_or_default().to_owned();
        Self { audience, seconds: seconds.unwrap_or(DEFAULT_SECONDS) }
    }

    /// All that a pod's volumes want.
    pub(super) fn all(pod: &Pod) -> Vec<Self> {
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let projected = volumes.filter_map(|volume| volume.projected.as_ref());
        let sources = projected.flat_map(|projected| projected.sources.iter().flatten());
        let tokens = sources.filter_map(|source| source.service_account_token.as_ref());
        let mut all: Vec<Self> =
            tokens.map(|token| Self::new(token.audience.as_deref(), token.expiration_seconds)).collect();
        all.sort();
        all.dedup();
        all
    }
}

/// Tokens by what they are for.
pub(super) type ByPurpose = BTreeMap<Purpose, String>;

#[derive(Clone, Debug)]
struct Held {
    token: String,
    renew_at: Timestamp,
}

/// The tokens of one pod.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    held: BTreeMap<Purpose, Held>,
}

impl Tokens {
    /// Every token that the pod's volumes want. One that cannot be renewed is used as long as it lasts; the error is a
    /// sentence about one that cannot be had at all.
    pub(super) async fn fetch(&mut self, client: &Client, pod: &Pod) -> Result<ByPurpose, String> {
        for purpose in Purpose::all(pod) {
            let now = Timestamp::now();
            let later = now.saturating_add(AGAIN).unwrap_or(Timestamp::MAX);
            if self.held.get(&purpose).is_some_and(|held| held.renew_at > now) {
                continue;
            }
            match (request(client, pod, &purpose).await, self.held.get_mut(&purpose)) {
                (Ok(held), _) => drop(self.held.insert(purpose, held)),
                (Err(error), None) => return Err(format!("failed to fetch token: {error}")),
                (Err(error), Some(held)) => {
                    tracing::warn!(pod = pod.name_any(), "a token is not renewed: {error}");
                    held.renew_at = later;
                }
            }
        }
        Ok(self.held.iter().map(|(purpose, held)| (purpose.clone(), held.token.clone())).collect())
    }

    /// When the first of them is to be renewed.
    pub(super) fn renew_at(&self) -> Option<Timestamp> {
        self.held.values().map(|held| held.renew_at).min()
    }
}

async fn request(client: &Client, pod: &Pod, purpose: &Purpose) -> Result<Held, kube::Error> {
    let account = pod.spec.as_ref().and_then(|spec| spec.service_account_name.clone());
    let account = account.filter(|name| !name.is_empty()).unwrap_or_else(|| "default".to_owned());
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &pod.namespace().unwrap_or_default());
    let audiences = Some(purpose.audience.clone()).filter(|audience| !audience.is_empty());
    let wanted = TokenRequest {
        spec: Some(TokenRequestSpec {
            audiences: Some(audiences.into_iter().collect()),
            expiration_seconds: Some(purpose.seconds),
            // The token ends with the pod.
            bound_object_ref: Some(BoundObjectReference {
                api_version: Some("v1".into()),
                kind: Some("Pod".into()),
                name: Some(pod.name_any()),
                uid: Some(names::uid(pod)),
            }),
        }),
        ..Default::default()
    };
    let given = accounts.create_token_request(&account, &PostParams::default(), &wanted).await?;
    let status = given.status.unwrap_or_default();
    let now = Timestamp::now();
    let end = status.expiration_timestamp.map_or(now, |time| time.0);
    Ok(Held { token: status.token.unwrap_or_default(), renew_at: renewal(now, end) })
}

/// When a token that was given at `now` is to be renewed: when four fifths of its time are over, or after a day. One that
/// is over at once is not asked for again without a pause.
fn renewal(now: Timestamp, end: Timestamp) -> Timestamp {
    let lasts = Seconds::from(end.duration_since(now).as_secs());
    let most = SignedDuration::from_secs(i64::try_from(lasts.get() / 5 * 4).unwrap_or(i64::MAX));
    now.saturating_add(most.clamp(AGAIN, LONGEST_KEPT)).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_token_is_renewed_when_four_fifths_of_its_time_are_over_or_after_a_day() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        assert_eq!(renewal(at(100), at(3700)), at(100 + 2880));
        assert_eq!(renewal(at(0), at(10 * 86_400)), at(86_400));
        assert_eq!(renewal(at(100), at(50)), at(130));
    }

    #[test]
    fn each_purpose_of_a_pods_volumes_is_asked_for_once() {
        let token = |audience: &str| json!({"serviceAccountToken": {"path": "t", "audience": audience}});
        let volume = json!({"name": "v", "projected": {"sources": [token(""), token("vault"), token("")]}});
        let pod = serde_json::from_value(json!({"spec": {"containers": [], "volumes": [volume]}})).unwrap();
        let purpose = |audience: &str| Purpose { audience: audience.into(), seconds: 3600 };
        assert_eq!(Purpose::all(&pod), [purpose(""), purpose("vault")]);
    }
}
