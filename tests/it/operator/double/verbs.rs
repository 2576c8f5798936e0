//! What create, replace, patch and delete do to the store.

use std::sync::Arc;

use k8s_openapi::ByteString;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::apply::{self, Writer};
use super::kinds::{Kind, Scope};
use super::patch;
use super::refusal::Refusal;
use super::shape;
use super::store::{Key, Store, text};

/// Which object is written, and by whom.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) kind: Arc<Kind>,
    pub(crate) namespace: String,
    pub(crate) name: String,
    pub(crate) writer: Writer,
}

/// The ways of patching.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Merge,
    Json,
    Apply,
}

/// Whether an object was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Anew,
    Before,
}

/// What a deletion asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Deletion {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
    pub(crate) grace_seconds: Option<u64>,
    pub(crate) propagation: Option<String>,
}

impl Deletion {
    /// From the `DeleteOptions` of a request.
    pub(crate) fn read(options: &Value) -> Self {
        let text = |value: &Value| value.as_str().map(ToOwned::to_owned);
        let preconditions = &options["preconditions"];
        Self {
            uid: text(&preconditions["uid"]),
            resource_version: text(&preconditions["resourceVersion"]),
            grace_seconds: options["gracePeriodSeconds"].as_u64(),
            propagation: text(&options["propagationPolicy"]),
        }
    }
}

type Answer = Result<Arc<Value>, Refusal>;

/// Now, as objects spell it.
pub(crate) fn now() -> String {
    Timestamp::from_second(Timestamp::now().as_second())
        .unwrap()
        .to_string()
}

impl Call {
    pub(crate) fn key(&self) -> Key {
        Key::new(&self.kind, &self.namespace, &self.name)
    }

    fn found(&self, store: &Store) -> Answer {
        let missing = || Refusal::not_found(&self.kind, &self.name);
        store.get(&self.key()).ok_or_else(missing)
    }

    /// `GET` of one object, or of its scale.
    pub(crate) fn get(&self, store: &Store) -> Result<Value, Refusal> {
        let found = self.found(store)?;
        if self.writer.subresource == "scale" {
            return patch::scale(&self.kind, &found);
        }
        Ok(Value::clone(&found))
    }

    /// `POST`.
    pub(crate) fn create(&self, store: &mut Store, mut object: Value) -> Answer {
        let mut call = self.clone();
        call.name = text(&object, "/metadata/name").to_owned();
        if call.name.is_empty() {
            let prefix = text(&object, "/metadata/generateName");
            if prefix.is_empty() {
                let why = "name or generateName is required";
                return Err(Refusal::invalid(&self.kind, "", why));
            }
            let unique = uuid::Uuid::new_v4().simple().to_string();
            call.name = format!("{prefix}{}", unique.split_at(5).0);
            object["metadata"]["name"] = json!(call.name);
        }
        let place = text(&object, "/metadata/namespace");
        if !place.is_empty() && place != self.namespace {
            let why = "the namespace of the provided object does not match the namespace sent on \
                       the request";
            return Err(Refusal::bad(why));
        }
        if store.get(&call.key()).is_some() {
            return Err(Refusal::already_exists(&self.kind, &call.name));
        }
        call.make(store, object, Way::Merge)
    }

    /// A new object, of a `POST` or of an apply.
    fn make(&self, store: &mut Store, mut object: Value, way: Way) -> Answer {
        let kind = &self.kind;
        self.check_namespace(store)?;
        if !text(&object, "/metadata/resourceVersion").is_empty() {
            let why = "resourceVersion should not be set on objects to be created";
            return Err(Refusal::new(500, "InternalError", why));
        }
        if kind.status {
            take(&mut object, "status");
        }
        let mut config = object.clone();
        if kind.is_built_in() {
            shape::drop_nulls(&mut config);
        }
        complete(kind, &mut object);
        let metadata = fields(&mut object, "metadata");
        for name in SET_BY_SERVER {
            metadata.remove(*name);
        }
        metadata.insert("name".to_owned(), json!(self.name));
        if kind.scope == Scope::Namespaced {
            metadata.insert("namespace".to_owned(), json!(self.namespace));
        }
        let uid = uuid::Uuid::new_v4().to_string();
        metadata.insert("uid".to_owned(), json!(uid));
        metadata.insert("creationTimestamp".to_owned(), json!(now()));
        if kind.generation {
            metadata.insert("generation".to_owned(), json!(1));
        }
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if way == Way::Apply {
            object = apply::applied(kind, &object, &config, &self.writer)?;
            complete(kind, &mut object);
        } else {
            apply::updated(kind, &json!({}), &mut object, &self.writer);
        }
        super::admission::made(kind, &mut object);
        Ok(store.put(&self.key(), object))
    }

