//! The rules of the definition (`x-kubernetes-validations`), evaluated as an API server does.
//!
//! Rules stand at any level of the schema and see the value of their level as `self`. A rule that
//! names `oldSelf` speaks of a change and is evaluated only where there is an old value; an API
//! server finds old values by field, and so do we, but not inside lists, where no rule needs it.

use std::collections::BTreeMap;
use std::sync::Arc;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, SelectExpr};
use cel::objects::{Key, Map};
use cel::{Context, Env, Program};
use serde_json::Value;

use super::functions;
use crate::topology::{FieldFault, FieldPath};

/// Characters of the language's own error that a message repeats.
const ERROR_CHARS_MAX: usize = 200;

/// Every rule of a schema, compiled.
pub(super) struct Rules {
    schema: Value,
    environment: Arc<Env>,
    /// By the text of the rule.
    pub(super) compiled: BTreeMap<String, Result<Compiled, String>>,
}

pub(super) struct Compiled {
    program: Program,
    of_change: bool,
    reads: Vec<Read>,
}

/// A field that a rule looks at, from the level of the rule.
#[derive(Debug, PartialEq, Eq)]
struct Read {
    path: FieldPath,
    /// Whether it only asks if the field is there.
    presence: bool,
}

impl Read {
    /// Whether a fault in the field `broken` makes what is read meaningless.
    fn is_touched(&self, level: &FieldPath, broken: &FieldPath) -> bool {
        let read = level.join(&self.path);
        let inside = read.is_within(broken);
        if self.presence {
            inside && read != *broken
        } else {
            inside || broken.is_within(&read)
        }
    }
}

impl Rules {
    pub(super) fn new(schema: &Value) -> Self {
        let mut texts = Vec::new();
        texts_of(schema, &mut texts);
        Self {
            schema: schema.clone(),
            environment: Arc::new(Env::stdlib()),
            compiled: texts
                .into_iter()
                .map(|text| {
                    let compiled = compile(&text);
                    (text, compiled)
                })
                .collect(),
        }
    }

    /// Adds the fault of every rule that does not hold. The faults that are there already are those
    /// of the schema: a rule that reads a field with one is passed over.
    pub(super) fn judge(&self, value: &Value, old: Option<&Value>, faults: &mut Vec<FieldFault>) {
        let mut judge = Judge {
            rules: self,
            broken: faults.iter().map(|fault| fault.path.clone()).collect(),
            found: Vec::new(),
        };
        judge.walk(&self.schema, value, old, &FieldPath::root());
        faults.append(&mut judge.found);
    }

    /// Whether the rule holds.
    pub(super) fn holds(
        &self,
        rule: &Compiled,
        value: &Value,
        old: Option<&Value>,
    ) -> Result<bool, String> {
        let mut context = Context::with_env(Arc::clone(&self.environment));
        functions::add_to(&mut context).map_err(|error| error.to_string())?;
        context.add_variable_from_value("self", language_value(value));
        if let Some(old) = old {
            context.add_variable_from_value("oldSelf", language_value(old));
        }
        match rule.program.execute(&context) {
            Ok(cel::Value::Bool(holds)) => Ok(holds),
            Ok(_) => Err("it is neither true nor false".to_owned()),
            Err(error) => Err(error.to_string().chars().take(ERROR_CHARS_MAX).collect()),
        }
    }
}

struct Judge<'r> {
    rules: &'r Rules,
    broken: Vec<FieldPath>,
    found: Vec<FieldFault>,
}

impl Judge<'_> {
    fn walk(&mut self, schema: &Value, value: &Value, old: Option<&Value>, path: &FieldPath) {
        for rule in list(schema, "x-kubernetes-validations") {
            if let Some(fault) = self.fault_of(rule, value, old, path) {
                self.found.push(fault);
            }
        }
        match value {
            Value::Object(fields) => {
                let properties = schema.get("properties");
                for (name, value) in fields {
                    let known = properties.and_then(|known| known.get(name));
                    if let Some(schema) = known.or_else(|| schema.get("additionalProperties")) {
                        let old = old.and_then(|old| old.get(name));
                        self.walk(schema, value, old, &path.field(name));
                    }
                }
            },
            Value::Array(items) => {
                if let Some(schema) = schema.get("items") {
                    for (index, item) in items.iter().enumerate() {
                        self.walk(schema, item, None, &path.item(index));
                    }
                }
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {},
        }
    }

    fn fault_of(
        &self,
        rule: &Value,
        value: &Value,
        old: Option<&Value>,
        level: &FieldPath,
    ) -> Option<FieldFault> {
        let text_of = |key| rule.get(key).and_then(Value::as_str);
        let text = text_of("rule").unwrap_or_default();
        let unusable = |why: &str| {
            let problem = format!("the rule \"{text}\" cannot be evaluated: {why}");
            Some(FieldFault::new(level.clone(), problem))
        };
        let compiled = match self.rules.compiled.get(text) {
            Some(Ok(compiled)) => compiled,
            Some(Err(why)) => return unusable(why),
            None => return unusable("it was not compiled"),
        };
        if compiled.of_change && old.is_none() {
            return None;
        }
        let touched = |read: &Read| self.broken.iter().any(|at| read.is_touched(level, at));
        if compiled.reads.iter().any(touched) {
            return None;
        }
        match self.rules.holds(compiled, value, old) {
            Ok(true) => None,
            Ok(false) => {
                let field = FieldPath::of(text_of("fieldPath").unwrap_or_default());
                let problem = match text_of("message") {
                    Some(message) => message.to_owned(),
                    None => format!("does not hold: {text}"),
                };
                Some(FieldFault::new(level.join(&field), problem))
            },
            Err(why) => unusable(&why),
        }
    }
}

