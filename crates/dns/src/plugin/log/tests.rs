//! What is logged of a query.

use std::path::Path;
use std::sync::mpsc::{Receiver, sync_channel};

use super::*;
use crate::client::Transport;
use crate::config::Config;
use crate::wire::{CLASS_IN, HEADER, Name, Reply, Section, flag, kind, pointer};

fn logger(lines: &str) -> (Logger, Receiver<String>) {
    let config = Config::from_corefile(&format!(". {{\n{lines}\n}}"), Path::new("/")).unwrap();
    let (waiting, told) = sync_channel(100);
    (Logger::new(config.blocks[0].plugins.log.clone().unwrap(), Arc::new(LogWriter::to(waiting))), told)
}

/// Logs a reply to a query for a name, with a response code and some addresses.
fn note(logger: &Logger, name: &str, code: u16, answers: usize) {
    let packet = Query::packet(Name::from_text(name).unwrap().wire(), kind::A, CLASS_IN);
    let mut out = Vec::new();
    let mut reply = Reply::to(&Query::decode(&packet).unwrap(), 512, &mut out);
    reply.set(flag::AA);
    for last in 0..answers {
        reply.record(Section::Answer, &[&pointer(HEADER)], kind::A, 5, &[&[192, 0, 2, last as u8]]);
    }
    reply.finish(code);
    let client = Client { address: [10, 0, 0, 1].into(), port: 4711, transport: Transport::Udp };
    let took = Duration::from_micros(123);
    logger.log(&LoggedQuery { client, packet: &packet, reply: &out, took });
}

#[test]
fn coredns_a_query_is_a_line_in_the_common_log_format() {
    let (logger, told) = logger("log");
    note(&logger, "Web.example", rcode::NOERROR, 1);
    let line = told.try_recv().unwrap();
    assert_eq!(
        line,
        "[INFO] 10.0.0.1:4711 - 0 \"A IN web.example. udp 29 false 512\" NOERROR qr,aa,rd 45 0.000123s"
    );
}

#[test]
fn coredns_zones_and_classes_choose_what_is_logged() {
    for (class, logged) in [
        ("success", vec!["a.example."]),
        ("denial", vec!["b.example.", "c.example."]),
        ("error", vec!["d.example."]),
        ("denial error", vec!["b.example.", "c.example.", "d.example."]),
        ("all", vec!["a.example.", "b.example.", "c.example.", "d.example."]),
    ] {
        let (logger, told) = logger(&format!("log example {{\nclass {class}\n}}"));
        note(&logger, "a.example", rcode::NOERROR, 1);
        note(&logger, "b.example", rcode::NOERROR, 0);
        note(&logger, "c.example", rcode::NXDOMAIN, 0);
        note(&logger, "d.example", rcode::SERVFAIL, 0);
        note(&logger, "a.other", rcode::NOERROR, 1);
        let names: Vec<_> = told.try_iter().map(|line| line.split(' ').nth(6).unwrap().to_owned()).collect();
        assert_eq!(names, logged, "{class}");
    }
}
