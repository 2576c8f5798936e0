//! The functions that Kubernetes adds to the expression language, as far as our rules use them.
//!
//! A rule that uses another one cannot be evaluated, and a test finds it.

use std::sync::Arc;

use cel::extractors::This;
use cel::objects::Opaque;
use cel::{Context, DeclarationError, ExecutionError, Value};

use crate::topology::quantity::Quantity;

/// A quantity as a value of the language.
#[derive(Debug, PartialEq, Eq)]
struct QuantityValue(Quantity);

impl Opaque for QuantityValue {
    fn runtime_type_name(&self) -> &str {
        "kubernetes.Quantity"
    }
}

/// Adds the functions to a context.
pub(super) fn add_to(context: &mut Context<'_, '_>) -> Result<(), DeclarationError> {
    context.add_function("isQuantity", is_quantity)?;
    context.add_function("quantity", quantity)?;
    context.add_function("compareTo", compare_to)?;
    context.add_function("isGreaterThan", is_greater_than)?;
    context.add_function("duration", duration)
}

fn is_quantity(text: Arc<String>) -> bool {
    Quantity::parse(&text).is_some()
}

fn quantity(text: Arc<String>) -> Result<Value, ExecutionError> {
    let quantity = Quantity::parse(&text)
        .ok_or_else(|| ExecutionError::function_error("quantity", "not a quantity"))?;
    Ok(Value::Opaque(Arc::new(QuantityValue(quantity))))
}

fn compare_to(
    This(one): This<Arc<dyn Opaque>>,
    other: Arc<dyn Opaque>,
) -> Result<i64, ExecutionError> {
    Ok(match amount(&one)?.cmp(&amount(&other)?) {
        std::cmp::Ordering::Less => -1,
        std::cmp::Ordering::Equal => 0,
        std::cmp::Ordering::Greater => 1,
    })
}

fn is_greater_than(
    This(one): This<Arc<dyn Opaque>>,
    other: Arc<dyn Opaque>,
) -> Result<bool, ExecutionError> {
    Ok(amount(&one)? > amount(&other)?)
}

fn amount(value: &Arc<dyn Opaque>) -> Result<Quantity, ExecutionError> {
    value
        .downcast_ref::<QuantityValue>()
        .map(|value| value.0)
        .ok_or_else(|| ExecutionError::function_error("quantity", "not a quantity"))
}

/// A time such as `1h30m`, in milliseconds: enough to compare two. Refused, as there, when it is
/// longer than 2^63 nanoseconds.
fn duration(text: Arc<String>) -> Result<i64, ExecutionError> {
    milliseconds(&text)
        .ok_or_else(|| ExecutionError::function_error("duration", "not a time, or too long"))
}

fn milliseconds(text: &str) -> Option<i64> {
    const LONGEST: i64 = i64::MAX / 1_000_000;
    if text.is_empty() {
        return None;
    }
    let mut total = 0_i64;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_at = rest.find(|c: char| !c.is_ascii_digit())?;
        let (number, after) = rest.split_at_checked(unit_at)?;
        let unit_end = after
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(after.len());
        let (unit, next) = after.split_at_checked(unit_end)?;
        let unit = match unit {
            "h" => 3_600_000,
            "m" => 60_000,
            "s" => 1_000,
            "ms" => 1,
            _ => return None,
        };
        let part = number.parse::<i64>().ok()?.checked_mul(unit)?;
        total = total.checked_add(part)?;
        rest = next;
    }
    (total <= LONGEST).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::milliseconds;

    #[test]
    fn times_are_read() {
        for (text, expected) in [
            ("2160h", Some(7_776_000_000)),
            ("1h30m", Some(5_400_000)),
            ("90m", Some(5_400_000)),
            ("1s500ms", Some(1_500)),
            ("0h", Some(0)),
            ("", None),
            ("h", None),
            ("5", None),
            ("5d", None),
            ("-5h", None),
            ("2562048h", None),
            ("99999999999999999999h", None),
            ("999999999999999h", None),
        ] {
            assert_eq!(milliseconds(text), expected, "{text:?}");
        }
    }
}
