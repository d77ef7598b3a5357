//! The same kube client type for parts that run in this process: requests without a socket.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};

use super::dispatch::{self, Client};
use super::respond::Body;
use crate::Shared;
use crate::identity::User;

/// A service that answers requests by calling the server.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) shared: Arc<Shared>,
    pub(crate) user: User,
}

impl tower::Service<Request<kube::client::Body>> for Caller {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<kube::client::Body>) -> Self::Future {
        let (shared, client) = (self.shared.clone(), Client::in_process(self.user.clone()));
        Box::pin(async move { Ok(dispatch::handle(&shared, request, &client).await) })
    }
}
