//! The double, a server with it, and a client of that.

use crate::support::http_client::HttpClient;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;
use vectorsphere::clock::{Moment, SystemClock};
use vectorsphere::fault::Kind;
use vectorsphere::gateway::{Api, Cluster, Error, Retrieve, WriteOptions};
use vectorsphere::ids::{CollectionName, PointId, Sequence};
use vectorsphere::probes::{Probes, Readiness, Refusals, Rule, serve};
use vectorsphere::query::{
    Alias, AliasAction, CollectionInfo, CollectionStatus, Filter, IndexChoice, NewCollection,
    Operation, Page, PayloadIndexInfo, PayloadSelector, Record, ScoredPoint, Scroll, Search, Shape,
};
use vectorsphere::rpc::async_trait;
use vectorsphere::security::{ApiKeys, Gate, tls};
use vectorsphere::tasks::Tasks;
use vectorsphere::telemetry::Metrics;
use vectorsphere::vector::Distance;

/// What reached the double.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Told {
    Create(NewCollection),
    Update(String, Value),
    Delete(String),
    Aliases(Vec<AliasAction>),
    CreateIndex(String, String, Value),
    DeleteIndex(String, String),
    Write(String, Operation, bool),
    Retrieve(Retrieve),
    Scroll(Scroll),
    Count(Filter),
    Search(Vec<Search>),
}

/// A cluster with the collections `plain` (4 dimensions, cosine), also called `other`, and `named`
/// (2 dimensions, dot product, vector `v`), whose points are 1 and a UUID.
#[derive(Debug, Default)]
pub(super) struct Double {
    pub(super) told: Mutex<Vec<Told>>,
    /// What every write, search and change answers, instead of success.
    pub(super) failure: Mutex<Option<(Kind, &'static str)>>,
}

pub(super) const UUID: Uuid = Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef);

impl Double {
    pub(super) fn take(&self) -> Vec<Told> {
        std::mem::take(&mut self.told.lock().unwrap())
    }

    fn hear(&self, told: Told) -> Result<(), Error> {
        self.told.lock().unwrap().push(told);
        match *self.failure.lock().unwrap() {
            None => Ok(()),
            Some((kind, code)) => Err(Error::Failed {
                kind,
                code,
                message: "shard 1 on worker-0: it failed".to_owned(),
            }),
        }
    }

    fn records(what: &PayloadSelector, with_vector: bool) -> Vec<Record> {
        let record = |id, version, payload: &str, vector: Vec<f32>| Record {
            id,
            version: Sequence(version),
            payload: what.apply(payload.as_bytes()),
            vector: with_vector.then_some(vector),
        };
        let first = r#"{"city":"Berlin","n":1.10}"#;
        vec![
            record(PointId::Number(1), 3, first, vec![0.18257418, 0.36514837]),
            record(PointId::Uuid(UUID), 4, "{}", vec![1.0, -0.5]),
        ]
    }
}

#[async_trait]
impl Cluster for Double {
    async fn shape(&self, collection: &CollectionName, _: Moment) -> Result<Shape, Error> {
        shape(collection)
    }

    fn collections(&self) -> Result<Vec<CollectionName>, Error> {
        Ok(["named", "plain"].map(name).to_vec())
    }

    fn aliases(&self) -> Result<Vec<Alias>, Error> {
        Ok(vec![Alias {
            alias: name("other"),
            collection: name("plain"),
        }])
    }

    async fn describe(
        &self,
        collection: &CollectionName,
        _deadline: Moment,
    ) -> Result<CollectionInfo, Error> {
        let shape = shape(collection)?;
        let word = PayloadIndexInfo {
            schema: json!("keyword"),
            points: 2,
        };
        let object = PayloadIndexInfo {
            schema: json!({"type": "integer", "lookup": true}),
            points: 0,
        };
        let indexed = [("city".to_owned(), word), ("n".to_owned(), object)];
        let is_named = shape.vector_name.is_some();
        Ok(CollectionInfo {
            name: collection.clone(),
            shape,
            index: IndexChoice {
                algorithm: is_named.then(|| "flat".to_owned()),
                parameters: BTreeMap::new(),
            },
            config: json!({"hnsw_config": {"m": 32}, "metadata": {"team": "a"}}),
            payload_indexes: if is_named {
                BTreeMap::from(indexed)
            } else {
                BTreeMap::new()
            },
            status: CollectionStatus::Yellow,
            shards: 2,
            points: 7,
            indexed_vectors: 5,
            segments: 1,
            quality: None,
            own_payload_indexes: BTreeMap::new(),
        })
    }

    async fn create_collection(&self, new: NewCollection, _: Moment) -> Result<(), Error> {
        if shape(&new.name).is_ok() {
            return Err(Error::CollectionExists(new.name.to_string()));
        }
        self.hear(Told::Create(new))
    }

    async fn update_collection(
        &self,
        collection: &CollectionName,
        config: serde_json::Map<String, Value>,
        _deadline: Moment,
    ) -> Result<(), Error> {
        self.hear(Told::Update(collection.to_string(), Value::Object(config)))
    }

    async fn delete_collection(
        &self,
        collection: &CollectionName,
        _: Moment,
    ) -> Result<bool, Error> {
        self.hear(Told::Delete(collection.to_string()))?;
        Ok(shape(collection).is_ok())
    }

