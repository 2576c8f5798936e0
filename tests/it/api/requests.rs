//! Which words arrive behind the gateway for which requests.

use std::collections::BTreeMap;

use http::Method;
use serde_json::{Value, json};
use vectorsphere::ids::PointId;
use vectorsphere::query::{
    Alias, AliasAction, FieldPath, Filter, IndexChoice, NewCollection, Operation, PayloadSelector,
    PointInput, Search, Selection, Shape,
};
use vectorsphere::vector::Distance;

use super::double::{Told, UUID, name, served};

fn points(told: Vec<Told>) -> Vec<PointInput> {
    match told.as_slice() {
        [Told::Write(_, Operation::Upsert(points), _)] => points.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn both_forms_of_an_upsert_are_the_same_points() {
    let served = served(None).await;
    let uuid = UUID.to_string();
    let rows = json!({"points": [
        {"id": 7, "vector": [3, 4.0], "payload": {"a": {"b": [1, null]}}, "unknown": 1},
        {"id": uuid, "vector": [0.5, -1e-30]},
        {"id": u64::MAX, "vector": [1, 2], "payload": null},
    ]});
    let columns = json!({"batch": {
        "ids": [7, uuid, u64::MAX],
        "vectors": [[3, 4.0], [0.5, -1e-30], [1, 2]],
        "payloads": [{"a": {"b": [1, null]}}, null, {}],
    }});
    let expected = [
        (
            PointId::Number(7),
            vec![3.0, 4.0],
            r#"{"a":{"b":[1,null]}}"#,
        ),
        (PointId::Uuid(UUID), vec![0.5, -1e-30], "{}"),
        (PointId::Number(u64::MAX), vec![1.0, 2.0], "{}"),
    ]
    .map(|(id, vector, payload)| PointInput {
        id,
        vector,
        payload: payload.as_bytes().to_vec(),
    });
    // The collection's vectors are called `v`: one by one, or a column at once.
    let mut named_rows = rows.clone();
    for row in named_rows["points"].as_array_mut().unwrap() {
        row["vector"] = json!({"v": row["vector"].take()});
    }
    let mut named_columns = columns.clone();
    let vectors = &mut named_columns["batch"]["vectors"];
    *vectors = json!({"v": vectors.take()});
    for body in [named_rows, named_columns] {
        served
            .ok(Method::PUT, "/collections/named/points?wait=true", body)
            .await;
        let told = served.double.take();
        assert!(matches!(&told[..], [Told::Write(name, _, true)] if name == "named"));
        assert_eq!(points(told), expected);
    }
}

#[tokio::test]
async fn cosine_vectors_arrive_normalised_and_large_bodies_whole() {
    let served = served(None).await;
    let rows: Vec<Value> = (0..5_000)
        .map(|id| json!({"id": id, "vector": {"": [1, 2, 3, 4]}, "payload": {"text": "x".repeat(40)}}))
        .collect();
    let body = serde_json::to_string_pretty(&json!({"points": rows})).unwrap();
    assert!(body.len() > 500_000);
    let (status, text) = served
        .send(Method::PUT, "/collections/plain/points", body)
        .await;
    assert_eq!(status, 200, "{text}");
    let points = points(served.double.take());
    assert_eq!(points.len(), 5_000);
    let last = points.last().unwrap();
    assert_eq!(last.id, PointId::Number(4_999));
    let expected: [f32; 4] = [0.18257418, 0.36514837, 0.5477226, 0.73029673];
    let off = last.vector.iter().zip(expected).map(|(a, b)| (a - b).abs());
    assert_eq!(last.vector.len(), 4);
    assert!(off.fold(0.0, f32::max) < 1e-6, "{:?}", last.vector);
    assert_eq!(last.payload.len(), r#"{"text":""}"#.len() + 40);
}

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
async fn writes_of_payloads_and_deletes_arrive() {
    let served = served(None).await;
    let filter = json!({"must": [{"key": "a", "match": {"value": 1}}]});
    let on_filter = || Selection::Filter(Filter::parse(&filter).unwrap());
    let on_ids = || Selection::Ids(vec![PointId::Number(1), PointId::Uuid(UUID)]);
    let ids = json!([1, UUID]);
    let path = |text: &str| FieldPath::parse(text).unwrap();
    let p = "/collections/plain/points";
    let cases = [
        (
            (Method::POST, format!("{p}/delete"), json!({"points": ids})),
            Operation::Delete(on_ids()),
        ),
        (
            (
                Method::POST,
                format!("{p}/delete"),
                json!({"filter": filter, "points": null}),
            ),
            Operation::Delete(on_filter()),
        ),
        (
            (
                Method::POST,
                format!("{p}/payload"),
                json!({"payload": {"x": 1}, "points": ids, "key": "a.b"}),
            ),
            Operation::SetPayload {
                payload: br#"{"x":1}"#.to_vec(),
                key: Some(path("a.b")),
                on: on_ids(),
            },
        ),
        (
            (
                Method::PUT,
                format!("{p}/payload"),
                json!({"payload": {}, "filter": filter}),
            ),
            Operation::OverwritePayload {
                payload: b"{}".to_vec(),
                on: on_filter(),
            },
        ),
        (
            (
                Method::POST,
                format!("{p}/payload/delete"),
                json!({"keys": ["a", "b[].c"], "points": ids}),
            ),
            Operation::DeletePayload {
                keys: vec![path("a"), path("b[].c")],
                on: on_ids(),
            },
        ),
        (
            (
                Method::POST,
                format!("{p}/payload/clear"),
                json!({"points": ids}),
            ),
            Operation::ClearPayload(on_ids()),
        ),
    ];
    for ((method, path, body), operation) in cases {
        served.ok(method, &path, body).await;
        let told = served.double.take();
        assert_eq!(
            told,
            [Told::Write("plain".to_owned(), operation, false)],
            "{path}"
        );
    }
}

#[tokio::test]
async fn a_query_arrives_as_a_search() {
    let served = served(None).await;
    let path = "/collections/named/points/query";
    let filter = json!({"must_not": {"has_id": [4]}});
    let body = json!({
        "query": {"nearest": [3, 4]}, "using": "v", "filter": filter, "limit": 3, "offset": 2,
        "score_threshold": 0.5, "params": {"hnsw_ef": 64, "exact": true, "indexed_only": false},
        "with_payload": {"exclude": ["a"]}, "with_vector": ["v"], "prefetch": [],
    });
    served.ok(Method::POST, path, body).await;
    let full = Search {
        vector: vec![3.0, 4.0],
        exclude: None,
        filter: Filter::parse(&filter).unwrap(),
        offset: 2,
        limit: 3,
        score_threshold: Some(0.5),
        exact: true,
        effort: Some(64),
        payload: PayloadSelector::Exclude(vec![FieldPath::parse("a").unwrap()]),
        with_vector: true,
    };
    assert_eq!(served.double.take(), [Told::Search(vec![full])]);

    let usual = |vector: &[f32], exclude| Search {
        vector: vector.to_vec(),
        exclude,
        filter: Filter::default(),
        offset: 0,
        limit: 10,
        score_threshold: None,
        exact: false,
        effort: None,
        payload: PayloadSelector::None,
        with_vector: false,
    };
    // A point's vector is looked up, and the point left out.
    let body = json!({"searches": [
        {"query": UUID, "using": "v"},
        {"query": {"nearest": 1}, "using": "v"},
        {"query": [1, 2], "using": "v"},
        {"using": "v", "limit": 2, "offset": 1},
    ]});
    let found = served
        .ok(Method::POST, &format!("{path}/batch"), body)
        .await;
    assert_eq!(found[3]["points"].as_array().unwrap().len(), 1);
    let told = served.double.take();
    assert!(
        matches!(&told[..2], [Told::Retrieve(what), Told::Scroll(walk)]
        if what.ids == [PointId::Number(1), PointId::Uuid(UUID)] && what.with_vector && walk.limit == 3)
    );
    let searches = vec![
        usual(&[1.0, -0.5], Some(PointId::Uuid(UUID))),
        usual(&[0.18257418, 0.36514837], Some(PointId::Number(1))),
        usual(&[1.0, 2.0], None),
    ];
    assert_eq!(told[2..], [Told::Search(searches)]);
}

#[tokio::test]
async fn a_collection_arrives_as_it_is_asked_for() {
    let served = served(None).await;
    let body = json!({
        "vectors": {"": {"size": 384, "distance": "Cosine", "on_disk": true, "hnsw_config": {"m": 8}}},
        "shard_number": 3, "replication_factor": 1, "on_disk_payload": false, "sparse_vectors": {},
        "hnsw_config": {"m": 32, "ef_construct": null, "unknown": 1},
        "optimizers_config": {"indexing_threshold": 5}, "quantization_config": {"scalar": {"type": "int8"}},
        "metadata": {"team": "a"}, "timeout": 10,
        "vectorsphere": {"index": {"algorithm": "Arroy", "parameters": {"trees": 20, "leaf_rows": "100"}}},
    });
    served.ok(Method::PUT, "/collections/new%20one", body).await;
    let expected = NewCollection {
        name: name("new one"),
        shape: Shape {
            dimensions: 384,
            distance: Distance::Cosine,
            vector_name: None,
        },
        shards: Some(3),
        index: IndexChoice {
            algorithm: Some("arroy".to_owned()),
            parameters: BTreeMap::from([
                ("trees".to_owned(), "20".to_owned()),
                ("leaf_rows".to_owned(), "100".to_owned()),
            ]),
        },
        config: json!({
            "vectors": {"on_disk": true, "hnsw_config": {"m": 8}},
            "params": {"on_disk_payload": false},
            "hnsw_config": {"m": 32},
            "optimizer_config": {"indexing_threshold": 5},
            "quantization_config": {"scalar": {"type": "int8"}},
            "metadata": {"team": "a"},
        }),
    };
    assert_eq!(served.double.take(), [Told::Create(expected)]);

    let body = json!({"vectors": {"v": {"size": 1, "distance": "Manhattan"}}});
    served.ok(Method::PUT, "/collections/new", body).await;
    let told = served.double.take();
    assert!(matches!(&told[..], [Told::Create(new)]
        if new.shape.vector_name.as_deref() == Some("v") && new.config == json!({}) && new.shards.is_none()));

    let body = json!({"vectors": {"v": {"on_disk": true}}, "params": {"on_disk_payload": true}, "hnsw_config": {}});
    served.ok(Method::PATCH, "/collections/named", body).await;
    let change = json!({"vectors": {"on_disk": true}, "params": {"on_disk_payload": true}});
    assert_eq!(
        served.double.take(),
        [Told::Update("named".to_owned(), change)]
    );
}

#[tokio::test]
async fn indexes_and_aliases_arrive() {
    let served = served(None).await;
    let schema = json!({"type": "keyword", "is_tenant": true});
    let body = json!({"field_name": "a.\"b.c\"[].d", "field_schema": schema});
    served
        .ok(Method::PUT, "/collections/plain/index", body)
        .await;
    let field = "a.\"b.c\"[].d".to_owned();
    let made = Told::CreateIndex("plain".to_owned(), field.clone(), schema);
    assert_eq!(served.double.take(), [made]);
    let path = "/collections/plain/index/a.%22b.c%22%5B%5D.d";
    served.ok(Method::DELETE, path, json!(null)).await;
    assert_eq!(
        served.double.take(),
        [Told::DeleteIndex("plain".to_owned(), field)]
    );

    let actions = json!({"actions": [
        {"create_alias": {"collection_name": "plain", "alias_name": "new"}},
        {"delete_alias": {"alias_name": "other"}},
        {"rename_alias": {"old_alias_name": "a", "new_alias_name": "b"}},
    ]});
    served
        .ok(Method::POST, "/collections/aliases", actions)
        .await;
    let expected = vec![
        AliasAction::Create(Alias {
            alias: name("new"),
            collection: name("plain"),
        }),
        AliasAction::Delete(name("other")),
        AliasAction::Rename {
            from: name("a"),
            to: name("b"),
        },
    ];
    assert_eq!(served.double.take(), [Told::Aliases(expected)]);
}
