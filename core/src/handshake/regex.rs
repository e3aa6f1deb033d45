//! Regular expressions that are tried without memory of their own, in time linear in the text.
//!
//! Those of the crate `regex` make a cache when they are first used. Here the automaton is made when the
//! configuration is read, and a search keeps its states in a few bit sets on the stack, hence the bound on
//! their number. (A deterministic automaton would be quicker, but of expressions such as
//! `[a-z-]{1,40}-git-[a-z-]{1,40}` it is too large.)

use regex_automata::nfa::thompson::{BuildError, Compiler, Config, State, WhichCaptures, NFA};
use regex_automata::util::{primitives::StateID, syntax};
use thiserror::Error;

/// A regular expression on bytes, without backreferences and look-around.
#[derive(Clone, Debug)]
pub struct Regex(NFA);

/// Why an expression is none that can be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum RegexError {
    /// What is wrong with it.
    #[error("not a regular expression: {0}")]
    Syntax(String),
    /// It takes more states than there is room for.
    #[error("beyond the size limit of a regular expression: write it with fewer repetitions")]
    TooLarge,
}

impl Regex {
    /// Compiles an expression.
    pub fn new(pattern: &str, ignore_case: bool) -> Result<Self, RegexError> {
        /// For the time until the states are counted.
        const MAX_BYTES: usize = 1 << 20;

        let syntax = syntax::Config::new().unicode(false).utf8(false).case_insensitive(ignore_case);
        let nfa = Config::new()
            .utf8(false)
            .which_captures(WhichCaptures::None)
            .nfa_size_limit(Some(MAX_BYTES));
        let nfa = Compiler::new().syntax(syntax).configure(nfa).build(pattern)?;
        // To look for such a boundary is to panic: there are no tables of Unicode.
        if nfa.look_set_any().contains_word_unicode() {
            return Err(RegexError::Syntax("Unicode not allowed here".to_owned()));
        }
        if nfa.states().len() > StateSet::MAX {
            return Err(RegexError::TooLarge);
        }
        Ok(Self(nfa))
    }

    /// Whether the expression is found anywhere in the text.
    pub fn is_match(&self, text: &[u8]) -> bool {
        let nfa = &self.0;
        let mut reached = StateSet::new(nfa.states().len());
        let mut seen = reached;
        let mut following = reached;
        // Unless the expression begins with "^", this one goes on from every byte.
        reached.insert(nfa.start_unanchored());
        for at in 0..=text.len() {
            while let Some(id) = reached.take() {
                if seen.insert(id) && self.visit(id, text, at, &mut reached, &mut following) {
                    return true;
                }
            }
            if following.is_empty() {
                return false;
            }
            seen.clear();
            // What was reached has been taken.
            std::mem::swap(&mut reached, &mut following);
        }
        false
    }

    /// Notes where the automaton gets from a state: without a byte, and with the next one. True if it is done.
    fn visit(
        &self,
        id: StateID,
        text: &[u8],
        at: usize,
        reached: &mut StateSet,
        following: &mut StateSet,
    ) -> bool {
        let Some(state) = self.0.states().get(id.as_usize()) else { return false };
        let next = match state {
            State::Match { .. } => return true,
            State::Fail => None,
            State::ByteRange { trans } => trans.matches(text, at).then_some(trans.next),
            State::Sparse(transitions) => transitions.matches(text, at),
            State::Dense(transitions) => transitions.matches(text, at),
            State::Capture { next, .. } => {
                reached.insert(*next);
                None
            }
            State::Look { look, next } => {
                if self.0.look_matcher().matches(*look, text, at) {
                    reached.insert(*next);
                }
                None
            }
            State::BinaryUnion { alt1, alt2 } => {
                reached.insert(*alt1);
                reached.insert(*alt2);
                None
            }
            State::Union { alternates } => {
                for alternate in alternates.iter() {
                    reached.insert(*alternate);
                }
                None
            }
        };
        if let Some(next) = next {
            following.insert(next);
        }
        false
    }
}

impl From<BuildError> for RegexError {
    fn from(error: BuildError) -> Self {
        if error.size_limit().is_some() {
            return Self::TooLarge;
        }
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        Self::Syntax(last_line(&cause.unwrap_or_else(|| error.to_string())))
    }
}

/// The message of a syntax error, without the drawing of where it is.
fn last_line(text: &str) -> String {
    let line = text.lines().last().unwrap_or(text);
    line.strip_prefix("error: ").unwrap_or(line).to_owned()
}

