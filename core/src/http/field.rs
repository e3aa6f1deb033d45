//! The lines of a header, found by their names.

/// A line of a header, in whatever way it is kept.
pub trait FieldLine<'a>: Copy {
    /// The value, if the line has this name, in any case.
    fn value(self, name: &str) -> Option<&'a [u8]>;
}

/// The lines of a header, in the order received.
pub trait Fields<'a>: Iterator<Item: FieldLine<'a>> + Clone {}

impl<'a, T: Iterator<Item: FieldLine<'a>> + Clone> Fields<'a> for T {}

/// Finds the lines of several names in one pass. It is quickest with names in their usual spelling, which
/// the compiler knows.
#[inline(always)]
pub fn find<'a, F: Fields<'a>, const N: usize>(
    mut fields: F,
    names: [&'static str; N],
) -> [Values<'a, F>; N] {
    let mut found = names.map(|name| Values { name, first: None, others: None });
    loop {
        let here = fields.clone();
        let Some(field) = fields.next() else { return found };
        for values in &mut found {
            let Some(value) = field.value(values.name) else { continue };
            if values.first.is_none() {
                values.first = Some(value);
            } else if values.others.is_none() {
                values.others = Some(here);
            }
            break;
        }
    }
}

/// The values of one name, line by line.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a, F> {
    name: &'static str,
    first: Option<&'a [u8]>,
    /// The lines from the second of this name on.
    others: Option<F>,
}

impl<'a, F: Fields<'a>> Values<'a, F> {
    /// The value, unless there are none or several.
    pub fn only(&self) -> Option<&'a [u8]> {
        self.first.filter(|_| self.others.is_none())
    }
}

impl<'a, F: Fields<'a>> Iterator for Values<'a, F> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        match self.first.take() {
            None => self.others.as_mut()?.find_map(|field| field.value(self.name)),
            first => first,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl<'a> FieldLine<'a> for (&'a str, &'a str) {
        fn value(self, name: &str) -> Option<&'a [u8]> {
            self.0.eq_ignore_ascii_case(name).then_some(self.1.as_bytes())
        }
    }

    const FIELDS: [(&str, &str); 6] =
        [("a", "1"), ("B", "2"), ("c", "3"), ("A", "4"), ("b", "5"), ("a", "")];

    #[test]
    fn each_name_has_its_lines_in_their_order() {
        let [b, none, a, c] = find(FIELDS.into_iter(), ["b", "none", "a", "c"]);
        assert_eq!(a.only(), None);
        assert_eq!(c.only(), Some(&b"3"[..]));
        assert_eq!(none.only(), None);
        assert_eq!(a.collect::<Vec<_>>(), [&b"1"[..], b"4", b""]);
        assert_eq!(b.collect::<Vec<_>>(), [b"2", b"5"]);
        assert_eq!(c.collect::<Vec<_>>(), [b"3"]);
        assert_eq!(none.count(), 0);
    }

    #[test]
    fn a_clone_starts_where_the_other_stands() {
        let [mut a] = find(FIELDS.into_iter(), ["a"]);
        assert_eq!(a.next(), Some(&b"1"[..]));
        let again = a.clone();
        assert_eq!(a.collect::<Vec<_>>(), [&b"4"[..], b""]);
        assert_eq!(again.count(), 2);
    }
}
