//! What may change in a Service: addresses once given stay, except on the way to and from ExternalName.

use serde_json::Value;

use crate::meta;
use crate::validate::report::{IMMUTABLE, Report};

const SET_ONCE: &str = "may not change once set";

pub(in crate::validate) fn service_change(new: &Value, old: &Value, report: &mut Report) {
    let (new, old) = (&new["spec"], &old["spec"]);
    let (new_type, old_type) = (meta::text(new, &["type"]), meta::text(old, &["type"]));
    if new_type != "ExternalName" && old_type != "ExternalName" {
        cluster_ips(new, old, report);
    }
    if new_type == "LoadBalancer" && old_type == "LoadBalancer" {
        if new["loadBalancerClass"] != old["loadBalancerClass"] {
            report.invalid("spec.loadBalancerClass", &new["loadBalancerClass"], SET_ONCE);
        }
        let local = |spec: &Value| spec["externalTrafficPolicy"] == "Local";
        let port = |spec: &Value| spec["healthCheckNodePort"].as_i64().unwrap_or(0);
        if local(new) && local(old) && port(new) != port(old) {
            report.forbidden("spec.healthCheckNodePort", IMMUTABLE);
        }
    }
}

fn cluster_ips(new: &Value, old: &Value, report: &mut Report) {
    let ips = |spec: &Value| -> Vec<String> {
        let listed = meta::list(spec, &["clusterIPs"]).iter().filter_map(Value::as_str);
        let mut ips: Vec<String> = listed.map(str::to_owned).collect();
        let first = meta::text(spec, &["clusterIP"]);
        if ips.is_empty() && !first.is_empty() {
            ips.push(first.to_owned());
        }
        ips
    };
    let (new_ips, old_ips) = (ips(new), ips(old));
    let Some(old_first) = old_ips.first() else { return };
    match new_ips.first() {
        None => report.invalid("spec.clusterIPs[0]", &Value::from(""), "primary clusterIP can not be unset"),
        Some(first) if first != old_first => {
            report.invalid("spec.clusterIPs[0]", &Value::from(first.as_str()), SET_ONCE);
        }
        Some(_) => {}
    }
    match (new_ips.get(1), old_ips.get(1)) {
        (Some(second), Some(old_second)) if second != old_second => {
            report.invalid("spec.clusterIPs[1]", &Value::from(second.as_str()), SET_ONCE);
        }
        (None, Some(_)) if new["ipFamilyPolicy"] != "SingleStack" => {
            let detail = "must be set to 'SingleStack' when releasing the secondary clusterIP";
            report.invalid("spec.ipFamilyPolicy", &new["ipFamilyPolicy"], detail);
        }
        _ => {}
    }
    let (families, old_families) = (meta::list(new, &["ipFamilies"]), meta::list(old, &["ipFamilies"]));
    if families.len() == 1 && old_families.len() > 1 && new["ipFamilyPolicy"] != "SingleStack" {
        let detail = "must be set to 'SingleStack' when releasing the secondary ipFamily";
        report.invalid("spec.ipFamilyPolicy", &new["ipFamilyPolicy"], detail);
    }
    if let (Some(family), Some(old_family)) = (families.first(), old_families.first())
        && family != old_family
        && *old_first != "None"
    {
        report.invalid("spec.ipFamilies[0]", family, SET_ONCE);
    }
}
