//! Messages on a connection: each follows its length in two bytes (RFC 1035, 4.2.2).

use std::io;

use tokio::io::AsyncReadExt;

/// Reads a message into `packet`. Returns false if the connection ended before it.
///
/// # Errors
/// When the connection breaks, or ends inside the message.
pub(crate) async fn read_message(
    stream: &mut (impl AsyncReadExt + Unpin),
    packet: &mut Vec<u8>,
) -> io::Result<bool> {
    let length = match stream.read_u16().await {
        Ok(length) => length,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(error) => return Err(error),
    };
    packet.resize(usize::from(length), 0);
    stream.read_exact(packet).await?;
    Ok(true)
}

/// Appends the length of a message and the message to `bytes`.
pub(crate) fn put_message(message: &[u8], bytes: &mut Vec<u8>) {
    bytes.extend_from_slice(&(message.len() as u16).to_be_bytes());
    bytes.extend_from_slice(message);
}
