//! The text of a configuration, read a second time.
//!
//! nginx's final structures say what a location does, but not always where that was written; and
//! much is private to a module or lost once it is parsed: `return`, `rewrite`, `try_files`,
//! `auth_request`, the entries of a `map`. So the text is read again, into a [`Tree`]:
//!
//! - Its tokens and lines are exactly nginx's.
//! - An `include` is expanded where it stands, each time again. [`Node::children`] and everything
//!   else that looks into a block look through it. What to open is the caller's part ([`Files`]).
//! - What makes no sense is not guessed at: the rest of that file is left out, and the blocks that
//!   may lack something are not [complete](Node::is_complete). nginx accepted the configuration
//!   before, so this is the foreign syntax of a module that reads its block by itself. The one that
//!   is known, `*_by_lua_block`, is skipped.
//!
//! [`Answers`] are the directives that answer without a backend. [`Blocks`] finds the block that nginx is in. [`Variables`] says what a text with variables
//! becomes for an upgrade request.
//!
//! ```
//! use websocket_guard_core::config::{Files, Tree, Variables};
//!
//! struct None;
//! impl Files for None {
//!     fn read(&mut self, _: &[u8]) -> Option<Vec<(Vec<u8>, Vec<u8>)>> {
//!         Option::None
//!     }
//! }
//!
//! let text = "
//!     http {
//!         map $http_upgrade $connection_upgrade { default upgrade; '' close; }
//!         server {
//!             auth_request /auth;
//!             location /chat {
//!                 proxy_set_header Connection $connection_upgrade;
//!             }
//!         }
//!     }";
//! let tree = Tree::parse(b"nginx.conf", text.into(), &mut None);
//! let variables = Variables::new(&tree);
//!
//! // In the order in which nginx creates the configurations of locations.
//! let mut blocks = tree.blocks();
//! let http = blocks.next(b"nginx.conf", 2).unwrap();
//! let server = blocks.next(b"nginx.conf", 4).unwrap();
//! let chat = blocks.next(b"nginx.conf", 6).unwrap();
//!
//! let header = chat.own(b"proxy_set_header").next_back().unwrap();
//! assert_eq!(header.place().line, 7);
//! let value = header.arg(1).unwrap();
//! assert_eq!(variables.evaluate(value, chat).as_deref(), Some(&b"upgrade"[..]));
//!
//! let auth = chat.inherited(b"auth_request").unwrap();
//! assert!(!auth.is_here());
//! assert_eq!(auth.last().arg(0), Some(&b"/auth"[..]));
//! ```

mod answers;
mod blocks;
mod kind;
mod lexer;
mod node;
mod parser;
mod pattern;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod tree;
mod variables;

pub use answers::{Answer, Answering, Answers, Refusal, Rewriting};
pub use blocks::Blocks;
pub use kind::BlockKind;
pub use node::{Children, Directive, Directives, Inherited, Node};
pub use parser::Files;
pub use pattern::plain_regex;
pub use tree::Tree;
pub use variables::Variables;
