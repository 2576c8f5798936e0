//! The calls behind the interface: to the leader for what changes collections, to workers for the rest.

use super::*;

impl Routed {
    /// The collection, after a look at etcd when the mirrors do not know it.
    pub(super) async fn find(
        &self,
        name: &CollectionName,
        deadline: Moment,
    ) -> Result<Collection, Error> {
        if let Some(collection) = self.maps.resolve(name) {
            return Ok(collection);
        }
        let deadline = deadline.min(self.clock.now() + REFRESH_TIMEOUT);
        let refreshed = self.refresh(deadline).await;
        // One that is there by now is there, whatever the others are waiting for.
        let found = self.maps.resolve(name);
        match (found, refreshed) {
            (Some(collection), _) => Ok(collection),
            (None, Ok(())) => Err(Error::NoCollection(name.to_string())),
            (None, Err(error)) => Err(Error::Failed {
                kind: Kind::Unavailable,
                code: "gateway.not_known",
                message: format!(
                    "whether collection `{name}` exists is not known: {}",
                    chain(&error)
                ),
            }),
        }
    }

    /// Brings the mirrors to where etcd is now. Etcd is asked once for all of them.
    async fn refresh(&self, deadline: Moment) -> Result<(), coordination::Error> {
        self.maps.names.refresh(deadline).await?;
        let now = self.maps.names.revision();
        let reached = tokio::join!(
            self.maps.collections.wait_until(now, deadline),
            self.maps.shards.wait_until(now, deadline),
        );
        reached.0.and(reached.1)
    }

    /// Asks the leader master, and waits for one when there is none.
    pub(super) async fn lead<R, F, W>(
        &self,
        request: R,
        deadline: Moment,
        call: F,
    ) -> Result<proto::ChangeResponse, Error>
    where
        R: Clone,
        F: Fn(Admin, Request<R>) -> W,
        W: Future<Output = Result<Response<proto::ChangeResponse>, Status>>,
    {
        let give_up = deadline.min(self.clock.now() + LEADER_PATIENCE);
        let mut backoff = Backoff::default();
        loop {
            let error = match self.ask_leader(request.clone(), deadline, &call).await {
                Ok(answer) => {
                    self.reach(Revision(answer.revision), deadline).await;
                    return Ok(answer);
                },
                Err(error) => error,
            };
            let pause = backoff.next(&self.entropy);
            if error.kind() != Kind::Unavailable || self.clock.now() + pause >= give_up {
                return Err(told(&error));
            }
            tokio::time::sleep(pause).await;
        }
    }

    pub(super) async fn ask_leader<R, F, W>(
        &self,
        request: R,
        deadline: Moment,
        call: &F,
    ) -> Result<proto::ChangeResponse, rpc::Error>
    where
        F: Fn(Admin, Request<R>) -> W,
        W: Future<Output = Result<Response<proto::ChangeResponse>, Status>>,
    {
        let away = |what| rpc::Error::new(Kind::Unavailable, "gateway.no_leader", what);
        if self.leaders.is_stale() {
            return Err(away("etcd does not answer: collections cannot be changed"));
        }
        let leaders = self.leaders.view();
        let leader = leaders
            .get(keys::LEAD_MASTER_SUFFIX)
            .ok_or_else(|| away("no master leads"))?;
        let channel = self.channels.to(Peer::Master, &leader.value.rpc_address)?;
        let limit = deadline.since(self.clock.now());
        let mut request = Request::new(request);
        request.set_timeout(limit);
        match tokio::time::timeout(limit, call(rpc::channel::admin_client(channel), request)).await
        {
            Ok(Ok(answer)) => Ok(answer.into_inner()),
            Ok(Err(status)) => Err(rpc::from_status(&status, true)),
            Err(_elapsed) => Err(rpc::Error::new(
                Kind::UnknownOutcome,
                "gateway.leader_deadline",
                "the leader master gave no answer in time",
            )),
        }
    }

