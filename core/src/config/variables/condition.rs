//! The conditions of `if` blocks (`ngx_http_rewrite_if_condition`).

use crate::config::node::Directive;
use crate::config::pattern::compile;

use super::value::Evaluated;

/// A condition that asks about a variable.
pub struct Condition<'a> {
    /// Its name.
    pub variable: &'a [u8],
    /// Operator and operand. Without them, whether it is set.
    comparison: Option<(&'a [u8], &'a [u8])>,
}

impl<'a> Condition<'a> {
    /// The condition of an `if`; `None` for one that asks about something else, such as a file.
    pub fn of(directive: Directive<'a>) -> Option<Self> {
        // `($a`, `=`, `b)`: the brackets may be words of their own.
        let mut words: Vec<&'a [u8]> = directive.args().collect();
        let first = words.first_mut()?;
        *first = first.strip_prefix(b"(")?;
        let last = words.last_mut()?;
        *last = last.strip_suffix(b")")?;
        let opens = usize::from(words.first().is_some_and(|word| word.is_empty()));
        let closes = usize::from(words.last().is_some_and(|word| word.is_empty()));
        let (variable, comparison) = match *words.get(opens..words.len().checked_sub(closes)?)? {
            [variable] => (variable, None),
            [variable, operator, operand] => (variable, Some((operator, operand))),
            _ => return None,
        };
        Some(Self { variable: variable.strip_prefix(b"$")?, comparison })
    }

    /// Whether it holds with this value of the variable. `None` if that cannot be known.
    pub fn holds(&self, value: &Evaluated<'_>) -> Option<bool> {
        let Some((operator, operand)) = self.comparison else {
            return value.is_set();
        };
        let Evaluated::Known(value) = value else {
            return None;
        };
        let matches = |caseless| Some(compile(operand, caseless)?.is_match(value));
        match operator {
            b"=" if !operand.contains(&b'$') => Some(**value == *operand),
            b"!=" if !operand.contains(&b'$') => Some(**value != *operand),
            b"~" => matches(false),
            b"~*" => matches(true),
            b"!~" => Some(!matches(false)?),
            b"!~*" => Some(!matches(true)?),
            _ => None,
        }
    }
}