fn list<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value
        .get(key)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

/// The texts of all rules at and below a schema.
fn texts_of(schema: &Value, texts: &mut Vec<String>) {
    for rule in list(schema, "x-kubernetes-validations") {
        if let Some(text) = rule.get("rule").and_then(Value::as_str) {
            texts.push(text.to_owned());
        }
    }
    let properties = schema.get("properties").and_then(Value::as_object);
    let properties = properties.into_iter().flat_map(|known| known.values());
    let others = ["items", "additionalProperties"]
        .into_iter()
        .filter_map(|keyword| schema.get(keyword));
    for child in properties.chain(others) {
        texts_of(child, texts);
    }
}

fn compile(text: &str) -> Result<Compiled, String> {
    let program = Program::compile(text).map_err(|error| error.to_string())?;
    let mut reads = Vec::new();
    find_reads(&program.expression().expr, &mut reads);
    Ok(Compiled {
        of_change: program.references().has_variable("oldSelf"),
        program,
        reads,
    })
}

/// The fields of `self` that an expression looks at.
fn find_reads(expression: &Expr, reads: &mut Vec<Read>) {
    if let Some(path) = path_of(expression) {
        let presence = matches!(expression, Expr::Select(select) if select.test);
        reads.push(Read { path, presence });
        return;
    }
    match expression {
        Expr::Select(SelectExpr { operand, .. }) => find_reads(&operand.expr, reads),
        Expr::Call(CallExpr { target, args, .. }) => {
            let target = target.iter().map(|target| &target.expr);
            for part in target.chain(args.iter().map(|part| &part.expr)) {
                find_reads(part, reads);
            }
        },
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr {
                iter_range,
                accu_init,
                loop_cond,
                loop_step,
                result,
                ..
            } = comprehension.as_ref();
            for part in [iter_range, accu_init, loop_cond, loop_step, result] {
                find_reads(&part.expr, reads);
            }
        },
        Expr::List(list) => {
            for part in &list.elements {
                find_reads(&part.expr, reads);
            }
        },
        Expr::Map(map) => entry_reads(map.entries.iter().map(|entry| &entry.expr), reads),
        Expr::Struct(object) => {
            entry_reads(object.entries.iter().map(|entry| &entry.expr), reads);
        },
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => {},
    }
}

fn entry_reads<'e>(entries: impl Iterator<Item = &'e EntryExpr>, reads: &mut Vec<Read>) {
    for entry in entries {
        match entry {
            EntryExpr::StructField(field) => find_reads(&field.value.expr, reads),
            EntryExpr::MapEntry(entry) => {
                find_reads(&entry.key.expr, reads);
                find_reads(&entry.value.expr, reads);
            },
        }
    }
}

/// `self.a.b` as a path.
fn path_of(expression: &Expr) -> Option<FieldPath> {
    match expression {
        Expr::Ident(name) if name == "self" => Some(FieldPath::root()),
        Expr::Select(select) => Some(path_of(&select.operand.expr)?.field(&select.field)),
        _ => None,
    }
}

/// A JSON value as a value of the language. Its integers are `int`, whatever their sign: two of them
/// can be compared.
fn language_value(value: &Value) -> cel::Value {
    match value {
        Value::Null => cel::Value::Null,
        Value::Bool(value) => cel::Value::Bool(*value),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => cel::Value::Int(number),
            (None, Some(number)) => cel::Value::UInt(number),
            (None, None) => cel::Value::Float(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => cel::Value::String(Arc::new(text.clone())),
        Value::Array(items) => {
            cel::Value::List(Arc::new(items.iter().map(language_value).collect()))
        },
        Value::Object(fields) => cel::Value::Map(Map {
            map: Arc::new(
                fields
                    .iter()
                    .map(|(name, value)| (Key::from(name.as_str()), language_value(value)))
                    .collect(),
            ),
        }),
    }
}