    /// Waits until this gateway sees a change that was made. When it does not in time the change
    /// stands all the same.
    pub(super) async fn reach(&self, revision: Revision, deadline: Moment) {
        let reached = tokio::join!(
            self.maps.collections.wait_until(revision, deadline),
            self.maps.names.wait_until(revision, deadline),
            self.maps.shards.wait_until(revision, deadline),
        );
        if reached.0.is_err() || reached.1.is_err() || reached.2.is_err() {
            tracing::warn!(revision = revision.0, "a change is not seen here yet");
        }
    }

    pub(super) async fn update(
        &self,
        name: &CollectionName,
        change: proto::update_collection_request::Change,
        deadline: Moment,
    ) -> Result<(Collection, Revision), Error> {
        let collection = self.find(name, deadline).await?;
        let name = collection.record.name.to_string();
        let request = proto::UpdateCollectionRequest {
            name,
            change: Some(change),
        };
        let answer = self
            .lead(request, deadline, |mut admin, request| async move {
                admin.update_collection(request).await
            })
            .await?;
        Ok((collection, Revision(answer.revision)))
    }

    /// Waits until every worker that has a shard of the collection has applied a change of it.
    pub(super) async fn settle(
        &self,
        (collection, revision): (&Collection, Revision),
        deadline: Moment,
    ) -> Result<(), Error> {
        let mut addresses = Vec::new();
        for shard in self.maps.shards(collection.record.id) {
            let Some(address) = shard.address else {
                let what = format!("{} is away; it follows when it is back", shard.worker);
                let away = rpc::Error::new(Kind::Unavailable, "gateway.settle", what);
                return Err(told(&away));
            };
            addresses.push(address);
        }
        addresses.sort_unstable();
        addresses.dedup();
        let calls = addresses.iter().map(|address| async move {
            let limit = deadline.since(self.clock.now());
            let mut request = Request::new(proto::SettleRequest {
                collection: convert::collection_to_wire(collection.record.id),
                revision: revision.0,
            });
            request.set_timeout(limit);
            let mut client = rpc::channel::shard_client(self.channels.to(Peer::Worker, address)?);
            match tokio::time::timeout(limit, client.settle(request)).await {
                Ok(Ok(_settled)) => Ok(()),
                Ok(Err(status)) => Err(rpc::from_status(&status, false)),
                Err(_elapsed) => {
                    let what = format!("the worker at {address} is not done in time");
                    Err(rpc::Error::new(Kind::Timeout, "gateway.settle", what))
                },
            }
        });
        for settled in join_all(calls).await {
            settled.map_err(|error| told(&error))?;
        }
        Ok(())
    }

    /// What the workers say of a collection's shards; those that do not answer are absent.
    pub(super) async fn reports(&self, collection: &Collection) -> Vec<proto::ShardReport> {
        let shards = self.maps.shards(collection.record.id);
        let mut addresses: Vec<String> = shards.into_iter().filter_map(|s| s.address).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let wire = convert::collection_to_wire(collection.record.id);
        let calls = addresses.iter().map(|address| async move {
            let mut client =
                rpc::channel::shard_client(self.channels.to(Peer::Worker, address).ok()?);
            let mut request = Request::new(proto::ShardsRequest {});
            request.set_timeout(SHARDS_TIMEOUT);
            let answer = tokio::time::timeout(SHARDS_TIMEOUT, client.shards(request)).await;
            Some(answer.ok()?.ok()?.into_inner().shards)
        });
        let answers = join_all(calls).await.into_iter().flatten().flatten();
        answers.filter(|report| report.collection == wire).collect()
    }
}

pub(super) fn search_to_wire(search: &Search) -> proto::Search {
    proto::Search {
        vector: convert::vector_to_wire(&search.vector),
        filter: convert::filter_to_wire(&search.filter),
        top: u32::try_from(search.limit.saturating_add(search.offset)).unwrap_or(u32::MAX),
        score_threshold: search.score_threshold,
        exact: search.exact,
        effort: search.effort,
        payload: Some(convert::selector_to_wire(&search.payload)),
        with_vector: search.with_vector,
        exclude: search.exclude.map(convert::id_to_wire),
    }
}