    fn check_namespace(&self, store: &Store) -> Result<(), Refusal> {
        if self.kind.scope == Scope::Cluster {
            return Ok(());
        }
        let key = Key::built_in("", "namespaces", "", &self.namespace);
        let namespaces = store.kinds.of("", "namespaces").unwrap();
        let missing = || Refusal::not_found(&namespaces, &self.namespace);
        let namespace = store.get(&key).ok_or_else(missing)?;
        if namespace["metadata"]["deletionTimestamp"].is_null() {
            return Ok(());
        }
        let message = format!(
            "{} \"{}\" is forbidden: unable to create new content in namespace {} because it is \
             being terminated",
            self.kind.resource(),
            self.name,
            self.namespace
        );
        Err(Refusal::new(403, "Forbidden", message))
    }

    /// `PUT`.
    pub(crate) fn replace(&self, store: &mut Store, mut object: Value) -> Answer {
        let live = self.found(store)?;
        let named = text(&object, "/metadata/name");
        if named != self.name {
            let why = format!(
                "the name of the object ({named}) does not match the name on the URL ({})",
                self.name
            );
            return Err(Refusal::bad(why));
        }
        if self.writer.subresource == "scale" {
            object = patch::unscale(&self.kind, &live, &object)?;
        }
        self.check_put_uid(&live, &object)?;
        self.check_version(&live, &object)?;
        complete(&self.kind, &mut object);
        self.finish(store, &live, object, Way::Merge)
    }

    /// The version that an object carries itself, if it does.
    fn check_version(&self, live: &Value, object: &Value) -> Result<(), Refusal> {
        let version = "/metadata/resourceVersion";
        let (has, wants) = (text(live, version), text(object, version));
        if !wants.is_empty() && wants != has {
            return Err(Refusal::outdated(&self.kind, &self.name));
        }
        Ok(())
    }

    /// Whoever puts an object of another UID means another object.
    fn check_put_uid(&self, live: &Value, object: &Value) -> Result<(), Refusal> {
        let Some((wants, has)) = other_uid(live, object) else {
            return Ok(());
        };
        let why =
            format!("Precondition failed: UID in precondition: {wants}, UID in object meta: {has}");
        Err(Refusal::conflict(&self.kind, &self.name, &why))
    }

    /// Whoever patches it tries to change what cannot change.
    fn check_patched_uid(&self, live: &Value, object: &Value) -> Result<(), Refusal> {
        let Some((wants, _)) = other_uid(live, object) else {
            return Ok(());
        };
        let why = format!("metadata.uid: Invalid value: \"{wants}\": field is immutable");
        Err(Refusal::invalid(&self.kind, &self.name, &why))
    }

    /// `PATCH`.
    pub(crate) fn patch(
        &self,
        store: &mut Store,
        way: Way,
        body: &Value,
    ) -> Result<(Made, Arc<Value>), Refusal> {
        let live = match (self.found(store), way) {
            (Ok(live), _) => live,
            (Err(_), Way::Apply) if self.writer.subresource.is_empty() => {
                let made = self.make(store, body.clone(), Way::Apply)?;
                return Ok((Made::Anew, made));
            },
            (Err(refusal), _) => return Err(refusal),
        };
        let scaling = self.writer.subresource == "scale";
        let target = if scaling {
            patch::scale(&self.kind, &live)?
        } else {
            Value::clone(&live)
        };
        let mut object = match way {
            Way::Merge => patch::merged(&target, body),
            Way::Json => patch::json_patched(&self.kind, &self.name, &target, body)?,
            Way::Apply => {
                self.check_patched_uid(&live, body)?;
                self.check_version(&live, body)?;
                let mut config = body.clone();
                self.narrow(&mut config);
                if self.kind.is_built_in() {
                    shape::drop_nulls(&mut config);
                }
                apply::applied(&self.kind, &target, &config, &self.writer)?
            },
        };
        if scaling {
            object = patch::unscale(&self.kind, &live, &object)?;
        }
        if way != Way::Apply {
            self.check_patched_uid(&live, &object)?;
            self.check_version(&live, &object)?;
        }
        complete(&self.kind, &mut object);
        Ok((Made::Before, self.finish(store, &live, object, way)?))
    }

