//! Asking our server what CoreDNS was asked once.

use std::path::Path;

use crate::dns::ask::Asker;
use crate::dns::corefile::Case;
use crate::dns::recording::{self, Answers};
use crate::dns::servers::{self, Source};
use crate::dns::upstream;
use crate::dns::verdicts::Verdicts;
use crate::dns::wanted::{Asked, Services};

/// Replays a recording against this program, in the network namespace of the calling thread. Configurations that
/// need an address which is not there are left out, with a word.
///
/// # Errors
/// The recording cannot be read or the scripted upstream cannot be started. That our server does not start is a
/// difference.
pub fn replay(folder: &Path, program: &Path) -> anyhow::Result<Verdicts> {
    let mut verdicts = Verdicts::default();
    let upstream = upstream::serve()?;
    let scratch = tempfile::tempdir()?;
    let source = Source::File(recording::objects(folder));
    let services = Services::of(&recording::read_objects(folder)?);
    for (case, answers) in recording::read(folder)? {
        if std::net::UdpSocket::bind((case.address, 0)).is_err() {
            println!("skipped: {} needs the address {}", case.name, case.address);
            continue;
        }
        match servers::ours(program, case, upstream, &source, scratch.path()) {
            Ok(server) => {
                verdicts.add(ask(case, &services, &answers, &mut Asker::new(server.address)?)?);
            }
            Err(error) => verdicts.fail("our server does not start".to_owned(), format!("{error:#}")),
        }
    }
    Ok(verdicts)
}

fn ask(case: &Case, services: &Services, answers: &Answers, asker: &mut Asker) -> anyhow::Result<Verdicts> {
    let mut verdicts = Verdicts::default();
    for (question, theirs) in answers {
        let ours = asker.ask(question)?;
        verdicts.questions += 1;
        verdicts.take(&Asked { case, question, services, theirs, ours: &ours });
    }
    Ok(verdicts)
}
