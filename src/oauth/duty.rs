//! Duties: the rights on Mintage itself, which a client has by scopes that begin with `mintage:`.
//!
//! Everything that reads such a scope comes here, except introspection, which asks for the scope
//! itself (docs/protocol.md#p32).

use std::ops::{BitAnd, BitOr};

use strum::{IntoStaticStr, VariantArray};

use super::scope::Scope;

/// Scopes with this prefix grant rights on Mintage itself. They are never part of a default scope
/// (docs/protocol.md#p19).
pub const RESERVED_PREFIX: &str = "mintage:";

/// Whether a scope token is reserved.
pub fn is_reserved(token: &str) -> bool {
    token.starts_with(RESERVED_PREFIX)
}

/// A right on Mintage itself. The name of each is its scope.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
pub enum Duty {
    /// Every duty, and what no other covers.
    #[strum(serialize = "mintage:admin")]
    Admin,
    /// Read everything.
    #[strum(serialize = "mintage:read")]
    Read,
    /// Create, change and delete clients and their secrets.
    #[strum(serialize = "mintage:clients")]
    Clients,
    /// Rotate signing keys.
    #[strum(serialize = "mintage:keys")]
    Keys,
    /// Add and remove routes.
    #[strum(serialize = "mintage:routes")]
    Routes,
    /// Revoke tokens.
    #[strum(serialize = "mintage:tokens")]
    Tokens,
    /// Read the audit log.
    #[strum(serialize = "mintage:audit")]
    Audit,
    /// Introspect every token.
    #[strum(serialize = "mintage:introspect")]
    Introspect,
}

impl Duty {
    /// The scope token that grants it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The duty of a scope token. `None` for a token that is not reserved, and for an unknown one.
    pub fn of(token: &str) -> Option<Self> {
        Self::VARIANTS.iter().copied().find(|duty| duty.name() == token)
    }

    /// The scope that grants it alone.
    pub fn scope(self) -> Scope {
        Duties::only(self).scope()
    }

    fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// A set of duties.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Duties(u8);

impl Duties {
    /// No duty.
    pub const NONE: Self = Self(0);
    /// Every duty.
    pub const ALL: Self = Self(u8::MAX);

    fn only(duty: Duty) -> Self {
        match duty {
            Duty::Admin => Self::ALL,
            duty => Self(duty.bit()),
        }
    }

    /// What a scope allows its holder to do. An unknown reserved token allows nothing.
    pub fn held(scope: &Scope) -> Self {
        let duties = scope.tokens().filter(|token| is_reserved(token)).filter_map(Duty::of);
        duties.fold(Self::NONE, |all, duty| all | Self::only(duty))
    }

    /// What the operator must hold who grants a scope, or changes a client that has it. For an
    /// unknown reserved token that is every duty: a later version may give it a meaning.
    pub fn to_grant(scope: &Scope) -> Self {
        let reserved = scope.tokens().filter(|token| is_reserved(token));
        reserved.fold(Self::NONE, |all, token| {
            all | Duty::of(token).map_or(Self::ALL, Self::only)
        })
    }

    /// Whether a duty is one of these.
    pub fn has(self, duty: Duty) -> bool {
        self.covers(Self(duty.bit()))
    }

    /// Whether these hold any duty at `/admin`. To introspect is a duty elsewhere.
    pub fn is_operator(self) -> bool {
        self != Self::NONE && self != Self::only(Duty::Introspect)
    }

    /// Whether these contain every duty of `other`.
    pub fn covers(self, other: Self) -> bool {
        self & other == other
    }

    /// The shortest scope that grants these and no more.
    pub fn scope(self) -> Scope {
        let named: Vec<&str> = match self {
            Self::ALL => vec![Duty::Admin.name()],
            _ => {
                let held = Duty::VARIANTS.iter().filter(|duty| self.has(**duty));
                held.map(|duty| duty.name()).collect()
            }
        };
        match named.is_empty() {
            true => Scope::empty(),
            false => Scope::parse(&named.join(" ")).expect("names of duties are scope tokens"),
        }
    }
}

impl BitAnd for Duties {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Duties {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn held(scope: &str) -> Duties {
        Duties::held(&Scope::parse(scope).unwrap())
    }

    fn to_grant(scope: &str) -> Duties {
        Duties::to_grant(&Scope::parse(scope).unwrap())
    }

    #[test]
    fn every_duty_has_a_scope_of_its_own_and_a_bit_of_its_own() {
        const {
            assert!(
                Duty::VARIANTS.len() == u8::BITS as usize,
                "ALL has the bits of every duty and no other"
            )
        };
        for duty in Duty::VARIANTS {
            assert!(is_reserved(duty.name()));
            assert_eq!(Duty::of(duty.name()), Some(*duty));
            assert_eq!(duty.scope().as_str(), duty.name());
            assert!(held(duty.name()).has(*duty));
        }
        assert_eq!(Duty::of("mintage:ADMIN"), None);
        assert_eq!(Duty::of("orders:read"), None);
    }

    #[test]
    fn admin_is_every_duty_and_none_of_the_others_is_admin() {
        assert_eq!(held("mintage:admin"), Duties::ALL);
        let others = "mintage:read mintage:clients mintage:keys mintage:routes mintage:tokens mintage:audit \
                      mintage:introspect";
        assert!(!held(others).has(Duty::Admin));
        assert_eq!(held(others).scope().as_str(), others);
    }

    #[test]
    fn a_token_of_an_old_admin_is_worth_what_the_client_has_now() {
        let now = held("mintage:admin") & held("orders:read mintage:clients");
        assert_eq!(now.scope().as_str(), "mintage:clients");
        assert_eq!((held("mintage:read") & held("mintage:clients")).scope(), Scope::empty());
    }

    #[test]
    fn an_unknown_reserved_scope_is_worth_nothing_and_needs_everything() {
        assert_eq!(held("mintage:later"), Duties::NONE);
        assert_eq!(to_grant("orders:read mintage:later"), Duties::ALL);
        assert_eq!(to_grant("orders:read"), Duties::NONE);
    }

    proptest! {
        #[test]
        fn to_grant_a_scope_takes_at_least_what_the_scope_is_worth(
            scope in "(mintage:(admin|read|clients|keys|later)|a|b)( (mintage:(audit|tokens|routes|introspect)|c)){0,3}",
        ) {
            prop_assert!(to_grant(&scope).covers(held(&scope)));
            prop_assert_eq!(Duties::held(&held(&scope).scope()), held(&scope));
        }

        #[test]
        fn a_longer_scope_is_never_worth_less(
            scope in "(mintage:(admin|read|clients)|a)( mintage:(audit|tokens)){0,2}",
            more in "mintage:(keys|routes|later|admin)|b",
        ) {
            let longer = format!("{scope} {more}");
            prop_assert!(held(&longer).covers(held(&scope)));
        }
    }
}
