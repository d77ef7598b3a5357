//! The addresses on the interfaces of this network namespace, but for those that stand for Services.

use std::net::IpAddr;

use futures::TryStreamExt;
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::LinkAttribute;

/// All but loopback ones, in order; empty with a log line if the kernel does not tell.
pub async fn addresses() -> Vec<IpAddr> {
    read().await.unwrap_or_else(|error| {
        tracing::warn!(%error, "the addresses of this machine are not known; NodePorts may be closed");
        Vec::new()
    })
}

async fn read() -> Result<Vec<IpAddr>, Box<dyn std::error::Error + Send + Sync>> {
    let (connection, handle, _) = rtnetlink::new_connection()?;
    let connection = tokio::spawn(connection);
    let links: Vec<_> = handle.link().get().execute().try_collect().await?;
    let name = LinkAttribute::IfName(crate::ipvs::INTERFACE.to_owned());
    let services = links.iter().find(|link| link.attributes.contains(&name)).map(|link| link.header.index);
    let messages: Vec<_> = handle.address().get().execute().try_collect().await?;
    connection.abort();
    let mut found: Vec<IpAddr> = Vec::new();
    for message in messages.into_iter().filter(|message| Some(message.header.index) != services) {
        for attribute in message.attributes {
            // A point-to-point link has the other end as its address and its own as local.
            if let AddressAttribute::Local(address) | AddressAttribute::Address(address) = attribute
                && !address.is_loopback()
            {
                found.push(address);
            }
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}