    async fn update_aliases(&self, actions: Vec<AliasAction>, _: Moment) -> Result<(), Error> {
        self.hear(Told::Aliases(actions))
    }

    async fn create_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        schema: Value,
        _options: WriteOptions,
    ) -> Result<u64, Error> {
        self.hear(Told::CreateIndex(
            collection.to_string(),
            field.to_owned(),
            schema,
        ))?;
        Ok(11)
    }

    async fn delete_payload_index(
        &self,
        collection: &CollectionName,
        field: &str,
        _options: WriteOptions,
    ) -> Result<u64, Error> {
        self.hear(Told::DeleteIndex(collection.to_string(), field.to_owned()))?;
        Ok(12)
    }

    async fn write(
        &self,
        collection: &CollectionName,
        operation: Operation,
        options: WriteOptions,
    ) -> Result<u64, Error> {
        self.hear(Told::Write(collection.to_string(), operation, options.wait))?;
        Ok(5)
    }

    async fn retrieve(
        &self,
        _collection: &CollectionName,
        what: Retrieve,
        _deadline: Moment,
    ) -> Result<Vec<Record>, Error> {
        let mut records = Self::records(&what.payload, what.with_vector);
        records.retain(|record| what.ids.contains(&record.id));
        self.hear(Told::Retrieve(what))?;
        Ok(records)
    }

    async fn scroll(&self, _: &CollectionName, what: Scroll, _: Moment) -> Result<Page, Error> {
        let records = Self::records(&what.payload, what.with_vector);
        self.hear(Told::Scroll(what))?;
        let next = Some(PointId::Number(9));
        Ok(Page { records, next })
    }

    async fn count(&self, _: &CollectionName, filter: Filter, _: Moment) -> Result<u64, Error> {
        self.hear(Told::Count(filter))?;
        Ok(7)
    }

    async fn search(
        &self,
        _collection: &CollectionName,
        searches: Vec<Search>,
        _deadline: Moment,
    ) -> Result<Vec<Vec<ScoredPoint>>, Error> {
        let found = searches
            .iter()
            .map(|search| {
                let records = Self::records(&search.payload, search.with_vector);
                let scored = records.into_iter().zip([0.9, 0.25]);
                scored
                    .map(|(record, score)| ScoredPoint { record, score })
                    .collect()
            })
            .collect();
        self.hear(Told::Search(searches))?;
        Ok(found)
    }
}

fn shape(collection: &CollectionName) -> Result<Shape, Error> {
    let (dimensions, distance, name) = match collection.as_str() {
        "plain" | "other" => (4, Distance::Cosine, None),
        "named" => (2, Distance::Dot, Some("v".to_owned())),
        unknown => return Err(Error::NoCollection(unknown.to_owned())),
    };
    Ok(Shape {
        dimensions,
        distance,
        vector_name: name,
    })
}

pub(super) fn name(text: &str) -> CollectionName {
    CollectionName::parse(text).unwrap()
}

/// A server with a double behind it, and a client.
pub(super) struct Served {
    pub(super) double: Arc<Double>,
    pub(super) rules: Vec<Rule>,
    pub(super) address: std::net::SocketAddr,
    pub(super) tasks: Tasks,
    pub(super) client: HttpClient,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.stop();
    }
}

pub(super) async fn served(keys: Option<&str>) -> Served {
    served_over(keys, tls::Handle::plain()).await
}

pub(super) async fn served_over(keys: Option<&str>, tls: tls::Handle) -> Served {
    let double = Arc::new(Double::default());
    let tasks = Tasks::new();
    let cluster: Arc<dyn Cluster> = Arc::<Double>::clone(&double);
    let clock = SystemClock::shared();
    let metrics = Metrics::new("gateway", Arc::clone(&clock));
    let refusals = Refusals::new(&metrics, Arc::clone(&clock));
    let api = Api::new(cluster, clock, tasks.clone(), metrics);
    let probes = Probes {
        readiness: Arc::new(|| Readiness::Ready),
        metrics: Arc::new(|| "# EOF\n".to_owned()),
    };
    let gate = Gate::new(keys.map(|text| ApiKeys::parse(text).unwrap()));
    let (router, rules) = api.router(&probes, gate);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = serve(listener, router, (tls, refusals), &tasks).unwrap();
    Served {
        double,
        rules,
        address,
        tasks,
        client: HttpClient::new(),
    }
}

impl Served {
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sends a body as it is; the status and the text of the answer.
    pub(super) async fn send(
        &self,
        method: Method,
        path: &str,
        body: impl Into<Bytes>,
    ) -> (u16, String) {
        let request = self.client.request(method, &self.url(path)).body(body);
        let answer = request.send().await.unwrap();
        (answer.status, answer.text)
    }

    /// Sends JSON that must succeed; the result in the answer's envelope.
    pub(super) async fn ok(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, text) = self.send(method, path, body.to_string()).await;
        let mut answer: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(status, 200, "{path}: {text}");
        assert_eq!(answer["status"], "ok", "{path}");
        assert!(answer["time"].is_f64(), "{path}: {text}");
        answer["result"].take()
    }
}
