//! Lists as they are sent: piece by piece, from the store's own bytes.
//!
//! A list that waits for its reader holds references to stored objects and one piece. What must be made of the objects
//! (rows of a table, YAML) is made when its turn comes, away from the threads that answer if it is much.

use std::sync::Arc;
use std::{io, vec};

use api::status::Status;
use bytes::{Bytes, BytesMut};
use futures::Stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;

use super::respond::{self, Body};
use crate::workshop::{LONG, Workshop};

/// A piece has about so many bytes of objects.
const PIECE: usize = 64 * 1024;
/// Objects from this size on are sent by themselves, without a copy.
const LARGE: usize = 8 * 1024;

/// What is made of one stored object.
pub(crate) type Render = Arc<dyn Fn(&Bytes) -> Result<Bytes, Status> + Send + Sync>;

/// The form of a list around its items.
pub(crate) struct Form {
    /// Before the first item.
    pub(crate) head: Bytes,
    /// Between two items.
    pub(crate) between: &'static str,
    /// After the last item.
    pub(crate) tail: Bytes,
    /// What becomes of each; none if stored objects are sent as they are.
    pub(crate) render: Option<Render>,
}

impl Form {
    /// The length of the whole list, if that is known before it is made.
    pub(crate) fn length(&self, items: &[Bytes]) -> Option<usize> {
        self.render.is_none().then(|| {
            let separators = self.between.len() * items.len().saturating_sub(1);
            self.head.len() + self.tail.len() + separators + weight(items)
        })
    }
}

/// How many bytes the items have in the store.
pub(crate) fn weight(items: &[Bytes]) -> usize {
    items.iter().map(Bytes::len).sum()
}

/// The body of a list. A short one is made at once.
///
/// # Errors
/// An object of a short list cannot be read.
pub(crate) fn body(form: Form, items: Vec<Bytes>, workshop: &Arc<Workshop>) -> Result<Body, Status> {
    let short = weight(&items) < LONG;
    let mut pieces = Pieces { form, items: items.into_iter(), begun: false, ended: false };
    if short {
        let mut whole = BytesMut::new();
        while let Some(part) = pieces.next_part() {
            for piece in part.make()? {
                whole.extend_from_slice(&piece);
            }
        }
        return Ok(respond::full(whole.freeze()));
    }
    let frames = stream(pieces, workshop.clone());
    Ok(BodyExt::boxed_unsync(StreamBody::new(frames)))
}

fn stream(pieces: Pieces, workshop: Arc<Workshop>) -> impl Stream<Item = io::Result<Frame<Bytes>>> + Send {
    let state = (pieces, Vec::new().into_iter(), workshop);
    futures::stream::try_unfold(state, |(mut pieces, mut made, workshop)| async move {
        loop {
            if let Some(piece) = made.next() {
                return Ok(Some((Frame::data(piece), (pieces, made, workshop))));
            }
            let Some(part) = pieces.next_part() else { return Ok(None) };
            let pieces_of_part = match part.render {
                None => part.make(),
                Some(_) => workshop.run(move || part.make()).await.and_then(|made| made),
            };
            made = pieces_of_part.map_err(io::Error::other)?.into_iter();
        }
    })
}

struct Pieces {
    form: Form,
    items: vec::IntoIter<Bytes>,
    begun: bool,
    ended: bool,
}

/// What is made in one go.
struct Part {
    before: Bytes,
    between: &'static str,
    items: Vec<Bytes>,
    after: Bytes,
    render: Option<Render>,
    /// Whether items have gone before.
    goes_on: bool,
}

impl Pieces {
    fn next_part(&mut self) -> Option<Part> {
        if self.ended {
            return None;
        }
        let goes_on = self.begun;
        let before = if self.begun { Bytes::new() } else { self.form.head.clone() };
        self.begun = true;
        let (mut items, mut size) = (Vec::new(), 0);
        while size < PIECE {
            let Some(item) = self.items.next() else {
                self.ended = true;
                break;
            };
            size += item.len();
            items.push(item);
        }
        let after = if self.ended { self.form.tail.clone() } else { Bytes::new() };
        Some(Part {
            before,
            between: self.form.between,
            items,
            after,
            render: self.form.render.clone(),
            goes_on,
        })
    }
}

impl Part {
    fn make(self) -> Result<Vec<Bytes>, Status> {
        let (mut pieces, mut open) = (Vec::new(), BytesMut::from(self.before));
        for (n, item) in self.items.into_iter().enumerate() {
            if n > 0 || self.goes_on {
                open.extend_from_slice(self.between.as_bytes());
            }
            let shown = match &self.render {
                Some(render) => render(&item)?,
                None => item,
            };
            if shown.len() < LARGE {
                open.extend_from_slice(&shown);
            } else {
                pieces.push(open.split().freeze());
                pieces.push(shown);
            }
        }
        open.extend_from_slice(&self.after);
        pieces.push(open.freeze());
        pieces.retain(|piece| !piece.is_empty());
        Ok(pieces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn whole(items: &[Bytes], render: Option<Render>) -> (Option<usize>, String) {
        let form = Form { head: "[".into(), between: ",", tail: "]".into(), render };
        let length = form.length(items);
        let body = body(form, items.to_vec(), &Arc::default()).unwrap();
        let bytes = body.collect().await.unwrap().to_bytes();
        (length, String::from_utf8(bytes.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_list_is_the_same_in_pieces_as_in_one_go() {
        for (count, size) in [(0, 0), (1, 10), (3, 10), (20_000, 10), (30, 5000), (30, LARGE), (3, 200_000)] {
            let items: Vec<Bytes> = (0..count).map(|n| n.to_string().repeat(size).into()).collect();
            let joined = items.iter().map(|item| String::from_utf8_lossy(item)).collect::<Vec<_>>().join(",");
            let expected = format!("[{joined}]");
            let (length, made) = whole(&items, None).await;
            assert!(made == expected, "{count} of {size}");
            assert_eq!(length, Some(expected.len()));
            let (length, made) = whole(&items, Some(Arc::new(|item| Ok(item.clone())))).await;
            assert!(made == expected, "{count} of {size}");
            assert_eq!(length, None);
        }
    }

    #[tokio::test]
    async fn objects_are_sent_without_a_copy_when_they_are_large() {
        let items = vec![Bytes::from(vec![b'a'; 100_000]); 3];
        let form = Form { head: "[".into(), between: ",", tail: "]".into(), render: None };
        let mut body = body(form, items.clone(), &Arc::default()).unwrap();
        let mut shared = 0;
        while let Some(frame) = body.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            shared += usize::from(data.as_ptr() == items[0].as_ptr());
        }
        assert_eq!(shared, 3);
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_ends_the_list_with_an_error() {
        let broken: Render = Arc::new(|_| Err(Status::internal("damaged")));
        let form = || Form { head: "[".into(), between: ",", tail: "]".into(), render: Some(broken.clone()) };
        assert_eq!(body(form(), vec!["{}".into()], &Arc::default()).unwrap_err().code, 500);
        let long = body(form(), vec![vec![b'a'; LONG].into()], &Arc::default()).unwrap();
        assert!(long.collect().await.is_err());
    }
}
