//! The tokens of a configuration, by nginx's rules (`ngx_conf_read_token`).
//!
//! They are few, and not always what one would guess: a quote means something only at the start of
//! a token, `#` likewise, `{` ends a token except after `$`, and nothing but white space, `;`, `{`
//! or `)` may follow a closing quote.

use std::borrow::Cow;
use std::ops::Range;

/// Reads one file.
pub(super) struct Lexer<'a> {
    text: &'a [u8],
    at: usize,
    line: u32,
}

/// Where in the text a token stands, without its quotes.
pub(super) type Span = Range<usize>;

/// How a statement ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StatementEnd {
    /// With `;`.
    Simple,
    /// With `{`.
    Open,
    /// It is a `}`.
    Close,
    /// There was none: the file is at its end.
    File,
    /// Where nginx would report a syntax error.
    Nonsense,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, line: 1 }
    }

    /// The line of the last character that was read: nginx's `cf->conf_file->line`.
    pub(super) fn line(&self) -> u32 {
        self.line
    }

    /// Reads up to the end of a statement. `tokens` becomes what stands in it; the line of the
    /// first is returned with the end.
    pub(super) fn statement(&mut self, tokens: &mut Vec<Span>) -> (StatementEnd, u32) {
        tokens.clear();
        let mut start = self.line;
        loop {
            let Some(byte) = self.next() else {
                return (
                    if tokens.is_empty() { StatementEnd::File } else { StatementEnd::Nonsense },
                    start,
                );
            };
            let (token, end) = match byte {
                b' ' | b'\t' | b'\r' | b'\n' => continue,
                b'#' => {
                    self.comment();
                    continue;
                }
                b';' if !tokens.is_empty() => return (StatementEnd::Simple, start),
                b'{' if !tokens.is_empty() => return (StatementEnd::Open, start),
                b'}' if tokens.is_empty() => return (StatementEnd::Close, start),
                b';' | b'{' | b'}' => return (StatementEnd::Nonsense, start),
                _ => {
                    if tokens.is_empty() {
                        start = self.line;
                    }
                    match byte {
                        b'"' | b'\'' => self.quoted(byte),
                        _ => self.bare(byte),
                    }
                }
            };
            tokens.push(token);
            if let Some(end) = end {
                return (end, start);
            }
        }
    }

    /// A token that started with a quote, and the end of the statement if that follows at once.
    fn quoted(&mut self, quote: u8) -> (Span, Option<StatementEnd>) {
        let start = self.at;
        loop {
            match self.next() {
                Some(b'\\') => {
                    self.next();
                }
                Some(byte) if byte == quote => break,
                Some(_) => {}
                None => return (start..self.at, Some(StatementEnd::Nonsense)),
            }
        }
        let token = start..self.at - 1;
        let end = match self.peek() {
            // The bracket of `if ($x = "y")` starts a token of its own.
            Some(b' ' | b'\t' | b'\r' | b'\n' | b')') => return (token, None),
            Some(b';') => StatementEnd::Simple,
            Some(b'{') => StatementEnd::Open,
            _ => StatementEnd::Nonsense,
        };
        self.next();
        (token, Some(end))
    }

    /// A token that started with `first`.
    fn bare(&mut self, first: u8) -> (Span, Option<StatementEnd>) {
        let start = self.at - 1;
        let mut variable = false;
        let mut byte = first;
        loop {
            match byte {
                b'\\' => {
                    variable = false;
                    self.next();
                }
                b'$' => variable = true,
                b'{' if variable => {}
                _ => variable = false,
            }
            byte = match self.next() {
                Some(b'{') if variable => b'{',
                Some(b'{') => return (start..self.at - 1, Some(StatementEnd::Open)),
                Some(b';') => return (start..self.at - 1, Some(StatementEnd::Simple)),
                Some(b' ' | b'\t' | b'\r' | b'\n') => return (start..self.at - 1, None),
                Some(byte) => byte,
                None => return (start..self.at, Some(StatementEnd::Nonsense)),
            };
        }
    }

    /// Skips the Lua code behind the `{` of a `*_by_lua_block`, with its `}`. `None` if that is
    /// missing. In Lua a bracket may stand in a string or comment.
    pub(super) fn skip_lua(&mut self) -> Option<()> {
        let mut depth = 1_u32;
        while depth > 0 {
            match self.next()? {
                b'{' => depth += 1,
                b'}' => depth -= 1,
                b'-' if self.peek() == Some(b'-') => {
                    self.next();
                    if self.peek() != Some(b'[') {
                        self.comment();
                        continue;
                    }
                    self.next();
                    if !self.skip_long_bracket()? {
                        self.comment();
                    }
                }
                b'[' => {
                    self.skip_long_bracket()?;
                }
                quote @ (b'"' | b'\'') => self.skip_lua_string(quote)?,
                _ => {}
            }
        }
        Some(())
    }

    fn skip_lua_string(&mut self, quote: u8) -> Option<()> {
        loop {
            match self.next()? {
                b'\\' => {
                    self.next();
                }
                byte if byte == quote => return Some(()),
                _ => {}
            }
        }
    }

    /// Skips a `[[ ... ]]` or `[==[ ... ]==]` whose first `[` was read, and says whether there is
    /// one. `None` if it has no end.
    fn skip_long_bracket(&mut self) -> Option<bool> {
        let rest = self.text.get(self.at..)?;
        let level = rest.iter().take_while(|&&byte| byte == b'=').count();
        if rest.get(level) != Some(&b'[') {
            return Some(false);
        }
        self.at += level + 1;
        // Signs of equality since the last `]`.
        let mut signs = None;
        loop {
            signs = match self.next()? {
                b']' if signs == Some(level) => return Some(true),
                b']' => Some(0),
                b'=' => signs.map(|signs| signs + 1),
                _ => None,
            };
        }
    }

    /// Skips the rest of the line.
    fn comment(&mut self) {
        while !matches!(self.next(), None | Some(b'\n')) {}
    }

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        self.line += u32::from(byte == b'\n');
        Some(byte)
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }
}

