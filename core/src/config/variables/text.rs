//! Texts with variables.

/// The parts of a text with variables, as nginx's `ngx_http_script_compile` takes it apart.
pub struct Parts<'t>(pub &'t [u8]);

#[derive(Clone, Copy)]
pub enum Part<'t> {
    Text(&'t [u8]),
    Variable(&'t [u8]),
    Invalid,
}

impl<'t> Iterator for Parts<'t> {
    type Item = Part<'t>;

    fn next(&mut self) -> Option<Part<'t>> {
        let Some(rest) = self.0.strip_prefix(b"$") else {
            let end = self.0.iter().position(|&byte| byte == b'$').unwrap_or(self.0.len());
            let (text, rest) = self.0.split_at_checked(end)?;
            self.0 = rest;
            return (!text.is_empty()).then_some(Part::Text(text));
        };
        self.0 = b"";
        let bracket = rest.strip_prefix(b"{");
        let name = bracket.unwrap_or(rest);
        let end = match name.first() {
            // `$1` is a capture, whatever follows.
            Some(b'1'..=b'9') if bracket.is_none() => 1,
            _ => name.iter().position(|&byte| !is_name(byte)).unwrap_or(name.len()),
        };
        let (name, rest) = name.split_at_checked(end)?;
        let rest = match bracket {
            Some(_) => rest.strip_prefix(b"}"),
            None => Some(rest),
        };
        match rest {
            Some(rest) if !name.is_empty() => {
                self.0 = rest;
                Some(Part::Variable(name))
            }
            _ => Some(Part::Invalid),
        }
    }
}

/// The names in `(?<name>...)`, `(?P<name>...)` and `(?'name'...)`: such a regular expression sets
/// the variable.
pub fn named_captures(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| byte == b'?').skip(1).filter_map(|rest| {
        let rest = rest.strip_prefix(b"P").unwrap_or(rest);
        let rest = rest.strip_prefix(b"<").or_else(|| rest.strip_prefix(b"'"))?;
        let end = rest.iter().position(|&byte| !is_name(byte))?;
        rest.get(..end)
    })
}

fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