    /// Leaves of what is applied only what this resource writes.
    fn narrow(&self, config: &mut Value) {
        match &*self.writer.subresource {
            "status" => {
                let status = config["status"].take();
                *config = json!({});
                if !status.is_null() {
                    config["status"] = status;
                }
            },
            _ if self.kind.status => drop(take(config, "status")),
            _ => {},
        }
    }

    /// Writes an object over the one that is there, if that changes anything.
    fn finish(&self, store: &mut Store, live: &Value, mut object: Value, way: Way) -> Answer {
        let kind = &self.kind;
        if kind.status {
            if self.writer.subresource == "status" {
                let (status, managed) = (
                    take(&mut object, "status"),
                    object["metadata"]["managedFields"].clone(),
                );
                object = live.clone();
                put(&mut object, "status", status);
                put(&mut object["metadata"], "managedFields", managed);
            } else {
                let status = live.get("status").cloned();
                put(&mut object, "status", status.unwrap_or_default());
            }
        }
        for name in SET_BY_SERVER {
            if *name != "managedFields" {
                let value = live["metadata"].get(*name).cloned().unwrap_or_default();
                put(&mut object["metadata"], name, value);
            }
        }
        object["metadata"]["name"] = live["metadata"]["name"].clone();
        put(
            &mut object["metadata"],
            "namespace",
            live["metadata"]["namespace"].clone(),
        );
        object["apiVersion"] = json!(kind.api_version());
        object["kind"] = json!(kind.kind);
        if way != Way::Apply {
            apply::updated(kind, live, &mut object, &self.writer);
        }
        super::admission::changed(kind, live, &object)?;
        self.check_finalizers(live, &object)?;
        if kind.generation && counts(kind, live, &object) {
            let generation = live["metadata"]["generation"].as_u64().unwrap_or(0);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        if object == *live {
            return Ok(Arc::new(object));
        }
        if is_over(&object) {
            let object = Arc::new(object);
            store.remove(&self.key());
            return Ok(object);
        }
        Ok(store.put(&self.key(), object))
    }

    /// What is being deleted is not held by anybody anew.
    fn check_finalizers(&self, live: &Value, object: &Value) -> Result<(), Refusal> {
        let held = live["metadata"]["finalizers"].as_array();
        let mut wanted = object["metadata"]["finalizers"]
            .as_array()
            .into_iter()
            .flatten();
        let is_known = |one: &Value| held.is_some_and(|held| held.contains(one));
        let leaving = !live["metadata"]["deletionTimestamp"].is_null();
        if leaving && !wanted.all(is_known) {
            let why = "metadata.finalizers: Forbidden: no new finalizers can be added if the object \
                       is being deleted";
            return Err(Refusal::invalid(&self.kind, &self.name, why));
        }
        Ok(())
    }

    /// `DELETE`. The object after it, and whether it is gone.
    pub(crate) fn delete(
        &self,
        store: &mut Store,
        deletion: &Deletion,
    ) -> Result<(Arc<Value>, bool), Refusal> {
        let live = self.found(store)?;
        let uid = text(&live, "/metadata/uid");
        if let Some(wanted) = deletion.uid.as_deref().filter(|wanted| *wanted != uid) {
            let why = format!(
                "Precondition failed: UID in precondition: {wanted}, UID in object meta: {uid}"
            );
            return Err(Refusal::conflict(&self.kind, &self.name, &why));
        }
        let version = text(&live, "/metadata/resourceVersion");
        let wanted = deletion.resource_version.as_deref();
        if let Some(wanted) = wanted.filter(|wanted| *wanted != version) {
            let why = format!(
                "Precondition failed: ResourceVersion in precondition: {wanted}, ResourceVersion \
                 in object meta: {version}"
            );
            return Err(Refusal::conflict(&self.kind, &self.name, &why));
        }
        let mut object = Value::clone(&live);
        let waits_for = match deletion.propagation.as_deref() {
            Some("Orphan") => Some("orphan"),
            Some("Foreground") => Some("foregroundDeletion"),
            _ => None,
        };
        if let Some(finalizer) = waits_for {
            let mut all = object["metadata"]["finalizers"].as_array().cloned();
            let all = all.get_or_insert_default();
            if !all.contains(&json!(finalizer)) {
                all.push(json!(finalizer));
            }
            object["metadata"]["finalizers"] = json!(all);
        }
        let grace = super::admission::grace(&self.kind, &live, deletion.grace_seconds);
        if object["metadata"]["deletionTimestamp"].is_null() {
            object["metadata"]["deletionTimestamp"] = json!(now());
            if let Some(generation) = object["metadata"]["generation"].as_u64() {
                object["metadata"]["generation"] = json!(generation + 1);
            }
            object["metadata"]["deletionGracePeriodSeconds"] = json!(grace);
        } else if grace == 0 {
            object["metadata"]["deletionGracePeriodSeconds"] = json!(0);
        }
        if is_over(&object) {
            store.remove(&self.key());
            return Ok((Arc::new(object), true));
        }
        if object == *live {
            return Ok((live, false));
        }
        Ok((store.put(&self.key(), object), false))
    }
}

/// Fields of metadata that only the server sets.
const SET_BY_SERVER: &[&str] = &[
    "uid",
    "resourceVersion",
    "creationTimestamp",
    "generation",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
    "selfLink",
];

/// The UID that an object names and the one that there is, if they are two.
fn other_uid<'a>(live: &'a Value, object: &'a Value) -> Option<(&'a str, &'a str)> {
    let (has, wants) = (text(live, "/metadata/uid"), text(object, "/metadata/uid"));
    (!wants.is_empty() && wants != has).then_some((wants, has))
}

