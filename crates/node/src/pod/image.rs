//! Having a container's image on the machine, by its imagePullPolicy.

use follow::EventType;
use k8s_openapi::api::core::v1::Container;

use crate::{
    cri::{
        Client,
        messages::{Image, ImageSpec, PullImageRequest},
    },
    image::Imported,
};

/// What is to be done for an image.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    /// It is here and may be used.
    Use,
    /// It is to be pulled.
    Pull,
    /// It is not here and must not be pulled.
    Refuse,
}

/// An image that can be used, and the sentence that tells so.
pub(super) struct Ready {
    /// The image, as the runtime knows it.
    pub(super) image: Image,
    /// A sentence for the Event `Pulled`.
    pub(super) sentence: String,
}

/// An image that cannot be used.
#[derive(Debug)]
pub(super) struct Failed {
    /// The waiting container's reason: `ErrImagePull`, `ErrImageNeverPull`, …
    pub(super) reason: &'static str,
    /// A sentence for status and Event.
    pub(super) message: String,
}

/// Decides by policy. An image that was imported from an archive is used as it is even when the policy is
/// `Always`: whoever put the archive there said what the name means on this node.
fn decide(policy: &str, present: bool, imported: bool) -> Decision {
    match (policy, present) {
        ("Never" | "IfNotPresent", true) => Decision::Use,
        ("Never", false) => Decision::Refuse,
        (_, true) if imported => Decision::Use,
        _ => Decision::Pull,
    }
}

/// The policy of a container: its own, or the API's default.
fn policy(container: &Container, name: &str) -> String {
    let default = || {
        let tagless = !name.rsplit('/').next().unwrap_or_default().contains([':', '@']);
        if tagless || name.ends_with(":latest") { "Always" } else { "IfNotPresent" }.to_owned()
    };
    container.image_pull_policy.clone().filter(|policy| !policy.is_empty()).unwrap_or_else(default)
}

/// Makes sure that the image of `container` is here. `tell` takes sentences for Events on the way. May be
/// cancelled by dropping.
pub(super) async fn ensure(
    runtime: &Client,
    imported: &Imported,
    container: &Container,
    tell: impl Fn(EventType, &'static str, String),
) -> Result<Ready, Failed> {
    let name = container.image.as_deref().unwrap_or_default();
    let inspect = async || {
        runtime.image_status(name).await.map_err(|error| {
            let message = format!("Failed to inspect image \"{name}\": {error}");
            tell(EventType::Warning, "InspectFailed", message.clone());
            Failed { reason: "ImageInspectError", message }
        })
    };
    let present = inspect().await?;
    let policy = policy(container, name);
    match (decide(&policy, present.is_some(), imported.contains(name)), present) {
        (Decision::Use, Some(image)) => {
            let why = match policy.as_str() {
                "Always" => " (imported from an archive of this node, so it is not pulled)",
                _ => "",
            };
            let sentence = format!("Container image \"{name}\" already present on machine{why}");
            Ok(Ready { image, sentence })
        }
        (Decision::Refuse, _) => {
            let message = format!("Container image \"{name}\" is not present with pull policy of Never");
            tell(EventType::Warning, "ErrImageNeverPull", message.clone());
            Err(Failed { reason: "ErrImageNeverPull", message })
        }
        _ => {
            tell(EventType::Normal, "Pulling", format!("Pulling image \"{name}\""));
            let spec = ImageSpec { image: name.to_owned(), ..Default::default() };
            let request = PullImageRequest { image: Some(spec), sandbox_config: None };
            if let Err(error) = runtime.pull_image(request).await {
                let message = format!("Failed to pull image \"{name}\": {error}");
                tell(EventType::Warning, "Failed", message.clone());
                return Err(Failed { reason: "ErrImagePull", message });
            }
            let image = inspect().await?.ok_or_else(|| Failed {
                reason: "ImageInspectError",
                message: format!("image \"{name}\" was pulled, but the runtime does not have it"),
            })?;
            Ok(Ready { image, sentence: format!("Successfully pulled image \"{name}\"") })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pull_policy_decides() {
        for (policy, present, imported, decision) in [
            ("IfNotPresent", true, false, Decision::Use),
            ("IfNotPresent", false, false, Decision::Pull),
            ("Always", true, false, Decision::Pull),
            ("Always", true, true, Decision::Use),
            ("Always", false, false, Decision::Pull),
            ("Never", true, false, Decision::Use),
            ("Never", false, false, Decision::Refuse),
        ] {
            assert_eq!(decide(policy, present, imported), decision, "{policy} {present} {imported}");
        }
    }

    #[test]
    fn latest_images_are_always_pulled_by_default() {
        let policy = |name| policy(&Container::default(), name);
        assert_eq!(policy("httpd"), "Always");
        assert_eq!(policy("r:5000/httpd"), "Always");
        assert_eq!(policy("httpd:latest"), "Always");
        assert_eq!(policy("httpd:2.4"), "IfNotPresent");
    }
}
