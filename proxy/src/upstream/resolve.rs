//! Looking names up for the whole process, off the workers: whatever asks runs on the control side.
//!
//! Whom one asks is configured: name servers (`servers`), or the resolver of the system (`system`). How often that happens,
//! and what becomes of a name of which nothing is found, is the business of whoever asks.

mod asking;
mod files;
mod servers;
mod setup;
mod system;
mod turns;

use std::fmt::Debug;
use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::JoinSet;
use tollgate_config::{self as config, Family};

use crate::upstream::resolve::files::Files;
use crate::upstream::resolve::servers::Servers;
use crate::upstream::resolve::system::System;
use crate::upstream::resolve::turns::Turns;

/// What is found out about a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// In the order of whoever knows them, each once.
    pub addresses: Vec<IpAddr>,
    /// How long they may be used; `None` where nobody says.
    pub ttl: Option<Duration>,
}

impl Found {
    /// Those addresses that count, each once; `None` where there are none.
    fn among(addresses: impl IntoIterator<Item = IpAddr>, family: Family, ttl: Option<Duration>) -> Option<Self> {
        let mut all: Vec<IpAddr> = Vec::new();
        for address in addresses {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        let (four, six): (Vec<_>, Vec<_>) = all.iter().partition(|address| address.is_ipv4());
        let addresses = match family {
            Family::Ipv4 => four,
            Family::Ipv6 => six,
            Family::PreferIpv4 => Some(four).filter(|four| !four.is_empty()).unwrap_or(six),
            Family::PreferIpv6 => Some(six).filter(|six| !six.is_empty()).unwrap_or(four),
            Family::All => all,
        };
        (!addresses.is_empty()).then_some(Self { addresses, ttl })
    }
}

/// What is known of a name, or why nothing is.
pub type LookedUp<'a> = Pin<Box<dyn Future<Output = io::Result<Found>> + Send + 'a>>;

/// Whoever knows the addresses of names.
pub trait Resolve: Debug + Send + Sync {
    /// Looks a name up, once. Dropped before its end, nobody waits for the answer, and what can be ended is.
    fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a>;
}

/// Every resolver that some configuration asks for. What they have under way at a time is bounded for all of them together.
#[derive(Debug)]
pub struct Resolvers {
    control: Handle,
    /// Answers in place of all others.
    instead: Option<Arc<dyn Resolve>>,
    system: Arc<System>,
    /// For whatever name servers are asked.
    turns: Arc<Turns>,
    /// Those that somebody has, by the name servers that are named. Held for a look.
    servers: Mutex<Vec<(Vec<SocketAddr>, Weak<Servers>)>>,
}

impl Resolvers {
    /// Resolvers that work on the runtime `control`; `instead` answers in place of whatever a configuration asks for.
    pub fn new(control: &Handle, instead: Option<Arc<dyn Resolve>>) -> Arc<Self> {
        let (system, turns) = (Arc::new(System::default()), Arc::new(servers::turns()));
        Arc::new(Self { control: control.clone(), instead, system, turns, servers: Mutex::default() })
    }

    /// Whoever looks names up in this way. May be asked on any thread.
    pub fn of(&self, dns: &config::Dns) -> Arc<dyn Resolve> {
        if let Some(instead) = &self.instead {
            return Arc::clone(instead);
        }
        let whom = match &dns.resolver {
            config::Resolver::System => Whom::System(Arc::clone(&self.system)),
            config::Resolver::Dns => Whom::Servers(self.servers(&[])),
            config::Resolver::Servers(listed) => Whom::Servers(self.servers(listed)),
        };
        Arc::new(Clerk { control: self.control.clone(), whom, family: dns.family })
    }

    /// Those who ask the same name servers know alike which of them are silent.
    fn servers(&self, listed: &[SocketAddr]) -> Arc<Servers> {
        let mut known = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(_, servers)| servers.strong_count() > 0);
        let same = known.iter().find(|(addresses, _)| addresses == listed).and_then(|(_, servers)| servers.upgrade());
        same.unwrap_or_else(|| {
            let servers = Arc::new(Servers::new(listed.to_vec(), Files::default(), (&self.system, &self.turns)));
            known.push((listed.to_vec(), Arc::downgrade(&servers)));
            servers
        })
    }
}

#[derive(Clone, Debug)]
enum Whom {
    Servers(Arc<Servers>),
    System(Arc<System>),
}

/// Has names looked up on the control side, for whoever asks wherever that is.
#[derive(Debug)]
struct Clerk {
    control: Handle,
    whom: Whom,
    family: Family,
}

impl Resolve for Clerk {
    fn look_up<'a>(&'a self, name: &'a str) -> LookedUp<'a> {
        Box::pin(async move {
            if let Ok(address) = name.parse() {
                return Ok(Found { addresses: vec![address], ttl: None });
            }
            if !is_name(name) {
                return Err(io::Error::other("it is no host name"));
            }
            let (whom, name, family) = (self.whom.clone(), name.to_owned(), self.family);
            // It ends with this future.
            let mut task = JoinSet::new();
            task.spawn_on(async move { whom.look_up(&name, family).await }, &self.control);
            let found = task.join_next().await.ok_or_else(|| io::Error::other("nothing was asked"))?;
            found.map_err(io::Error::other)?
        })
    }
}

impl Whom {
    async fn look_up(&self, name: &str, family: Family) -> io::Result<Found> {
        match self {
            Self::Servers(servers) => servers.look_up(name, family).await,
            Self::System(system) => system.look_up(name, family).await,
        }
    }
}

/// What else could stand in a name, an escape or a space, would make another name of it on its way.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= 254 && name.bytes().all(fits)
}

#[cfg(test)]
mod tests;
