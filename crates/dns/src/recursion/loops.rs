//! Finding upstream resolvers that send their queries back to this server (directive `loop`).
//!
//! Each resolver is asked for a random name. When a query for that name comes in, the resolver sends its queries back.
//! That resolver is left out, and the others are asked as before; CoreDNS ends here.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::forward::{Forwarder, Upstream};
use crate::wire::{Name, Query, Question, kind};

/// How long to wait for the reply of a resolver, or for the query to come back.
const REPLY: Duration = Duration::from_secs(2);
/// How often a resolver that does not answer is tried: for 30 s with the pauses, as in CoreDNS.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// The random names that resolvers are being asked for, and whether a query for each came in. All server blocks share
/// them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loops(Arc<Mutex<HashMap<Name, bool>>>);

impl Loops {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a query is for one of the random names; notes that it came in.
    pub(super) fn came_back(&self, query: &Query<'_>) -> bool {
        // The random names are asked for with this type, so other queries need no lock.
        if query.kind != kind::HINFO {
            return false;
        }
        self.lock().get_mut(&query.name).is_some_and(|seen| {
            *seen = true;
            true
        })
    }

    /// Starts a task that tries the resolvers of a directive, and those that its files name later, until the directive
    /// is dropped.
    pub(super) fn look(&self, forwarder: &Arc<Forwarder>, tasks: &Handle) {
        tasks.spawn(look(self.clone(), Arc::downgrade(forwarder)));
    }

    /// Tries a resolver. Returns whether the query came back; `None` if there was no reply.
    async fn try_out(&self, upstream: &Upstream, zone: &Name) -> Option<bool> {
        let [one, two] = [(); 2].map(|()| fastrand::u64(..1 << 62).to_string());
        let label = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        // In a zone whose name is too long for two more labels, resolvers are not tried.
        let name = Name::of_parts(&[&label(&one), &label(&two), zone.wire()]).ok()?;
        self.lock().insert(name.clone(), false);
        let question = Question::new(&name, kind::HINFO, true);
        let replied = timeout(REPLY, upstream.ask(&question)).await;
        let seen = self.lock().remove(&name).unwrap_or(false);
        (seen || matches!(replied, Ok(Ok(_)))).then_some(seen)
    }
}

async fn look(loops: Loops, forwarder: Weak<Forwarder>) {
    let mut tried: HashMap<SocketAddr, u32> = HashMap::new();
    while let Some(forwarder) = forwarder.upgrade() {
        for upstream in forwarder.upstreams().iter() {
            let tries = tried.entry(upstream.to).or_default();
            if *tries >= TRIES {
                continue;
            }
            *tries += 1;
            match loops.try_out(upstream, forwarder.zone()).await {
                None => {}
                Some(false) => *tries = TRIES,
                Some(true) => {
                    *tries = TRIES;
                    forwarder.leave_out(upstream);
                    tracing::error!(
                        upstream = %upstream.to,
                        "a loop: this upstream resolver sends its queries back to this server, so it is left out. \
                         If it is 127.0.0.53, it is systemd-resolved, which asks the resolvers of the machine and \
                         so this server: forward to /run/systemd/resolve/resolv.conf or to another resolver"
                    );
                }
            }
        }
        if !forwarder.changes() && tried.values().all(|tries| *tries >= TRIES) {
            return;
        }
        drop(forwarder);
        tokio::time::sleep(PAUSE).await;
    }
}