/// States of an automaton, each at most once.
#[derive(Clone, Copy)]
struct StateSet {
    words: [u64; Self::WORDS],
    /// Only so many are in use.
    used: usize,
    /// All words before this one are empty.
    first: usize,
}

impl StateSet {
    const WORDS: usize = 64;
    const MAX: usize = Self::WORDS * u64::BITS as usize;

    /// An empty set for an automaton of so many states.
    fn new(states: usize) -> Self {
        let used = states.div_ceil(u64::BITS as usize);
        Self { words: [0; Self::WORDS], used, first: used }
    }

    fn is_empty(&self) -> bool {
        self.used_words().all(|word| *word == 0)
    }

    /// Adds a state; false if it is there already.
    fn insert(&mut self, id: StateID) -> bool {
        let (word, bit) = (id.as_usize() / 64, 1 << (id.as_usize() % 64));
        self.first = self.first.min(word);
        match self.words.get_mut(word) {
            Some(word) if *word & bit == 0 => *word |= bit,
            _ => return false,
        }
        true
    }

    /// Takes one state out.
    fn take(&mut self) -> Option<StateID> {
        let empty = self.used_words().take_while(|word| **word == 0).count();
        self.first += empty;
        let word = self.words.get_mut(self.first).filter(|word| **word != 0)?;
        let bit = word.trailing_zeros() as usize;
        *word &= *word - 1;
        StateID::new(self.first * 64 + bit).ok()
    }

    fn clear(&mut self) {
        if let Some(words) = self.words.get_mut(..self.used) {
            words.fill(0);
        }
        self.first = self.used;
    }

    fn used_words(&self) -> impl Iterator<Item = &u64> {
        self.words.get(self.first..self.used).unwrap_or_default().iter()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use regex::bytes::RegexBuilder;

    use super::*;

    /// What the crate `regex` says.
    fn is_match(pattern: &str, ignore_case: bool, text: &[u8]) -> bool {
        let mut builder = RegexBuilder::new(pattern);
        let regex = builder.unicode(false).case_insensitive(ignore_case).build();
        regex.expect("a regular expression").is_match(text)
    }

    proptest! {
        #[test]
        fn finds_what_the_crate_regex_finds(
            pattern in r"\^?([abB.x]|[ab]\{0,3\}|\[\^a\]|\(a\|bb\|\)[*+?]|\\b|\\B|\(\?i:B\)|\(\?:a\*\)\*){0,6}\$?",
            ignore_case: bool,
            text in prop::collection::vec(prop::sample::select(&b"abABx-\n\xff"[..]), 0..12),
        ) {
            let regex = Regex::new(&pattern, ignore_case).expect("a regular expression");
            prop_assert_eq!(regex.is_match(&text), is_match(&pattern, ignore_case, &text));
        }
    }

    #[test]
    fn large_expressions_and_texts() {
        let found = |pattern: &str, text: &[u8]| {
            Regex::new(pattern, true).expect("a regular expression").is_match(text)
        };
        let preview = r"^https://[a-z0-9-]{1,40}-git-[a-z0-9-]{1,40}\.example\.com$";
        assert!(found(preview, b"https://my-app-git-fix-git-login.example.com"));
        assert!(!found(preview, b"https://my-app-git-.example.com"));
        // As many states as there can be, nearly.
        let long = [b'x'; 4000];
        assert!(found(r"^[a-z]{4000}$", &long));
        assert!(!found(r"^[a-z]{4001}$", &long));
        assert!(found(
            r"x{50}\z",
            &b"yx".repeat(99).into_iter().chain([b'x'; 49]).collect::<Vec<_>>()
        ));
        assert_eq!(Regex::new(r"^[a-z]{5000}$", true).err(), Some(RegexError::TooLarge));
        assert_eq!(Regex::new(r"((a{99}){99}){99}", true).err(), Some(RegexError::TooLarge));
    }

    #[test]
    fn what_is_none() {
        for (pattern, expected) in [
            ("(", "unclosed group"),
            (r"(a)\1", "backreferences are not supported"),
            (r"(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
            (r"\pL", "Unicode not allowed here"),
        ] {
            let error = RegexError::Syntax(expected.to_owned());
            assert_eq!(Regex::new(pattern, false).err(), Some(error), "{pattern}");
        }
        // An expression does not bring back what is switched off.
        for pattern in [r"(?u)\b", r"(?u:\B)", r"(?u)\b{start}", r"(?u)\b{end-half}"] {
            assert!(Regex::new(pattern, false).is_err(), "{pattern}");
        }
    }
}
