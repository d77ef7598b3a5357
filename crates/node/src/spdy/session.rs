//! A connection with its streams.

use std::{collections::HashMap, io};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    sync::mpsc,
};

use super::{
    frame::{self, Decoder, Frame},
    headers::{Deflater, Headers, Inflater},
};

/// The most streams of one connection at a time.
const MAX_STREAMS: usize = 512;
/// How much is read from the connection at once, in bytes; no part of data is larger.
const CHUNK: usize = 16 << 10;
/// Parts that wait for the reader of a stream; more make the connection wait.
const WAITING: usize = 8;
/// Frames that wait to be sent.
const OUTGOING: usize = 16;

/// What arrives on a stream.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    /// Data.
    Data(Bytes),
    /// The client will send no more.
    End,
}

/// A stream that the client has opened.
#[derive(Debug)]
pub(crate) struct Stream {
    id: u32,
    headers: Headers,
    incoming: mpsc::Receiver<Incoming>,
    out: mpsc::Sender<Bytes>,
}

impl Stream {
    /// The number of the stream.
    pub(crate) fn id(&self) -> u32 {
        self.id
    }

    /// What it was opened with.
    pub(crate) fn headers(&self) -> &Headers {
        &self.headers
    }

    /// Takes it apart, so that both directions can be at work.
    pub(crate) fn split(self) -> (Receiving, Sending) {
        let sending = Sending { id: self.id, out: self.out.clone() };
        (Receiving { id: self.id, incoming: self.incoming, out: self.out }, sending)
    }
}

/// What comes from the client.
#[derive(Debug)]
pub(crate) struct Receiving {
    id: u32,
    incoming: mpsc::Receiver<Incoming>,
    out: mpsc::Sender<Bytes>,
}

impl Receiving {
    /// What arrives next; `None` when the client gave the stream up, or is gone.
    pub(crate) async fn next(&mut self) -> Option<Incoming> {
        self.incoming.recv().await
    }

    /// Lets the client send so many bytes more.
    pub(crate) async fn took(&self, bytes: usize) {
        for stream in [self.id, 0] {
            // Without a connection nobody waits for it.
            let _ = self.out.send(frame::window_update(stream, bytes)).await;
        }
    }
}

/// What goes to the client.
#[derive(Debug)]
pub(crate) struct Sending {
    id: u32,
    out: mpsc::Sender<Bytes>,
}

impl Sending {
    /// Sends data.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn send(&self, data: &[u8]) -> io::Result<()> {
        self.put(frame::data(self.id, false, data)).await
    }

    /// Says that no more comes.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn end(self) -> io::Result<()> {
        self.put(frame::data(self.id, true, b"")).await
    }

    /// Gives the stream up.
    ///
    /// # Errors
    /// The client is gone.
    pub(crate) async fn reset(self) -> io::Result<()> {
        self.put(frame::reset(self.id, frame::CANCEL)).await
    }

    async fn put(&self, frame: Bytes) -> io::Result<()> {
        self.out.send(frame).await.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}

/// Serves a connection to its end. Each stream that the client opens is handed to `open`.
///
/// # Errors
/// The client does not speak SPDY, or the connection broke.
pub(crate) async fn serve(io: impl AsyncRead + AsyncWrite, open: impl FnMut(Stream)) -> io::Result<()> {
    let (reading, mut writing) = tokio::io::split(io);
    let (out, mut outgoing) = mpsc::channel::<Bytes>(OUTGOING);
    let write = async {
        while let Some(frame) = outgoing.recv().await {
            writing.write_all(&frame).await?;
            if outgoing.is_empty() {
                writing.flush().await?;
            }
        }
        Ok(())
    };
    tokio::select! {
        read = read(reading, out, open) => read,
        written = write => written,
    }
}

