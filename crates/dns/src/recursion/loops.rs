//! Resolvers that ask this server what they are asked (`loop`).
//!
//! Each resolver is asked for a name that nobody else can know. When a query for that name comes in, the resolver it
//! was sent to leads back here, and it is that one which is left out; the server goes on with the others.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::timeout;

use crate::forward::{Forwarder, Upstream};
use crate::wire::{Name, Query, Question, kind};

/// How long a resolver may take to answer, or a query to come back.
const REPLY: Duration = Duration::from_secs(2);
/// How often a resolver that does not answer is asked, with a pause: 30 s in all, as CoreDNS does.
const TRIES: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// Names that resolvers were asked for, and whether a query for them came in. All server blocks share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Loops(Arc<Mutex<HashMap<Name, bool>>>);

impl Loops {
    fn lock(&self) -> MutexGuard<'_, HashMap<Name, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a query is one of our own that came back, which is remembered.
    pub(super) fn came_back(&self, query: &Query<'_>) -> bool {
        // No other query needs the lock.
        if query.kind != kind::HINFO {
            return false;
        }
        self.lock().get_mut(&query.name).is_some_and(|seen| {
            *seen = true;
            true
        })
    }

    /// Has the resolvers of a directive tried by a task, and those that a file names later, as long as there is
    /// the directive.
    pub(super) fn look(&self, forwarder: &Arc<Forwarder>, tasks: &Handle) {
        tasks.spawn(look(self.clone(), Arc::downgrade(forwarder)));
    }

    /// Asks a resolver. `None` if it does not answer, else whether the query came back.
    async fn try_out(&self, upstream: &Upstream, zone: &Name) -> Option<bool> {
        let [one, two] = [(); 2].map(|()| fastrand::u64(..1 << 62).to_string());
        let label = |text: &str| [&[text.len() as u8], text.as_bytes()].concat();
        // A zone whose names leave no room for two numbers is none that resolvers are asked for.
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
                        "a loop: what this upstream resolver is asked, it asks this server. It is left out. If it \
                         is 127.0.0.53, that is systemd-resolved, which asks the resolvers of the machine, this \
                         one among them: forward to /run/systemd/resolve/resolv.conf or to another resolver"
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
