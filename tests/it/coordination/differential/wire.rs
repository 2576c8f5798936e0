//! Etcd's wire protocol as it is: any request, however odd, and whatever is answered to it.

use http::uri::PathAndQuery;
use prost::Message;
use tokio_stream::Stream;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Response, Status, Streaming};
use tonic_prost::ProstCodec;

use super::LIMIT;

/// A connection to one server.
#[derive(Debug, Clone)]
pub(super) struct Wire(Channel);

impl Wire {
    pub(super) async fn connect(endpoint: &str) -> Self {
        let endpoint = Endpoint::from_shared(endpoint.to_owned()).unwrap();
        Self(endpoint.connect().await.unwrap())
    }

    /// One request, one answer, which must come in time.
    pub(super) async fn call<Q, A>(&self, method: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        // Boxed, for it is large and every operation waits on it.
        let answer = Box::pin(grpc.unary(Request::new(request), path, codec));
        let answer = tokio::time::timeout(LIMIT, answer).await;
        answer.expect("an answer in time").map(Response::into_inner)
    }

    /// A stream of requests and one of answers. Etcd opens its side with its first answer: a request
    /// must be there already.
    pub(super) async fn stream<S, Q, A>(
        &self,
        method: &'static str,
        requests: S,
    ) -> Result<Streaming<A>, Status>
    where
        S: Stream<Item = Q> + Send + 'static,
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let mut grpc = self.ready().await;
        let path = PathAndQuery::from_static(method);
        let codec = ProstCodec::<Q, A>::default();
        let opened = Box::pin(grpc.streaming(Request::new(requests), path, codec));
        let opened = tokio::time::timeout(LIMIT, opened).await;
        opened.expect("a stream in time").map(Response::into_inner)
    }

    async fn ready(&self) -> Grpc<Channel> {
        let mut grpc = Grpc::new(self.0.clone());
        grpc.ready().await.unwrap();
        grpc
    }
}
