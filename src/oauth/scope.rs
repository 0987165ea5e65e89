//! Scope (RFC 6749 §3.3): its grammar, and whether one scope includes another.

use std::fmt;
use std::sync::Arc;

use super::bounds::MAX_SCOPE_TOKENS;

/// A well-formed set of scope-tokens, in the order of their first occurrence.
///
/// The text is shared, because a warm token request uses it in the claims, the record and the
/// response.
#[derive(Clone, PartialEq, Eq)]
pub struct Scope {
    text: Arc<str>,
}

/// The text is not a scope: an empty token, a character outside the grammar, or more than
/// [`MAX_SCOPE_TOKENS`] tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MalformedScope;

impl Scope {
    /// The scope without tokens, for a client that cannot get a token.
    pub fn empty() -> Self {
        Self { text: "".into() }
    }

    /// Parses `scope-token *( SP scope-token )`. Repeated tokens collapse; order and case are kept.
    ///
    /// An empty text is malformed. A caller that allows an absent scope checks for it first.
    pub fn parse(text: &str) -> Result<Self, MalformedScope> {
        if !text.is_empty() && text.bytes().all(is_scope_byte) {
            // A single token, as in most requests: nothing to collect.
            return Ok(Self { text: text.into() });
        }
        let mut tokens: Vec<&str> = Vec::new();
        for token in text.split(' ') {
            if token.is_empty() || !token.bytes().all(is_scope_byte) {
                return Err(MalformedScope);
            }
            if !tokens.contains(&token) {
                tokens.push(token);
            }
            if tokens.len() > MAX_SCOPE_TOKENS {
                return Err(MalformedScope);
            }
        }
        Ok(Self::join(&tokens))
    }

    /// The scope in the notation of RFC 6749: tokens separated by single spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The same text, shared.
    pub fn shared(&self) -> Arc<str> {
        self.text.clone()
    }

    /// The tokens in order.
    pub fn tokens(&self) -> impl Iterator<Item = &str> {
        self.text.split(' ').filter(|token| !token.is_empty())
    }

    /// Whether the scope has no tokens.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether `token` is one of the tokens. The comparison is case-sensitive.
    pub fn contains(&self, token: &str) -> bool {
        self.tokens().any(|mine| mine == token)
    }

    /// Whether this scope contains every token of `other`.
    pub fn covers(&self, other: &Scope) -> bool {
        other.tokens().all(|token| self.contains(token))
    }

    /// The scope without the tokens that begin with `prefix`.
    pub fn without_prefix(&self, prefix: &str) -> Scope {
        let kept: Vec<&str> = self.tokens().filter(|token| !token.starts_with(prefix)).collect();
        Self::join(&kept)
    }

    fn join(tokens: &[&str]) -> Self {
        Self {
            text: tokens.join(" ").into(),
        }
    }
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({:?})", self.as_str())
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// `scope-token = 1*( %x21 / %x23-5B / %x5D-7E )`: no space, `"` or `\`, so a scope needs no
/// escaping in JSON.
fn is_scope_byte(byte: u8) -> bool {
    matches!(byte, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn p18_spaces_outside_the_grammar_are_malformed() {
        for text in ["", " ", " a", "a ", "a  b", "a\tb", "a\"b", "a\\b", "é", "a\u{7f}"] {
            assert_eq!(Scope::parse(text), Err(MalformedScope), "{text:?}");
        }
    }

    #[test]
    fn p18_repeats_collapse_and_order_and_case_are_kept() {
        let scope = Scope::parse("b a B a b").unwrap();
        assert_eq!(scope.as_str(), "b a B");
    }

    #[test]
    fn p18_more_tokens_than_the_bound_are_malformed() {
        let many: Vec<String> = (0..=MAX_SCOPE_TOKENS).map(|n| n.to_string()).collect();
        assert_eq!(Scope::parse(&many.join(" ")), Err(MalformedScope));
        assert!(Scope::parse(&many[1..].join(" ")).is_ok());
    }

    #[test]
    fn p19_reserved_scopes_are_left_out_of_a_default() {
        let scope = Scope::parse("orders:read mintage:admin x").unwrap();
        assert_eq!(scope.without_prefix("mintage:").as_str(), "orders:read x");
    }

    proptest! {
        #[test]
        fn p18_a_parsed_scope_has_the_tokens_of_the_text_and_parses_to_itself(text in "[ -~]{0,40}") {
            if let Ok(scope) = Scope::parse(&text) {
                prop_assert_eq!(Scope::parse(scope.as_str()), Ok(scope.clone()));
                let named: Vec<&str> = text.split(' ').collect();
                prop_assert!(scope.tokens().all(|token| named.contains(&token)));
                prop_assert!(named.iter().all(|token| scope.contains(token)));
            }
        }

        #[test]
        fn p19_a_scope_covers_exactly_its_subsets(a in "[a-d]( [a-d]){0,3}", b in "[a-e]( [a-e]){0,3}") {
            let (a, b) = (Scope::parse(&a).unwrap(), Scope::parse(&b).unwrap());
            let subset = b.as_str().split(' ').all(|token| a.as_str().split(' ').any(|mine| mine == token));
            prop_assert_eq!(a.covers(&b), subset);
        }
    }
}
