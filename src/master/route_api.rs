//! The router of a master, for gateways that route over it.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Clock, Moment};
use crate::fault::Kind;
use crate::limits::REQUEST_TIMEOUT_DEFAULT;
use crate::router::{Collection, FanOut, Maps, Router};
use crate::rpc::proto::router_service_server::RouterService;
use crate::rpc::{self, Request, Response, Status, convert, proto, to_status};

/// How long a master waits for its map to reach what the gateway has read already.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(2);

/// Answers the router's requests.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) maps: Maps,
    pub(super) fan_out: FanOut,
    pub(super) clock: Arc<dyn Clock>,
}

impl Route {
    async fn resolve(
        &self,
        reference: Option<proto::CollectionRef>,
    ) -> Result<(Router, Collection), Status> {
        let reference = reference.unwrap_or_default();
        let id = convert::collection_from_wire(&reference.collection).map_err(|e| to_status(&e))?;
        let deadline = self.clock.now() + CATCH_UP_TIMEOUT;
        // With etcd away the map stays behind, and what it has is used.
        if self.maps.collection(id).is_none() {
            let revision = crate::ids::Revision(reference.revision);
            let _caught_up = self.maps.collections.wait_until(revision, deadline).await;
        }
        let missing = rpc::Error::new(
            Kind::NotFound,
            "master.no_collection",
            format!("collection {id} is not there"),
        );
        let collection = self
            .maps
            .collection(id)
            .ok_or_else(|| to_status(&missing))?;
        Ok((Router::Direct(self.fan_out.clone()), collection))
    }

    fn deadline<T>(&self, request: &Request<T>) -> Moment {
        self.clock.now() + rpc::server::timeout(request, REQUEST_TIMEOUT_DEFAULT)
    }
}

macro_rules! routes {
    ($($method:ident, $request:ident, $inner:ident, $answer:ident;)*) => {
        #[rpc::async_trait]
        impl RouterService for Route {
            $(
                async fn $method(
                    &self,
                    request: Request<proto::$request>,
                ) -> Result<Response<proto::$answer>, Status> {
                    let deadline = self.deadline(&request);
                    let message = request.into_inner();
                    let (router, collection) = self.resolve(message.collection).await?;
                    let inner: proto::$inner = message.request.unwrap_or_default();
                    let answer = router.$method(&collection, inner, deadline).await;
                    answer.map(Response::new).map_err(|error| to_status(&error))
                }
            )*
        }
    };
}

routes! {
    write, RouteWriteRequest, WriteRequest, WriteResponse;
    retrieve, RouteRetrieveRequest, RetrieveRequest, RetrieveResponse;
    scroll, RouteScrollRequest, ScrollRequest, ScrollResponse;
    count, RouteCountRequest, CountRequest, CountResponse;
    search, RouteSearchRequest, SearchRequest, SearchResponse;
}
