//! Tests with a real containerd, real namespaces and real containers. They need root, make everything they
//! use themselves, and remove it again. Without root they are skipped.

use std::{panic, process::ExitCode};

mod agent;
mod api;
mod asked;
mod egress;
mod faults;
mod hostile;
mod images;
mod place;
mod runtime;

/// A test: its name, and what it does.
type Test = (&'static str, fn());

const TESTS: &[Test] = &[
    (
        "an_archive_that_is_dropped_in_is_imported_within_a_second",
        images::an_archive_that_is_dropped_in_is_imported_within_a_second,
    ),
    (
        "a_link_that_was_down_has_its_routes_back_within_a_second",
        faults::a_link_that_was_down_has_its_routes_back_within_a_second,
    ),
    (
        "a_runtime_that_stands_still_is_told_and_caught_up_with",
        faults::a_runtime_that_stands_still_is_told_and_caught_up_with,
    ),
    ("a_large_log_is_begun_anew", agent::a_large_log_is_begun_anew),
    ("crashes_lose_nothing_and_removal_needs_no_one", agent::crashes_lose_nothing_and_removal_needs_no_one),
    ("pods_leave_the_cluster_under_their_nodes_address", egress::pods_leave_under_their_nodes_address),
    ("a_pod_has_what_its_specification_asks_for", agent::a_pod_has_what_its_specification_asks_for),
    ("a_pod_lives_restarts_is_adopted_and_goes", agent::a_pod_lives_restarts_is_adopted_and_goes),
    ("what_a_pod_asks_for_is_carried_out_or_refused_in_a_sentence", asked::fields_are_carried_out_or_refused),
    ("a_pod_cannot_write_to_the_node_through_its_volumes", hostile::a_pod_cannot_write_to_the_node),
    ("a_part_of_a_volume_never_leads_out_of_it", hostile::a_sub_path_never_leads_out),
    ("secrets_are_in_memory_and_closed_to_others", hostile::secrets_are_in_memory_and_closed_to_others),
    ("a_pod_with_the_longest_times_comes_and_goes", hostile::a_pod_with_the_longest_times_comes_and_goes),
    (
        "a_pod_is_run_reached_watched_and_removed_without_a_trace",
        runtime::a_pod_is_run_reached_watched_and_removed,
    ),
];

fn main() -> ExitCode {
    if std::env::var_os("CNI_COMMAND").is_some() {
        return node::cni::main();
    }
    if !rustix::process::geteuid().is_root() {
        println!("skipped: these tests make network namespaces and run containers, which needs root");
        return ExitCode::SUCCESS;
    }
    let logging = tracing_subscriber::EnvFilter::from_default_env();
    tracing_subscriber::fmt().with_env_filter(logging).with_writer(std::io::stderr).init();
    let filter = std::env::args().skip(1).find(|argument| !argument.starts_with('-')).unwrap_or_default();
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| name.contains(&filter)) {
        let outcome = panic::catch_unwind(test);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(outcome.is_err());
    }
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