/// Nothing holds a deleted object any more.
fn is_over(object: &Value) -> bool {
    let metadata = &object["metadata"];
    let held = metadata["finalizers"].as_array();
    !metadata["deletionTimestamp"].is_null()
        && held.is_none_or(Vec::is_empty)
        && metadata["deletionGracePeriodSeconds"].as_u64() == Some(0)
        && object["spec"]["finalizers"]
            .as_array()
            .is_none_or(Vec::is_empty)
}

/// Whether a change is one that the generation counts.
fn counts(kind: &Kind, before: &Value, after: &Value) -> bool {
    let counted = |object: &Value| {
        let mut fields = object.as_object().cloned().unwrap_or_default();
        fields.remove("metadata");
        if kind.status {
            fields.remove("status");
        }
        fields
    };
    counted(before) != counted(after)
}

/// Fills in what reading an object of this kind does.
fn complete(kind: &Kind, object: &mut Value) {
    fields(object, "metadata");
    if let Some(schema) = &kind.schema {
        shape::drop_nulls(&mut object["metadata"]);
        shape::complete_top(schema, object);
        return;
    }
    shape::drop_nulls(object);
    if kind.kind != "Secret" {
        return;
    }
    if object["type"].is_null() {
        object["type"] = json!("Opaque");
    }
    for (name, value) in take(object, "stringData").as_object().into_iter().flatten() {
        let bytes = value.as_str().unwrap_or_default().as_bytes().to_vec();
        fields(object, "data").insert(name.clone(), json!(ByteString(bytes)));
    }
}

/// The fields of a thing in an object; made where they are missing.
pub(crate) fn fields<'a>(object: &'a mut Value, name: &str) -> &'a mut Map<String, Value> {
    if !object[name].is_object() {
        object[name] = json!({});
    }
    object[name].as_object_mut().unwrap()
}

fn take(object: &mut Value, name: &str) -> Value {
    let taken = object.as_object_mut().and_then(|all| all.remove(name));
    taken.unwrap_or_default()
}

/// Sets a field; null takes it away.
pub(crate) fn put(object: &mut Value, name: &str, value: Value) {
    if value.is_null() {
        take(object, name);
    } else {
        object[name] = value;
    }
}