/// What nginx makes of the text of a token: `\"`, `\'`, `\\`, `\t`, `\r` and `\n` mean the
/// character; any other backslash stays.
pub(super) fn unescape(raw: &[u8]) -> Cow<'_, [u8]> {
    if !raw.contains(&b'\\') {
        return Cow::Borrowed(raw);
    }
    let mut token = Vec::with_capacity(raw.len());
    let mut rest = raw;
    loop {
        let (byte, after) = match rest {
            [b'\\', byte @ (b'"' | b'\'' | b'\\'), after @ ..] => (*byte, after),
            [b'\\', b't', after @ ..] => (b'\t', after),
            [b'\\', b'r', after @ ..] => (b'\r', after),
            [b'\\', b'n', after @ ..] => (b'\n', after),
            [byte, after @ ..] => (*byte, after),
            [] => return Cow::Owned(token),
        };
        token.push(byte);
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What `nginx -t` (1.22.1) says about a text that is put into `http { }` after two lines:
    /// the name of the unknown directive, and the line.
    fn first(text: &str) -> (String, u32) {
        let text = format!("events{{}}\nhttp{{\n{text}}}\n");
        let mut lexer = Lexer::new(text.as_bytes());
        let mut tokens = Vec::new();
        for opening in [StatementEnd::Open, StatementEnd::Close, StatementEnd::Open] {
            assert_eq!(lexer.statement(&mut tokens).0, opening);
        }
        let (end, _) = lexer.statement(&mut tokens);
        let name = match end {
            StatementEnd::Simple | StatementEnd::Open => {
                String::from_utf8(unescape(&text.as_bytes()[tokens[0].clone()]).into_owned())
                    .unwrap()
            }
            _ => format!("{end:?}"),
        };
        (name, lexer.line())
    }

    fn statement(text: &str) -> (StatementEnd, Vec<String>) {
        let mut tokens = Vec::new();
        let (end, _) = Lexer::new(text.as_bytes()).statement(&mut tokens);
        let token = |token: &Span| {
            String::from_utf8(unescape(&text.as_bytes()[token.clone()]).into_owned()).unwrap()
        };
        (end, tokens.iter().map(token).collect())
    }

    #[test]
    fn lines_are_those_that_nginx_reports() {
        for (text, name, line) in [
            ("zzz\n a\n b;\n", "zzz", 5),
            ("zzz 'x\ny' {\n}\n", "zzz", 4),
            ("zzz a # c ; {\n b\n# x\n;\n", "zzz", 6),
            ("zzz a#b ${x}y\n{ } ", "zzz", 4),
            ("zzz a\\\nb;\n", "zzz", 4),
            ("zzz \"a\" ) ;", "zzz", 3),
            ("zzz \"a\")b;", "zzz", 3),
            ("zzz \"a\"b;", "Nonsense", 3),
            ("zzz \"a\";", "zzz", 3),
            ("zzz $\n{ }\n", "zzz", 4),
            ("zzz ${{a} ;\n", "zzz", 3),
            ("zzz a{b;\n", "zzz", 3),
            ("zzz\r\na;\n", "zzz", 4),
            ("zzz \\# b\n;", "zzz", 4),
            ("zzz \"\\\"\n\" \\;\n;", "zzz", 5),
            ("\"zz\\tz\" a;", "zz\tz", 3),
            ("z\\\"z\\q\\\\ a;", "z\"z\\q\\", 3),
            ("zzz 'a'\n{\n}", "zzz", 4),
            (";", "Nonsense", 3),
            ("a ", "Nonsense", 3),
            ("\"\" b;", "", 3),
            ("zzz }x;\n", "Nonsense", 3),
            ("zzz a}x;\n", "zzz", 3),
            ("#\\\nzzz;\n", "zzz", 4),
            ("zzz \"$\"{\n}\n", "zzz", 3),
            ("zzz x${y\n;\n", "zzz", 4),
        ] {
            assert_eq!(first(text), (name.to_owned(), line), "{text:?}");
        }
    }

    #[test]
    fn an_unfinished_statement_is_nonsense() {
        for text in ["a", "a ", "a 'b", "a 'b'", "a \\", "a #;", "a $", "a ${b c"] {
            assert_eq!(statement(text).0, StatementEnd::Nonsense, "{text:?}");
        }
        assert_eq!(statement(" \n# end").0, StatementEnd::File);
    }

    #[test]
    fn tokens() {
        for (text, tokens) in [
            ("a b;", &["a", "b"][..]),
            ("a 'b c' \"d;{}#'\";", &["a", "b c", "d;{}#'"]),
            ("if ($a = \"b c\") {", &["if", "($a", "=", "b c", ")"]),
            ("a b'c d;", &["a", "b'c", "d"]),
            ("a b\"c\"d;", &["a", "b\"c\"d"]),
            ("a ${b}c $ d{", &["a", "${b}c", "$", "d"]),
            ("a \\ b \\;c \\{;", &["a", "\\ b", "\\;c", "\\{"]),
            ("a 'it\\'s' \\$ '\\n\\d';", &["a", "it's", "\\$", "\n\\d"]),
            ("a '';", &["a", ""]),
            ("a 'b'); ", &["a", "b", ")"]),
            ("~^a{2}$ b;", &["~^a"]),
            ("\"~^a{2}$\" b;", &["~^a{2}$", "b"]),
            ("a b$\\{;", &["a", "b$\\{"]),
        ] {
            assert_eq!(statement(text).1, tokens, "{text:?}");
        }
    }

    #[test]
    fn lua_is_skipped() {
        for code in [
            "ngx.say('}')}",
            "local t = {a = {}} -- }\n}",
            "--[[ } ]] return \"\\\"}\" }",
            "x = [==[ } ]] ]=] ]==] }",
            "--[ } \n a[b[1]] = 1 }",
            "--[==[ }\n}\n]==]}",
            "}",
        ] {
            let text = format!("{code} a;");
            let mut lexer = Lexer::new(text.as_bytes());
            assert!(lexer.skip_lua().is_some(), "{code}");
            assert_eq!(lexer.at, code.len(), "{code}");
            assert_eq!(lexer.line() as usize, 1 + code.matches('\n').count());
        }
        for code in ["{}", "'}", "[[ }", "--}", "--[[}"] {
            assert!(Lexer::new(code.as_bytes()).skip_lua().is_none(), "{code}");
        }
    }

    proptest! {
        #[test]
        fn any_text_comes_to_an_end(
            text in proptest::collection::vec(
                proptest::sample::select(&b"ab \n;{}\"'\\$#()[]=-"[..]), 0..64
            )
        ) {
            let mut lexer = Lexer::new(&text);
            let mut tokens = Vec::new();
            for _ in 0..=text.len() {
                let (end, line) = lexer.statement(&mut tokens);
                prop_assert!(line <= lexer.line());
                for token in &tokens {
                    prop_assert!(text.get(token.clone()).is_some());
                }
                if matches!(end, StatementEnd::File | StatementEnd::Nonsense) {
                    prop_assert!(end == StatementEnd::Nonsense || lexer.at == text.len());
                    return Ok(());
                }
            }
            prop_assert!(false, "no end");
        }
    }
}
