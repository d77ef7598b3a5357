//! Headers: names and values, compressed as one zlib stream for the whole connection (SPDY draft 3.1, section 2.6.10).

use bytes::Buf;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use super::Fault;

/// The most that the headers of one stream may be, in bytes.
const MAX_HEADERS: usize = 64 << 10;
/// The dictionary's first part: each word has its length before it, in four bytes.
const WORDS: &str = "options head post put delete trace accept accept-charset accept-encoding accept-language \
    accept-ranges age allow authorization cache-control connection content-base content-encoding content-language \
    content-length content-location content-md5 content-range content-type date etag expect expires from host if-match \
    if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma \
    proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade \
    user-agent vary via warning www-authenticate method get status 200_OK version HTTP/1.1 url public set-cookie \
    keep-alive origin";
/// Its second part.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505203 \
    Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized403 Forbidden404 \
    Not Found500 Internal Server Error501 Not Implemented503 Service UnavailableJan Feb Mar Apr May Jun Jul Aug Sept \
    Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,\
    application/xml,application/xhtml+xml,text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=\
    utf-8charset=iso-8859-1,utf-,*,enq=0.";

fn dictionary() -> Vec<u8> {
    let mut dictionary = Vec::new();
    for word in WORDS.split(' ') {
        let word = word.replace('_', " ");
        dictionary.extend((word.len() as u32).to_be_bytes());
        dictionary.extend(word.bytes());
    }
    dictionary.extend(TEXT.bytes());
    dictionary
}

/// Names and values in their order. Names are in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Headers(Vec<(String, String)>);

impl Headers {
    /// The value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    fn parse(mut block: &[u8]) -> Result<Self, Fault> {
        const SHORT: Fault = Fault("headers end before their end");
        fn text(block: &mut &[u8]) -> Result<String, Fault> {
            let length = block.try_get_u32().map_err(|_| SHORT)? as usize;
            let text = block.get(..length).ok_or(SHORT)?;
            *block = &block[length..];
            Ok(String::from_utf8_lossy(text).into_owned())
        }
        let count = block.try_get_u32().map_err(|_| SHORT)?;
        // Each has two lengths at least, so that the count promises no more than there is.
        if count as usize > block.len() / 8 {
            return Err(SHORT);
        }
        let mut headers = Vec::new();
        for _ in 0..count {
            headers.push((text(&mut block)?.to_ascii_lowercase(), text(&mut block)?));
        }
        Ok(Self(headers))
    }
}

/// Reads the headers of a connection, in the order in which they come.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(true))
    }
}

impl Inflater {
    /// The headers of the next block.
    ///
    /// # Errors
    /// The block cannot be read, or is too large. No block after it can be read.
    pub(crate) fn read(&mut self, mut block: &[u8]) -> Result<Headers, Fault> {
        const BROKEN: Fault = Fault("headers cannot be decompressed");
        let mut plain = Vec::new();
        let mut part = [0; 4096];
        loop {
            let (taken, given) = (self.0.total_in(), self.0.total_out());
            let result = self.0.decompress(block, &mut part, FlushDecompress::Sync);
            block = &block[usize::try_from(self.0.total_in() - taken).map_err(|_| BROKEN)?..];
            let given = usize::try_from(self.0.total_out() - given).map_err(|_| BROKEN)?;
            plain.extend_from_slice(&part[..given]);
            if plain.len() > MAX_HEADERS {
                return Err(Fault("headers are too large"));
            }
            match result {
                Ok(Status::StreamEnd) => return Err(BROKEN),
                Ok(_) if block.is_empty() && given < part.len() => return Headers::parse(&plain),
                // Neither took nor gave: it never will.
                Ok(Status::BufError) if given == 0 => return Err(BROKEN),
                Ok(_) => {}
                Err(error) if error.needs_dictionary().is_some() => {
                    self.0.set_dictionary(&dictionary()).map_err(|_| BROKEN)?;
                }
                Err(_) => return Err(BROKEN),
            }
        }
    }
}

/// Writes the headers of a connection.
#[derive(Debug)]
pub(super) struct Deflater(Compress);

impl Default for Deflater {
    fn default() -> Self {
        Self(Compress::new(Compression::fast(), true))
    }
}

impl Deflater {
    /// The next block, which has no headers.
    pub(super) fn none(&mut self) -> Vec<u8> {
        // A flush and the four bytes of a count of zero need far less.
        let mut block = Vec::with_capacity(64);
        let _ = self.0.compress_vec(&[0; 4], &mut block, FlushCompress::Sync);
        block
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// What a client sends: headers in the one stream of its connection, with the dictionary.
    pub(in super::super) struct Client(Compress);

    impl Client {
        pub(in super::super) fn new() -> Self {
            let mut compress = Compress::new(Compression::best(), true);
            compress.set_dictionary(&dictionary()).unwrap();
            Self(compress)
        }

        pub(in super::super) fn block(&mut self, headers: &[(&str, &str)]) -> Vec<u8> {
            let mut plain = (headers.len() as u32).to_be_bytes().to_vec();
            for text in headers.iter().flat_map(|(name, value)| [name, value]) {
                plain.extend((text.len() as u32).to_be_bytes());
                plain.extend(text.bytes());
            }
            let mut block = Vec::with_capacity(plain.len() + 64);
            self.0.compress_vec(&plain, &mut block, FlushCompress::Sync).unwrap();
            block
        }
    }

    #[test]
    fn the_dictionary_is_the_one_of_the_draft() {
        let adler = dictionary().iter().fold((1u32, 0u32), |(a, b), &byte| {
            let a = (a + u32::from(byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        assert_eq!((dictionary().len(), adler.1 << 16 | adler.0), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn headers_are_read_one_block_after_the_other() {
        let (mut client, mut inflater) = (Client::new(), Inflater::default());
        for port in ["80", "8080"] {
            let block = client.block(&[("streamType", "data"), ("port", port)]);
            let headers = inflater.read(&block).unwrap();
            assert_eq!((headers.get("streamtype"), headers.get("port")), (Some("data"), Some(port)));
            assert_eq!(headers.get("host"), None);
        }
        let (mut deflater, mut inflater) = (Deflater::default(), Inflater::default());
        assert_eq!(inflater.read(&deflater.none()), Ok(Headers::default()));
        assert_eq!(inflater.read(&deflater.none()), Ok(Headers::default()));
    }

    #[test]
    fn hostile_headers_are_faults() {
        let long = "x".repeat(MAX_HEADERS);
        assert_eq!(
            Inflater::default().read(&Client::new().block(&[("a", &long)])),
            Err(Fault("headers are too large"))
        );
        assert!(Inflater::default().read(b"not zlib").is_err());
        assert!(Inflater::default().read(b"").is_err());
        for plain in [&[0xff; 8][..], &[0, 0, 0, 1, 0, 0, 0, 9, 0, 0, 0, 0], &[0, 0, 0]] {
            assert!(Headers::parse(plain).is_err(), "{plain:?}");
        }
    }
}