async fn read(
    mut reading: impl AsyncRead + Unpin,
    out: mpsc::Sender<Bytes>,
    mut open: impl FnMut(Stream),
) -> io::Result<()> {
    let send = async |frame| out.send(frame).await.map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe));
    let (mut decoder, mut inflater, mut deflater) =
        (Decoder::default(), Inflater::default(), Deflater::default());
    let mut streams: HashMap<u32, mpsc::Sender<Incoming>> = HashMap::new();
    loop {
        while let Some(frame) = decoder.next().map_err(io::Error::other)? {
            match frame {
                Frame::SynStream { stream: id, fin, block } => {
                    let headers = inflater.read(&block).map_err(io::Error::other)?;
                    // Those whose reader is gone count no more.
                    streams.retain(|_, stream| !stream.is_closed());
                    // A client's streams have odd numbers.
                    if streams.len() >= MAX_STREAMS || id % 2 == 0 || streams.contains_key(&id) {
                        send(frame::reset(id, frame::REFUSED_STREAM)).await?;
                        continue;
                    }
                    let (sender, incoming) = mpsc::channel(WAITING);
                    if fin {
                        let _ = sender.try_send(Incoming::End);
                    } else {
                        streams.insert(id, sender);
                    }
                    send(frame::syn_reply(id, &deflater.none())).await?;
                    open(Stream { id, headers, incoming, out: out.clone() });
                }
                Frame::Headers { block } => drop(inflater.read(&block).map_err(io::Error::other)?),
                Frame::Data { stream: id, fin, payload } => {
                    if let Some(stream) = streams.get(&id) {
                        if !payload.is_empty() {
                            // It is no mistake to send what nobody wants any more.
                            let _ = stream.send(Incoming::Data(payload)).await;
                        }
                        if fin && let Some(stream) = streams.remove(&id) {
                            let _ = stream.send(Incoming::End).await;
                        }
                    }
                }
                Frame::Reset { stream } => drop(streams.remove(&stream)),
                Frame::Ping(number) => send(frame::ping(number)).await?,
                Frame::Other => {}
            }
        }
        let buffer = decoder.buffer();
        buffer.reserve(CHUNK);
        let mut chunk = bytes::BufMut::limit(&mut *buffer, CHUNK);
        if reading.read_buf(&mut chunk).await? == 0 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spdy::headers::tests::Client;

    fn syn_stream(id: u32, block: &[u8]) -> Vec<u8> {
        let length = (10 + block.len()) as u32;
        let ids = [id.to_be_bytes(), [0; 4]].concat();
        [b"\x80\x03\0\x01", &length.to_be_bytes()[..], &ids, b"\0\0", block].concat()
    }

    /// Sends `wire` and then ends; returns what comes back, with streams that echo.
    fn talk(wire: &[u8]) -> (io::Result<()>, Vec<u8>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (near, mut far) = tokio::io::duplex(1 << 20);
            far.write_all(wire).await.unwrap();
            let mut echoes = tokio::task::JoinSet::new();
            let serving = serve(near, |stream| {
                assert_eq!(stream.headers().get("port"), Some("80"));
                echoes.spawn(async move {
                    let (mut receiving, sending) = stream.split();
                    while let Some(incoming) = receiving.next().await {
                        match incoming {
                            Incoming::Data(data) => sending.send(&data).await.unwrap(),
                            Incoming::End => return sending.end().await.unwrap(),
                        }
                    }
                });
            });
            let mut back = vec![0; 4096];
            let served = tokio::time::timeout(std::time::Duration::from_millis(100), serving).await;
            let count =
                tokio::time::timeout(std::time::Duration::from_millis(100), far.read(&mut back)).await;
            back.truncate(count.map_or(0, |count| count.unwrap()));
            (served.unwrap_or(Ok(())), back)
        })
    }

    #[test]
    fn a_stream_is_answered_carries_data_and_ends_in_halves() {
        let block = Client::new().block(&[("port", "80")]);
        let wire = [
            syn_stream(1, &block),
            frame::data(1, false, b"ab").to_vec(),
            frame::data(1, true, b"c").to_vec(),
        ];
        let (served, back) = talk(&wire.concat());
        served.unwrap();
        assert_eq!(&back[..4], b"\x80\x03\0\x02", "SYN_REPLY");
        let data =
            [frame::data(1, false, b"ab"), frame::data(1, false, b"c"), frame::data(1, true, b"")].concat();
        assert!(back.ends_with(&data), "{back:?}");
    }

    #[test]
    fn pings_are_answered_and_streams_that_are_not_a_clients_are_refused() {
        let block = Client::new().block(&[("port", "80")]);
        let (served, back) = talk(&[frame::ping(9).to_vec(), syn_stream(2, &block)].concat());
        served.unwrap();
        assert_eq!(back, [frame::ping(9), frame::reset(2, frame::REFUSED_STREAM)].concat());
    }

    #[test]
    fn what_is_no_spdy_ends_the_connection() {
        assert!(talk(b"GET / HTTP/1.1\r\n\r\n").0.is_ok(), "data of a stream that is not there is let go");
        assert!(talk(b"\xff\xff\xff\xff\xff\xff\xff\xff").0.is_err());
        assert!(talk(&syn_stream(1, b"not zlib")).0.is_err());
    }
}
