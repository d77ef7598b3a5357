//! Both servers at once, on the same real API server.

use std::path::Path;

use anyhow::ensure;
use fastrand::Rng;
use serde_json::{Value, json};

use crate::dns::ask::Asker;
use crate::dns::corefile::Case;
use crate::dns::generate::{self, Created};
use crate::dns::question::Question;
use crate::dns::questions::questions;
use crate::dns::recording::{self, Answers};
use crate::dns::servers::{self, Source};
use crate::dns::upstream;
use crate::dns::verdicts::Verdicts;
use crate::dns::wanted::{Asked, Services};
use crate::peers::{self, Peers};

/// The collections that decide what names mean, and the kinds of their objects.
const COLLECTIONS: [(&str, &str); 4] = [
    ("/api/v1/namespaces", "Namespace"),
    ("/api/v1/services", "Service"),
    ("/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice"),
    ("/api/v1/pods", "Pod"),
];
/// How often CoreDNS is asked again where something differs, to see whether it answers by chance.
const AGAIN: usize = 8;

/// A comparison.
#[derive(Debug)]
pub struct Comparison<'a> {
    /// The control plane without objects.
    pub peers: &'a Peers,
    /// Our program.
    pub portolan: &'a Path,
    /// About how many questions are asked under each configuration; all without it.
    pub most: Option<usize>,
    /// The folder in which CoreDNS' answers are kept.
    pub record: Option<&'a Path>,
}

impl Comparison<'_> {
    /// Creates random objects with so many Services and returns all that there are.
    ///
    /// # Errors
    /// The API server does not answer, or refuses many objects.
    pub fn fill(&self, random: &mut Rng, services: usize) -> anyhow::Result<Value> {
        let created = generate::objects(random, services);
        let mut refused = 0;
        for Created { collection, object, status } in &created {
            if let Err(error) = self.peers.call("POST", collection, Some(object)) {
                refused += 1;
                let (kind, name) = (&object["kind"], &object["metadata"]["name"]);
                eprintln!("the API server refuses {kind} {name}: {}", peers::short(&error));
            } else if let Some(status) = status {
                let name = object["metadata"]["name"].as_str().unwrap_or_default();
                let path = format!("{collection}/{name}/status");
                self.peers.call("PATCH", &path, Some(&json!({"status": status})))?;
            }
        }
        ensure!(refused * 10 < created.len(), "the API server refuses many objects");
        let objects = self.peers.objects(&COLLECTIONS)?;
        if let Some(folder) = self.record {
            recording::write_objects(folder, &objects)?;
        }
        Ok(objects)
    }

    /// Asks both servers under one configuration.
    ///
    /// # Errors
    /// CoreDNS does not start. That ours does not start is a difference.
    pub fn run(&self, random: &mut Rng, objects: &Value, case: &Case) -> anyhow::Result<Verdicts> {
        let asked = questions(random, objects, case, self.most);
        let services = Services::of(objects);
        self.peers.namespace().run(|| self.ask(case, &services, asked))?
    }

    fn ask(&self, case: &Case, services: &Services, questions: Vec<Question>) -> anyhow::Result<Verdicts> {
        let mut verdicts = Verdicts::default();
        let folder = tempfile::tempdir()?;
        let upstream = upstream::serve()?;
        let kubeconfig = self.peers.kubeconfig();
        let coredns = self.peers.program("coredns");
        let coredns = servers::coredns(&coredns, case, upstream, &kubeconfig, folder.path())?;
        let mut theirs = Asker::new(coredns.address)?;
        let source = Source::Cluster(kubeconfig);
        let ours = servers::ours(self.portolan, case, upstream, &source, folder.path());
        let mut asker = match &ours {
            Ok(server) => Some(Asker::new(server.address)?),
            Err(error) => {
                verdicts.fail("our server does not start".to_owned(), format!("{}: {error:#}", case.name));
                None
            }
        };
        let mut answers = Answers::new();
        for question in questions {
            let their = theirs.ask(&question)?;
            let our = asker.as_mut().map(|asker| asker.ask(&question)).transpose()?;
            let asked = Asked {
                case,
                question: &question,
                services,
                theirs: &their,
                ours: our.as_ref().unwrap_or(&their),
            };
            verdicts.questions += 1;
            // Also what we happen to answer alike may be answered otherwise when it is replayed.
            if (self.record.is_some() || !asked.agree()) && varies(&mut theirs, &asked)? {
                verdicts.by_chance += 1;
                continue;
            }
            verdicts.take(&asked);
            answers.push((question, their));
        }
        if let Some(folder) = self.record {
            recording::write(folder, case, &answers)?;
        }
        Ok(verdicts)
    }
}

/// Whether CoreDNS answers in another way when it is asked again.
fn varies(theirs: &mut Asker, asked: &Asked<'_>) -> anyhow::Result<bool> {
    let times = if asked.question.proper().is_some() { AGAIN } else { 1 };
    for _ in 0..times {
        let again = theirs.ask(asked.question)?;
        if !(Asked { ours: &again, ..*asked }.agree()) {
            return Ok(true);
        }
    }
    Ok(false)
}
